"""Plans of the states of registration."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from infra_formula.dns import dnsmasq
from infra_formula.errors import InvalidInput
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.registration import canonical, facts, generated, inventory
from infra_formula.registration.facts import Facts
from infra_formula.state import Plan

_LIST_LIMIT = 40
_REASONS = 5  # of one minion that a warning names


def publish(
    minion: Minion,
    publisher: str,
    data: Facts,
    dns_names: list[str],
    further: dict[str, Facts],
    infra_nodes: list[str] | None,
    ca: str | None,
) -> Plan:
    """Plan the facts of a publisher of this minion (see ``infra_register.published``)."""
    data = dict(data)
    if infra_nodes is not None and not data.get("ip"):
        data["ip"] = facts.address_towards(infra_nodes)
    names = [name for name in map(str.lower, dns_names) if canonical.is_dns_name(name)]
    if names:
        data["dns"] = [{"address": data["ip"], "names": names}, *data.get("dns", [])]
    if ca is not None and Path(ca).is_file():
        data["ca"] = Path(ca).read_text(encoding="utf-8")
    after = facts.compose([data, *further.values()])
    errors = facts.problems(after) if publisher == "infra" else []
    if errors:
        raise InvalidInput("\n".join(errors))
    before = facts.read_publisher(publisher)
    changes: dict[str, Any] = {}
    if before != after:
        changes = _difference(before or {}, after)
    elif facts.sent(minion) != facts.current():
        changes = {"mine": "filled"}
    return Plan(
        changes=changes,
        comment="The mine holds this minion's facts.",
        would="This minion's facts would be published to the mine.",
        apply=partial(_publish, minion, publisher, after),
    )


def withdraw(minion: Minion, publisher: str) -> Plan:
    """Plan the removal of the facts of a publisher (see ``infra_register.withdrawn``)."""
    present = facts.read_publisher(publisher) is not None
    return Plan(
        changes={publisher: "withdrawn"} if present else {},
        comment=f"{publisher} publishes no facts.",
        would=f"The facts of {publisher} would be withdrawn from the mine.",
        apply=partial(_publish, minion, publisher, None),
    )


def _publish(minion: Minion, publisher: str, data: Facts | None) -> str | None:
    facts.write_publisher(publisher, data)
    facts.send(minion)
    return None if data is None else "Published this minion's facts to the mine."


def _difference(before: Facts, after: Facts) -> dict[str, Any]:
    """Changed facts, key by key; a certificate is not shown."""
    return {
        key: "changed" if key == "ca" else {"old": before.get(key), "new": after.get(key)}
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    }


def accept(minion: Minion, settings: dict[str, Any]) -> Plan:
    """Plan the inventory of an INFRA node (see ``infra_register.inventory``)."""
    before = inventory.recorded(minion)
    decision = inventory.decide(minion, settings)
    nodes, refused = decision["nodes"], decision["refused"]
    addresses = {node["ip"] for node in nodes.values()}
    warnings = [
        f"refused: {who}: {_first(refused[who], _REASONS, '; ')}"
        for who in list(refused)[:_LIST_LIMIT]
    ]
    if len(refused) > _LIST_LIMIT:
        warnings.append(f"refused: {len(refused) - _LIST_LIMIT} more minions")
    warnings += [
        f"missing: infra_hosts[{node['key']!r}]: no minion with the address {node['ip']} is "
        "registered"
        for node in settings["nodes"]
        if (canonical.host_address(node["ip"]) or node["ip"]) not in addresses
    ]
    comment = f"{len(nodes)} machines are registered."
    if refused:
        comment += f" Facts of {len(refused)} are refused: {_first(sorted(refused))}."
    kinds = {
        "joined": sorted(set(nodes) - set(before)),
        "left": sorted(set(before) - set(nodes)),
        "changed": sorted(i for i in set(nodes) & set(before) if nodes[i] != before[i]),
    }
    changes: dict[str, Any] = {
        kind: who if len(who) <= _LIST_LIMIT else f"{len(who)} machines"
        for kind, who in kinds.items()
        if who
    }
    return Plan(
        changes=changes,
        comment=comment,
        would=f"The inventory would change. {comment}",
        apply=partial(inventory.record, nodes, settings["others"]),
        warnings=warnings,
    )


def _first(items: list[str], limit: int = _LIST_LIMIT, separator: str = ", ") -> str:
    """The first of some items, and how many there are besides."""
    more = [f"{len(items) - limit} more"] if len(items) > limit else []
    return separator.join([*items[:limit], *more])


def targets(minion: Minion, root: str, settings: dict[str, Any], group: str) -> Plan:
    """Plan the scrape targets of the inventory (see ``infra_register.targets``)."""
    nodes = inventory.decide(minion, settings)["nodes"]
    files = generated.target_files(nodes, group)
    plan = FileSet("register-targets", root, skip_unmanaged=True).plan(files)
    count = len(plan.files)
    return Plan(
        changes={**plan.summary()},
        comment=f"The scrape targets are up to date: {count} files.",
        would=f"The scrape targets would change: {count} files.",
        apply=plan.apply,
        warnings=[
            f"{path}: an unmanaged file is left untouched" for path in plan.unmanaged_paths()
        ],
    )


def names(minion: Minion, file_set: str, settings: dict[str, Any], port: int) -> Plan:
    """Plan the DNS records of the inventory (see ``infra_register.named``)."""
    records = generated.records(inventory.decide(minion, settings)["nodes"])
    return dnsmasq.plan_registered_records(minion, file_set, records, port)
