"""The inventory of an INFRA node: the minions that are registered here.

It is made of the facts in the Salt mine. Each fact is accepted or refused by itself: a malformed
one, or a claim to what belongs to another minion, is refused and reported; the rest counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from infra_formula import paths, redaction
from infra_formula.dns import records as dns_records
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.minion import Minion
from infra_formula.pki import certificates
from infra_formula.registration import canonical, domains, facts, hosts
from infra_formula.registration.facts import Facts

log = redaction.logger(__name__)

PATH = Path("/var/lib/infra/register.json")
_RUN = "infra_register.run"
_PUBLISHERS = "authorities.json"
_RESERVED_IDS = ("default", "master")  # names of files in /etc/hosts.d
_SERVICES = ("portal", "dns", "repo")  # instances of probes, beside those of components
_DNS_KINDS = ("name", "name6")
Claim = tuple[str, str]
"""What one minion alone can have: its kind, and its value in the canonical form."""


class Decision(TypedDict):
    """Which facts of the mine are accepted.

    ``nodes``: minion id → facts, normalized. ``refused``: minion id → reasons; the other facts of
    that minion are accepted.
    """

    nodes: dict[str, Facts]
    refused: dict[str, list[str]]


def accept(
    mine: dict[str, Any], settings: dict[str, Any], before: dict[str, Facts] | None = None
) -> Decision:
    """Decide which facts of the mine are accepted.

    mine
        Minion id → facts. The master vouches for the id; everything else is data from an untrusted
        minion.
    settings
        What registration/arguments.py makes: ``nodes`` (the INFRA nodes, each ``key``, ``ip``
        and ``seq``), ``own_id`` and ``own_addresses`` (of this machine), ``components`` (names),
        ``portal_names``, ``reserved`` (name → its owner), ``dns_records``, ``admin_ip``, ``jobs``
        (further ones that are scraped), ``domains`` and ``networks`` (where names and addresses may
        lie), ``cluster`` (that of minions with no other; None: unknown), ``assigned`` (``nodes`` of
        the pillar: what differs on single minions) and ``others`` (facts of machines that are not
        minions).
    before
        The inventory of the last run: its claims come before new ones.

    Each claim to an address, an instance or a name has one owner, whatever the order of the ids:
    the minion of that id; a machine of the pillar; who the pillar gives it to; who had it in the
    last run; the only one that claims it. If several new minions claim the same, none has it.
    """
    external = {str(k): facts.external_host(k, v) for k, v in settings["others"].items()}
    rules = _Rules(settings, before or {}, [*mine, *external])
    refused: dict[str, list[str]] = {}
    candidates: dict[str, Facts] = {}
    for minion_id, value in sorted({**mine, **external}.items(), key=lambda item: str(item[0])):
        published = _unwrap(value)
        errors = _id_problems(minion_id) or facts.problems(published)
        if not errors:
            candidate = _normalize(published)
            error = rules.identity_problem(minion_id, candidate, minion_id in external)
            errors = [error] if error else []
        if errors:
            refused[_shown(minion_id)] = errors
            continue
        candidates[minion_id] = candidate
        reasons = rules.drop_invalid(minion_id, candidate, minion_id in external)
        if reasons:
            refused[minion_id] = reasons
    owners = _owners(candidates, set(external), before or {}, rules)
    nodes: dict[str, Facts] = {}
    for minion_id, candidate in candidates.items():
        reason = _identity_taken(minion_id, candidate, owners)
        if reason:
            refused[minion_id] = [reason]
            continue
        nodes[minion_id] = candidate
        reasons = _drop_taken(minion_id, candidate, owners)
        if reasons:
            refused.setdefault(minion_id, []).extend(reasons)
    return {"nodes": nodes, "refused": dict(sorted(refused.items()))}


def _unwrap(value: Any) -> Any:
    """Facts without the dictionary that Salt may wrap around them in the mine."""
    return value["__data__"] if isinstance(value, dict) and "__data__" in value else value


def _id_problems(minion_id: Any) -> list[str]:
    if not canonical.is_name(minion_id):
        return ["expected a minion id of letters, digits, dots, hyphens and underscores"]
    if canonical.name(minion_id) in _RESERVED_IDS:
        return [f"a minion cannot be registered under the id {minion_id!r}"]
    return []


def _normalize(published: Facts) -> Facts:
    """Facts with addresses in their canonical form, and no other keys than the inventory has."""
    return {
        "ip": str(canonical.host_address(published["ip"])),
        "ins": published["ins"],
        "cls": published["cls"],
        "infra_seq": published.get("infra_seq"),
        "haproxy": published.get("haproxy"),
        "targets": list(published.get("targets", [])),
        "dns": [
            {"address": str(canonical.host_address(r["address"])), "names": list(r["names"])}
            for r in published.get("dns", [])
        ],
    }


def _shown(minion_id: Any) -> str:
    return (ascii(minion_id)[1:-1] if isinstance(minion_id, str) else ascii(minion_id))[:100]


def _address_key(node: dict[str, Any]) -> str | None:
    """The address that the key of an INFRA node is; None if it is a minion id."""
    return canonical.host_address(node["key"])


class _Rules:
    """What one minion's facts have to be, whatever others publish."""

    def __init__(
        self, settings: dict[str, Any], before: dict[str, Facts], ids: Iterable[Any]
    ) -> None:
        self.before = before
        self.namesakes: dict[str, list[str]] = {}
        for minion_id in sorted({i for i in ids if not _id_problems(i)}):
            self.namesakes.setdefault(canonical.name(minion_id), []).append(minion_id)
        served, _faults = dns_records.parse(settings["dns_records"], settings["admin_ip"])
        self.reserved = {name: "dns_records" for record in served for name in record["names"]}
        self.reserved |= {canonical.name(str(n)): str(o) for n, o in settings["reserved"].items()}
        self.wildcards = {n[1:]: o for n, o in self.reserved.items() if n.startswith("*.")}
        self.jobs = {*facts.JOBS, *settings["jobs"]}
        self.domains = settings["domains"]
        if self.domains is None:
            self.domains = domains.site_domains(settings["portal_names"])
        self.networks = canonical.networks(settings["networks"])
        self.nodes = [
            {**node, "ip": canonical.host_address(node["ip"]) or node["ip"]}
            for node in settings["nodes"]
        ]
        self.by_ip = {node["ip"]: node for node in self.nodes}
        self.by_key = {node["key"]: node for node in self.nodes}
        self.own_id = settings["own_id"]
        self.own_addresses = {canonical.host_address(a) for a in settings["own_addresses"]}
        components = (*settings["components"], *_SERVICES)
        self.component_instances = {
            f"{component}-{node['seq']}" for component in components for node in self.nodes
        }
        self.assigned = {
            canonical.host_address(key) or key: _Assigned(values)
            for key, values in settings["assigned"].items()
            if isinstance(values, dict)
        }
        self.members: dict[str, set[str]] = {}
        for key, assigned in self.assigned.items() if settings["cluster"] is not None else ():
            for cluster in assigned.clusters - {settings["cluster"]}:
                self.members.setdefault(cluster, set()).add(key)

    def identity_problem(self, minion_id: str, candidate: Facts, external: bool) -> str | None:
        """Why a minion is not accepted at all; None if it may be."""
        ip, sequence = candidate["ip"], candidate["infra_seq"]
        node = self.by_ip.get(ip)
        if node is not None and minion_id != node["key"] and ip != _address_key(node):
            return f"ip: {ip!r} is that of the INFRA node {node['key']}"
        if minion_id in self.by_key and self.by_key[minion_id]["ip"] != ip:
            return f"ip: expected {self.by_key[minion_id]['ip']}, as in infra_hosts, got {ip}"
        if sequence is not None and (node is None or node["seq"] != sequence):
            return f"infra_seq: {minion_id} at {ip} is no INFRA node of that number in infra_hosts"
        if external:
            return None
        if node is None and ip in self.own_addresses and minion_id != self.own_id:
            return f"ip: {ip!r} is an address of this INFRA node"
        if node is None and not self._is_of_the_site(minion_id, ip, ip):
            return f"ip: {ip!r} is in no network of the site (register_networks)"
        if not self._may_claim_instance(minion_id, ip, candidate["ins"]):
            return f"ins: {candidate['ins']!r} is that of a component of an INFRA node"
        if not self._may_join(minion_id, ip, candidate["cls"]):
            return f"cls: {candidate['cls']!r} is assigned to others (nodes)"
        return None

    def drop_invalid(self, minion_id: str, candidate: Facts, external: bool) -> list[str]:
        """Drop targets and records that a minion may not have; returns the reasons."""
        reasons = []
        targets = []
        for target in candidate["targets"]:
            fault = self._target_problem(minion_id, candidate["ip"], target, external)
            if fault:
                reasons.append(fault)
            else:
                targets.append(target)
        records = []
        for record in candidate["dns"]:
            fault = None if external else self._record_problem(minion_id, candidate["ip"], record)
            if fault:
                reasons.append(fault)
                continue
            names = []
            for name in record["names"]:
                fault = self._name_problem(minion_id, candidate["ip"], name, external)
                if fault:
                    reasons.append(f"dns: {name!r} {fault}")
                else:
                    names.append(name)
            if names:
                records.append({"address": record["address"], "names": names})
        candidate["targets"], candidate["dns"] = targets, records
        return reasons

    def _target_problem(
        self, minion_id: str, ip: str, target: dict[str, Any], external: bool
    ) -> str | None:
        if target["job"] not in self.jobs:
            return f"target of the job {target['job']!r}, which is not scraped here"
        instance, cluster = target.get("ins"), target.get("cls")
        if external:
            return None
        if instance is not None and not self._may_claim_instance(minion_id, ip, instance):
            return f"targets: ins: {instance!r} is that of a component of an INFRA node"
        if cluster is not None and not self._may_join(minion_id, ip, cluster):
            return f"targets: cls: {cluster!r} is assigned to others (nodes)"
        return None

    def _record_problem(self, minion_id: str, ip: str, record: dict[str, Any]) -> str | None:
        address = record["address"]
        node = self.by_ip.get(address)
        if node is not None and address != ip:
            return f"dns: {address!r} is the address of the INFRA node {node['key']}"
        if node is None and not self._is_of_the_site(minion_id, ip, address):
            return f"dns: {address!r} is in no network of the site (register_networks)"
        return None

    def _name_problem(self, minion_id: str, ip: str, name: str, external: bool) -> str | None:
        owner = self.reserved.get(name)
        if owner is None and self.wildcards:
            owner = next((o for suffix, o in self.wildcards.items() if name.endswith(suffix)), None)
        if owner is not None:
            return f"is that of {owner}"
        same = self.namesakes.get(name, [])
        if same and minion_id not in same:
            return f"is the name of the minion {same[0]}"
        if external:
            return None
        assigned = {name for assignment in self._given(minion_id, ip) for name in assignment.names}
        return domains.problem(name, minion_id, assigned, self.domains)

    def _given(self, minion_id: str, ip: str) -> list[_Assigned]:
        return [self.assigned[key] for key in (minion_id, ip) if key in self.assigned]

    def _is_of_the_site(self, minion_id: str, ip: str, text: str) -> bool:
        if any(text in assignment.addresses for assignment in self._given(minion_id, ip)):
            return True
        parsed = canonical.address(text)
        return parsed is not None and canonical.is_in(parsed, self.networks)

    def _may_claim_instance(self, minion_id: str, ip: str, instance: str) -> bool:
        key = canonical.name(instance)
        return (
            key not in self.component_instances
            or key == canonical.name(minion_id)
            or any(key in assignment.instances for assignment in self._given(minion_id, ip))
        )

    def _may_join(self, minion_id: str, ip: str, cluster: str) -> bool:
        members = self.members.get(cluster)
        return (
            members is None
            or bool(members & {minion_id, ip})
            or cluster in _clusters(self.before.get(minion_id, {}))
        )

    def claims_assigned(self, minion_id: str) -> set[Claim]:
        """What the pillar gives to the minion of this id."""
        assignment = self.assigned.get(minion_id)
        if assignment is None:
            return set()
        claims = {("ip", address) for address in assignment.own_addresses}
        claims |= {("ins", instance) for instance in assignment.instances}
        return claims | {(kind, name) for kind in _DNS_KINDS for name in assignment.names}


