"""Values of Pigsty's variables in the types and forms of our parameters."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from infra_formula.daemon.flags import options_problem as flag_problem
from infra_formula.data import load
from infra_formula.parameters import schema

Adapted = tuple[dict[str, Any], list[str]]
"""Parameters that a variable becomes, and notes for the report."""

LOCKED = "$6$locked$no-password-makes-this"
"""In place of a password that is not known: a hash of no password."""


class Protecting(Exception):
    """Why a value that protects something has no like here: it is locked, and not left out."""


_TRUE, _FALSE = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f")
_DISK = "-retention.maxDiskSpaceUsageBytes"
_RETENTION = {
    "vmetrics_options": {"-retentionPeriod": "vmetrics_retention"},
    "vlogs_options": {
        "-retentionPeriod": "vlogs_retention",
        _DISK: "vlogs_max_disk",
    },
    "vtraces_options": {
        "-retentionPeriod": "vtraces_retention",
        _DISK: "vtraces_max_disk",
    },
}
_MODULE_RULES = {
    "enabled": {"type": "bool"},
    "seq": {"type": "int"},
    "node": {"type": "int"},
    "pg": {"type": "bool"},
}
"""Rules by the last word of a module's variable."""


def coerce(value: Any, rule: dict[str, Any]) -> Any:
    """Convert a value to the type that a rule expects, as Ansible would: `"80"`, `yes`, 15."""
    for choice in rule.get("either", []):
        converted = coerce(value, choice)
        if not schema.check("", converted, choice):
            return converted
    kind = rule.get("type")
    if isinstance(value, list) and kind == "list":
        return [coerce(item, rule.get("items", {})) for item in value]
    if isinstance(value, dict) and kind == "map":
        keys = rule.get("keys")
        return {
            key: coerce(item, (keys or {}).get(key, {}) if keys else rule.get("items", {}))
            for key, item in value.items()
        }
    plain = str(value).strip().lower()
    if kind == "bool" and not isinstance(value, bool) and plain in _TRUE + _FALSE:
        return plain in _TRUE
    if kind in ("int", "port") and isinstance(value, str) and re.fullmatch("[0-9]{1,9}", plain):
        return int(plain)
    if (
        kind in ("line", "name", "string", "quoted", "domain")
        and isinstance(value, (int, float))
        and (rule.get("secret") is True or not isinstance(value, bool))
    ):
        return str(value)  # a password may be `yes`, which Ansible writes as True
    return value


def coerce_module_variable(name: str, value: Any) -> Any:
    """Convert the value of a variable of another module of Pigsty, by the last word of its name."""
    return coerce(value, _MODULE_RULES.get(name.rpartition("_")[2], {}))


def adapt(kind: str, name: str, value: Any) -> Adapted:
    """Convert the value of a variable to parameters.

    kind
        How it is converted: ``is`` of ``infra/pigsty.yaml``, or the name of the parameter.
    name
        Name of the parameter.
    """
    adapter = _ADAPTERS.get(kind)
    return adapter(value, name) if adapter else ({name: value}, [])


def _words(value: Any, name: str) -> Adapted:
    """A list of which each element may hold several names, separated by commas or spaces."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return {name: value}, []
    return {name: [w for item in items for w in re.split(r"[,\s]+", item) if w]}, []


_DEFAULT_RETENTION = {"vmetrics_options": "31d", "vlogs_options": "7d", "vtraces_options": "7d"}
"""What the programs keep if no flag says how long."""
_PROTECTIVE = re.compile(
    r"auth|web[.-]config|tls|password|token|secret|httplistenaddr|listen-address", re.IGNORECASE
)


def _flags(value: Any) -> list[str] | None:
    """Flags of a string of options, of any number of lines; None for what is none."""
    try:
        return shlex.split(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _passed(name: str, flags: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags that a unit's environment file can hold, as options; and notes on the others."""
    notes = []
    good = []
    for flag in flags:
        if flag_problem(shlex.quote(flag)) is None:
            good.append(flag)
            continue
        key = flag.partition("=")[0]
        if _PROTECTIVE.search(key):
            raise Protecting(f"the flag {key} has characters that an environment file cannot hold")
        notes.append(f'the flag {key} is omitted: without \\ " $ or ` only')
    return {name: shlex.join(good)}, notes


def _daemon_options(value: Any, name: str) -> Adapted:
    """Flags of a program, passed on one by one."""
    flags = _flags(value)
    if flags is None:
        return {name: value}, []
    return _passed(name, flags)


