"""The inventory of an INFRA node: the minions that are registered here.

It is made of the facts in the Salt mine. Each fact is accepted or refused by itself: a malformed
one, or a claim to what belongs to another minion, is refused and reported; the rest counts.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from infra_formula.dns import records as dns_records
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.minion import Minion
from infra_formula.pki import certificates
from infra_formula.registration import facts, hosts
from infra_formula.registration.facts import Facts

log = logging.getLogger(__name__)

PATH = Path("/var/lib/infra/register.json")
_RUN = "infra_register.run"
_RESERVED_IDS = ("default", "master")  # names of files in /etc/hosts.d


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
        Minion id → facts. The master vouches for the id; everything else is data from an
        unexternal minion.
    settings
        ``nodes`` (the INFRA nodes, each ``key``, ``ip`` and ``seq``), ``reserved`` (name → its
        owner: names of the portal, wildcards, aliases), ``jobs`` (further ones that are scraped),
        ``others`` (facts of machines that are not minions, from pillar), ``dns_records`` and
        ``admin_ip``.
    before
        The inventory of the last run: its claims to addresses and names come first.
    """
    nodes: dict[str, Facts] = {}
    refused: dict[str, list[str]] = {}
    candidates: dict[str, Facts] = {}
    external = {str(k): facts.external_host(k, v) for k, v in settings.get("others", {}).items()}
    for minion_id, value in {**mine, **external}.items():
        published = _unwrap(value)
        errors = _id_problems(minion_id) or facts.problems(published)
        if errors:
            refused[str(minion_id)[:100]] = errors
        else:
            candidates[minion_id] = _normalize(minion_id, published, settings["jobs"], refused)
    before = before or {}
    # Machines of the pillar first, then those of the last run, then new ones.
    order = sorted(candidates, key=lambda i: (i not in external, i not in before, i))
    claims = _Claims(settings, set(mine) | set(external))
    rivals = _rivals(candidates, before, external)
    for minion_id in order:
        candidate = candidates[minion_id]
        reason = claims.identity(minion_id, candidate) or rivals.get(minion_id)
        reasons = [reason] if reason else claims.names(minion_id, candidate)
        if reasons:
            refused.setdefault(minion_id, []).extend(reasons)
        if not reason:
            nodes[minion_id] = candidate
    return {"nodes": dict(sorted(nodes.items())), "refused": dict(sorted(refused.items()))}


def _unwrap(value: Any) -> Any:
    """Facts without the dictionary that Salt may wrap around them in the mine."""
    return value["__data__"] if isinstance(value, dict) and "__data__" in value else value


def _id_problems(minion_id: Any) -> list[str]:
    if not facts.is_name(minion_id):
        return ["expected a minion id of letters, digits, dots, hyphens and underscores"]
    if minion_id in _RESERVED_IDS:
        return [f"a minion cannot be registered under the id {minion_id!r}"]
    return []


def _normalize(
    minion_id: str, published: Facts, jobs: Iterable[str], refused: dict[str, list[str]]
) -> Facts:
    """Facts with normalized addresses, without targets of jobs that are not scraped."""
    known = {*facts.JOBS, *jobs}
    targets = []
    for target in published.get("targets", []):
        if target["job"] in known:
            targets.append(target)
        else:
            reason = f"target of the job {target['job']!r}, which is not scraped here"
            refused.setdefault(minion_id, []).append(reason)
    return {
        "ip": str(facts.host_address(published["ip"])),
        "ins": published["ins"],
        "cls": published["cls"],
        "infra_seq": published.get("infra_seq"),
        "haproxy": published.get("haproxy"),
        "targets": targets,
        "dns": [
            {"address": str(facts.host_address(r["address"])), "names": list(r["names"])}
            for r in published.get("dns", [])
        ],
    }


def _rivals(
    candidates: dict[str, Facts], before: dict[str, Facts], external: dict[str, Facts]
) -> dict[str, str]:
    """New minions that claim the same address or instance name: all are refused."""
    out: dict[str, str] = {}
    for key in ("ip", "ins"):
        claims: dict[str, list[str]] = {}
        for minion_id, candidate in candidates.items():
            value = candidate[key]
            if minion_id not in external and before.get(minion_id, {}).get(key) != value:
                claims.setdefault(value, []).append(minion_id)
        for value, who in claims.items():
            # An instance name that is the id of one of them belongs to that one.
            losers = [w for w in who if w != value] if key == "ins" and value in who else who
            for minion_id in losers if len(who) > 1 else ():
                others = ", ".join(sorted(w for w in who if w != minion_id))
                out.setdefault(minion_id, f"{key}: {value!r} is claimed by {others} too")
    return out