class _Assigned:
    """What the pillar says of one minion (its entry in ``nodes``); wrong types are left out."""

    def __init__(self, values: dict[str, Any]) -> None:
        publishers = [p for p in _mapping(values.get("register")).values() if isinstance(p, dict)]
        targets = [t for p in publishers for t in _list(p.get("targets")) if isinstance(t, dict)]
        records = [r for p in publishers for r in _list(p.get("dns")) if isinstance(r, dict)]
        nodename = [values["nodename"]] if isinstance(values.get("nodename"), str) else []
        own = [canonical.host_address(values.get("node_ip"))]
        listed = [name for r in records for name in _list(r.get("names"))]
        instances = [
            *nodename,
            *(t.get("ins") for t in targets),
            *(p.get("ins") for p in publishers),
        ]
        clusters = [values.get("node_cluster"), *(t.get("cls") for t in targets)]
        self.own_addresses = {a for a in own if a is not None}
        self.addresses = {canonical.host_address(r.get("address")) for r in records} | set(own)
        self.names = {canonical.name(n) for n in [*nodename, *listed] if isinstance(n, str)}
        self.instances = {canonical.name(i) for i in instances if isinstance(i, str)}
        self.clusters = {c for c in clusters if isinstance(c, str)}


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _clusters(candidate: Facts) -> set[str]:
    targets = candidate.get("targets", [])
    return {c for c in [candidate.get("cls"), *(t.get("cls") for t in targets)] if c is not None}


