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
from infra_formula.parameters import schema, validation
from infra_formula.parameters.secrets import without_value
from infra_formula.pigsty import inventory as inventories
from infra_formula.pigsty import modules, report, values
from infra_formula.pigsty.hosts import Hosts
from infra_formula.pigsty.inventory import Inventory, Variable
from infra_formula.registration import hosts as infra_hosts

SECRETS_FILE = "infra_secrets.sls"
"""Name of the file for the secrets, beside that for the rest."""

LOCKED = "$6$locked$no-password-makes-this"
"""In place of a password that is encrypted in the inventory: a hash of no password."""

_ALL_HOSTS = ("node_", "nodename", "haproxy_", "vector_", "register", "region", "proxy_env")
"""Prefixes of parameters that every minion reads; INFRA nodes read the others."""
_SITE = ("patroni_ssl_enabled", "minio_https", "redis_exporter_port")
"""Variables of clusters that INFRA nodes need to know, with one value for all."""


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
    pillar, found = from_text(minion, _read(path))
    secrets = pillar.pop("infra_secrets", None)
    if out is None:
        return {"pillar": pillar, "report": found}
    source = os.path.basename(path)
    secrets_path = str(Path(out).with_name(SECRETS_FILE)) if secrets else None
    if secrets_path is not None:
        if os.path.realpath(secrets_path) == os.path.realpath(out):
            raise InvalidInput(
                f"{out}: expected another name; {SECRETS_FILE} is the file of the secrets"
            )
        _write(secrets_path, report.pillar_file({"infra_secrets": secrets}, source))
    _write(out, report.pillar_file(pillar, source))
    return {"out": out, "secrets": secrets_path, "report": found}


def describe(minion: Minion, path: str) -> str:
    """Describe what :func:`convert` does with each variable of an inventory."""
    return report.text(from_text(minion, _read(path))[1])


def from_text(minion: Minion, inventory: str) -> tuple[dict[str, Any], report.Report]:
    """Convert the text of an inventory.

    Returns the pillar, with ``infra`` and, if there are secrets, ``infra_secrets``; and the report.
    """
    work = _Conversion(minion, inventories.read(inventory))
    return work.pillar(), work.summary()


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