class _Claims:
    """Owners of addresses and names, as minions are accepted one by one."""

    def __init__(self, settings: dict[str, Any], minion_ids: set[Any]) -> None:
        self.addresses: dict[str, str] = {}
        self.instances: dict[str, str] = {}
        self.hosts: dict[tuple[str, int], tuple[str, str]] = {}
        served, _faults = dns_records.parse(settings["dns_records"], settings["admin_ip"])
        self.reserved = {name: "dns_records" for record in served for name in record["names"]}
        self.reserved |= {str(n).lower(): str(o) for n, o in settings["reserved"].items()}
        self.wildcards = {n[1:]: o for n, o in self.reserved.items() if n.startswith("*.")}
        self.minion_ids = {i for i in minion_ids if isinstance(i, str)}
        self.lower_ids = {i.lower(): i for i in self.minion_ids}
        self.by_ip = {node["ip"]: node for node in settings["nodes"]}
        self.by_key = {node["key"]: node for node in settings["nodes"]}

    def identity(self, minion_id: str, candidate: Facts) -> str | None:
        """Claim a minion's address and instance name; returns why that is refused."""
        ip, instance = candidate["ip"], candidate["ins"]
        sequence = candidate["infra_seq"]
        owner = self.addresses.get(ip)
        if owner is not None:
            return f"ip: {ip!r} is {owner}'s; delete the key of the one that is gone"
        node = self.by_ip.get(ip)
        if node is not None and node["key"] not in (ip, minion_id):
            return f"ip: {ip!r} is that of the INFRA node {node['key']}"
        if minion_id in self.by_key and self.by_key[minion_id]["ip"] != ip:
            return f"ip: expected {self.by_key[minion_id]['ip']}, as in infra_hosts, got {ip}"
        if sequence is not None and (node is None or node["seq"] != sequence):
            return f"infra_seq: {minion_id} at {ip} is no INFRA node of that number in infra_hosts"
        owner = self.instances.get(instance)
        if owner is None and instance != minion_id and instance in self.minion_ids:
            owner = instance
        if owner is not None:
            return f"ins: {instance!r} is {owner}'s"
        self.addresses[ip] = minion_id
        self.instances[instance] = minion_id
        return None

    def names(self, minion_id: str, candidate: Facts) -> list[str]:
        """Claim a minion's DNS names and drop those of others; returns the reasons."""
        reasons = []
        records = []
        for record in candidate["dns"]:
            names = []
            for name in record["names"]:
                reason = self._name(minion_id, name, record["address"])
                if reason:
                    reasons.append(reason)
                else:
                    names.append(name)
            if names:
                records.append({"address": record["address"], "names": names})
        candidate["dns"] = records
        return reasons

    def _name(self, minion_id: str, name: str, address: str) -> str | None:
        owner = self.reserved.get(name)
        if owner is None and self.wildcards:
            owner = next((o for suffix, o in self.wildcards.items() if name.endswith(suffix)), None)
        if owner is not None:
            return f"dns: {name!r} is that of {owner}"
        namesake = self.lower_ids.get(name)
        if namesake not in (None, minion_id):
            return f"dns: {name!r} is the name of the minion {namesake}"
        version = ipaddress.ip_address(address).version
        first, present = self.hosts.setdefault((name, version), (minion_id, address))
        if first != minion_id:
            return f"dns: {name!r} is {first}'s"
        return None if present == address else f"dns: {name!r} is already {present}"


# -- on an INFRA node ----------------------------------------------------------------------------


def read_mine(minion: Minion) -> dict[str, Any]:
    """Facts of all minions from the mine, with the present ones of this minion.

    Without a master (``salt-call --local``) the mine has no other minions: those of the last run
    count.
    """
    minion_id = minion.opts["id"]
    mine = dict(minion.call("mine.get", "*", facts.ALIAS))
    if minion.opts.get("file_client") == "local" and not set(mine) - {minion_id}:
        mine = {i: {"contract": facts.CONTRACT, **f} for i, f in recorded(minion).items()}
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
    return nodes


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


def record(nodes: dict[str, Facts]) -> None:
    """Record the inventory."""
    atomic.write(PATH, json.dumps({"nodes": nodes}, indent=1, sort_keys=True), 0o644)


class Authorities(TypedDict):
    """CA certificates of the mine: minion id → PEM.

    ``trusted``: those that the INFRA nodes publish. ``unverified``: those of minions that only
    claim the address of an INFRA node, and those without an expected fingerprint.
    """

    trusted: dict[str, str]
    unverified: dict[str, str]


def authorities(
    minion: Minion, nodes: list[dict[str, Any]], fingerprints: list[str]
) -> Authorities:
    """CA certificates that the INFRA nodes publish.

    nodes
        The INFRA nodes, each ``key``, ``ip`` and ``seq``.
    fingerprints
        SHA-256 fingerprints, of which a trusted certificate has one; empty for any.

    The master vouches for an id, and nobody for an address. So what the minion of a node's id
    publishes is trusted; what a minion at a node's address publishes only by its fingerprint.
    """
    return divided_authorities(minion.call("mine.get", "*", facts.ALIAS), nodes, fingerprints)


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
            who = [i for i, f in valid.items() if facts.host_address(f["ip"]) == node["ip"]]
        for minion_id in who:
            pem = valid.get(minion_id, {}).get("ca")
            if not pem:
                continue
            is_pinned = certificates.fingerprint(pem) in fingerprints
            is_trusted = is_pinned if fingerprints else is_named
            out["trusted" if is_trusted else "unverified"][minion_id] = pem
    return out