# -- claims --------------------------------------------------------------------------------------


def _claims(candidate: Facts) -> dict[Claim, str]:
    """What a minion claims for itself alone → the address of the record, for a name."""
    claims = {("ip", canonical.host_address(candidate["ip"]) or candidate["ip"]): ""}
    for instance in (candidate["ins"], *(t.get("ins") for t in candidate["targets"])):
        if instance is not None:
            claims["ins", canonical.name(instance)] = ""
    for record in candidate["dns"]:
        for name in record["names"]:
            claims.setdefault((_dns_kind(record["address"]), name), record["address"])
    return claims


def _dns_kind(address: str) -> str:
    return _DNS_KINDS[":" in address]


def _owners(
    candidates: dict[str, Facts],
    external: set[str],
    before: dict[str, Facts],
    rules: _Rules,
) -> dict[Claim, list[str]]:
    """Claim → its owner; or all who claim it, if nobody owns it."""
    by_claim: dict[Claim, dict[str, str]] = {}
    for minion_id, candidate in candidates.items():
        for claim, address in _claims(candidate).items():
            by_claim.setdefault(claim, {})[minion_id] = address
    recorded = {i: set(_claims(before[i])) for i in candidates if i in before}
    assigned = {i: rules.claims_assigned(i) for i in candidates}
    owners: dict[Claim, list[str]] = {}
    for claim, addresses in by_claim.items():
        kind, value = claim
        same = rules.namesakes.get(value, []) if kind != "ip" else []
        # Of ids that differ only by case, each has the same right to the name.
        claimants = [i for i in addresses if not same or i in same]
        tiers = (
            same if len(same) == 1 else [],
            [i for i in claimants if i in external],
            [i for i in claimants if claim in assigned[i]],
            [i for i in claimants if claim in recorded.get(i, ())],
        )
        first = next((tier[0] for tier in tiers if tier), None)
        if first is None and kind in _DNS_KINDS and claimants and len(set(addresses.values())) == 1:
            # Members of a cluster may each register its name.
            first = min(claimants)
        owners[claim] = (claimants or sorted(same)) if first is None else [first]
    return owners


