"""The last step of a conversion: what does not pass validation is adjusted, locked or left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from infra_formula.errors import InvalidInput
from infra_formula.minion import Minion
from infra_formula.parameters import locked, validation
from infra_formula.parameters.secrets import without_value
from infra_formula.pigsty import portal, values
from infra_formula.pigsty.sieve import Omissions, notes

EMAIL = "your@email.com"
"""Pigsty's default of ``certbot_email``."""

_PORTS = {"nginx_port": 8080, "nginx_ssl_port": 8443}

Report = Callable[[str | None, str, str, str], None]
"""Is called with the node (None: for all), the parameter, what became of it, and the reason."""


class Pruner:
    """Makes a pillar pass validation.

    parameters, nodes
        The parameters for all, and those of single nodes; they are changed.
    is_set
        Whether the inventory sets a parameter on a node, or on any.
    report
        Reports a change.
    close
        Reports a key path that is closed, and why.
    protects
        Parameters that are locked, and not left out.
    origins
        ``id`` of a list → the list, and the index in the inventory of each of its elements.
    """

    def __init__(
        self,
        minion: Minion,
        parameters: dict[str, Any],
        nodes: dict[str, dict[str, Any]],
        is_set: Callable[[str | None, str], bool],
        report: Report,
        close: Callable[[str, str], None],
        protects: dict[str, str],
        origins: dict[int, tuple[list[Any], list[int]]],
    ) -> None:
        self.minion, self.parameters, self.nodes = minion, parameters, nodes
        self.is_set, self.report, self.close = is_set, report, close
        self.protects, self.origins = protects, origins
        self.omitted: dict[tuple[str | None, str], Omissions] = {}

    def run(self) -> None:
        """Change the parameters until they pass.

        Raises InvalidInput with the errors if that is not possible.
        """
        for _ in range(2000):
            for node in [key for key, values_ in self.nodes.items() if not values_]:
                del self.nodes[node]
            if not self.nodes:
                self.parameters.pop("nodes", None)
            seen = locked.unlocked(self.parameters)
            errors = validation.check(self.minion, seen, all_minions=True)["errors"]
            if not errors:
                self._report_omissions()
                return
            if not self._mend(errors[0]):
                break
        raise InvalidInput(
            "no valid pillar can be made from the inventory:\n"
            + "\n".join(map(without_value, errors))
        )

    def _omit(self, node: str | None, name: str, error: str) -> None:
        path, _, reason = without_value(error).partition(": ")
        self.omitted.setdefault((node, name), []).append((path, reason))

    def _report_omissions(self) -> None:
        for (node, name), omitted in self.omitted.items():
            table = self.parameters if node is None else self.nodes.get(node, {})
            became = "partly" if name in table else "refused"
            self.report(node, name, became, "\n".join(notes(omitted)))

    def _mend(self, error: str) -> bool:
        table, path, node = self.parameters, error, None
        for key in self.nodes:
            prefix = f"nodes[{key!r}]."
            if error.startswith(prefix):
                table, path, node = self.nodes[key], error.removeprefix(prefix), key
        if self._adjust(table, path, node):
            return True
        if node is not None and not any(_is_about(path, name) for name in table):
            # What is for all does not go together with what this node has.
            table, node = self.parameters, None
        return self._cut(table, path, node)

    # -- what only a default contradicts

    def _adjust(self, table: dict[str, Any], path: str, node: str | None) -> bool:
        """Change a parameter that the inventory does not set, or that Pigsty reads otherwise."""

        def seen(name: str, default: Any = None) -> Any:
            return table.get(name, self.parameters.get(name, default))

        def change(name: str, value: Any, reason: str) -> bool:
            if table.get(name) == value:
                return False
            table[name] = value
            self.report(node, name, "adjusted", reason)
            return True

        if path.startswith("vmalert_enabled: expected false"):
            return change("vmalert_enabled", False, "false, because vmetrics_enabled is")
        if path.startswith("vmetrics_scrape_timeout: expected no more than"):
            interval = seen("vmetrics_scrape_interval", "10s")
            reason = f"{interval}, because vmetrics_scrape_interval is no more"
            return change("vmetrics_scrape_timeout", interval, reason)
        if path.startswith("certbot_email: expected"):
            if not seen("certbot_email"):
                reason = f"{EMAIL}, which is Pigsty's default; set an address of yours"
                return change("certbot_email", EMAIL, reason)
            return change("certbot_sign", False, "false, because certbot_email is no address")
        if path.startswith("certbot_sign: expected"):
            reason = f"false, because {path.split('expected ', 1)[1]} is expected"
            return change("certbot_sign", False, reason)
        if path.startswith("nginx_ssl_port: expected another port"):
            name = "nginx_port" if self.is_set(node, "nginx_ssl_port") else "nginx_ssl_port"
            port = _PORTS[name]
            return change(name, port, f"{port}, because the portal's other port is its default")
        if re.match(r"(infra_portal|portal_haproxy_logins)\S*: expected no login", path):
            reason = (
                "true, because an entry has a login and nginx_sslmode is disable: passwords are "
                "sent in the clear, as before; set nginx_sslmode to enable, and leave this out"
            )
            return change("nginx_auth_over_http", True, reason)
        if re.match(r"infra_portal\S*\.auth: expected users in nginx_users", path):
            self.close("nginx_users", "an entry asks for a login, and there are no users")
            return change("nginx_users", {"locked": values.LOCKED}, "nobody can log in")
        return False

    # -- what cannot be

    def _cut(self, table: dict[str, Any], path: str, node: str | None) -> bool:
        """Leave out, or lock, the value that an error is about; False if that is not possible."""
        name = next((n for n in sorted(table, key=len, reverse=True) if _is_about(path, n)), None)
        if name is None or name in ("infra_hosts", "nodes"):
            return False
        reason = without_value(path)
        if name == "infra_portal" and isinstance(table[name], dict):
            return self._cut_entry(table[name], path, node, reason)
        inner = _part_of(table[name], name, path)
        if inner is None or len(table[name]) == 1:
            if name in self.protects:
                table[name] = self._lock(node, name, reason)
                return True
            self._omit(node, name, self._original(table, name, inner, reason))
            del table[name]
        elif isinstance(table[name], dict):
            table[name] = {k: v for k, v in table[name].items() if k != inner}
            self._omit(node, name, reason)
        else:
            _, positions = self.origins.get(id(table[name]), ([], []))
            self._omit(node, name, self._original(table, name, inner, reason))
            table[name] = [v for i, v in enumerate(table[name]) if i != inner]
            positions = [p for i, p in enumerate(positions) if i != inner]
            self.origins[id(table[name])] = (table[name], positions)
        return True

    def _original(self, table: dict[str, Any], name: str, inner: Any, error: str) -> str:
        """An error with the index that an element has in the inventory."""
        value = table.get(name)
        _, positions = self.origins.get(id(value), ([], []))
        if not isinstance(inner, int) or len(positions) != len(value or []):
            return error
        return error.replace(f"{name}[{inner}]", f"{name}[{positions[inner]}]", 1)

    def _lock(self, node: str | None, path: str, reason: str) -> str:
        where = path if node is None else f"nodes[{node!r}].{path}"
        reason = reason.removeprefix(f"{path}: ")
        self.close(where, reason)
        self.report(node, re.split(r"[.\[]", path)[0], "locked", f"locked: {reason}")
        return locked.placeholder(reason)

    def _cut_entry(self, entries: dict[str, Any], path: str, node: str | None, reason: str) -> bool:
        key = _part_of(entries, "infra_portal", path)
        if key is None:
            return False
        entry = entries[key]
        where = "infra_portal" + (f".{key}" if re.fullmatch(r"[\w-]+", key) else f"[{key!r}]")
        attribute = None
        if isinstance(entry, dict):
            forms = rf"\.{re.escape(key)}|\[{re.escape(repr(key))}\]"
            match = re.match(rf"infra_portal(?:{forms})\.(\w+)", path)
            attribute = match[1] if match and match[1] in entry else None
        plain = "expected nginx_sslmode other than disable" in path
        if attribute is not None and not plain and portal.is_protecting(key, attribute):
            entry[attribute] = self._lock(node, f"{where}.{attribute}", reason)
        elif attribute is not None and (key == "home" or not portal.is_needed(attribute)):
            del entry[attribute]
            self._omit(node, "infra_portal", reason)
        elif key == "home":
            entries[key] = self._lock(node, where, reason)
        else:
            del entries[key]
            self._omit(node, "infra_portal", reason)
        return True


def _is_about(path: str, name: str) -> bool:
    return path.startswith(name) and path[len(name) :][:1] in (":", ".", "[")


def _part_of(value: Any, name: str, path: str) -> Any:
    """Key or index of the part of a value that a key path is about; None for the whole."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: len(str(k)), reverse=True)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    for key in keys:
        if _is_about(path, f"{name}[{key!r}]") or _is_about(path, f"{name}.{key}"):
            return key
    return None