def _options(value: Any, name: str) -> Adapted:
    """Flags of VictoriaMetrics, -Logs or -Traces; some are parameters here."""
    flags = _flags(value)
    if flags is None:
        return {name: value}, []
    out: dict[str, Any] = {}
    rest: list[str] = []
    has_retention = False
    words = iter(flags)
    for flag in words:
        key, equals, text = flag.replace("--", "-", 1).partition("=")
        to = _RETENTION[name].get(key)
        if to and not equals:
            text = next(words, "")
            flag = f"{flag}={text}"
        has_retention = has_retention or key == "-retentionPeriod"
        if to and to.endswith("_max_disk"):
            out[to] = text
        elif to and _retention(text):
            out[to] = _retention(text)
        elif key != "-promscrape.fileSDCheckInterval":
            rest.append(flag)
    notes = [f"some flags became {', '.join(out)}"] if out else []
    passed, more = _passed(name, rest)
    retention, disk = _RETENTION[name]["-retentionPeriod"], _RETENTION[name].get(_DISK)
    if not has_retention:
        default = _DEFAULT_RETENTION[name]
        out[retention] = default
        notes.append(f"no flag says how long, so that {retention} is {default}, as in Pigsty")
    if disk and disk not in out:
        out[disk] = ""
        notes.append(f"no flag limits the disk, so that {disk} is empty, as in Pigsty")
    return {**out, **passed}, [*notes, *more]


def _retention(text: str) -> str:
    """How long, in the form of our parameters; empty for another form.

    A number without a unit is months, of 31 days each as VictoriaMetrics counts them.
    """
    match = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,3}))?([hdwy]?)", text)
    if match is None:
        return ""
    if match[2] is None:
        return text if match[3] else f"{int(match[1]) * 31}d"
    hours = {"h": 1, "d": 24, "w": 168, "y": 8760, "": 744}[match[3]]
    return f"{max(1, round(float(f'{match[1]}.{match[2]}') * hours))}h"


_UNITS = {"ms": 1 / 3_600_000, "s": 1 / 3600, "m": 1 / 60, "h": 1, "d": 24, "w": 168, "y": 8760}
"""Units of a duration of Prometheus and Loki, in hours."""
_FOREVER = "100y"
_LEAST = 24  # hours that a successor keeps at least


def _duration(text: str) -> str | None:
    """A duration of Prometheus or Loki as a retention here; empty for 0, None for what is none."""
    parts = re.findall(r"([0-9]{1,6})(ms|[smhdwy])", text)
    if not parts or "".join(map("".join, parts)) != text:
        return "" if text == "0" else None
    hours = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if hours == 0:
        return ""
    if hours < _LEAST:
        return "1d"
    return text if len(parts) == 1 and parts[0][1] in "hdwy" else f"{round(hours)}h"


def _prometheus_options(value: Any, name: str) -> Adapted:
    """The retention of Prometheus; its other flags have no like.

    Raises Protecting for flags by which Prometheus asks for a login.
    """
    flags = _flags(value)
    if flags is None:
        return {name: value}, []
    out: dict[str, Any] = {}
    notes = []
    has_size = False
    words = iter(flags)
    for flag in words:
        key, equals, text = flag.lstrip("-").partition("=")
        if key in ("storage.tsdb.retention.time", "storage.tsdb.retention"):
            text = text if equals else next(words, "")
            retention = _duration(text)
            if retention:
                out[name] = retention
            elif retention is None:
                notes.append("the retention is omitted: expected one like 15d")
        elif key == "web.config.file":
            raise Protecting(
                "web.config.file made Prometheus ask for a login or a certificate; ask for one "
                "with -httpAuth.username and -httpAuth.password in vmetrics_options, or with "
                "portal_auth"
            )
        elif key == "storage.tsdb.retention.size":
            has_size = True
            notes.append("VictoriaMetrics limits no size; watch the disk")
            if not equals:
                next(words, "")
        else:
            notes.append(f"{key} has no like here")
    if has_size and name not in out and not any("retention is omitted" in n for n in notes):
        # A Prometheus with a size alone limits no time.
        out[name] = _FOREVER
        notes.append(f"no flag says how long, so that {name} is {_FOREVER}")
    if not out and not notes:
        notes.append("it sets no retention")
    return out, notes


def _loki_retention(value: Any, name: str) -> Adapted:
    """How long Loki kept logs; 0 is for ever."""
    retention = _duration(str(value).strip())
    if retention == "":
        return {name: _FOREVER}, [f"Loki kept logs for ever; {name} is {_FOREVER}"]
    if retention and retention != str(value).strip():
        return {name: retention}, [f"{name} is {retention}; VictoriaLogs keeps a day at least"]
    return {name: value}, []


def _repo_method(value: Any, name: str) -> Adapted:
    """What nodes install from, in the words of Pigsty 2.0 to 2.2."""
    modules = {"local": "local", "none": "", "public": "node,infra,pgsql"}.get(str(value))
    return {name: value if modules is None else modules}, []