def _identity_taken(minion_id: str, candidate: Facts, owners: dict[Claim, list[str]]) -> str | None:
    """Why a minion cannot have the address or the instance that it claims; None if it can."""
    for key, value in (("ip", candidate["ip"]), ("ins", canonical.name(candidate["ins"]))):
        owner = owners[key, value]
        if owner == [minion_id]:
            continue
        if len(owner) > 1:
            others = ", ".join(o for o in owner if o != minion_id)
            return f"{key}: {candidate[key]!r} is claimed by {_shortened(others)} too"
        hint = "; delete the key of the one that is gone" if key == "ip" else ""
        return f"{key}: {candidate[key]!r} is {owner[0]}'s{hint}"
    return None


def _drop_taken(minion_id: str, candidate: Facts, owners: dict[Claim, list[str]]) -> list[str]:
    """Drop instances of targets and DNS names that others own; returns the reasons."""
    reasons = []
    targets = []
    for target in candidate["targets"]:
        owner = owners["ins", canonical.name(target.get("ins") or candidate["ins"])]
        if owner == [minion_id]:
            targets.append(target)
        else:
            reasons.append(f"targets: ins: {target['ins']!r} {_whose(minion_id, owner)}")
    records = []
    first: dict[Claim, str] = {}
    for record in candidate["dns"]:
        names = []
        for name in record["names"]:
            claim = (_dns_kind(record["address"]), name)
            address = first.setdefault(claim, record["address"])
            if owners[claim] != [minion_id]:
                reasons.append(f"dns: {name!r} {_whose(minion_id, owners[claim])}")
            elif address != record["address"]:
                reasons.append(f"dns: {name!r} is already {address}")
            else:
                names.append(name)
        if names:
            records.append({"address": record["address"], "names": names})
    candidate["targets"], candidate["dns"] = targets, records
    return reasons


