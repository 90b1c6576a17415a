"""Entries of Pigsty's ``infra_portal`` as this formula's: attribute by attribute.

What nginx would serve for Pigsty is served. An attribute that nothing can be made of is left out,
unless it protects the entry: then a placeholder takes its place (parameters/locked.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra_formula.parameters import locked, schema
from infra_formula.parameters.secrets import without_value
from infra_formula.pigsty import values
from infra_formula.pigsty.inventory import UNSAFE, VAULT
from infra_formula.portal.attributes import ENTRY
from infra_formula.portal.entries import HOME_DOMAIN, config_fault

Resolve = Callable[[Any], tuple[Any, str | None]]
"""Renders a value of the inventory; returns it and None, or None and why it is not known."""

_RULES: dict[str, dict[str, Any]] = {**ENTRY}
_BOOLS = ("websocket", "index", "auth", "enforce_https", "proxy_ssl_verify")
_PROTECTS = ("auth", "enforce_https", "config", "scheme", "proxy_ssl_verify", "auth_paths")
_PROTECTS_HOME = (*_PROTECTS, "conf", "path", "index")
_NEEDED = ("endpoint", "path", "conf")  # an entry is not served as another than it was
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NO_DOMAIN = "localhost"


@dataclass
class Successor:
    """A program of an INFRA node that another took the place of, with the ports of both."""

    key: str
    old: frozenset[str]
    new: str
    any_key: bool


@dataclass
class Converted:
    """What became of a portal.

    entries
        The entries, with placeholders.
    notes
        What was changed or left out.
    closed
        Key path → why it is closed, where nobody can say how to open it.
    partial
        Whether something is left out that has an effect in Pigsty.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)
    partial: bool = False


def is_protecting(key: str, attribute: str) -> bool:
    """Whether an attribute closes something of an entry."""
    return attribute in (_PROTECTS_HOME if key == "home" else _PROTECTS)


def is_needed(attribute: str) -> bool:
    """Whether an entry is another one, or none, without an attribute."""
    return attribute in (*_NEEDED, "domain")


def convert(
    portal: dict[Any, Any],
    resolve: Resolve,
    own_hosts: Iterable[str] = (),
    successors: Sequence[Successor] = (),
) -> Converted:
    """Convert the value of ``infra_portal``.

    portal
        The dictionary of the inventory, not rendered.
    resolve
        Renders a value.
    own_hosts
        Hosts of an endpoint that are INFRA nodes.
    successors
        Programs of theirs that have another port here.
    """
    work = _Portal(resolve, frozenset(own_hosts), successors)
    for key, entry in portal.items():
        work.add(key, entry)
    work.share_names()
    work.close_home()
    return work.found


_ENDED = {"9091": "Pushgateway", "9080": "Promtail"}
"""Ports of programs without a successor."""
_PATHS = {"prometheus": "/vmetrics", "alertmanager": "/alertmgr", "loki": "/vlogs"}
"""Path of the home page that leads to the successor of a program."""


def cards(
    value: list[Any], own_hosts: Iterable[str], successors: Sequence[Successor]
) -> tuple[list[Any], list[str]]:
    """Cards of the home page that lead to a program, with the path of its successor.

    Returns the cards, and what was changed.
    """
    own, out, notes = set(own_hosts), [], []
    for card in value:
        url = card.get("url") if isinstance(card, dict) else None
        match = re.fullmatch(r"https?://([^/:]+|\$\{admin_ip\}):([0-9]+)(/.*)?", str(url))
        for successor in successors if match and match[1] in own else ():
            if match and match[2] in successor.old and successor.any_key:
                card = {**card, "url": _PATHS[successor.key] + (match[3] or "/")}
                notes.append(f"a card leads to {card['url']}, the successor of port {match[2]}")
        out.append(card)
    return out, notes


def _with_address(value: Any) -> Any:
    """An endpoint, or several, with an address in place of ``${admin_ip}``."""
    if isinstance(value, list):
        return [_with_address(item) for item in value]
    return value.replace("${admin_ip}", "192.0.2.1") if isinstance(value, str) else value


