"""What Pigsty serves with an inventory, beside what the formula serves with the pillar from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra_formula.dns import records
from infra_formula.minion import Minion
from infra_formula.parameters import locked, merging
from infra_formula.parameters.site import Site
from infra_formula.pigsty import conversion, original
from infra_formula.pigsty.served import Served, Web, target
from infra_formula.portal import arguments as portal_arguments
from infra_formula.portal.views import served as served_views
from infra_formula.registration import arguments, facts, generated
from infra_formula.registration import inventory as registered

_PARTS = {
    "metrics": "vmetrics_enabled", "logs": "vlogs_enabled", "traces": "vtraces_enabled",
    "rules": "vmalert_enabled", "alerts": "alertmanager_enabled", "grafana": "grafana_enabled",
    "blackbox": "blackbox_enabled", "portal": "nginx_enabled", "names": "dns_enabled",
    "repository": "repo_enabled",
}  # fmt: skip
_PORTS = {
    "metrics": "vmetrics_port", "logs": "vlogs_port", "traces": "vtraces_port",
    "rules": "vmalert_port", "alerts": "alertmanager_port", "grafana": "grafana_port",
    "blackbox": "blackbox_port",
}  # fmt: skip


def compare(minion: Minion, path: str) -> list[str]:
    """Compare what Pigsty serves with an inventory with what the formula serves.

    path
        The inventory, ``pigsty.yml``.

    Returns one line for each difference, sorted; none if both serve the same.

    Raises InvalidInput as :func:`infra_formula.pigsty.conversion.convert`.
    """
    work = conversion.of_file(minion, path)
    pillar = work.pillar()
    theirs = original.served(work.inventory, work.hosts, work.release)
    ours = of_pillar(minion, pillar, list(work.inventory["hosts"]), work.hosts.key)
    return differences(theirs, ours)


def text(found: Iterable[str]) -> str:
    """The differences for people."""
    lines = list(found)
    if not lines:
        return "Pigsty and the pillar serve the same names, records and targets.\n"
    return "\n".join(
        ["What Pigsty and the pillar do not serve alike", *(f"  {x}" for x in lines), ""]
    )


# -- what the formula serves -----------------------------------------------------------------------


def of_pillar(minion: Minion, pillar: Mapping[str, Any], hosts: list[str], key_of: Any) -> Served:
    """What the formula serves.

    pillar
        ``infra`` and ``infra_secrets``. A locked value counts as not set.
    hosts, key_of
        Hosts of the inventory, and the key in the pillar of each.
    """
    values = merging.with_secrets(pillar["infra"], pillar.get("infra_secrets"))
    is_locked = locked.is_locked(values.get("infra_portal"))
    values = locked.unlocked(values)
    values.setdefault("infra_hosts", {})
    sites = {key_of(host): _site(minion, values, key_of(host), host) for host in hosts}
    infra = [key for key in sites if key in values["infra_hosts"]]
    result: Served = {
        "parts": {key: _parts(sites[key]) for key in infra},
        "names": {key: {} if is_locked else _names(sites[key]) for key in infra},
        "records": {key: {} for key in infra},
        "hosts": {key: _lines(site) for key, site in sites.items()},
        "targets": set(),
    }
    if infra:
        _registered(result, sites, infra)
    return result


def _site(minion: Minion, values: dict[str, Any], key: str, host: str) -> Site:
    grains = {**minion.grains, "id": host, "ipv4": [key], "ipv6": []}
    own = {**merging.defaults(grains), **values, **merging.node_overrides(grains, values)}
    return Site(own, grains)


def _parts(here: Site) -> set[str]:
    return {part for part, switch in _PARTS.items() if here[switch]}


def _names(here: Site) -> dict[str, Web]:
    if not here["nginx_enabled"]:
        return {}
    ports = {str(here[port]): program for program, port in _PORTS.items()}
    own = {"127.0.0.1", "localhost", *here.addresses}
    parsed, _ = records.parse(here["dns_records"], here["admin_ip"])
    own |= {n for r in parsed if r["address"] in here["infra_hosts"] for n in r["names"]}
    own |= {name for name, address in _lines(here) if address in here["infra_hosts"]}
    names: dict[str, Web] = {}
    views = served_views(here["infra_portal"], portal_arguments.portal(here))
    for view in views.values():
        endpoint = view["given"].get("endpoint", "")
        upstream = view["path"].rstrip("/")
        if view["kind"] == "custom":
            upstream = f"template {view['conf']}"
        elif view["kind"] == "proxy":
            host, _, port = str(endpoint).rpartition(":")
            program = ports.get(port) if host in own else None
            upstream = f"{program} of {host}" if program else str(endpoint)
        web: Web = {
            "upstream": upstream,
            "scheme": view["scheme"],
            "websocket": view["kind"] == "proxy" and view["websocket"],
            "login": bool(view["auth"]),
            "https": view["tls"],
            "redirect": view["redirect"],
            "listing": view["kind"] in ("home", "static") and view["index"],
        }
        for name in view["names"]:
            names.setdefault(name, web)
    return names


def _lines(here: Site) -> set[tuple[str, str]]:
    if not here["node_write_etc_hosts"]:
        return set()
    lines = [*(here["node_default_etc_hosts"] or []), *(here["node_etc_hosts"] or [])]
    parsed = [r for line in lines for r in records.parse([line], here["admin_ip"])[0]]
    return {(name, record["address"]) for record in parsed for name in record["names"]}


def _registered(found: Served, sites: dict[str, Site], infra: list[str]) -> None:
    """Add the records and targets of INFRA nodes with which all hosts registered.

    The names of the minions themselves are left out: Pigsty's name server has none.
    """
    here = sites[infra[0]]
    mine = {}
    for key, site in sites.items():
        own = arguments.facts(site)
        own["ip"] = own["ip"] or key
        mine[site.grains["id"]] = facts.compose([own, *site["register"].values()])
    accepted = registered.accept(mine, arguments.registration(here))["nodes"]
    for path, file in generated.target_files(accepted).items():
        job = Path(path).parent.name
        for entry in yaml.safe_load(file["text"]) or []:
            _add_targets(found, job, entry)
    for job, entries in here["vmetrics_targets"].items():
        for entry in entries:
            _add_targets(found, job, entry)
    of_hosts = [r for many in generated.records(accepted).values() for r in many]
    for key in infra:
        parsed, _ = records.parse(sites[key]["dns_records"], sites[key]["admin_ip"])
        for record in [*of_hosts, *parsed]:
            for name in record["names"]:
                found["records"][key].setdefault(name, set()).add(record["address"])


def _add_targets(found: Served, job: str, entry: dict[str, Any]) -> None:
    labels = entry.get("labels", {})
    for address in entry["targets"]:
        names = (str(labels.get("cls")), str(labels.get("ins")))
        found["targets"].add(target(job, *names, str(address)))


# -- differences -----------------------------------------------------------------------------------


def differences(theirs: Served, ours: Served) -> list[str]:
    """One line for each difference, sorted."""
    lines: list[str] = []
    for node in sorted({*theirs["parts"], *ours["parts"]}):
        a, b = theirs["parts"].get(node, set()), ours["parts"].get(node, set())
        lines += [f"part {part} on {node}: {_side(part in a)}" for part in sorted(a ^ b)]
    for node in sorted({*theirs["names"], *ours["names"]}):
        lines += _of_names(node, theirs["names"].get(node, {}), ours["names"].get(node, {}))
    for node in sorted({*theirs["records"], *ours["records"]}):
        one_side = theirs["records"].get(node, {})
        other = ours["records"].get(node, {})
        for name in sorted({*one_side, *other}):
            lines += _of_sets(f"record {name} on {node}", one_side.get(name), other.get(name))
    for host in sorted({*theirs["hosts"], *ours["hosts"]}):
        one, two = theirs["hosts"].get(host, set()), ours["hosts"].get(host, set())
        for name, address in sorted(one ^ two):
            lines.append(f"/etc/hosts of {host}: {address} {name}: {_side((name, address) in one)}")
    for each in sorted(theirs["targets"] ^ ours["targets"]):
        lines.append(f"target {each}: {_side(each in theirs['targets'])}")
    return lines


def _of_names(node: str, theirs: dict[str, Web], ours: dict[str, Web]) -> list[str]:
    lines = []
    for name in sorted({*theirs, *ours}):
        a, b = theirs.get(name), ours.get(name)
        if a is None or b is None:
            lines.append(f"name {name} on {node}: {_side(a is not None)}")
            continue
        for key in Web.__annotations__:
            if a[key] != b[key]:  # type: ignore[literal-required]
                one, two = a[key], b[key]  # type: ignore[literal-required]
                lines.append(f"name {name} on {node}: {key}: {_shown(one)}, here {_shown(two)}")
    return lines


def _of_sets(what: str, theirs: set[str] | None, ours: set[str] | None) -> list[str]:
    if theirs == ours:
        return []
    if not theirs or not ours:
        return [f"{what}: {_side(bool(theirs))}"]
    return [f"{what}: {', '.join(sorted(theirs))}, here {', '.join(sorted(ours))}"]


def _side(is_theirs: bool) -> str:
    return "only in Pigsty" if is_theirs else "only here"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
