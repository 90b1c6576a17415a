"""Checks of values that come from pillar: each failure names the key path and what was expected.

A *rule* says what a value may be. It is a mapping (data, so that it can stand in a YAML file):

``type``
    ``bool``, ``int``, ``string``, ``line`` (a string of one line), ``text`` (several lines),
    ``quoted`` (a line that may stand in double quotes in a configuration file), ``name`` (of a
    file or a thing: letters, digits, ``.``, ``_``, ``-``), ``port``, ``path`` (absolute),
    ``domain``, ``site`` (a domain, or an IPv4 address), ``endpoint`` (``host:port``), ``ip``,
    ``network`` (an address, or ``10.0.0.0/8``), ``url``, ``duration`` (``30s``, ``15d``),
    ``timeout`` (a duration that nginx takes: no years), ``rate`` (``10r/s``, ``30r/m``), ``days``
    (``397d``), ``size`` (``400m``), ``fingerprint`` (of OpenPGP keys, whole), ``digest`` (SHA-256),
    ``null``, ``list``, ``map`` or ``any``.
``enum``
    The values allowed.
``min``, ``max``
    Limits of an int.
``items``
    Rule of each element of a list, or of each value of a map.
``keys``
    Rules by key of a map; other keys are errors.
``required``
    Keys that a map must have.
``either``
    A list of rules, one of which has to hold.
``secret``
    True: the value is a secret; ``maybe``: it may hold one (see :mod:`infra_formula.credentials`).
    No message quotes it then.
``clients``
    True for a secret that machines need which are no INFRA nodes.
``entries``
    The entries are checked elsewhere; its ``secret`` lists the keys of an entry that are ``maybe``.
``unset``
    Text: what ``null`` means, which is allowed then.

What else a rule holds (``about``) is for people, and passed over.

No function here reads a file, a command or the pillar.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from infra_formula import punycode, redaction

# Spelled out: without regard to case, Python takes U+017F for an s and U+212A for a K.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DURATION = re.compile(r"[0-9]{1,6}(?:ms|[smhdwy])")
_SIZE = re.compile(r"[0-9]{1,9}[kKmMgG]?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}(?:[0-9A-Fa-f]{24})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_SHOWN = 60


def show(value: Any) -> str:
    """A value as an error message quotes it: its repr without secrets, cut to a readable length."""
    text = redaction.scrub(repr(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def join(path: str, key: Any) -> str:
    """Key path of a key below a path; a key that holds a dot is put in brackets."""
    if isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return f"{path}.{key}" if path else key
    return f"{path}[{key!r}]"


def nearest(word: Any, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, empty where none is near."""
    matches = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def problem(path: str, expected: str, got: Any) -> str:
    """One error message: key path, what was expected, what was found."""
    hint = ""
    if isinstance(got, bool):
        hint = " (YAML reads unquoted on, off, yes and no as booleans; quote them)"
    return (
        f"{path}: expected {expected}, got {show(got)}{hint if 'boolean' not in expected else ''}"
    )


def domain_problem(value: Any) -> str | None:
    """Why a value is not a DNS name (RFC 1123, a leading ``*.`` allowed); None where it is."""
    if not isinstance(value, str):
        return "a domain name"
    form = punycode.ascii_form(value)
    if form and _DOMAIN.fullmatch(form):
        return f"a domain name in ASCII, {form}"
    if len(value) > 253 or not _DOMAIN.fullmatch(value):
        return "a domain name like i.pigsty (letters, digits, hyphens and dots)"
    if re.fullmatch(r"[\d.]+", value):
        return "a domain name, not an address"
    return None


def site_problem(value: Any) -> str | None:
    """Why a value is not a name of a web site: a DNS name, an underscore allowed, or an address."""
    if _is_ip(value, 4):
        return None
    # An underscore is in no host name, but in names that nginx and dnsmasq serve all the same.
    inner = isinstance(value, str) and not re.search(r"(?:^|\.)_|_(?:\.|$)", value)
    return domain_problem(value.replace("_", "-") if inner else value)


def endpoint_problem(value: Any) -> str | None:
    """Why a value is not an endpoint: ``host:port``, ``[IPv6]:port`` or ``unix:/path``."""
    form = "host:port, [IPv6]:port or unix:/path"
    if not isinstance(value, str) or _CONTROL.search(value):
        return form
    if value.startswith("unix:"):
        return "unix: and an absolute path" if path_problem(value[5:]) or ":" in value[5:] else None
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        return form
    if not 1 <= int(port) <= 65535 or len(port) > 5:
        return f"{form} with a port from 1 to 65535"
    if host.startswith("[") and host.endswith("]"):
        return None if _is_ip(host[1:-1], 6) else form
    if re.fullmatch(r"[\d.]+", host):
        return None if _is_ip(host, 4) else f"{form} with a valid IPv4 address"
    return None if _HOST.fullmatch(host) and len(host) <= 253 else form