def _whose(minion_id: str, owner: list[str]) -> str:
    if len(owner) == 1:
        return f"is {owner[0]}'s"
    return f"is claimed by {_shortened(', '.join(o for o in owner if o != minion_id))} too"


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"


# -- on an INFRA node ----------------------------------------------------------------------------


def read_mine(minion: Minion) -> dict[str, Any]:
    """Facts of all minions from the mine, with the present ones of this minion.

    Without a master (``salt-call --local``) the mine has no other minions: those of the last run
    count, without machines of the pillar, which may be gone from it.
    """
    minion_id = minion.opts["id"]
    # The one question about all minions: an INFRA node asks it once in a run.
    mine = dict(minion.call("mine.get", "*", facts.ALIAS))
    if minion.opts.get("file_client") == "local" and not set(mine) - {minion_id}:
        last = recorded(minion)
        others = _recorded_others()
        mine = {i: {"contract": facts.CONTRACT, **f} for i, f in last.items() if i not in others}
    current = facts.current()
    if current.get("ip"):
        mine[minion_id] = current
    return mine


def recorded(minion: Minion) -> dict[str, Facts]:
    """The inventory of the last run: minion id → accepted facts.

    Raises CommandFailed if it is corrupt, and there is no master to make it again from.
    """
    try:
        nodes = dict(json.loads(PATH.read_text(encoding="utf-8"))["nodes"])
        if not all(isinstance(node, dict) for node in nodes.values()):
            raise TypeError("expected facts of each machine")
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as err:
        if minion.opts.get("file_client") == "local":
            raise CommandFailed(
                f"{PATH} is corrupt ({err!r}), and without a master there is no other record of "
                "the registered machines. Targets and names are unchanged. Restore the file, or "
                "remove it to begin with an empty inventory."
            ) from None
        log.warning("%s is corrupt (%r). It is made again from the mine.", PATH, err)
        return {}
    return {i: f for i, f in nodes.items() if not facts.problems({"contract": facts.CONTRACT, **f})}


def _recorded_others() -> list[str]:
    """Machines of the pillar in the inventory of the last run."""
    try:
        return list(json.loads(PATH.read_text(encoding="utf-8")).get("others", []))
    except FileNotFoundError:
        return []


def decide(minion: Minion, settings: dict[str, Any]) -> Decision:
    """Decide which facts of the mine are accepted; the same in the whole of a run.

    settings
        As for :func:`accept`.
    """
    # The mine may change during a run, and reading it is a request to the master.
    run = minion.context.setdefault(_RUN, {})
    if run.get("settings") != settings:
        if "mine" not in run:
            run.update(mine=read_mine(minion), before=recorded(minion))
        run.update(settings=settings, decision=accept(run["mine"], settings, run["before"]))
    decision: Decision = run["decision"]
    return decision