class _Conversion:
    """The conversion of one inventory. Each variable of it gets one row in the report."""

    def __init__(self, minion: Minion, inventory: Inventory) -> None:
        self.minion, self.inventory = minion, inventory
        self.rules: dict[str, Any] = schema.parameters(load("schema"))
        self.table: dict[str, Any] = load("pigsty")
        self.notes: list[str] = list(inventory["notes"])
        self.rows: dict[int, report.Row] = {}
        self.hosts = Hosts(inventory)
        self.infra = self.hosts.infra_nodes()
        for host in self.infra:
            self._row(self.hosts.variables[host]["infra_seq"], "taken", "infra_hosts")
        self.parameters: dict[str, Any] = {}
        self.nodes: dict[str, dict[str, Any]] = {}

    # -- parameters

    def pillar(self) -> dict[str, Any]:
        """Both pillars, which pass validation."""
        self.parameters["infra_hosts"] = {
            self.hosts.key(host): {"infra_seq": seq} for host, seq in self.infra.items()
        }
        self.notes += infra_hosts.hosts_warnings(self.parameters)
        for name in self.rules:
            if name not in ("infra_hosts", "nodes", "register", "register_others"):
                self._parameter(name)
        self._registered()
        self._defaults()
        self._prune()
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

    def _row(
        self, variable: Variable, became: str, to: str | None = None, note: str | None = None
    ) -> None:
        """Add a variable to the report, or a note to its row."""
        new: report.Row = {
            "name": variable["name"], "at": variable["at"], "line": variable["line"],
            "became": became, "to": to, "note": note,
        }  # fmt: skip
        row = self.rows.setdefault(id(variable), new)
        if note and note not in (row["note"] or ""):
            row["note"] = f"{row['note']}; {note}" if row["note"] else note

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
            found = None if variable is None else self._adapted(name, variable, host)
            if found is not None:
                converted[host] = found
        if not converted:
            return
        if name in _SITE:
            self._site(name, converted)
        elif not for_all_hosts:
            first = next(iter(self.infra))
            self.parameters.update(converted.get(first, {}))
            self._others(converted, [host for host in hosts if host != first])
        else:
            distinct = list(converted.values())
            of_all = [
                found
                for host, found in converted.items()
                if (variable := sources[host]) is not None and variable["group"] == "all"
            ]
            if of_all:
                self.parameters.update(of_all[0])
            elif len(converted) == len(hosts) and all(each == distinct[0] for each in distinct):
                self.parameters.update(distinct[0])
            self._others(converted, hosts)

    def _others(self, converted: dict[str, dict[str, Any]], hosts: list[str]) -> None:
        """Set the ``nodes`` of hosts that differ from the value for all."""
        for host in hosts:
            for name, value in converted.get(host, {}).items():
                if name not in self.parameters or self.parameters[name] != value:
                    self.nodes.setdefault(self.hosts.key(host), {})[name] = value

    def _site(self, name: str, converted: dict[str, dict[str, Any]]) -> None:
        """Set a parameter that has one value for all clusters."""
        distinct = [found for found in converted.values() if name in found]
        if any(found != distinct[0] for found in distinct):
            for host in converted:
                variable = self._source(host, name)
                if variable is not None:
                    self.rows.pop(id(variable), None)
                    self._row(variable, "refused", name, "one value for all clusters is expected")
        elif distinct:
            self.parameters.update(distinct[0])

    def _adapted(self, name: str, variable: Variable, host: str) -> dict[str, Any] | None:
        """Parameters that a variable becomes on a host; None if none, which is reported."""
        renamed: dict[str, str] = self.table["renamed"].get(variable["name"]) or {}
        value, omitted = self._parts(variable["value"], host, name)
        if value is None and variable["value"] is not None:
            self._row(variable, _failure("; ".join(omitted)), name, "; ".join(omitted))
            return None
        found, notes = values.adapt(renamed.get("is", name), name, value)
        out = {}
        for key, part in found.items():
            part = values.coerce(part, self.rules[key])
            errors = schema.check(key, part, self.rules[key])
            if errors:
                self._row(variable, "refused", name, without_value(errors[0]))
            else:
                out[key] = part
        if not out and found:
            return None
        became = "taken" if variable["name"] == name else "renamed"
        if not out:
            became = "without"
        elif omitted:
            became = "partly"
        note = renamed.get("note") if variable["name"] != name else None
        for each in [note, *omitted, *notes]:
            self._row(variable, became, name if out else None, each)
        return out

    def _parts(self, raw: Any, host: str, name: str) -> tuple[Any, list[str]]:
        """A value as far as it can be computed, and what had to be omitted."""
        marks = {inventories.VAULT, inventories.UNSAFE}
        if not isinstance(raw, (dict, list)) or not raw or marks & set(map(str, raw)):
            value, problem = self.hosts.resolve(raw, host)
            if problem and name == "nginx_users":
                return {"locked": LOCKED}, [f"nobody can log in: {problem}"]
            return value, [problem] if problem else []
        omitted = []
        pairs = list(raw.items() if isinstance(raw, dict) else enumerate(raw))
        parts: list[tuple[Any, Any]] = []
        for key, part in pairs:
            value, problem = self.hosts.resolve(part, host)
            if problem is None:
                parts.append((key, value))
            elif name == "nginx_users":
                omitted.append(f"{key} cannot log in: {problem}")
                parts.append((key, LOCKED))
            else:
                where = key if isinstance(raw, dict) else f"[{key}]"
                omitted.append(f"{where} is omitted: {problem}")
        if not parts:
            return None, omitted
        return (dict(parts) if isinstance(raw, dict) else [v for _, v in parts]), omitted

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
            for key, value in modules.identity(facts).items():
                if key not in {**self.parameters, **self.nodes.get(self.hosts.key(host), {})}:
                    self.nodes.setdefault(self.hosts.key(host), {})[key] = value
            merged = {**self.parameters, **self.nodes.get(self.hosts.key(host), {})}
            facts |= {
                "ip": self.hosts.address(host),
                "ins": merged.get("nodename") or host,
                "cls": merged.get("node_cluster") or "nodes",
            }
            hosts[host] = facts
        found = modules.registrations(hosts)
        for host, value in found["register"].items():
            self.nodes.setdefault(self.hosts.key(host), {})["register"] = value
        if found["vmetrics_targets"]:
            configured = self.parameters.get("vmetrics_targets", {})
            self.parameters["vmetrics_targets"] = {**found["vmetrics_targets"], **configured}
        for variable in used.values():
            self._row(variable, "registered", "register", names[variable["name"]])
        if self.nodes:
            self.parameters["nodes"] = self.nodes

    def _defaults(self) -> None:
        """Set Pigsty's defaults that differ from ours, if they matter to a running fleet."""
        for name, row in self.table["defaults"].items():
            if "ours" in row and name not in self.parameters:
                self.parameters[name] = row["ours"]
        addresses = [self.hosts.key(host) for host in self.infra]
        if "admin_ip" not in self.parameters and "10.10.10.10" not in addresses:
            self.parameters["admin_ip"] = addresses[0]
            self.notes.append(f"admin_ip is not in the inventory; it is set to {addresses[0]}")
        elif self.parameters.get("admin_ip", "10.10.10.10") not in addresses:
            self.notes.append("admin_ip is the address of no host of the group infra")

    # -- validation

    def _prune(self) -> None:
        """Remove from the pillar what does not pass validation, and report it."""
        for _ in range(1000):
            if not self.parameters.get("nodes", True):
                del self.parameters["nodes"]
            errors = validation.check(self.minion, self.parameters, all_minions=True)["errors"]
            if not errors:
                return
            if not self._cut(errors[0]):
                break
        raise InvalidInput(
            "no valid pillar can be made from the inventory:\n"
            + "\n".join(map(without_value, errors))
        )

    def _cut(self, error: str) -> bool:
        """Remove the value that an error is about; False if that is not possible."""
        table, path, host = self.parameters, error, None
        for key in self.nodes:
            prefix = f"nodes[{key!r}]."
            if error.startswith(prefix):
                table, path, host = self.nodes[key], error.removeprefix(prefix), key
        name = next((n for n in sorted(table, key=len, reverse=True) if _is_about(path, n)), None)
        if name is None or name in ("infra_hosts", "nodes"):
            return False
        inner = _part_of(table[name], name, path)
        if inner is None or len(table[name]) == 1:
            del table[name]
        elif isinstance(table[name], dict):
            table[name] = {k: v for k, v in table[name].items() if k != inner}
        else:
            table[name] = [v for i, v in enumerate(table[name]) if i != inner]
        if host is not None and not table:
            del self.nodes[host]
        owners = [o for o in self.inventory["hosts"] if host in (None, self.hosts.key(o))]
        sources = {id(v): v for v in (self._source(owner, name) for owner in owners) if v}
        for variable in sources.values():
            row = self.rows.pop(id(variable), None)
            notes = (row["note"] if row else None, f"omitted: {without_value(error)}")
            note = "; ".join(each for each in notes if each)
            self._row(variable, "partly" if name in table else "refused", name, note)
        return True

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
            "variables": [self.rows[id(v)] for v in self.inventory["variables"]],
            "notes": self.notes,
            "defaults": [
                {"name": name, "note": row["note"]}
                for name, row in self.table["defaults"].items()
                if name not in names
            ],
        }


def _failure(problem: str) -> str:
    """What becomes of a variable whose value cannot be computed."""
    return "encrypted" if "encrypted" in problem else "unresolved"


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


def _reason_without(name: str, table: dict[str, str]) -> str | None:
    if name in table:
        return table[name]
    return next((w for p, w in table.items() if p[-1] == "*" and name.startswith(p[:-1])), None)
