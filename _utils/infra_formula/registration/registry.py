"""What each minion runs, and what the INFRA nodes make of it.

A minion *publishes* one mapping, its facts, through the Salt mine (``infra_register.facts``) and
refreshes it with every apply. Publishers of the same minion (this formula, other formulas, its
pillar) each leave a file in ``/var/lib/infra/register.d``; the facts are those files together.

The INFRA nodes *accept* what is in the mine, each fact by itself: what is malformed, or another's,
is refused by name and the rest is applied. ``compose``, ``problems``, ``accept``, ``target_files``
and ``records`` are pure. The contract, with its schema, is in docs/fleet.md.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra_formula.dns import records as dns_records
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.minion import Minion

log = logging.getLogger(__name__)

CONTRACT = 1
"""Version of the contract; facts of another one are refused."""

ALIAS = "infra_register.facts"
"""Name under which facts are in the mine."""

DROP = Path("/var/lib/infra/register.d")
INVENTORY = Path("/var/lib/infra/register.json")
HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
JOBS = (
    "node",
    "ping",
    "docker",
    "etcd",
    "minio",
    "pgsql",
    "patroni",
    "pgrds",
    "redis",
    "mysql",
    "kafka",
    "juice",
)
"""Jobs that a minion may have targets in; ``infra`` and ``probe`` are the INFRA nodes' own."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_LABEL = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OWN_LABELS = ("ip", "cls", "ins", "job", "instance")
_RESERVED_IDS = ("default", "master")  # files of /etc/hosts.d that are others'
_MOST = 200  # targets or records of one minion; more is a mistake or worse
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{64,16000}-----END CERTIFICATE-----\n?"
)


# -- facts: what one minion says -----------------------------------------------------------------