def path_problem(value: Any) -> str | None:
    """Why a value is not an absolute path that may stand in a configuration file."""
    if not isinstance(value, str) or not value.startswith("/"):
        return "an absolute path"
    if not re.fullmatch(r"[A-Za-z0-9/._@%+=:,~-]+", value) or ".." in value.split("/"):
        return "an absolute path without spaces, '..' or the characters ; { } $ \" '"
    return None


def url_problem(value: Any) -> str | None:
    """Why a value is not an http or https URL."""
    form = "an http:// or https:// URL"
    if not isinstance(value, str) or _CONTROL.search(value) or " " in value:
        return form
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return form
    return None if parts.scheme in ("http", "https") and parts.hostname else form


def line_problem(value: Any) -> str | None:
    """Why a value is not a string of one line without control characters."""
    if not isinstance(value, str):
        return "a string"
    return "a string of one line without control characters" if _CONTROL.search(value) else None


def text_problem(value: Any) -> str | None:
    """Why a value is not text: a string without control characters but line breaks and tabs."""
    if not isinstance(value, str):
        return "a string"
    bare = value.replace("\n", "").replace("\t", "")
    return "text without control characters" if _CONTROL.search(bare) else None


def fingerprints(text: str) -> list[str]:
    """Whole fingerprints of OpenPGP keys in a string.

    text
        Fingerprints of 40 or 64 hexadecimal digits, with commas or spaces between; the digits of
        one may stand in groups, as gpg prints them.

    Returns none if any part of the string is not a whole fingerprint: the end of one, a key ID,
    can be forged.
    """
    prints: list[str] = []
    for part in filter(str.strip, text.split(",")):
        words = part.split()
        if not all(map(_FINGERPRINT.fullmatch, words)):
            words = ["".join(words)]
        if not all(map(_FINGERPRINT.fullmatch, words)):
            return []
        prints += words
    return list(dict.fromkeys(prints))


def digest(text: Any) -> str:
    """A SHA-256 fingerprint as 64 small hexadecimal digits; empty if the value is not one.

    text
        The digits; colons or spaces may stand between them, as openssl prints them.
    """
    bare = re.sub(r"[:\s]", "", text).lower() if isinstance(text, str) else ""
    return bare if re.fullmatch(r"[0-9a-f]{64}", bare) else ""


def _is_ip(value: Any, version: int | None = None) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return isinstance(value, str) and version in (None, address.version) and "%" not in value


def _is_network(value: Any) -> bool:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return isinstance(value, str) and "%" not in value


def _when(ok: bool, expected: str) -> str | None:
    return None if ok else expected


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_SCALARS: dict[str, Callable[[Any], str | None]] = {
    "any": lambda v: None,
    "bool": lambda v: _when(isinstance(v, bool), "a boolean (true or false)"),
    "int": lambda v: _when(_is_int(v), "an integer"),
    "string": lambda v: _when(isinstance(v, str), "a string"),
    "null": lambda v: _when(v is None, "null"),
    "line": line_problem,
    "text": text_problem,
    "quoted": lambda v: (
        line_problem(v) or _when(not set(v) & set('"\\$;{}'), 'a string without " \\ $ ; { }')
    ),
    "name": lambda v: _when(
        isinstance(v, str) and bool(_NAME.fullmatch(v)),
        "a name of letters, digits, dots, hyphens and underscores",
    ),
    "port": lambda v: _when(_is_int(v) and 1 <= v <= 65535, "a port, an integer from 1 to 65535"),
    "path": path_problem,
    "domain": domain_problem,
    "site": site_problem,
    "endpoint": endpoint_problem,
    "ip": lambda v: _when(_is_ip(v), "an IP address"),
    "network": lambda v: _when(
        _is_network(v), "an address or a network like 10.0.0.0/8, without bits of a host"
    ),
    "url": url_problem,
    "duration": lambda v: _when(
        isinstance(v, str) and bool(_DURATION.fullmatch(v)), "a duration like 30s, 5m or 15d"
    ),
    "timeout": lambda v: _when(
        isinstance(v, str) and bool(_DURATION.fullmatch(v)) and not v.endswith("y"),
        "a duration like 30s or 5m, of at most weeks",
    ),
    "rate": lambda v: _when(
        isinstance(v, str) and bool(re.fullmatch(r"[1-9][0-9]{0,5}r/[sm]", v)),
        "a rate like 10r/s or 30r/m",
    ),
    "days": lambda v: _when(
        isinstance(v, str) and bool(re.fullmatch(r"[1-9][0-9]{0,4}d", v)), "days, like 397d"
    ),
    "fingerprint": lambda v: _when(
        isinstance(v, str) and not line_problem(v) and bool(fingerprints(v)),
        "whole fingerprints, of 40 or 64 hexadecimal digits each (no key IDs)",
    ),
    "digest": lambda v: _when(
        bool(digest(v)) and not line_problem(v),
        "a SHA-256 fingerprint of 64 hexadecimal digits",
    ),
    "size": lambda v: _when(
        (_is_int(v) and v >= 0) or (isinstance(v, str) and bool(_SIZE.fullmatch(v))),
        "a size like 400m or 1g, or 0",
    ),
}


