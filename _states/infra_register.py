"""Registration as states: what a minion publishes, and what the INFRA nodes make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.registration import registry
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_TARGETS = "register-targets"


def published(
    name: str,
    data: dict[str, Any],
    dns_names: list[str] | None = None,
    further: dict[str, dict[str, Any]] | None = None,
    towards: list[str] | None = None,
    ca: str | None = None,
) -> dict[str, Any]:
    """This minion publishes what it runs, for the INFRA nodes to scrape, show and name.

    name
        Who says so: ``infra`` is this formula; another formula takes its own name.
    data
        Facts as in docs/fleet.md, e.g. ``{targets: [{job: pgsql, port: 9630}]}``.
    dns_names
        DNS names of this minion's own address; what is no DNS name is left out.
    further
        Facts of others, by name, merged behind; from pillar.
    towards
        Addresses of the INFRA nodes; where data has no ``ip``, the one that leads to them is found.
    ca
        Absolute path of the site's CA certificate, where this minion is to publish it.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        data = dict(data)
        if towards is not None and not data.get("ip"):
            data["ip"] = registry.own_address(towards)
        wanted = [n for n in map(str.lower, dns_names or []) if registry.is_dns_name(n)]
        if wanted:
            data["dns"] = [{"address": data["ip"], "names": wanted}, *data.get("dns", [])]
        if ca is not None and _minion().call("file.file_exists", ca):
            data["ca"] = _minion().call("file.read", ca)
        ours = registry.compose([data, *(further or {}).values()])
        if name == "infra":
            errors = registry.problems(ours)
            if errors:
                return {**ret, "result": False, "comment": "\n".join(errors)}
        before = registry.read_publisher(name)
        if before != ours:
            ret["changes"] = _difference(before or {}, ours)
        elif registry.sent(_minion()) == registry.facts():
            return {**ret, "comment": "the mine holds what this minion runs"}
        else:
            ret["changes"] = {"mine": "filled"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "the mine would be told"}
        registry.write_publisher(name, ours)
        registry.send(_minion())
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": "the mine was told"}


def withdrawn(name: str) -> dict[str, Any]:
    """A publisher of this minion says nothing any more.

    name
        The publisher.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        if registry.read_publisher(name) is None:
            return {**ret, "comment": f"{name} publishes nothing"}
        ret["changes"] = {name: "withdrawn"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{name} would publish nothing"}
        registry.write_publisher(name, None)
        registry.send(_minion())
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{name} publishes nothing"}


def inventory(
    name: str, settings: dict[str, Any], mine: dict[str, Any] | None = None
) -> dict[str, Any]:
    """This INFRA node knows the minions of the site; what is wrong with one is said, and left out.

    name
        Any name for the state.
    settings
        See ``infra_register.accept`` among the execution modules.
    mine
        Takes the place of the mine.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        before = registry.remembered(_minion())
        found = registry.accepted(_minion(), settings, mine)
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    nodes, refused = found["nodes"], found["refused"]
    warnings = [f"{who}: {reason}" for who, reasons in refused.items() for reason in reasons]
    known = {facts["ip"] for facts in nodes.values()}
    warnings += [
        f"infra_hosts[{node['key']!r}]: no minion with the address {node['ip']} is registered"
        for node in settings["nodes"]
        if node["ip"] not in known
    ]
    if warnings:
        ret["warnings"] = [f"refused or missing: {warning}" for warning in warnings]
    told = f"{len(nodes)} machines are registered"
    if refused:
        told += f", {len(refused)} have something refused: {', '.join(sorted(refused))}"
    ret["changes"] = _minions(before, nodes)
    if not ret["changes"]:
        return {**ret, "comment": told}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"the inventory would change; {told}"}
    registry.remember(nodes)
    return {**ret, "comment": told}


def targets(name: str, settings: dict[str, Any], group: str = "infra") -> dict[str, Any]:
    """Every registered exporter is scraped, and none that is gone.

    name
        The directory of which ``targets`` is part, e.g. ``/data/infra``.
    settings
        As for :func:`inventory`.
    group
        Group that may read the files.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        nodes = registry.accepted(_minion(), settings)["nodes"]
        files = registry.target_files(nodes, group)
        plan = FileSet(_TARGETS, name, skip_unmanaged=True).plan(files)
        if plan.unmanaged:
            ret["warnings"] = [
                f"{path}: somebody else's file is kept" for path in plan.unmanaged_paths()
            ]
        files = plan.files
        if not plan.has_changes:
            return {**ret, "comment": f"{len(files)} files are as they should be"}
        ret["changes"] = plan.summary()
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "the targets would change"}
        plan.apply()
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{len(files)} files are as they should be"}


def named(name: str, settings: dict[str, Any], port: int) -> dict[str, Any]:
    """Every registered name is answered by this node's name server, and none that is gone.

    name
        Name of the set of files.
    settings
        As for :func:`inventory`.
    port
        Port of the name server.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        nodes = registry.accepted(_minion(), settings)["nodes"]
        records = registry.records(nodes)
        return __states__["infra_dns.registered"](name=name, records=records, port=port)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a minion publishes anew, key by key; a certificate is not shown."""
    keys = sorted(set(before) | set(after))
    return {
        key: "changed" if key == "ca" else {"old": before.get(key), "new": after.get(key)}
        for key in keys
        if before.get(key) != after.get(key)
    }


def _minions(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    told = {
        "joined": sorted(set(after) - set(before)),
        "left": sorted(set(before) - set(after)),
        "changed": sorted(i for i in set(after) & set(before) if after[i] != before[i]),
    }
    return {
        kind: who if len(who) <= 40 else f"{len(who)} machines" for kind, who in told.items() if who
    }