def _users(value: Any, name: str) -> Adapted:
    """Users of the portal; one without a password that can be, cannot log in."""
    if not isinstance(value, dict):
        return {name: value}, []
    out: dict[str, Any] = {}
    notes = []
    for raw, password in value.items():
        user = str(raw)
        if not re.fullmatch(r"[^\s:\x00-\x1f]+", user):
            notes.append(f"{user!r} is omitted: expected a user without ':' or blanks")
            continue
        text = coerce(password, {"type": "line", "secret": True})
        if not isinstance(text, str) or not text or schema.check("", text, {"type": "line"}):
            notes.append(f"{user} cannot log in: expected a password of one line, not empty")
            text = LOCKED
        out[user] = text
    if value and not out:
        out = {"locked": LOCKED}
    return {name: out}, notes


_CARD_PATHS = {"${grafana}": "/ui", "${prometheus}": "/vmetrics", "${alertmanager}": "/alertmgr"}
"""Words of Pigsty 2 and 3 in URLs of cards → paths of the home page."""


def _infra_packages(value: Any, name: str) -> Adapted:
    """Packages of INFRA nodes, but for those that components bring, or were replaced by."""
    packages, notes = _words(value, name)
    words = packages[name]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return packages, notes
    brought = set(load("pigsty")["packages"])
    patterns = [word for word in words if "*" in word]
    if patterns:
        notes = [f"patterns are omitted: {', '.join(patterns)}; name the packages", *notes]
    if brought & set(words):
        notes = [*notes, f"of components: {', '.join(sorted(brought & set(words)))}"]
    rest = [word for word in words if word not in brought and "*" not in word]
    return {name: list(dict.fromkeys(rest))}, notes


def _cards(value: Any, name: str) -> Adapted:
    """Cards of the home page, with the keys that there are."""
    if not isinstance(value, list):
        return {name: value}, []
    known = ("name", "url", "desc", "icon", "name_cn", "desc_cn")
    out = []
    notes = []
    for card in value:
        if isinstance(card, dict):
            if "comment" in card and "desc" not in card:
                card = {**card, "desc": card["comment"]}
                del card["comment"]
            more = sorted(str(key) for key in card if key not in known)
            notes += [f"{key} of a card is omitted: it has no effect" for key in more]
            card = {key: card[key] for key in card if key in known}
            url = card.get("url")
            for word, path in _CARD_PATHS.items():
                if isinstance(url, str) and url.startswith(word):
                    card["url"] = path + url.removeprefix(word)
        out.append(card)
    return {name: out}, list(dict.fromkeys(notes))


def _version(value: Any, name: str) -> Adapted:
    """The version of Pigsty's packages; before 4.0 they have another form."""
    if re.match(r"v[0-3]\.", str(value)):
        return {}, ["packages of version 4 are served"]
    return {name: value}, []


def _firewall(value: Any, name: str) -> Adapted:
    disabled = coerce(value, {"type": "bool"})
    if isinstance(disabled, bool):
        return {name: "off" if disabled else "none"}, []
    return {name: value}, []


def is_unsigned(upstream: dict[Any, Any]) -> bool:
    """Whether an upstream says nothing of signatures, so that Pigsty trusts it without one."""
    return not set(upstream) & {"gpgkey", "signed_by", "trusted"}


def _upstream(value: Any, name: str) -> Adapted:
    """Upstreams: Pigsty trusts them without a signature; here `trusted` has to be set."""
    if not isinstance(value, list):
        return {name: value}, []
    out = []
    for entry in value:
        if isinstance(entry, dict) and is_unsigned(entry):
            entry = {**entry, "trusted": True}
        if isinstance(entry, dict) and "arch" not in entry:
            entry = {**entry, "arch": ["x86_64", "aarch64"]}  # Pigsty 2 does not ask for it
        out.append(entry)
    return {name: out}, []


_ADAPTERS: dict[str, Callable[[Any, str], Adapted]] = {
    "vmetrics_options": _options,
    "vlogs_options": _options,
    "vtraces_options": _options,
    "prometheus_options": _prometheus_options,
    "node_disable_firewall": _firewall,
    "version": _version,
    "node_packages": _words,
    "node_default_packages": _words,
    "infra_packages": _infra_packages,
    "repo_upstream": _upstream,
    "nginx_users": _users,
    "node_repo_method": _repo_method,
    "loki_retention": _loki_retention,
    "infra_services": _cards,
    "infra_extra_services": _cards,
    **dict.fromkeys(
        (
            "vmalert_options",
            "alertmanager_options",
            "blackbox_options",
            "node_exporter_options",
        ),
        _daemon_options,
    ),
}
"""Conversions of values that are not copied as they are."""