def check(path: str, value: Any, rule: dict[str, Any]) -> list[str]:
    """Check a value against a rule.

    path
        Key path of the value, for the messages.
    value
        The value, as it came from pillar.
    rule
        See the module's own description.

    Returns the error messages, empty where the value is as expected.
    """
    if rule.get("secret"):
        plain = {key: part for key, part in rule.items() if key != "secret"}
        return [error.split(", got ", 1)[0] for error in check(path, value, plain)]
    if "unset" in rule:
        rule = {key: part for key, part in rule.items() if key != "unset"}
        either = [{"type": "null"}, *rule.get("either", [rule])]
        return _check_either(path, value, {"either": either})
    if "either" in rule:
        return _check_either(path, value, rule)
    kind = rule.get("type", "any")
    if kind == "map":
        return _check_map(path, value, rule)
    if kind == "list":
        if not isinstance(value, list):
            return [_kind_problem(path, "a list", value, rule)]
        item = rule.get("items", {})
        return [e for i, v in enumerate(value) for e in check(f"{path}[{i}]", v, item)]
    expected = _SCALARS[kind](value)
    if expected is None and "enum" in rule and value not in rule["enum"]:
        expected = "one of " + ", ".join(str(v) for v in rule["enum"])
        return [problem(path, expected, value) + nearest(value, map(str, rule["enum"]))]
    if expected is None and _is_int(value):
        low, high = rule.get("min"), rule.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            expected = f"an integer {_range(low, high)}"
    return [problem(path, expected, value)] if expected else []


def parameters(schema: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Every parameter of ``infra/schema.yaml`` by its name, whatever section it stands in.

    schema
        What that file holds.
    """
    return {name: rule for section in schema.values() for name, rule in section.items()}


def locate(message: str, value: Any) -> list[Any]:
    """Keys and indexes that lead to what a message is about, as far as the value has them.

    message
        An error that begins with a key path.
    value
        What was checked, of which that path is.
    """
    path, keys = "", []
    while isinstance(value, (dict, list)):
        if isinstance(value, list):
            index = re.match(r"\[([0-9]{1,9})\]", message[len(path) :])
            if not index or int(index[1]) >= len(value):
                break
            places = [(path + index[0], int(index[1]))]
        else:
            forms = [
                (form, key)
                for key in value
                for form in (join(path, key), f"{path}.{key}".lstrip("."), f"{path}[{key!r}]")
            ]
            places = [
                (form, key)
                for form, key in forms
                if message.startswith(form) and message[len(form) :][:1] in (":", ".", "[", " ")
            ]
        if not places:
            break
        path, key = max(places, key=lambda pair: len(pair[0]))
        keys.append(key)
        value = value[key]
    return keys


def _range(low: int | None, high: int | None) -> str:
    if low is None:
        return f"of at most {high}"
    return f"of at least {low}" if high is None else f"from {low} to {high}"


def _check_either(path: str, value: Any, rule: dict[str, Any]) -> list[str]:
    results = []
    for choice in rule["either"]:
        results.append(check(path, value, choice))
        if not results[-1]:
            return []
    for choice, errors in zip(rule["either"], results, strict=True):
        # Of the right kind, with a fault inside: that fault says more than "neither of these".
        if (choice.get("type"), type(value)) in (("list", list), ("map", dict)):
            return errors
    marker = f"{path}: expected "
    expected = [e.removeprefix(marker).rsplit(", got ", 1)[0] for errors in results for e in errors]
    return [problem(path, " or ".join(dict.fromkeys(expected)), value)]


def _kind_problem(path: str, expected: str, value: Any, rule: dict[str, Any]) -> str:
    """The message for what is no list or dictionary; without a value where that holds secrets."""
    message = problem(path, expected, value)
    return message.split(", got ", 1)[0] if has_secret(rule) else message


def has_secret(rule: dict[str, Any]) -> bool:
    """Whether a value of a rule may be a secret, or hold one."""
    if rule.get("secret") or rule.get("entries", {}).get("secret"):
        return True
    below = [*rule.get("keys", {}).values(), *rule.get("either", [])]
    return any(map(has_secret, below)) or ("items" in rule and has_secret(rule["items"]))


def _check_map(path: str, value: Any, rule: dict[str, Any]) -> list[str]:
    if not isinstance(value, dict):
        return [_kind_problem(path, "a dictionary", value, rule)]
    errors = []
    keys = rule.get("keys")
    for key, item in value.items():
        here = join(path, key)
        if not isinstance(key, str):
            errors.append(problem(here, "a key that is a string", key))
        elif keys is not None and key not in keys:
            errors.append(f"{here}: unknown key{nearest(key, keys)}")
        else:
            errors += check(here, item, keys[key] if keys is not None else rule.get("items", {}))
    errors += [f"{join(path, k)}: missing" for k in rule.get("required", []) if k not in value]
    return errors