def compose(publishers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Facts of several publishers as one mapping; pure.

    publishers
        Mappings of the contract; each may leave keys out. Of ``ip``, ``ins``, ``cls``, ``haproxy``,
        ``infra_seq`` and ``ca`` the first that is given counts; ``targets`` and ``dns`` add up.
    """
    facts: dict[str, Any] = {"contract": CONTRACT, "targets": [], "dns": []}
    for given in publishers:
        for key, value in given.items():
            if key in ("targets", "dns"):
                facts[key] += [v for v in value if v not in facts[key]]
            elif value is not None:
                facts.setdefault(key, value)
    return facts


def problems(facts: Any) -> list[str]:
    """What is wrong with facts by themselves; pure, safe with anything that a minion may send.

    Returns one message per error, each beginning with the key path.
    """
    if not isinstance(facts, dict):
        return [f"expected a dictionary, got {_show(facts)}"]
    if facts.get("contract") != CONTRACT:
        return [f"contract: expected {CONTRACT}, got {_show(facts.get('contract'))}"]
    known = ("contract", "ip", "ins", "cls", "infra_seq", "ca", "haproxy", "targets", "dns")
    errors = [f"{_show(key)}: unknown key" for key in facts if key not in known]
    if not host_address(facts.get("ip")):
        errors.append(f"ip: expected the address of a machine, got {_show(facts.get('ip'))}")
    errors += [
        f"{key}: expected a name of letters, digits, dots, hyphens and underscores, "
        f"got {_show(facts.get(key))}"
        for key in ("ins", "cls")
        if not _is_name(facts.get(key))
    ]
    if facts.get("haproxy") is not None and not _is_port(facts["haproxy"]):
        errors.append(f"haproxy: expected a port, got {_show(facts['haproxy'])}")
    seq = facts.get("infra_seq")
    if seq is not None and (not isinstance(seq, int) or isinstance(seq, bool) or seq < 0):
        errors.append(f"infra_seq: expected a number, got {_show(seq)}")
    ca = facts.get("ca")
    if ca is not None and (not isinstance(ca, str) or not _PEM.fullmatch(ca)):
        errors.append("ca: expected one PEM certificate")
    for key, check in (("targets", target_problem), ("dns", _record_problem)):
        value = facts.get(key, [])
        if not isinstance(value, list) or len(value) > _MOST:
            errors.append(f"{key}: expected a list of at most {_MOST}")
            continue
        for index, item in enumerate(value):
            fault = check(item)
            if fault:
                errors.append(f"{key}[{index}]{fault}")
    return errors


def target_problem(target: Any) -> str | None:
    """Why something is not a target that a minion may have; None where it is; pure."""
    if not isinstance(target, dict):
        return f": expected a dictionary, got {_show(target)}"
    unknown = [k for k in target if k not in ("job", "port", "ins", "cls", "labels")]
    if unknown:
        return f": unknown key {_show(unknown[0])}"
    if not _is_name(target.get("job")) or target["job"] in ("infra", "probe"):
        return f".job: expected one of {', '.join(JOBS)}, got {_show(target.get('job'))}"
    if target.get("port") is not None and not _is_port(target["port"]):
        return f".port: expected a port, got {_show(target['port'])}"
    for key in ("ins", "cls"):
        if target.get(key) is not None and not _is_name(target[key]):
            return f".{key}: expected a name, got {_show(target[key])}"
    labels = target.get("labels", {})
    if not isinstance(labels, dict) or len(labels) > 30:
        return f".labels: expected a dictionary of at most 30, got {_show(labels)}"
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name in _OWN_LABELS:
            return f".labels: {_show(name)} is no label of its own"
        if not isinstance(value, str) or len(value) > 200 or _CONTROL.search(value):
            return f".labels.{name}: expected one line, got {_show(value)}"
    return None


def _record_problem(record: Any) -> str | None:
    if not isinstance(record, dict) or set(record) != {"address", "names"}:
        return f": expected address and names, got {_show(record)}"
    if not host_address(record["address"]):
        return f".address: expected the address of a machine, got {_show(record['address'])}"
    names = record["names"]
    if not isinstance(names, list) or not 1 <= len(names) <= _MOST:
        return f".names: expected a list of names, got {_show(names)}"
    for name in names:
        if not is_dns_name(name):
            return f".names: expected a DNS name, got {_show(name)}"
    return None


def is_dns_name(name: Any) -> bool:
    """Whether something may stand as a name in a file of records; pure."""
    return (
        isinstance(name, str)
        and len(name) <= 253
        and re.fullmatch(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?", name) is not None
        and ".." not in name
        and not re.fullmatch(r"[0-9.]+", name)
    )


def host_address(text: Any) -> str | None:
    """The address of a machine in its usual writing; None for what cannot be one; pure.

    Loopback, link-local, multicast and unspecified addresses mean something else on each machine:
    an INFRA node that took one from a minion would scrape, or show, itself.
    """
    if not isinstance(text, str) or "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    for one in (address, mapped):
        if one is not None and (
            one.is_loopback
            or one.is_link_local
            or one.is_multicast
            or one.is_unspecified
            or one == ipaddress.ip_address("255.255.255.255")
        ):
            return None
    return str(address)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and ".." not in value


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:59] + "…"


# -- acceptance: what an INFRA node makes of it ----------------------------------------------------


def accept(
    mine: dict[str, Any], settings: dict[str, Any], before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Decide what of the mine is taken; pure.

    mine
        Minion id → facts. The id is what the master vouches for; everything else is the minion's
        own word.
    settings
        ``nodes`` (the INFRA nodes, each ``key``, ``ip`` and ``seq``), ``reserved`` (name → whose it
        is: records of the pillar, names of the portal), ``jobs`` (those that are scraped) and
        ``others`` (facts of machines that are no minions, from pillar).
    before
        What was accepted last (:func:`accept`'s ``nodes``): who has an address or a name keeps it
        against one who comes later.

    Returns ``nodes`` (id → facts, clean) and ``refused`` (id → list of reasons; what else that
    minion published is taken).
    """
    nodes: dict[str, dict[str, Any]] = {}
    refused: dict[str, list[str]] = {}
    candidates: dict[str, dict[str, Any]] = {}
    trusted = {str(k): other(k, v) for k, v in settings.get("others", {}).items()}
    for ident, facts in {**mine, **trusted}.items():
        errors = _id_problems(ident) or problems(_bare(facts))
        if errors:
            refused[str(ident)[:100]] = errors
        else:
            candidates[ident] = _clean(ident, _bare(facts), settings["jobs"], refused)
    kept = before or {}
    # Those of the pillar first, then who was there before, then the others.
    ranks = {i: (i not in trusted, i not in kept, i) for i in candidates}
    order = sorted(candidates, key=lambda i: ranks[i])
    taken = _Taken(settings, set(mine) | set(trusted))
    rivals = _rivals(candidates, kept, trusted)
    for ident in order:
        facts = candidates[ident]
        reason = taken.identity(ident, facts) or rivals.get(ident)
        if reason:
            refused.setdefault(ident, []).append(reason)
            continue
        notes = taken.names(ident, facts)
        if notes:
            refused.setdefault(ident, []).extend(notes)
        nodes[ident] = facts
    return {"nodes": dict(sorted(nodes.items())), "refused": dict(sorted(refused.items()))}


def _bare(facts: Any) -> Any:
    """Facts without what Salt may wrap around them in the mine."""
    if isinstance(facts, dict) and "__data__" in facts:
        return facts["__data__"]
    return facts


def _id_problems(ident: Any) -> list[str]:
    if not _is_name(ident):
        return ["expected a minion id of letters, digits, dots, hyphens and underscores"]
    if ident in _RESERVED_IDS:
        return [f"a minion cannot be registered under the id {ident!r}"]
    return []


def _clean(
    ident: str, facts: dict[str, Any], jobs: Iterable[str], refused: dict[str, list[str]]
) -> dict[str, Any]:
    """Facts in their usual writing, without targets of jobs that nobody scrapes."""
    known = set(jobs)
    targets = []
    for target in facts.get("targets", []):
        if target["job"] in known:
            targets.append(target)
        else:
            reason = f"target of the job {target['job']!r}, which is not scraped here"
            refused.setdefault(ident, []).append(reason)
    return {
        "ip": str(host_address(facts["ip"])),
        "ins": facts["ins"],
        "cls": facts["cls"],
        "infra_seq": facts.get("infra_seq"),
        "haproxy": facts.get("haproxy"),
        "targets": targets,
        "dns": [
            {"address": str(host_address(r["address"])), "names": list(r["names"])}
            for r in facts.get("dns", [])
        ],
    }


def _rivals(
    candidates: dict[str, Any], kept: dict[str, Any], trusted: dict[str, Any]
) -> dict[str, str]:
    """Newcomers that claim the same address or instance name: nobody can tell who is right."""
    out: dict[str, str] = {}
    for key in ("ip", "ins"):
        claims: dict[str, list[str]] = {}
        for ident, facts in candidates.items():
            if not (ident in trusted or kept.get(ident, {}).get(key) == facts[key]):
                claims.setdefault(facts[key], []).append(ident)
        for value, who in claims.items():
            # Its own id is a minion's by right, whoever else claims it.
            losers = [w for w in who if w != value] if key == "ins" and value in who else who
            for ident in losers if len(who) > 1 else ():
                others = ", ".join(sorted(w for w in who if w != ident))
                out.setdefault(ident, f"{key}: {value!r} is claimed by {others}, too")
    return out


class _Taken:
    """Addresses and names that have an owner, while minions are gone through one by one."""

    def __init__(self, settings: dict[str, Any], idents: set[Any]) -> None:
        self.addresses: dict[str, str] = {}
        self.instances: dict[str, str] = {}
        self.hosts: dict[tuple[str, int], tuple[str, str]] = {}
        self.reserved = {str(n).lower(): str(o) for n, o in settings["reserved"].items()}
        self.wildcards = {n[1:]: o for n, o in self.reserved.items() if n.startswith("*.")}
        self.idents = {i for i in idents if isinstance(i, str)}
        self.lowered = {i.lower(): i for i in self.idents}
        self.by_ip = {node["ip"]: node for node in settings["nodes"]}
        self.by_key = {node["key"]: node for node in settings["nodes"]}

    def identity(self, ident: str, facts: dict[str, Any]) -> str | None:
        """Why a minion is not who it says; takes its address and instance name otherwise."""
        ip, ins = facts["ip"], facts["ins"]
        owner = self.addresses.get(ip)
        if owner is not None:
            return f"ip: {ip!r} is {owner}'s; delete the key of the one that is gone"
        node = self.by_ip.get(ip)
        if node is not None and node["key"] not in (ip, ident):
            return f"ip: {ip!r} is that of the INFRA node {node['key']}"
        if ident in self.by_key and self.by_key[ident]["ip"] != ip:
            return f"ip: expected {self.by_key[ident]['ip']}, as in infra_hosts, got {ip}"
        if facts["infra_seq"] is not None and (node is None or node["seq"] != facts["infra_seq"]):
            return f"infra_seq: {ident} at {ip} is no INFRA node of that number in infra_hosts"
        owner = self.instances.get(ins)
        if owner is None and ins != ident and ins in self.idents:
            owner = ins
        if owner is not None:
            return f"ins: {ins!r} is {owner}'s"
        self.addresses[ip] = ident
        self.instances[ins] = ident
        return None

    def names(self, ident: str, facts: dict[str, Any]) -> list[str]:
        """Take the DNS names that are free, drop the others; returns what was dropped and why."""
        notes = []
        records = []
        for record in facts["dns"]:
            names = []
            for name in record["names"]:
                reason = self._name(ident, name, record["address"])
                if reason:
                    notes.append(reason)
                else:
                    names.append(name)
            if names:
                records.append({"address": record["address"], "names": names})
        facts["dns"] = records
        return notes

    def _name(self, ident: str, name: str, address: str) -> str | None:
        owner = self.reserved.get(name)
        if owner is None and self.wildcards:
            owner = next((o for suffix, o in self.wildcards.items() if name.endswith(suffix)), None)
        if owner is not None:
            return f"dns: {name!r} is that of {owner}"
        other = self.lowered.get(name)
        if other is not None and other != ident:
            return f"dns: {name!r} is the name of the minion {other}"
        version = ipaddress.ip_address(address).version
        first, given = self.hosts.setdefault((name, version), (ident, address))
        if first != ident:
            return f"dns: {name!r} is {first}'s"
        return None if given == address else f"dns: {name!r} is {given} already"


# -- what is made of it ----------------------------------------------------------------------------


def target_files(
    nodes: dict[str, dict[str, Any]], group: str = "infra"
) -> dict[str, dict[str, Any]]:
    """Scrape targets of accepted minions, as an infra_files set below ``/infra``; pure.

    One file per job and minion, ``targets/<job>/<ip>.yml``; a minion can bring about no other.

    nodes
        What :func:`accept` accepted.
    group
        Group that may read the files.
    """
    out: dict[str, dict[str, Any]] = {}
    for facts in nodes.values():
        ip = facts["ip"]
        entries: dict[str, dict[str, tuple[dict[str, str], list[str]]]] = {}
        host = f"[{ip}]" if ":" in ip else ip
        for target in facts["targets"]:
            labels = {
                "ip": ip,
                "ins": target.get("ins") or facts["ins"],
                "cls": target.get("cls") or facts["cls"],
                **dict(sorted(target.get("labels", {}).items())),
            }
            port = target.get("port")
            address = ip if port is None else f"{host}:{port}"
            group_of = entries.setdefault(target["job"], {})
            _labels, targets = group_of.setdefault(json.dumps(labels), (labels, []))
            if address not in targets:
                targets.append(address)
        for job, groups in entries.items():
            text = HEAD + "".join(_entry(labels, targets) for labels, targets in groups.values())
            rel = f"targets/{job}/{ip.replace(':', '-')}.yml"
            out[rel] = {"text": text, "mode": "0640", "group": group}
    return out


def _entry(labels: dict[str, str], targets: list[str]) -> str:
    # A JSON string is a YAML string, whatever is in it.
    lines = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in labels.items())
    return f"- labels:\n{lines}  targets: {json.dumps(targets)}\n"