def record(nodes: dict[str, Facts], others: Iterable[str] = ()) -> None:
    """Record the inventory.

    others
        Those in it that are machines of the pillar.
    """
    data = {"nodes": nodes, "others": sorted(others)}
    atomic.write(PATH, json.dumps(data, indent=1, sort_keys=True), 0o644)


def authorities(
    minion: Minion, nodes: list[dict[str, Any]], fingerprints: list[str], present: str = ""
) -> Authorities:
    """CA certificates that the INFRA nodes publish.

    nodes
        The INFRA nodes, each ``key``, ``ip`` and ``seq``.
    fingerprints
        SHA-256 fingerprints, of which a trusted certificate has one; empty for any.
    present
        Certificate that this minion has; empty for none.

    The master vouches for an id, and nobody for an address. So what the minion of a node's id
    publishes is trusted; what a minion at a node's address publishes only by its fingerprint.

    Only the INFRA nodes are asked for: the facts of all minions cost the master a file for each. If
    ``infra_hosts`` names nodes by address, those minions are asked for that had these addresses
    last time, and all minions only if their answer does not settle it.
    """
    named = [node["key"] for node in nodes if hosts.address_or_none(node["key"]) is None]
    is_known_by_id = len(named) == len(nodes)
    minions = sorted({*named, *([] if is_known_by_id else _publishers())})
    result = Authorities(trusted={}, unverified={})
    if minions:
        mine = minion.call("mine.get", minions, facts.ALIAS, "list")
        result = divided_authorities(mine, nodes, fingerprints)
    if is_known_by_id or _is_settled(result, len(nodes), present):
        return result
    result = divided_authorities(minion.call("mine.get", "*", facts.ALIAS), nodes, fingerprints)
    _remember_publishers(sorted({*result["trusted"], *result["unverified"]}))
    return result


def _is_settled(found: Authorities, count: int, present: str) -> bool:
    """Whether every INFRA node answered, with a certificate that is trusted, or present already."""
    good = [i for i, pem in found["unverified"].items() if pem.strip() == present.strip()]
    return len({*found["trusted"], *good}) >= count and len(good) == len(found["unverified"])


def _publishers() -> list[str]:
    """Minions that had the addresses of INFRA nodes when all were asked last."""
    try:
        known = json.loads((paths.STATE_DIR / _PUBLISHERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in known if isinstance(name, str)] if isinstance(known, list) else []


def _remember_publishers(ids: list[str]) -> None:
    """Remember them; not while nothing of the formula is on this machine, as by test=True."""
    if ids and ids != _publishers() and paths.STATE_DIR.is_dir():
        atomic.write(str(paths.STATE_DIR / _PUBLISHERS), json.dumps(ids), 0o644)


class Authorities(TypedDict):
    """CA certificates of the mine: minion id → PEM.

    ``trusted``: those that the INFRA nodes publish. ``unverified``: those of minions that only
    claim the address of an INFRA node, and those without an expected fingerprint.
    """

    trusted: dict[str, str]
    unverified: dict[str, str]


def divided_authorities(
    mine: dict[str, Any], nodes: list[dict[str, Any]], fingerprints: list[str]
) -> Authorities:
    """:func:`authorities` of a mine."""
    out: Authorities = {"trusted": {}, "unverified": {}}
    unwrapped = {minion_id: _unwrap(value) for minion_id, value in mine.items()}
    valid = {i: published for i, published in unwrapped.items() if not facts.problems(published)}
    for node in nodes:
        is_named = hosts.address_or_none(node["key"]) is None
        if is_named:
            who = [node["key"]]
        else:
            address = canonical.host_address(node["ip"])
            who = [i for i, f in valid.items() if canonical.host_address(f["ip"]) == address]
        for minion_id in who:
            pem = valid.get(minion_id, {}).get("ca")
            if not pem:
                continue
            is_pinned = certificates.fingerprint(pem) in fingerprints
            is_trusted = is_pinned if fingerprints else is_named
            out["trusted" if is_trusted else "unverified"][minion_id] = pem
    return out
