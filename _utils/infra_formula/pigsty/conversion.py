"""From a Pigsty inventory, ``pigsty.yml``, to the pillars of this formula, with a report.

What all minions may know is the pillar ``infra``; what is secret is the pillar ``infra_secrets``,
for INFRA nodes alone. The report has every variable of the inventory exactly once, under what
became of it, and never a value: what is secret in the inventory is in that second pillar, and
nowhere else."""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import salt.utils.yaml
import yaml

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion
from infra_formula.parameters import schema as parameters_schema
from infra_formula.parameters import validation
from infra_formula.pigsty import inventory as pigsty_inventory
from infra_formula.pigsty import modules
from infra_formula.portal import entries as portal_entries

KINDS = {
    "refused": "To be mended by hand: what this formula does not take",
    "unresolved": "To be set by hand: what only Ansible can tell",
    "encrypted": "To be set by hand: what is encrypted",
    "partly": "Taken in part; what was left out has to be set by hand",
    "taken": "Taken as it is",
    "renamed": "Taken under another name",
    "registered": "Made into scrape targets and names",
    "overridden": "Without effect: something that counts more sets it, too",
    "idle": "Without effect: only INFRA nodes read it, and none of them is given it",
    "without": "Without an equivalent",
    "module": "Of another module of Pigsty",
    "unknown": "Of nobody: no variable of Pigsty, as far as is known here",
}
"""What may become of a variable, in the order in which the report tells it."""

SECRETS = "infra_secrets.sls"
"""Name of the file for the secrets, beside that for the rest."""

LOCKED = "$6$locked$no-password-makes-this"
"""Stands for a password that is encrypted in the inventory: a hash that no password has."""

_HEAD = """\
#!yaml
# From {source}, by infra_pigsty.convert. {about}
"""
_ABOUT = {
    "infra": "For all minions; its secrets are in infra_secrets.",
    "infra_secrets": "Passwords of the inventory: assign it to INFRA nodes only.",
}
_TRUE, _FALSE = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f")
_EVERYWHERE = ("node_", "nodename", "haproxy_", "vector_", "register")
_SITE = ("patroni_ssl_enabled", "minio_https", "redis_exporter_port")
# Ports of what became another program in Pigsty 4.0 → those of its successor.
_SUCCESSORS = {"9058": "8428", "3100": "9428"}
_RETENTION = {
    "vmetrics_options": {"-retentionPeriod": "vmetrics_retention"},
    "vlogs_options": {
        "-retentionPeriod": "vlogs_retention",
        "-retention.maxDiskSpaceUsageBytes": "vlogs_max_disk",
    },
    "vtraces_options": {
        "-retentionPeriod": "vtraces_retention",
        "-retention.maxDiskSpaceUsageBytes": "vtraces_max_disk",
    },
}


def convert(minion: Minion, path: str, out: str | None = None) -> dict[str, Any]:
    """Turn a Pigsty inventory into the pillars of this formula.

    path
        The inventory, ``pigsty.yml``.
    out
        File to write the pillar ``infra`` to. Where there are secrets, the pillar ``infra_secrets``
        is written to ``infra_secrets.sls`` beside it. Both have the mode 0600. Without it the
        pillar ``infra`` is in the answer, and the secrets are not: a master keeps the answer.

    Returns ``pillar`` (data), or ``out`` and ``secrets`` (the files that were written; ``secrets``
    is None where there are none), and ``report``: ``variables`` (``name``, ``at``, ``line``,
    ``became`` (see ``KINDS``), ``to``, ``note``), ``notes`` and ``defaults``.

    Raises SaltInvocationError that names the place of what no pillar can be made from.
    """
    pillar, told = _converted(minion, path)
    secrets = pillar.pop("infra_secrets", None)
    if out is None:
        return {"pillar": pillar, "report": told}
    source = os.path.basename(path)
    beside = str(Path(out).with_name(SECRETS)) if secrets else None
    if beside and os.path.realpath(beside) == os.path.realpath(out):
        raise InvalidInput(f"{out}: expected another name; {SECRETS} is for the secrets")
    if beside:
        _write(beside, document({"infra_secrets": secrets}, source))
    _write(out, document(pillar, source))
    return {"out": out, "secrets": beside, "report": told}