def records(nodes: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """DNS records of accepted minions, by minion id; pure."""
    return {ident: facts["dns"] for ident, facts in nodes.items() if facts["dns"]}


def haproxy(nodes: dict[str, dict[str, Any]]) -> dict[str, str]:
    """HAProxy consoles of accepted minions: instance name → ``address:port``; pure."""
    out = {}
    for facts in nodes.values():
        if facts["haproxy"] is not None:
            host = f"[{facts['ip']}]" if ":" in facts["ip"] else facts["ip"]
            out[facts["ins"]] = f"{host}:{facts['haproxy']}"
    return dict(sorted(out.items()))


def page_nodes(nodes: dict[str, dict[str, Any]], admin_ip: str) -> list[dict[str, Any]]:
    """Accepted minions as the home page shows them; pure."""
    return [
        {
            "name": facts["ins"],
            "address": facts["ip"],
            "cluster": facts["cls"],
            "admin": facts["ip"] == admin_ip,
            "links": [
                {"name": "HAProxy", "url": f"/haproxy/{facts['ins']}/"}
                for _ in range(facts["haproxy"] is not None)
            ],
        }
        for facts in nodes.values()
    ]


def pillar_problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with what pillar has published beside this formula's own facts; pure.

    parameters
        The dictionary below ``infra:``, as given.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    base = {"contract": CONTRACT, "ip": "192.0.2.1", "ins": "x", "cls": "x"}
    for parameter in ("register", "register_others"):
        for name, given in _mapping(parameters.get(parameter)).items():
            path = f"{parameter}[{name!r}]"
            if not _is_name(name):
                errors.append(f"{path}: expected a name of letters, digits, dots and hyphens")
                continue
            whole = {**base, **given} if parameter == "register" else other(name, given)
            errors += [f"{path}.{error}" for error in problems(whole)]
    return errors


def other(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Facts of a machine that is no minion, from what ``register_others`` says of it; pure."""
    return {"contract": CONTRACT, "ins": name, "cls": "others", **given}


def hosts_problems(hosts: Any, admin_ip: str) -> list[str]:
    """What is wrong with ``infra_hosts`` as a whole; pure, passes over what is of a wrong type.

    hosts
        The parameter.
    admin_ip
        Stands in for the address of a single INFRA node that is known by its minion id.

    Returns one message per error, each beginning with the key path.
    """
    known = {k: v for k, v in _mapping(hosts).items() if isinstance(v, dict)}
    if not known:
        return [
            "infra_hosts: expected at least one INFRA node, like {10.10.10.10: {infra_seq: 1}}; "
            "is the pillar assigned to this minion?"
        ]
    errors = []
    owners: dict[str, str] = {}
    for key, host in known.items():
        path = f"infra_hosts[{key!r}]"
        is_address = address_or_none(key) is not None
        if is_address and host.get("ip") not in (None, key):
            errors.append(f"{path}.ip: expected {key}, got {_show(host.get('ip'))}")
        if not is_address and "ip" not in host and len(known) > 1:
            errors.append(
                f"{path}.ip: missing; where a key is a minion id, its address stands here"
            )
            continue
        ip = str(host.get("ip") or (key if is_address else admin_ip))
        if address_or_none(ip) is not None and host_address(ip) is None:
            errors.append(f"{path}: expected the address of a machine, got {ip}")
        first = owners.setdefault(ip, str(key))
        if first != str(key):
            errors.append(f"{path}: {ip} is the address of {first}, too")
    return errors


def address_or_none(text: Any) -> str | None:
    """The text if it is an IP address, None else; pure."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text if isinstance(text, str) else None


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


# -- on a minion -----------------------------------------------------------------------------------


def facts() -> dict[str, Any]:
    """What this minion publishes; the function that the mine is fed with."""
    found = sorted(DROP.glob("*.json")) if DROP.is_dir() else []
    # This formula's own first: it says what the minion is called.
    found.sort(key=lambda p: (p.stem != "infra", p.stem))
    return compose(_published(path) for path in found)


def _published(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise CommandFailed(
            f"{path} is damaged ({err}): what this minion publishes stays as it was; apply what "
            "wrote it anew, or remove it"
        ) from None
    if not isinstance(data, dict):
        raise CommandFailed(f"{path}: expected a dictionary; apply what wrote it anew")
    return data


def own_address(towards: Iterable[str]) -> str:
    """The address of this machine that others of the site reach it under.

    towards
        Addresses of the INFRA nodes: the first that there is a route to decides. Nothing is sent.

    Raises CommandExecutionError where there is no route to any of them.
    """
    for address in towards:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((address, 9))
                own = host_address(sock.getsockname()[0])
        except OSError:
            continue
        if own:
            return own
    told = ", ".join(towards)
    raise CommandFailed(f"there is no route to an INFRA node ({told}); set node_ip")


def read_publisher(name: str) -> dict[str, Any] | None:
    """What a publisher of this minion left; None for nothing, empty where it is damaged."""
    try:
        found = json.loads(publisher_path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def publisher_path(name: str) -> Path:
    """Where a publisher leaves its facts.

    Raises SaltInvocationError for a name that cannot be one.
    """
    if not _is_name(name):
        raise InvalidInput(f"name: expected letters, digits, dots and hyphens, got {name!r}")
    return DROP / f"{name}.json"


def write_publisher(name: str, data: dict[str, Any] | None) -> None:
    """Leave what a publisher of this minion says; None takes it back."""
    path = publisher_path(name)
    if data is None:
        path.unlink(missing_ok=True)
        return
    atomic.write(str(path), json.dumps(data, indent=1), 0o644)


def send(minion: Minion) -> None:
    """Send this minion's facts to the mine.

    Raises CommandExecutionError where the master does not take them.
    """
    if not minion.call("mine.send", ALIAS):
        raise CommandFailed(f"the master did not take {ALIAS} into its mine")


def sent(minion: Minion) -> Any:
    """What the mine holds of this minion; None for nothing."""
    return minion.call("mine.get", minion.opts["id"], ALIAS).get(minion.opts["id"])


# -- on an INFRA node ------------------------------------------------------------------------------


def mine(minion: Minion) -> dict[str, Any]:
    """Facts of all minions, as the mine has them; this minion's own, as they are now.

    Without a master (``salt-call --local``) there is no mine of others: those that were registered
    last stay.
    """
    found = dict(minion.call("mine.get", "*", ALIAS))
    if minion.opts.get("file_client") == "local" and not set(found) - {minion.opts["id"]}:
        found = {i: {"contract": CONTRACT, **known} for i, known in remembered(minion).items()}
    own = facts()
    if own.get("ip"):
        found[minion.opts["id"]] = own
    return found


def remembered(minion: Minion) -> dict[str, Any]:
    """What was accepted last on this INFRA node: minion id → facts.

    Raises CommandExecutionError where that is damaged, and there is no master of whom to hear it
    anew.
    """
    try:
        found = dict(json.loads(INVENTORY.read_text(encoding="utf-8"))["nodes"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as err:
        if minion.opts.get("file_client") == "local":
            raise CommandFailed(
                f"{INVENTORY} is damaged ({err!r}), and without a master nothing else knows which "
                "machines are registered here: what is scraped and named stays as it is; bring the "
                "file back, or remove it to begin anew"
            ) from None
        log.warning("%s is damaged (%r): it is made anew from the mine", INVENTORY, err)
        return {}
    return found


def accepted(
    minion: Minion, settings: dict[str, Any], given: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What this INFRA node takes of the mine, asked once in a run of states.

    settings
        As for :func:`accept`; names of ``dns_records`` are reserved as they are served.
    given
        Takes the place of the mine.

    Returns what :func:`accept` does.
    """
    key = "infra_register.accepted"
    if key not in minion.context:
        served = dns_records.served("default").get("default", {})
        names = {name: "dns_records" for some in served.values() for name in some}
        whole = {**settings, "reserved": {**names, **settings["reserved"]}}
        minion.context[key] = accept(
            mine(minion) if given is None else given, whole, remembered(minion)
        )
    return minion.context[key]


def nodes(minion: Minion) -> dict[str, Any]:
    """Minions that are registered here: those just accepted in this run, else those of the last."""
    found = minion.context.get("infra_register.accepted")
    return remembered(minion) if found is None else found["nodes"]


def remember(nodes: dict[str, Any]) -> None:
    """Keep what was accepted."""
    text = json.dumps({"nodes": nodes}, indent=1, sort_keys=True)
    atomic.write(str(INVENTORY), text, 0o644)


def authorities(minion: Minion, nodes: list[dict[str, Any]]) -> dict[str, str]:
    """CA certificates that the INFRA nodes publish: minion id → PEM.

    nodes
        The INFRA nodes, each ``key``, ``ip`` and ``seq``. A minion that is known by its id is taken
        at its word; one that is known by its address only while no other minion claims that.
    """
    published = minion.call("mine.get", "*", ALIAS)
    return trusted_authorities(published, nodes)


def trusted_authorities(published: dict[str, Any], nodes: list[dict[str, Any]]) -> dict[str, str]:
    """:func:`authorities` of a given mine; pure."""
    out: dict[str, str] = {}
    sound = {i: _bare(f) for i, f in published.items() if not problems(_bare(f))}
    for node in nodes:
        if node["key"] in published:
            who = [node["key"]]
        else:
            who = [i for i, f in sound.items() if host_address(f["ip"]) == node["ip"]]
        if len(who) == 1 and sound.get(who[0], {}).get("ca"):
            out[who[0]] = sound[who[0]]["ca"]
    return out