class _Portal:
    def __init__(
        self, resolve: Resolve, own_hosts: frozenset[str], successors: Sequence[Successor]
    ) -> None:
        self.resolve, self.own_hosts, self.successors = resolve, own_hosts, successors
        self.found = Converted()
        self.has_home = False

    def _loss(self, text: str) -> None:
        self.found.partial = True
        self._note(text)

    def _note(self, text: str) -> None:
        text = text.replace("\n", " ")
        if text not in self.found.notes:
            self.found.notes.append(text)

    def _lock(self, path: str, reason: str) -> str:
        self.found.closed[path] = reason
        return locked.placeholder(reason)

    # -- entries

    def add(self, raw_key: Any, raw: Any) -> None:
        """Convert one entry."""
        key = self._key(raw_key)
        entry: Any = raw
        if not isinstance(raw, dict) or VAULT in raw or UNSAFE in raw:
            entry, problem = self.resolve(raw)
            if problem:
                if key == "home":
                    self.found.entries[key] = self._lock(f"infra_portal.{key}", problem)
                else:
                    self._loss(f"{key} is not served: {problem}")
                return
        if not isinstance(entry, dict):
            if key == "home" and entry not in (None, ""):
                reason = "expected a dictionary"
                self.found.entries[key] = self._lock(f"infra_portal.{key}", reason)
            self._loss(f"{key} is omitted: it is no dictionary, and Pigsty does not serve it")
            return
        out: dict[str, Any] = {}
        if key == "home":
            self.has_home = self.resolve(entry.get("domain"))[0] not in (None, "") or bool(
                self.resolve(entry.get("domain"))[1]
            )
        for attribute, item in entry.items():
            if not isinstance(attribute, str) or attribute not in _RULES:
                self._note(f"{key}.{attribute} is omitted: it has no effect in Pigsty 4.5")
                continue
            if not self._attribute(key, attribute, item, out):
                return
        whole = self._whole(key, out)
        if whole is not None:
            self.found.entries[key] = whole

    def _key(self, raw: Any) -> str:
        key = str(raw)
        name = re.sub(r"[^A-Za-z0-9._-]", "-", key).lstrip("._-")[:64] or "entry"
        taken = {known.lower() for known in self.found.entries}
        base, number = name[:60], 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        if name != raw:
            self._note(f"the entry {key!r} has the key {name} here")
        return name

    def _attribute(self, key: str, attribute: str, raw: Any, out: dict[str, Any]) -> bool:
        """Convert one attribute; False if the entry cannot be served without it."""
        path = f"infra_portal.{key}.{attribute}"
        value, problem = self._resolved(key, attribute, raw)
        if problem is None:
            if value in (None, "", []):
                if (key, attribute) == ("home", "index"):
                    out[attribute] = False  # only its absence lists files
                return True  # unset in Pigsty
            if attribute in _BOOLS:
                value = values.coerce(value, {"type": "bool"})
            value = self._repaired(key, attribute, value, out)
            if value in (None, "", []):
                return key == "home" or not is_needed(attribute)
            value = values.coerce(value, _RULES[attribute])
            errors = schema.check(path, _with_address(value), _RULES[attribute])
            fault = config_fault(value) if attribute == "config" and not errors else None
            if fault:
                errors = [f"{path}: expected whole nginx directives, {fault}"]
            if not errors:
                out[attribute] = value
                return True
            problem = without_value(errors[0]).removeprefix(f"{path}: ")
        if is_protecting(key, attribute):
            out[attribute] = self._lock(path, problem)
            self._note(f"{key}.{attribute} is locked: {problem}")
            return True
        if key != "home" and is_needed(attribute):
            self._loss(f"{key} is not served: its {attribute}: {problem}")
            return False
        self._loss(f"{key}.{attribute} is omitted: {problem}")
        return True

    def _resolved(self, key: str, attribute: str, raw: Any) -> tuple[Any, str | None]:
        """The value of an attribute; a list of names without those that are not known."""
        if attribute not in ("domains", "endpoint") or not isinstance(raw, list):
            return self.resolve(raw)
        resolved = []
        for index, item in enumerate(raw):
            value, problem = self.resolve(item)
            if problem:
                self._loss(f"{key}.{attribute}[{index}] is omitted: {problem}")
            elif value not in (None, ""):
                resolved.append(value)
        if raw and not resolved:
            return None, "none of its elements is known"
        return resolved, None

    def _repaired(self, key: str, attribute: str, value: Any, out: dict[str, Any]) -> Any:
        """A value in our form, if nginx would take it in Pigsty's."""
        if attribute == "domain":
            return self._domain(key, value, out)
        if attribute == "domains":
            return self._domains(key, value, out)
        if attribute == "endpoint":
            each = value if isinstance(value, list) else [value]
            endpoints = [self._endpoint(key, item, out) for item in each]
            return endpoints if isinstance(value, list) else endpoints[0]
        if attribute in ("path", "cert", "key", "log", "conf", "certbot", "scheme", "realm"):
            value = str(value).strip() if isinstance(value, (str, int)) else value
            if attribute == "path" and isinstance(value, str) and len(value) > 1:
                value = value.rstrip("/") or "/"
            return value.lower() if attribute == "scheme" and isinstance(value, str) else value
        if attribute == "config" and isinstance(value, str):
            self._note_old_ports(key, value)
            return value.replace("\r\n", "\n")
        return value

    def _note_old_ports(self, key: str, config: str) -> None:
        """Say where raw directives lead to a port that another took the place of."""
        for successor in self.successors:
            for port in sorted(successor.old) if successor.any_key else ():
                if re.search(rf":{port}\b", config):
                    self._note(
                        f"{key}.config names the port {port}; its successor is {successor.new}: "
                        "change it by hand"
                    )

    # -- names

    def _domain(self, key: str, value: Any, out: dict[str, Any]) -> Any:
        """The first of the names of a domain; nginx takes several with blanks between."""
        names = self._names(f"{key}.domain", [value])
        if len(names) > 1:
            out["domains"] = [*names[1:], *out.get("domains", [])]
        if not names:
            self._loss(f"{key}.domain is omitted: no name of it can be served")
            if key != "home":
                self._loss(f"{key} is not served: it has no domain")
            return None
        return names[0]

    def _domains(self, key: str, value: Any, out: dict[str, Any]) -> list[str]:
        each = value if isinstance(value, list) else [value]
        return [*out.get("domains", []), *self._names(f"{key}.domains", each)]

    def _names(self, where: str, each: list[Any]) -> list[str]:
        names: list[str] = []
        for item in each:
            for word in re.split(r"[\s,]+", str(item)) if isinstance(item, (str, int)) else ():
                word = word.rstrip(".").lower()
                more = [word[1:], f"*{word}"] if word.startswith(".") else [word]
                for name in filter(None, more):
                    problem = schema.check("", name, _RULES["domain"])
                    if problem:
                        expected = without_value(problem[0]).removeprefix(": ")
                        self._loss(f"{where}: {name!r} is omitted: {expected}")
                    elif name not in names:
                        names.append(name)
        return names

    def share_names(self) -> None:
        """Give each name to the entry that nginx would: the first file in the order of names."""
        owners: dict[str, str] = {}
        for key in sorted(self.found.entries, key=lambda name: f"{name}.conf"):
            entry = self.found.entries[key]
            if not isinstance(entry, dict) or "domain" not in entry:
                continue
            names: list[str] = []
            for name in [entry["domain"], *entry.get("domains", [])]:
                owner = owners.setdefault(name, key)
                if owner != key:
                    self._loss(f"{key} does not have {name}: nginx serves {owner} under it")
                elif name not in names:
                    names.append(name)
            if names:
                entry["domain"] = names[0]
            if names[1:]:
                entry["domains"] = names[1:]
            else:
                entry.pop("domains", None)
            if names:
                continue
            if key == "home":
                del entry["domain"]
            else:
                self._loss(f"{key} is not served: each name of it is another's")
                del self.found.entries[key]
        home = self.found.entries.get("home")
        others = {name for name, key in owners.items() if key != "home"}
        if isinstance(home, dict) and "domain" not in home and HOME_DOMAIN in others:
            home["domain"] = _NO_DOMAIN

    def close_home(self) -> None:
        """Keep the home page closed where Pigsty has none: here there is always one."""
        home = self.found.entries.get("home", {})
        if self.has_home or not isinstance(home, dict) or home.get("auth"):
            return
        names = {
            name
            for entry in self.found.entries.values()
            if isinstance(entry, dict)
            for name in [entry.get("domain"), *entry.get("domains", [])]
        }
        if HOME_DOMAIN in names:
            home = {"domain": _NO_DOMAIN, **home}
        others = {key: entry for key, entry in self.found.entries.items() if key != "home"}
        self.found.entries = {"home": {**home, "auth": True}, **others}
        self.found.closed["infra_portal.home"] = (
            "Pigsty serves no home page with this inventory, and the formula always does; it asks "
            "for a login"
        )

    # -- endpoints

    def _endpoint(self, key: str, value: Any, out: dict[str, Any]) -> Any:
        """An endpoint with its port, 80 where nginx would take that, or that of a successor."""
        if not isinstance(value, str):
            return value
        text = value.strip()
        match = re.fullmatch(r"(https?)://([^/]+)/?", text)
        if match:
            out.setdefault("scheme", match[1])
            text = match[2] if ":" in match[2] else f"{match[2]}:{443 if match[1][4:] else 80}"
        if not text.startswith("unix:") and not re.search(r":[^:\]]*$", text):
            self._note(f"{key}.endpoint has no port; nginx takes 80")
            text += ":80"
        host, _, port = text.rpartition(":")
        if host in self.own_hosts and port in _ENDED and any(s.any_key for s in self.successors):
            self._note(
                f"{key} leads to {_ENDED[port]} of Pigsty 2 and 3, which nothing here takes the "
                "place of: it answers while that runs"
            )
        if host in self.own_hosts:
            for successor in self.successors:
                if port in successor.old and (successor.any_key or key == successor.key):
                    text = f"{host}:{successor.new}"
                    self._note(f"{key} has the endpoint {text}, the successor of port {port}")
                    break
        return text

    # -- entries as a whole

    def _whole(self, key: str, entry: dict[str, Any]) -> dict[str, Any] | None:
        """An entry whose attributes are good, as far as they go together; None: not served."""
        if ("cert" in entry) != ("key" in entry):
            present = "cert" if "cert" in entry else "key"
            del entry[present]
            self._loss(f"{key}.{present} is omitted: cert and key only go together")
        if key == "home":
            return entry
        if "domain" not in entry:
            entry.pop("domains", None)
        elif not set(_NEEDED) & set(entry):
            self._loss(f"{key} is not served: it has no endpoint, path or conf")
            return None
        return entry
