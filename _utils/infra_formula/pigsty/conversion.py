"""From a Pigsty inventory, ``pigsty.yml``, to the pillars of this formula, with a report.

Values that all minions may know go to the pillar ``infra``, secrets to the pillar
``infra_secrets``, for INFRA nodes. The report has each variable of the inventory once, and never a
value.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from infra_formula.data import load
from infra_formula.errors import InvalidInput
from infra_formula.minion import Minion
from infra_formula.parameters import locked, schema, validation
from infra_formula.pigsty import inventory as inventories
from infra_formula.pigsty import (
    lines,
    modules,
    portal,
    releases,
    report,
    values,
    variables_files,
)
from infra_formula.pigsty.hosts import Hosts
from infra_formula.pigsty.inventory import Inventory, Variable
from infra_formula.pigsty.pruning import Pruner
from infra_formula.pigsty.sieve import OMIT, Omissions, notes, sieve
from infra_formula.registration import hosts as infra_hosts
from infra_formula.repository.request_rules import UPSTREAM_RULE

SECRETS_FILE = "infra_secrets.sls"
"""Name of the file for the secrets, beside that for the rest."""

_ALL_HOSTS = (
    "node_",
    "nodename",
    "haproxy_",
    "vector_",
    "register",
    "region",
    "proxy_env",
    "admin_ip",
)
"""Prefixes of parameters that every minion reads; INFRA nodes read the others."""
_OF_INFRA = ("infra_portal", "dns_records")
_LOGINS = ("grafana_admin_password", "grafana_view_password", "grafana_pgurl")
_SITE = ("patroni_ssl_enabled", "minio_https", "redis_exporter_port")
"""Variables of clusters that INFRA nodes need to know, with one value for all."""


_UPSTREAMS = {"type": "list", "items": UPSTREAM_RULE}
_SHOWN = 8  # names that are listed in one note


class Conversion(TypedDict, total=False):
    """Result of :func:`convert`.

    pillar
        The pillar ``infra`` as data, if it was not written.
    out, secrets
        Files that were written; ``secrets`` is None if there are none.
    report
        What became of each variable.
    """

    pillar: dict[str, Any]
    out: str
    secrets: str | None
    report: report.Report


def convert(minion: Minion, path: str, out: str | None = None) -> Conversion:
    """Convert a Pigsty inventory to the pillars of this formula.

    path
        The inventory, ``pigsty.yml``.
    out
        File to write the pillar ``infra`` to. If there are secrets, the pillar ``infra_secrets`` is
        written to ``infra_secrets.sls`` beside it. Both have the mode 0600. Without ``out`` the
        pillar ``infra`` is returned, without the secrets: a master stores the result of a job.

    Raises InvalidInput that names the place of what cannot be converted.
    """
    pillar, conversion_report = _from_file(minion, path)
    secrets = pillar.pop("infra_secrets", None)
    if out is None:
        return {"pillar": pillar, "report": conversion_report}
    source = os.path.basename(path)
    secrets_path = str(Path(out).with_name(SECRETS_FILE)) if secrets else None
    if secrets_path is not None:
        if os.path.realpath(secrets_path) == os.path.realpath(out):
            raise InvalidInput(
                f"{out}: expected another name; {SECRETS_FILE} is the file of the secrets"
            )
        _write(secrets_path, report.pillar_file({"infra_secrets": secrets}, source))
    _write(out, report.pillar_file(pillar, source))
    return {"out": out, "secrets": secrets_path, "report": conversion_report}


def describe(minion: Minion, path: str) -> str:
    """Describe what :func:`convert` does with each variable of an inventory."""
    return report.text(_from_file(minion, path)[1])


def from_text(minion: Minion, inventory: str) -> tuple[dict[str, Any], report.Report]:
    """Convert the text of an inventory.

    Returns the pillar, with ``infra`` and, if there are secrets, ``infra_secrets``; and the report.
    """
    work = InventoryConversion(minion, inventories.read(inventory))
    return work.pillar(), work.summary()


def _from_file(minion: Minion, path: str) -> tuple[dict[str, Any], report.Report]:
    """Convert an inventory with the files of variables beside it."""
    work = of_file(minion, path)
    return work.pillar(), work.summary()


def of_file(minion: Minion, path: str) -> InventoryConversion:
    """The conversion of an inventory with the files of variables beside it.

    path
        The inventory.

    Raises InvalidInput that names the place of what cannot be read.
    """
    text = _read(path)
    files, unread = variables_files.read(Path(path).absolute().parent)
    inventory = inventories.read(text, files)
    inventory["unread"] = [*unread, *inventory["unread"]]
    return InventoryConversion(minion, inventory)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as err:
        raise InvalidInput(f"{path}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: expected text in UTF-8") from None


def _write(path: str, content: str) -> None:
    # A new file: an existing one may belong to somebody else, and the content has passwords.
    handle, temporary = tempfile.mkstemp(prefix=".infra-", dir=os.path.dirname(path) or ".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


class InventoryConversion:
    """The conversion of one inventory. Each variable of it gets one row in the report."""

    def __init__(self, minion: Minion, inventory: Inventory) -> None:
        self.minion, self.inventory = minion, inventory
        self.rules: dict[str, Any] = schema.parameters(load("schema"))
        self.table: dict[str, Any] = load("pigsty")
        self.notes: list[str] = list(inventory["notes"])
        self.closed: dict[str, str] = {}
        self.locked: set[str] = set()
        self.rows: dict[int, report.Row] = {}
        self.hosts = Hosts(inventory)
        self.release = releases.recognize(inventory, self._version())
        self.infra, self.no_infra = self.hosts.infra_nodes()
        self.notes += self.hosts.notes
        for host in self.infra:
            self._row(self.hosts.variables[host]["infra_seq"], "taken", "infra_hosts")
        self.parameters: dict[str, Any] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.origins: dict[int, tuple[list[Any], list[int]]] = {}

    # -- parameters

    def pillar(self) -> dict[str, Any]:
        """Both pillars, which pass validation but for placeholders."""
        self._infra_hosts()
        for name in self.rules:
            if name not in ("infra_hosts", "nodes", "register", "register_others"):
                self._parameter(name)
        self._complete()
        self._unread()
        self._registered()
        self._defaults()
        self._close()
        self._prune()
        self._unsigned()
        self._list_placeholders()
        for variable in self.inventory["variables"]:
            if id(variable) not in self.rows:
                self._leftover(variable)
        order = [n for n in self.rules if n in self.parameters]
        infra, secrets = validation.split(self.minion, {n: self.parameters[n] for n in order})
        if not secrets:
            return {"infra": infra}
        names = [name for name in secrets if name != "nodes"]
        for node, overrides in secrets.get("nodes", {}).items():
            names += [f"nodes[{node!r}].{name}" for name in overrides]
        self.notes.append(f"in infra_secrets, for INFRA nodes only: {', '.join(map(str, names))}")
        return {"infra": infra, "infra_secrets": secrets}

    def _version(self) -> Any:
        """The value of `version`: that of the INFRA nodes first."""
        hosts = [*self.hosts.groups.get("infra", []), *self.inventory["hosts"]]
        versions = (self.hosts.value(host, "version")[0] for host in hosts)
        return next((value for value in versions if value), None)

    def _infra_hosts(self) -> None:
        if self.no_infra:
            self.parameters["infra_hosts"] = self._lock("infra_hosts", self.no_infra)
            return
        self.parameters["infra_hosts"] = {
            self.hosts.key(host): {"infra_seq": seq} for host, seq in self.infra.items()
        }
        self.notes += infra_hosts.hosts_warnings(self.parameters)

    def _lock(self, path: str, reason: str) -> str:
        """The placeholder of a value that has to be set by hand, which is reported."""
        self.closed[path] = reason
        self.locked.add(path)
        return locked.placeholder(reason)

    def _row(
        self, variable: Variable, became: str, to: str | None = None, note: str | None = None
    ) -> None:
        """Add a variable to the report, or a note to its row."""
        new: report.Row = {
            "name": variable["name"], "at": variable["at"], "line": variable["line"],
            "file": variable["file"], "became": became, "to": to, "note": note,
        }  # fmt: skip
        row = self.rows.setdefault(id(variable), new)
        if became == "locked":
            row["became"] = became
        if note and note not in (row["note"] or "").split("\n"):
            row["note"] = f"{row['note']}\n{note}" if row["note"] else note

    def _sources(self, name: str) -> list[str]:
        """Variables of Pigsty that become a parameter, the newest name first."""
        return [name, *(o for o, row in self.table["renamed"].items() if row["to"] == name)]

    def _source(self, host: str, name: str) -> Variable | None:
        """The variable of a host that becomes a parameter."""
        without = self.table["without"]
        for source in self._sources(name):
            if source in self.hosts.variables[host] and source not in without:
                return self.hosts.variables[host][source]
        return None

    def _parameter(self, name: str) -> None:
        """Convert one parameter: its value for all, and for the hosts that have another."""
        for_all_hosts = name.startswith(_ALL_HOSTS)
        hosts = self.inventory["hosts"] if for_all_hosts or name in _SITE else list(self.infra)
        sources = {host: self._source(host, name) for host in hosts}
        converted = {}
        for host, variable in sources.items():
            result = None if variable is None else self._adapted(name, variable, host)
            if result is not None:
                converted[host] = result
        if not converted:
            return
        if name in _SITE:
            self._site(name, converted)
            return
        distinct = list(converted.values())
        if len(converted) == len(hosts) and all(each == distinct[0] for each in distinct):
            self.parameters.update(distinct[0])
            return
        # What one host or a part of the hosts has is theirs alone.
        groups = ["all"] if for_all_hosts else ["all", "infra"]
        of_all = [
            result
            for group in groups
            for host, result in converted.items()
            if (variable := sources[host]) is not None
            and (variable["group"], variable["host"]) == (group, None)
        ]
        if of_all:
            self.parameters.update(of_all[0])
        self._others(converted, hosts)

    def _others(self, converted: dict[str, dict[str, Any]], hosts: list[str]) -> None:
        """Set the ``nodes`` of hosts that differ from the value for all."""
        for host in hosts:
            for name, value in converted.get(host, {}).items():
                if name not in self.parameters or self.parameters[name] != value:
                    self.nodes.setdefault(self.hosts.key(host), {})[name] = value

    def _site(self, name: str, converted: dict[str, dict[str, Any]]) -> None:
        """Set a parameter that has one value for all clusters."""
        distinct = [per_host for per_host in converted.values() if name in per_host]
        if any(per_host != distinct[0] for per_host in distinct):
            for host in converted:
                variable = self._source(host, name)
                if variable is not None:
                    self.rows.pop(id(variable), None)
                    self._row(variable, "refused", name, "one value for all clusters is expected")
        elif distinct:
            self.parameters.update(distinct[0])

    def _adapted(self, name: str, variable: Variable, host: str) -> dict[str, Any] | None:
        """Parameters that a variable becomes on a host; None if none, which is reported."""
        if name == "infra_portal":
            return self._portal(variable, host)
        renamed: dict[str, str] = self.table["renamed"].get(variable["name"]) or {}
        value, missing = self._parts(variable["value"], host, name)
        if value is OMIT:
            reason = "; ".join(missing.values())
            return self._without_value(name, variable, _failure(reason), reason)
        if self.rules[name].get("type") == "bool" and not isinstance(value, bool):
            converted = values.coerce(value, self.rules[name])
            if not isinstance(converted, bool):
                self._row(variable, "taken", name, "Pigsty takes this value for false")
                converted = False
            value = converted
        if value is None:
            value = {"list": [], "map": {}}.get(self._kind(name))
        if value is None or (value == "" and self._is_needed(name)):
            if self._is_needed(name):
                return self._without_value(name, variable, "refused", "it is empty")
            if value is None and "unset" not in self.rules[name]:
                self._row(variable, "without", None, "it is empty, so that the default counts")
                return {}
        try:
            adapted, remarks = values.adapt(renamed.get("is", name), name, value)
            if name == "infra_extra_services" and isinstance(adapted.get(name), list):
                adapted[name], more = portal.cards(
                    adapted[name], self._own_hosts(), self._successors(host)
                )
                remarks = [*remarks, *more]
        except values.Protecting as err:
            to = "vmetrics_options" if renamed.get("is") == "prometheus_options" else name
            return self._without_value(to, variable, "refused", str(err))
        omitted: Omissions = []
        out = {}
        for key, part in adapted.items():
            sieved = self._sieved(key, part, missing, omitted)
            if sieved is not OMIT and not (part and sieved in ([], {})):
                out[key] = sieved
        if not out and adapted:
            reasons = [n.removeprefix("omitted: ") for n in notes(omitted)]
            reasons += missing.values()
            return self._without_value(name, variable, "refused", "; ".join(reasons))
        became = "taken" if variable["name"] == name else "renamed"
        if not out:
            became = "without"
        elif missing or omitted or (remarks and name == "nginx_users"):
            became = "partly"
        note = renamed.get("note") if variable["name"] != name else None
        for each in [note, *missing.values(), *remarks, *notes(omitted)]:
            self._row(variable, became, name if out else None, each)
        if name == "nginx_users":
            self.closed |= {
                f"nginx_users.{user}": "nobody can log in with this name: its password is not known"
                for user, password in out.get(name, {}).items()
                if password == values.LOCKED
            }
        return out

    def _kind(self, name: str) -> str:
        rule = self.rules[name]
        kinds = [rule.get("type"), *(choice.get("type") for choice in rule.get("either", []))]
        return next((k for k in kinds if k in ("list", "map")), "")

    def _is_needed(self, name: str) -> bool:
        """Whether an empty value of a parameter would open something."""
        return name.startswith("grafana_admin_")

    def _without_value(
        self, name: str, variable: Variable, became: str, reason: str
    ) -> dict[str, Any] | None:
        """What a variable becomes if nothing can be made of its value."""
        reason = reason.removeprefix(f"{name}: ")
        if name == "nginx_users":
            self._row(variable, became, name, f"nobody can log in: {reason}")
            self.closed[name] = f"nobody can log in: {reason}"
            return {name: {"locked": values.LOCKED}}
        if name in self.table["protects"]:
            note = f"locked, because otherwise {self.table['protects'][name]}: {reason}"
            self._row(variable, "locked", name, note)
            return {name: self._lock(name, reason)}
        self._row(variable, became, name, reason)
        return None

    def _sieved(self, name: str, value: Any, missing: dict[Any, str], omitted: Omissions) -> Any:
        """What of the value of a parameter passes; positions are those of the inventory."""
        rule = _UPSTREAMS if name == "repo_upstream" else self.rules[name]
        choices = [rule, *rule.get("either", [])]
        rule_of_list = next((choice for choice in choices if choice.get("type") == "list"), None)
        if not isinstance(value, list) or rule_of_list is None:
            return sieve(name, value, rule, omitted)
        number = len(value) + len([key for key in missing if isinstance(key, int)])
        positions = [i for i in range(number) if i not in missing]
        if len(positions) != len(value):
            positions = list(range(len(value)))
        faults: list[Any] = []
        if name in lines.PARAMETERS:
            whole = dict.fromkeys(range(number)) | dict(zip(positions, value, strict=True))
            good, more = lines.good_lines(
                ["#" if i in missing else whole[i] for i in range(number)], self._admin_ip(), name
            )
            omitted += more
            value, positions = map(list, zip(*[
                (line, i) for i, line in enumerate(good) if line is not None and i not in missing
            ], strict=True)) if any(
                line is not None and i not in missing for i, line in enumerate(good)
            ) else ([], [])  # fmt: skip
        rest = []
        for position, item in zip(positions, value, strict=True):
            part = sieve(f"{name}[{position}]", item, rule_of_list.get("items", {}), omitted)
            if part is not OMIT:
                faults.append(part)
                rest.append(position)
        self.origins[id(faults)] = (faults, rest)
        return faults

    def _parts(self, raw: Any, host: str, name: str) -> tuple[Any, dict[Any, str]]:
        """A value as far as it can be computed, and by key or index what had to be omitted.

        The value is OMIT if none of it can be.
        """
        marks = {inventories.VAULT, inventories.UNSAFE}
        if not isinstance(raw, (dict, list)) or not raw or marks & set(map(str, raw)):
            value, problem = self.hosts.resolve(raw, host)
            return (OMIT, {"": problem}) if problem else (value, {})
        omitted: dict[Any, str] = {}
        pairs = list(raw.items() if isinstance(raw, dict) else enumerate(raw))
        parts: list[tuple[Any, Any]] = []
        for key, part in pairs:
            value, problem = self.hosts.resolve(part, host)
            if problem is None:
                parts.append((key, value))
            elif name == "nginx_users":
                omitted[key] = f"{key} cannot log in: {problem}"
                parts.append((key, values.LOCKED))
            else:
                where = schema.join(name, key) if isinstance(raw, dict) else f"{name}[{key}]"
                omitted[key] = f"omitted: {where}: {problem}"
        if not parts:
            return OMIT, omitted
        return (dict(parts) if isinstance(raw, dict) else [v for _, v in parts]), omitted

    def _admin_ip(self) -> str:
        address = self.parameters.get("admin_ip")
        first = next(iter(self.infra), "")
        return str(address or (self.hosts.key(first) if first else "10.10.10.10"))

    # -- the portal

    def _portal(self, variable: Variable, host: str) -> dict[str, Any] | None:
        """The portal of an INFRA node."""
        raw = variable["value"]
        marks = {inventories.VAULT, inventories.UNSAFE}
        if not isinstance(raw, dict) or marks & set(map(str, raw)):
            raw, problem = self.hosts.resolve(raw, host)
            if problem:
                return self._without_value("infra_portal", variable, _failure(problem), problem)
            if raw in (None, ""):
                raw = {}
            if not isinstance(raw, dict):
                self._row(variable, "refused", "infra_portal", "expected a dictionary")
                raw = {}
        converted = portal.convert(
            raw,
            lambda value: self.hosts.resolve(value, host),
            self._own_hosts(),
            self._successors(host),
        )
        became = "partly" if converted.partial else "taken"
        if locked.problems(converted.entries):
            became = "locked"
        self._row(variable, became, "infra_portal")
        for note in converted.notes:
            self._row(variable, became, "infra_portal", note)
        self.closed |= converted.closed
        below = {"infra_portal": converted.entries}
        self.locked |= set(locked.placeholders(below))
        return below

    def _own_hosts(self) -> set[str]:
        """Hosts of an endpoint that are INFRA nodes."""
        own = {"${admin_ip}", "127.0.0.1", "localhost", self._admin_ip(), *self.infra}
        own |= {self.hosts.key(host) for host in self.infra}
        usual = releases.defaults(self.release)
        for host in self.infra:
            for name in lines.PARAMETERS:
                value = self.hosts.value(host, name)[0]
                value = usual.get(name) if value is None else value
                for line in value if isinstance(value, list) else ():
                    address, *names = str(line).partition("#")[0].split() or [""]
                    own |= set(names) if address in own else set()
        return own

    def _successors(self, host: str) -> list[portal.Successor]:
        """Programs of an INFRA node that another took the place of since this release."""
        is_old = not releases.has_victoria(self.release)
        known = {name: str(port) for name, port in releases.ports(self.release).items()}
        successors = []
        for key, variable, successor, default, usual in (
            ("prometheus", "prometheus_port", "vmetrics_port", 8428, ("9058", "9090")),
            ("loki", "loki_port", "vlogs_port", 9428, ("3100",)),
            ("alertmanager", "alertmanager_port", "alertmanager_port", 9059, ("9093",)),
        ):
            new = str(self.hosts.value(host, successor)[0] or default)
            named = self.hosts.value(host, variable)[0] if variable else None
            of_release = {str(named or known.get(key))} if is_old else set()
            for ports, any_key in ((of_release, True), (set(usual), False)):
                old = frozenset(ports) - {new}
                # In a release with the successor, only an entry of the old name means it.
                if old and (is_old or "9058" in old or key == "loki"):
                    successors.append(portal.Successor(key, old, new, any_key))
        return successors

    def _complete(self) -> None:
        """Set the defaults of the inventory's release that it leaves out."""
        first = next(iter(self.infra), None)
        for name, value in releases.defaults(self.release).items():
            if name in self.parameters:
                continue
            readers = list(self.infra) if name in _OF_INFRA else self.inventory["hosts"]
            if all(name in self.hosts.variables[host] for host in readers):
                continue
            if name == "infra_portal":
                if first is None:
                    continue
                successors = self._successors(first)
                converted = portal.convert(
                    value, lambda raw: (raw, None), self._own_hosts(), successors
                )
                value = converted.entries
            self.parameters[name] = value
            self.notes.append(
                f"{name} is that of Pigsty {releases.text(self.release)}, because the inventory "
                "does not set it"
            )

    def _unread(self) -> None:
        """Close what an unread file may set."""
        for problem in self.inventory["unread"]:
            self.closed[problem.partition(": ")[0]] = (
                f"not read, and it may set anything: {problem.partition(': ')[2]}"
            )
        if not any(map(self._is_for_infra, self.inventory["unread"])):
            return
        reason = "a file that was not read may set it"
        tables: list[tuple[str | None, dict[str, Any]]] = [(None, self.parameters)]
        for node, table in [*tables, *self.nodes.items()]:
            where = "" if node is None else f"nodes[{node!r}]."
            for name in _LOGINS:
                if name in table or (node is None and name == "grafana_admin_password"):
                    # That of the inventory may be the public one of Pigsty's template.
                    table[name] = self._lock(f"{where}{name}", reason)
                    self._rows_of(name, "locked", reason)
            if table.get("nginx_users"):
                table["nginx_users"] = dict.fromkeys(table["nginx_users"], values.LOCKED)
                self.closed[f"{where}nginx_users"] = f"nobody can log in: {reason}"
                self._rows_of("nginx_users", "partly", f"nobody can log in: {reason}")

    def _rows_of(self, name: str, became: str, note: str) -> None:
        """Report what became of a parameter of INFRA nodes, wherever it is set."""
        for variable in {id(v): v for h in self.infra if (v := self._source(h, name))}.values():
            self.rows.pop(id(variable), None)
            self._row(variable, became, name, note)

    def _is_for_infra(self, problem: str) -> bool:
        """Whether an unread file sets variables of an INFRA node."""
        parts = Path(problem.partition(": ")[0]).parts
        name = parts[1] if len(parts) > 2 else Path(parts[-1]).stem
        members = [name] if parts[0] == "host_vars" else self.hosts.groups.get(name, [])
        return name == "all" or not self.infra or bool(set(members) & set(self.infra))

    def _close(self) -> None:
        """Keep entries with a login closed where nobody is known who may log in."""
        scopes: list[tuple[str | None, dict[str, Any]]] = [
            (None, self.parameters), *self.nodes.items()
        ]  # fmt: skip
        for node, table in scopes:
            entries = table.get("infra_portal", self.parameters.get("infra_portal"))
            users = table.get("nginx_users", self.parameters.get("nginx_users"))
            if users or not isinstance(entries, dict):
                continue
            asking = [
                key for key, entry in entries.items()
                if isinstance(entry, dict) and entry.get("auth") in (True, "basic")
            ]  # fmt: skip
            if asking:
                table["nginx_users"] = {"locked": values.LOCKED}
                path = "nginx_users" if node is None else f"nodes[{node!r}].nginx_users"
                self.closed[path] = (
                    f"nobody can log in to {', '.join(asking)}: the inventory has no users"
                )

    def _registered(self) -> None:
        """Convert what the hosts run for other modules to what they register."""
        names = self.table["registers"]
        hosts: dict[str, dict[str, Any]] = {}
        used: dict[int, Variable] = {}
        for host in self.inventory["hosts"]:
            facts: dict[str, Any] = {
                "patroni_ssl_enabled": self.hosts.value(host, "patroni_ssl_enabled")[0]
            }
            for name in names:
                variable = self.hosts.variables[host].get(name)
                if variable is None:
                    continue
                value, problem = self.hosts.value(host, name)
                used[id(variable)] = variable
                if problem:
                    self._row(variable, _failure(problem), "register", problem)
                else:
                    facts[name] = values.coerce_module_variable(name, value)
            facts = {**releases.modules(self.release), **facts}
            self._identify(host, facts)
            merged = {**self.parameters, **self.nodes.get(self.hosts.key(host), {})}
            facts |= {
                "ip": self.hosts.address(host),
                "host": host,
                "ins": merged.get("nodename") or host,
                "cls": merged.get("node_cluster") or "nodes",
            }
            hosts[host] = facts
        registrations = modules.registrations(hosts)
        for host, value in registrations["register"].items():
            self.nodes.setdefault(self.hosts.key(host), {})["register"] = value
        if registrations["vmetrics_targets"]:
            configured = self.parameters.get("vmetrics_targets", {})
            self.parameters["vmetrics_targets"] = {
                **registrations["vmetrics_targets"],
                **configured,
            }
        for host, problems in registrations["problems"].items():
            for name, problem in problems.items():
                if name in self.hosts.variables[host]:
                    self._row(self.hosts.variables[host][name], "refused", "register", problem)
        for variable in used.values():
            if id(variable) not in self.rows:
                self._row(variable, "registered", "register", names[variable["name"]])
        if self.nodes:
            self.parameters["nodes"] = self.nodes

    def _identify(self, host: str, facts: dict[str, Any]) -> None:
        """Set the name and the cluster that a node of PostgreSQL has from its instance."""
        key = self.hosts.key(host)
        for name, value in modules.identity(facts).items():
            configured = {**self.parameters, **self.nodes.get(key, {})}.get(name)
            if name == "node_cluster" and configured not in (None, "", "nodes"):
                continue
            if configured == value:
                continue
            self.nodes.setdefault(key, {})[name] = value
            variable = self._source(host, name)
            if variable is not None:
                note = "a node of PostgreSQL has the name of its instance, as in Pigsty"
                self._row(variable, "taken", name, note)

    def _defaults(self) -> None:
        """Set Pigsty's defaults that differ from ours, if they matter to a running fleet."""
        for name, row in self.table["defaults"].items():
            if "ours" in row and name not in self.parameters:
                self.parameters[name] = row["ours"]
        addresses = [self.hosts.key(host) for host in self.infra]
        if not addresses:
            return
        if "admin_ip" not in self.parameters and "10.10.10.10" not in addresses:
            self.parameters["admin_ip"] = addresses[0]
            self.notes.append(f"admin_ip is not in the inventory; it is set to {addresses[0]}")
        elif self.parameters.get("admin_ip", "10.10.10.10") not in addresses:
            self.notes.append("admin_ip is the address of no host of the group infra")

    # -- validation

    def _prune(self) -> None:
        """Make the pillar pass validation, and report what that takes."""
        Pruner(
            self.minion,
            self.parameters,
            self.nodes,
            lambda node, name: any(map(self._sources_of(node), self._sources(name))),
            self._pruned,
            self.closed.__setitem__,
            self.table["protects"],
            self.origins,
        ).run()

    def _sources_of(self, node: str | None) -> Any:
        owners = [host for host in self.hosts.variables if node in (None, self.hosts.key(host))]
        return lambda name: any(name in self.hosts.variables[host] for host in owners)

    def _pruned(self, node: str | None, name: str, became: str, reason: str) -> None:
        """Report what became of a parameter in the last step."""
        if became == "adjusted":
            where = name if node is None else f"nodes[{node!r}].{name}"
            self.notes.append(f"{where} is {reason}")
            return
        owners = [host for host in self.hosts.variables if node in (None, self.hosts.key(host))]
        sources = {id(v): v for v in (self._source(owner, name) for owner in owners) if v}
        for variable in sources.values():
            row = self.rows.pop(id(variable), None)
            note = "\n".join(each for each in (row["note"] if row else None, reason) if each)
            self._row(variable, became, name, note)

    def _list_placeholders(self) -> None:
        """List the placeholders by where they are, which may be the ``nodes`` of one host."""
        locked_values = locked.placeholders(self.parameters)
        for path in self.locked - set(locked_values):
            self.closed.pop(path, None)
        for path, value in locked_values.items():
            self.closed.setdefault(path, value.removeprefix(locked.MARK))

    def _unsigned(self) -> None:
        """Report the upstreams that are trusted without a signature."""
        upstreams = self.parameters.get("repo_upstream")
        unsigned = {
            str(entry.get("name"))
            for host in self.infra
            if (variable := self._source(host, "repo_upstream")) is not None
            for entry in (variable["value"] if isinstance(variable["value"], list) else ())
            if isinstance(entry, dict) and values.is_unsigned(entry)
        }
        names = [
            str(entry.get("name"))
            for entry in (upstreams if isinstance(upstreams, list) else ())
            if isinstance(entry, dict) and str(entry.get("name")) in unsigned
        ]
        if not names:
            return
        listed = ", ".join(names[:_SHOWN])
        listed += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        for host in self.infra:
            variable = self._source(host, "repo_upstream")
            if variable is not None:
                note = f"trusted without a signature, as in Pigsty; set the gpgkey of {listed}"
                self._row(variable, "taken", "repo_upstream", note)

    # -- report

    def _leftover(self, variable: Variable) -> None:
        """Report a variable that became nothing."""
        name = variable["name"]
        known = {*self.rules, *self.table["renamed"], *self.table["registers"], "infra_seq"}
        without = self.table["without"]
        is_effective = any(
            self.hosts.variables[host].get(name) is variable for host in self.inventory["hosts"]
        )
        if name in known and name not in without:
            to = name if name in self.rules else None
            newer = self.table["renamed"].get(name, {}).get("to")
            if newer in {v["name"] for v in self.inventory["variables"]}:
                note = f"{newer} is set as well, which is the newer name"
                self._row(variable, "overridden", newer, note)
                return
            self._row(variable, "idle" if is_effective else "overridden", to)
            return
        reason = _reason_without(name, without)
        module = next((m for p, m in self.table["modules"].items() if name.startswith(p)), None)
        if reason:
            self._row(variable, "without", None, reason)
        elif module in ("INFRA", "NODE"):
            self._row(variable, "without", None, "no parameter of this formula has that name")
        elif module:
            self._row(variable, "module", None, module)
        else:
            self._row(variable, "unknown")

    def summary(self) -> report.Report:
        """The report, after :meth:`pillar`."""
        names = {variable["name"] for variable in self.inventory["variables"]}
        return {
            "closed": [{"path": path, "reason": why} for path, why in self.closed.items()],
            "release": f"{releases.text(self.release)}: {self.release['reason']}",
            "variables": [self.rows[id(v)] for v in self.inventory["variables"]],
            "notes": list(dict.fromkeys(self.notes)),
            "defaults": [
                {"name": name, "note": row["note"]}
                for name, row in self.table["defaults"].items()
                if name not in {*names, *releases.defaults(self.release)}
            ],
        }


def _failure(problem: str) -> str:
    """What becomes of a variable whose value cannot be computed."""
    return "encrypted" if "encrypted" in problem else "unresolved"


def _reason_without(name: str, table: dict[str, str]) -> str | None:
    if name in table:
        return table[name]
    return next((w for p, w in table.items() if p[-1] == "*" and name.startswith(p[:-1])), None)