def report(minion: Minion, path: str) -> str:
    """What :func:`convert` does with an inventory, for people to read.

    path
        The inventory.
    """
    return text(_converted(minion, path)[1])


def _converted(minion: Minion, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        inventory = Path(path).read_text(encoding="utf-8")
    except OSError as err:
        raise InvalidInput(f"{path}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: expected text in UTF-8") from None
    return from_text(minion, inventory)


def from_text(minion: Minion, inventory: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pillar and the report of an inventory that is at hand as text.

    inventory
        Its YAML.

    Returns the pillar, with ``infra`` and, where there are secrets, ``infra_secrets``; and the
    report, as :func:`convert` does.
    """
    schema = parameters_schema.parameters(_served(minion, "schema.yaml"))
    work = _Conversion(
        minion, pigsty_inventory.read(inventory), schema, _served(minion, "pigsty.yaml")
    )
    return work.pillar(), work.report()


def _served(minion: Minion, name: str) -> dict[str, Any]:
    found = minion.call("cp.get_file_str", f"salt://infra/{name}")
    if not found:
        raise CommandFailed(f"salt://infra/{name} is not served")
    return salt.utils.yaml.safe_load(found)


def _write(path: str, content: str) -> None:
    # A new file, in place of what somebody else may have put there to read along: it has passwords.
    handle, beside = tempfile.mkstemp(prefix=".infra-", dir=os.path.dirname(path) or ".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.replace(beside, path)
    except OSError:
        os.unlink(beside)
        raise


# -- the pillar ------------------------------------------------------------------------------------


class _Conversion:
    """One inventory on its way; every variable of it gets one row in the report."""

    def __init__(
        self,
        minion: Minion,
        inventory: dict[str, Any],
        schema: dict[str, Any],
        table: dict[str, Any],
    ) -> None:
        self.minion = minion
        self.inventory, self.schema, self.table = inventory, schema, table
        self.notes: list[str] = list(inventory["notes"])
        self.rows: dict[int, dict[str, Any]] = {}
        self.given = pigsty_inventory.effective(inventory)
        self.groups = {
            name: pigsty_inventory.members(inventory, name) for name in inventory["groups"]
        }
        self.told: dict[tuple[str, str], tuple[Any, str | None]] = {}
        self.infra = self._infra_nodes()
        self.parameters: dict[str, Any] = {}
        self.nodes: dict[str, dict[str, Any]] = {}

    # What a host is given.

    def value(self, host: str, name: str) -> tuple[Any, str | None]:
        """A variable as a host has it, rendered; why not, if it cannot be told."""
        key = (host, name)
        if key not in self.told:
            variable = self.given[host].get(name)
            raw = None if variable is None else variable["value"]
            self.told[key] = self._resolve(raw, host)
        return self.told[key]

    def _resolve(self, raw: Any, host: str) -> tuple[Any, str | None]:
        return pigsty_inventory.resolve(raw, host, self.given[host], self.groups)

    def address(self, host: str) -> str | None:
        """The address of a host: its name, as in every Pigsty, or ``ansible_host``."""
        for candidate in (host, self.value(host, "ansible_host")[0]):
            if _is_ip(candidate):
                return str(candidate)
        return None

    def key(self, host: str) -> str:
        """What a host is called in the pillar: its address, or what is taken for a minion id."""
        return self.address(host) or host

    def _infra_nodes(self) -> dict[str, int]:
        """Host → infra_seq, the lowest first; all that is wrong with them at once."""
        if "infra" not in self.groups:
            raise InvalidInput("the inventory has no group infra: who is to serve?")
        if not self.groups["infra"]:
            raise InvalidInput("infra.hosts: expected a host at least")
        found: dict[str, int] = {}
        errors = []
        for host in self.groups["infra"]:
            where = f"infra.hosts[{host!r}]"
            seq, fault = self.value(host, "infra_seq")
            variable = self.given[host].get("infra_seq")
            if variable is None:
                errors.append(f"{where}.infra_seq: missing; each INFRA node has its number")
                continue
            place = f"line {variable['line']}: {where}.infra_seq"
            number = int(seq) if re.fullmatch("[0-9]{1,9}", str(seq)) else None
            if fault or number is None:
                errors.append(f"{place}: expected a number of at least 0" + _because(fault))
            elif number in found.values():
                twin = next(h for h, n in found.items() if n == number)
                errors.append(f"{place}: {number} is the number of {twin}, too")
            else:
                found[host] = number
            if self.address(host) is None:
                errors.append(
                    f"{where}: expected an address, or ansible_host with one beside its name"
                )
        if errors:
            raise InvalidInput("\n".join(errors))
        for host in found:
            self._row(self.given[host]["infra_seq"], "taken", "infra_hosts")
        return dict(sorted(found.items(), key=lambda item: item[1]))

    # What becomes of it.

    def pillar(self) -> dict[str, Any]:
        """Both pillars, valid by ``infra_pillar``."""
        self.parameters["infra_hosts"] = {
            self.key(host): {"infra_seq": seq} for host, seq in self.infra.items()
        }
        for name in self.schema:
            if name not in ("infra_hosts", "nodes", "register", "register_others"):
                self._parameter(name)
        self._registered()
        self._defaults()
        self._prune()
        for variable in self.inventory["variables"]:
            if id(variable) not in self.rows:
                self._leftover(variable)
        order = [n for n in self.schema if n in self.parameters]
        infra, secrets = validation.split(self.minion, {n: self.parameters[n] for n in order})
        if not secrets:
            return {"infra": infra}
        names = [name for name in secrets if name != "nodes"]
        for node, values in secrets.get("nodes", {}).items():
            names += [f"nodes[{node!r}].{name}" for name in values]
        self.notes.append(
            f"in infra_secrets, which only INFRA nodes may have: {', '.join(map(str, names))}"
        )
        return {"infra": infra, "infra_secrets": secrets}

    def _row(
        self, variable: dict[str, Any], became: str, to: str | None = None, note: str | None = None
    ) -> None:
        row = self.rows.setdefault(
            id(variable),
            {**{k: variable[k] for k in ("name", "at", "line")}, "became": became, "to": to,
             "note": note},
        )  # fmt: skip
        if note and note not in (row["note"] or ""):
            row["note"] = f"{row['note']}; {note}" if row["note"] else note

    def _sources(self, name: str) -> list[str]:
        """Variables of the inventory that a parameter is made from, the newest name first."""
        return [name, *(o for o, row in self.table["renamed"].items() if row["to"] == name)]

    def _source(self, host: str, name: str) -> dict[str, Any] | None:
        without = self.table["without"]
        for source in self._sources(name):
            if source in self.given[host] and source not in without:
                return self.given[host][source]
        return None

    def _parameter(self, name: str) -> None:
        """One parameter: its value for all, and for the hosts that have another."""
        everywhere = name.startswith(_EVERYWHERE) or name in ("region", "proxy_env")
        hosts = self.inventory["hosts"] if everywhere or name in _SITE else list(self.infra)
        values = {}
        for host in hosts:
            variable = self._source(host, name)
            if variable is not None:
                found = self._adapted(name, variable, host)
                if found is not None:
                    values[host] = found
        if not values:
            return
        if name in _SITE:
            self._site(name, values)
        elif not everywhere:
            first = next(iter(self.infra))
            if first in values:
                self.parameters.update(values[first])
            self._others(values, [host for host in hosts if host != first])
        else:
            kinds = list(values.values())
            of_all = [
                v for h, v in values.items() if (self._source(h, name) or {})["group"] == "all"
            ]
            if of_all:
                self.parameters.update(of_all[0])
            elif len(values) == len(hosts) and all(found == kinds[0] for found in kinds):
                self.parameters.update(kinds[0])
            self._others(values, hosts)

    def _others(self, values: dict[str, dict[str, Any]], hosts: list[str]) -> None:
        for host in hosts:
            for name, value in values.get(host, {}).items():
                if name not in self.parameters or self.parameters[name] != value:
                    self.nodes.setdefault(self.key(host), {})[name] = value

    def _site(self, name: str, values: dict[str, dict[str, Any]]) -> None:
        """What a Pigsty says of a cluster, and an INFRA node has to know of them all."""
        kinds = [found for found in values.values() if name in found]
        if any(found != kinds[0] for found in kinds):
            for host in values:
                variable = self._source(host, name)
                if variable is not None:
                    self.rows.pop(id(variable), None)
                    self._row(variable, "refused", name, "one value for all clusters is expected")
        elif kinds:
            self.parameters.update(kinds[0])

    def _adapted(self, name: str, variable: dict[str, Any], host: str) -> dict[str, Any] | None:
        """Parameters that a variable becomes on a host; None, with its row, where it does not."""
        renamed = variable["name"] != name
        became = "renamed" if renamed else "taken"
        value, lost = self._parts(variable["value"], host, name)
        if value is None and variable["value"] is not None:
            kind = "encrypted" if any("encrypted" in why for why in lost) else "unresolved"
            self._row(variable, kind, name, "; ".join(lost))
            return None
        how = (self.table["renamed"].get(variable["name"]) or {}).get("is", name)
        found, notes = _ADAPT.get(how, _as_it_is)(value, name)
        out = {}
        for key, one in found.items():
            one = _coerced(one, self.schema[key])
            errors = parameters_schema.check(key, one, self.schema[key])
            if errors:
                self._row(variable, "refused", name, _without_values(errors[0]))
            else:
                out[key] = one
        if not out and found:
            return None
        if not out:
            became = "without"
        elif lost:
            became = "partly"
        note = (self.table["renamed"].get(variable["name"]) or {}).get("note") if renamed else None
        for told in [note, *lost, *notes]:
            self._row(variable, became, name if out else None, told)
        return out

    def _parts(self, raw: Any, host: str, name: str) -> tuple[Any, list[str]]:
        """A value as far as it can be told; what had to be left out of it."""
        if not isinstance(raw, (dict, list)) or not raw or set(map(str, raw)) & {
            "__ansible_vault", "__ansible_unsafe"
        }:  # fmt: skip
            value, fault = self._resolve(raw, host)
            if fault and name == "nginx_users":
                return {"locked": LOCKED}, [f"nobody can log in: {fault}"]
            return value, [fault] if fault else []
        lost = []
        pairs = list(raw.items() if isinstance(raw, dict) else enumerate(raw))
        kept: list[tuple[Any, Any]] = []
        for key, part in pairs:
            value, fault = self._resolve(part, host)
            if fault is None:
                kept.append((key, value))
                continue
            lost.append(f"{key if isinstance(raw, dict) else f'[{key}]'} is left out: {fault}")
            if name == "nginx_users":
                lost[-1] = f"{key} cannot log in: {fault}"
                kept.append((key, LOCKED))
        if not kept:
            return None, lost
        return (dict(kept) if isinstance(raw, dict) else [v for _, v in kept]), lost

    def _registered(self) -> None:
        """What the hosts run for other modules, as they publish it."""
        names = self.table["registers"]
        hosts: dict[str, dict[str, Any]] = {}
        used: dict[int, dict[str, Any]] = {}
        for host in self.inventory["hosts"]:
            own: dict[str, Any] = {
                "patroni_ssl_enabled": self.value(host, "patroni_ssl_enabled")[0]
            }
            for name in names:
                variable = self.given[host].get(name)
                if variable is None:
                    continue
                value, fault = self.value(host, name)
                used[id(variable)] = variable
                if fault:
                    kind = "encrypted" if "encrypted" in fault else "unresolved"
                    self._row(variable, kind, "register", fault)
                else:
                    own[name] = _coerced(value, _HINTS.get(name.rpartition("_")[2], {}))
            for key, value in modules.identity(own).items():
                if key not in {**self.parameters, **self.nodes.get(self.key(host), {})}:
                    self.nodes.setdefault(self.key(host), {})[key] = value
            known = {**self.parameters, **self.nodes.get(self.key(host), {})}
            own |= {
                "ip": self.address(host),
                "ins": known.get("nodename") or host,
                "cls": known.get("node_cluster") or "nodes",
            }
            hosts[host] = own
        found = modules.registrations(hosts)
        for host, value in found["register"].items():
            self.nodes.setdefault(self.key(host), {})["register"] = value
        if found["vmetrics_targets"]:
            own = self.parameters.get("vmetrics_targets", {})
            self.parameters["vmetrics_targets"] = {**found["vmetrics_targets"], **own}
        for variable in used.values():
            self._row(variable, "registered", "register", names[variable["name"]])
        if self.nodes:
            self.parameters["nodes"] = self.nodes

    def _defaults(self) -> None:
        """Defaults of Pigsty that are not ours, where they matter to a fleet that runs."""
        for name, row in self.table["defaults"].items():
            if "ours" in row and name not in self.parameters:
                self.parameters[name] = row["ours"]
        addresses = [self.key(host) for host in self.infra]
        if "admin_ip" not in self.parameters and "10.10.10.10" not in addresses:
            self.parameters["admin_ip"] = addresses[0]
            self.notes.append(f"admin_ip is not in the inventory; it is {addresses[0]} now")
        elif self.parameters.get("admin_ip", "10.10.10.10") not in addresses:
            self.notes.append("admin_ip is the address of no host of the group infra")

    # What is wrong beyond the type of each value.

    def _prune(self) -> None:
        for _ in range(1000):
            if not self.parameters.get("nodes", True):
                del self.parameters["nodes"]
            errors = validation.check(self.minion, self.parameters, all_minions=True)["errors"]
            if not errors:
                return
            if not self._cut(errors[0]):
                break
        raise InvalidInput(
            "the inventory asks for what cannot be:\n" + "\n".join(map(_without_values, errors))
        )

    def _cut(self, error: str) -> bool:
        """Take what an error is about out of the pillar, and say so in the report."""
        told = _without_values(error)
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
        owners = [o for o in self.inventory["hosts"] if host in (None, self.key(o))]
        sources = {id(v): v for v in (self._source(owner, name) for owner in owners) if v}
        for variable in sources.values():
            row = self.rows.pop(id(variable), {})
            note = "; ".join(n for n in (row.get("note"), f"left out: {told}") if n)
            self._row(variable, "partly" if name in table else "refused", name, note)
        return True

    # What is left over.

    def _leftover(self, variable: dict[str, Any]) -> None:
        name = variable["name"]
        known = {*self.schema, *self.table["renamed"], *self.table["registers"], "infra_seq"}
        without = self.table["without"]
        counts = any(self.given[host].get(name) is variable for host in self.inventory["hosts"])
        if name in known and name not in without:
            to = name if name in self.schema else None
            self._row(variable, "idle" if counts else "overridden", to)
            return
        why = _why_without(name, without)
        module = next((m for p, m in self.table["modules"].items() if name.startswith(p)), None)
        if why:
            self._row(variable, "without", None, why)
        elif module in ("INFRA", "NODE"):
            self._row(variable, "without", None, "no parameter of this formula has that name")
        elif module:
            self._row(variable, "module", None, module)
        else:
            self._row(variable, "unknown")

    def report(self) -> dict[str, Any]:
        """The report, after :meth:`pillar`."""
        set_ = {variable["name"] for variable in self.inventory["variables"]}
        return {
            "variables": [self.rows[id(v)] for v in self.inventory["variables"]],
            "notes": self.notes,
            "defaults": [
                {"name": name, "note": row["note"]}
                for name, row in self.table["defaults"].items()
                if name not in set_
            ],
        }


def _because(fault: str | None) -> str:
    return f" ({fault})" if fault else ""


def _is_ip(value: Any) -> bool:
    try:
        return isinstance(value, str) and ipaddress.ip_address(value).version == 4
    except ValueError:
        return False


def _without_values(error: str) -> str:
    """A message without the value that it quotes, which may be a secret."""
    return re.sub(r", got .*", "", error, flags=re.DOTALL)


def _is_about(path: str, name: str) -> bool:
    return path.startswith(name) and path[len(name) :][:1] in (":", ".", "[")


def _part_of(value: Any, name: str, path: str) -> Any:
    """Key or index of the part of a value that a key path leads into; None for the whole."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: len(str(k)), reverse=True)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    for key in keys:
        if _is_about(path, f"{name}[{key!r}]") or _is_about(path, f"{name}.{key}"):
            return key
    return None


def _why_without(name: str, table: dict[str, str]) -> str | None:
    if name in table:
        return table[name]
    return next((w for p, w in table.items() if p[-1] == "*" and name.startswith(p[:-1])), None)


# -- values ----------------------------------------------------------------------------------------

_HINTS = {
    "enabled": {"type": "bool"},
    "seq": {"type": "int"},
    "node": {"type": "int"},
    "pg": {"type": "bool"},
}
"""How the last word of a module's variable says what it is."""


def _coerced(value: Any, rule: dict[str, Any]) -> Any:
    """A value in the type that a rule expects, as Ansible would take it: `"80"`, `yes`, 15."""
    for choice in rule.get("either", []):
        converted = _coerced(value, choice)
        if not parameters_schema.check("", converted, choice):
            return converted
    kind = rule.get("type")
    if isinstance(value, list) and kind == "list":
        return [_coerced(item, rule.get("items", {})) for item in value]
    if isinstance(value, dict) and kind == "map":
        keys = rule.get("keys")
        return {
            key: _coerced(item, (keys or {}).get(key, {}) if keys else rule.get("items", {}))
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
        and not isinstance(value, bool)
    ):
        return str(value)
    return value


def _as_it_is(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    return {name: value}, []


def _words(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """A list of which each element may hold several names, with commas or blanks between."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return {name: value}, []
    return {name: [w for item in items for w in re.split(r"[,\s]+", item) if w]}, []


def _options(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """Flags of a Victoria: those that are parameters here become them."""
    if not isinstance(value, str):
        return {name: value}, []
    try:
        flags = shlex.split(value)
    except ValueError:
        return {name: value}, []
    out: dict[str, Any] = {}
    rest = []
    for flag in flags:
        key, equals, text = flag.replace("--", "-", 1).partition("=")
        to = _RETENTION[name].get(key) if equals else None
        if to and (to.endswith("_max_disk") or re.fullmatch(r"[0-9]+[hdwy]", text)):
            out[to] = text
        elif key == "-retentionPeriod" and re.fullmatch("[0-9]+", text):
            out[_RETENTION[name][key]] = f"{int(text) * 31}d"  # without a unit these are months
        elif key != "-promscrape.fileSDCheckInterval":
            rest.append(flag)
    notes = [f"flags of it became {', '.join(out)}"] if out else []
    disk = _RETENTION[name].get("-retention.maxDiskSpaceUsageBytes")
    if disk and disk not in out:
        # In Pigsty the whole string is replaced, and with it the limit.
        out[disk] = ""
        notes.append(f"{disk} is without a limit, as there")
    return {name: " ".join(shlex.quote(flag) for flag in rest), **out}, notes


def _prometheus_options(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    match = re.search(r"--storage\.tsdb\.retention\.time=([0-9]+[hdwy])(?![\w.])", str(value))
    return ({name: match[1]}, []) if match else ({}, ["no retention is among them"])


def _version(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """Not of a Pigsty whose offline packages have another form."""
    if re.match(r"v[0-3]\.", str(value)):
        return {}, ["what is served is of version 4"]
    return {name: value}, []


def _firewall(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    known = _coerced(value, {"type": "bool"})
    if isinstance(known, bool):
        return {name: "off" if known else "none"}, []
    return {name: value}, []


def _upstream(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """Upstreams of Pigsty are trusted whatever they send; here that has to be said."""
    if not isinstance(value, list):
        return {name: value}, []
    out, unsigned = [], []
    for entry in value:
        if isinstance(entry, dict) and not set(entry) & {"gpgkey", "signed_by", "trusted"}:
            entry = {**entry, "trusted": True}
            unsigned.append(str(entry.get("name")))
        out.append(entry)
    told = "taken without a signature, as in Pigsty; better to name the gpgkey of "
    return {name: out}, [told + ", ".join(unsigned)] if unsigned else []


_PORTAL_BOOLS = ("websocket", "index", "auth", "enforce_https", "proxy_ssl_verify")
_PORTAL_GONE = ("expose", "stream", "schema")


def _portal(value: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """Entries of the portal: attributes that are none are told, ports of v3 are followed."""
    if not isinstance(value, dict):
        return {name: value}, []
    known = portal_attributes()
    out: dict[str, Any] = {}
    notes = []
    for key, entry in value.items():
        if not isinstance(entry, dict):
            out[key] = entry
            continue
        kept: dict[str, Any] = {}
        for attribute, item in entry.items():
            if attribute not in known:
                notes.append(f"{key}.{attribute} is left out: it has no effect in Pigsty 4.5")
                continue
            if attribute in _PORTAL_BOOLS:
                item = _coerced(item, {"type": "bool"})
            if attribute == "endpoint" and isinstance(item, str):
                host, _, port = item.rpartition(":")
                if host in ("${admin_ip}", "127.0.0.1", "localhost") and port in _SUCCESSORS:
                    item = f"{host}:{_SUCCESSORS[port]}"
                    notes.append(f"{key} leads to {item}, what came after port {port}")
            kept[attribute] = item
        out[key] = kept
    return {name: out}, notes


def portal_attributes() -> list[str]:
    """Names of the attributes that an entry of ``infra_portal`` may have."""
    return list(portal_entries.ENTRY)


_ADAPT = {
    "vmetrics_options": _options,
    "vlogs_options": _options,
    "vtraces_options": _options,
    "prometheus_options": _prometheus_options,
    "node_disable_firewall": _firewall,
    "version": _version,
    "node_packages": _words,
    "node_default_packages": _words,
    "repo_upstream": _upstream,
    "infra_portal": _portal,
}
"""Parameters, and ways of reading a renamed one, that are more than a value."""


# -- texts -----------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """YAML that people read on: several lines as such, lists below their key, no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _str(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value.strip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _str)


def document(pillar: dict[str, Any], source: str = "an inventory") -> str:
    """The pillar as a file for ``pillar_roots``; Jinja is off, so that braces in it are braces.

    pillar
        ``infra`` or ``infra_secrets`` of what :func:`from_text` returned.
    source
        What it was made from, for the comment on top.
    """
    body = yaml.dump(
        pillar, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True,
        width=100,
    )  # fmt: skip
    name = re.sub(r"[^\w. -]", "?", source)
    about = " ".join(_ABOUT[key] for key in pillar)
    return _HEAD.format(source=name, about=about) + body


def text(told: dict[str, Any]) -> str:
    """A report for people to read.

    told
        ``report`` of :func:`convert`.
    """
    lines = []
    for kind, title in KINDS.items():
        rows = [row for row in told["variables"] if row["became"] == kind]
        if not rows:
            continue
        lines += [f"{title} ({len(rows)})"]
        merged: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            what = f"{row['name']} -> {row['to']}" if kind == "renamed" else row["name"]
            merged.setdefault((what, row["note"] or ""), []).append(row)
        for (what, note), places in merged.items():
            where = ", ".join(str(row["line"]) for row in places[:8])
            where += f" and {len(places) - 8} more" if len(places) > 8 else ""
            head = f"  {what} (line {where})" if len(places) == 1 else f"  {what} (lines {where})"
            lines.append(f"{head}: {note}" if note else head)
        lines.append("")
    for title, items in (
        ("To be known", told["notes"]),
        (
            "Not in the inventory, and other than Pigsty's default",
            [f"{row['name']}: {row['note']}" for row in told["defaults"]],
        ),
    ):
        if items:
            lines += [title, *(f"  {item}" for item in items), ""]
    return "\n".join(_one_line(line) for line in lines)


def _one_line(line: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "?", line)
