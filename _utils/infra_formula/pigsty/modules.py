"""What the other modules of a Pigsty inventory run, as this formula registers it.

Ports, labels and names are those that Pigsty's own registration gives them: pg_exporter 9630,
pgbouncer_exporter 9631, pgbackrest_exporter 9854, Patroni 8008, etcd 2379, MinIO 9000,
redis_exporter 9121, mysqld_exporter 9104, kafka_exporter 9308, Docker 9323 and
keepalived_exporter 9650.

Everything here is pure.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

_PGSQL = (
    ("pg_exporter", 9630),
    ("pgbouncer_exporter", 9631),
    ("pgbackrest_exporter", 9854),
)
_MEMBERS = (
    # job, variable of the cluster, its default, variable of the number, variable of the port, port
    ("etcd", "etcd_cluster", "etcd", "etcd_seq", "etcd_port", 2379),
    ("minio", "minio_cluster", "minio", "minio_seq", "minio_port", 9000),
    ("mysql", "mysql_cluster", None, "mysql_seq", "mysql_exporter_port", 9104),
    ("kafka", "kafka_cluster", None, "kafka_seq", "kafka_exporter_port", 9308),
)
_DOCKER_PORT = 9323
_KEEPALIVED_PORT = 9650
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


def identity(given: dict[str, Any]) -> dict[str, str]:
    """Name and cluster of a node of PostgreSQL, which are those of its instance in Pigsty.

    given
        Variables of the host, rendered.

    Returns ``nodename`` and ``node_cluster``, as far as they follow from it; both may be set by
    hand, and ``node_id_from_pg: false`` keeps them apart.
    """
    cluster, seq = given.get("pg_cluster"), given.get("pg_seq")
    if given.get("node_id_from_pg", True) is not True or not _is_word(cluster) or not _is_seq(seq):
        return {}
    return {"nodename": f"{cluster}-{seq}", "node_cluster": str(cluster)}


def registrations(hosts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What each host publishes for the modules that it runs, and what is probed besides.

    hosts
        Host → its variables, rendered, with ``ip``, ``ins`` and ``cls``: its address (or None) and
        its name and cluster as a node.

    Returns ``register`` (host → value of the parameter of that name) and ``vmetrics_targets``
    (value of that parameter: what the contract of registration cannot say).
    """
    register: dict[str, dict[str, Any]] = {}
    targets: dict[str, list[dict[str, Any]]] = {}
    for host, given in hosts.items():
        own: dict[str, Any] = {}
        for publisher in (_pgsql, _members, _docker, _juice, _node_vip):
            publisher(given, own)
        if given.get("ip"):
            for job, entries in (
                ("patroni", _patroni(given)),
                ("redis", _redis(given)),
                ("pgrds", _pgrds(given)),
                ("ping", _vips(given)),
            ):
                if entries:
                    targets.setdefault(job, []).extend(entries)
        if own:
            register[host] = own
    _cluster_names(hosts, register)
    return {"register": register, "vmetrics_targets": targets}


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_seq(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _port(value: Any, default: int) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else default


def _address(value: Any) -> str | None:
    """An address, without the length of its network."""
    try:
        return str(ipaddress.ip_address(str(value).split("/", 1)[0]))
    except ValueError:
        return None


def _instance(given: dict[str, Any]) -> tuple[str, str] | None:
    cluster, seq = given.get("pg_cluster"), given.get("pg_seq")
    if not _is_word(cluster) or not _is_seq(seq):
        return None
    return str(cluster), f"{cluster}-{seq}"


def _pgsql(given: dict[str, Any], own: dict[str, Any]) -> None:
    known = _instance(given)
    if known is None:
        return
    cls, ins = known
    found = [
        {"job": "pgsql", "port": _port(given.get(f"{name}_port"), port), "cls": cls, "ins": ins}
        for name, port in _PGSQL
        if given.get(f"{name}_enabled", True) is True
    ]
    if given.get("patroni_enabled", True) is True and not _tls(given):
        port = _port(given.get("patroni_port"), 8008)
        found.append({"job": "pgsql", "port": port, "cls": cls, "ins": ins})
    own["pgsql"] = {"targets": found}
    if given.get("ip"):
        own["pgsql"]["dns"] = [{"address": given["ip"], "names": [ins]}]


def _tls(given: dict[str, Any]) -> bool:
    return given.get("patroni_ssl_enabled", False) is True


def _patroni(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Patroni over TLS is a job of its own, whose targets carry the job `pgsql`."""
    known = _instance(given)
    if known is None or not _tls(given) or given.get("patroni_enabled", True) is not True:
        return []
    labels = {"job": "pgsql", "cls": known[0], "ins": known[1], "ip": given["ip"]}
    port = _port(given.get("patroni_port"), 8008)
    return [{"targets": [f"{given['ip']}:{port}"], "labels": labels}]


def _members(given: dict[str, Any], own: dict[str, Any]) -> None:
    for job, cluster, usual, number, port, default in _MEMBERS:
        cls, seq = given.get(cluster, usual), given.get(number)
        if not _is_word(cls) or not _is_seq(seq):
            continue
        ins = f"{cls}-{seq}"
        own[job] = {
            "targets": [
                {"job": job, "port": _port(given.get(port), default), "cls": cls, "ins": ins}
            ]
        }
        if job == "minio" and given.get("ip"):
            node = str(given.get("minio_node", "${minio_cluster}-${minio_seq}.pigsty"))
            node = node.replace("${minio_cluster}", str(cls)).replace("${minio_seq}", str(seq))
            names = [name for name in dict.fromkeys([ins, node]) if _is_word(name)]
            own[job]["dns"] = [{"address": given["ip"], "names": names}]


def _docker(given: dict[str, Any], own: dict[str, Any]) -> None:
    if given.get("docker_enabled") is True:
        port = _port(given.get("docker_exporter_port"), _DOCKER_PORT)
        own["docker"] = {"targets": [{"job": "docker", "port": port}]}


def _juice(given: dict[str, Any], own: dict[str, Any]) -> None:
    instances = given.get("juice_instances")
    ports = [
        _port(instance.get("port"), 0)
        for instance in (instances.values() if isinstance(instances, dict) else ())
        if isinstance(instance, dict)
    ]
    found = [{"job": "juice", "port": port} for port in ports if port]
    if found:
        own["juice"] = {"targets": found}


def _vip(given: dict[str, Any]) -> str | None:
    return _address(given.get("vip_address")) if given.get("vip_enabled") is True else None


def _node_vip(given: dict[str, Any], own: dict[str, Any]) -> None:
    vip = _vip(given)
    if vip is not None:
        port = _port(given.get("vip_exporter_port"), _KEEPALIVED_PORT)
        own["vip"] = {"targets": [{"job": "node", "port": port, "labels": {"vip": vip}}]}


def _redis(given: dict[str, Any]) -> list[dict[str, Any]]:
    cluster, node = given.get("redis_cluster"), given.get("redis_node")
    instances = given.get("redis_instances")
    if not _is_word(cluster) or not _is_seq(node) or not isinstance(instances, dict):
        return []
    return [
        {
            "targets": [f"redis://{given['ip']}:{port}"],
            "labels": {"cls": cluster, "ins": f"{cluster}-{node}-{port}", "ip": given["ip"]},
        }
        for port in instances
        if _port(port, 0)
    ]


def _pgrds(given: dict[str, Any]) -> list[dict[str, Any]]:
    """PostgreSQL elsewhere, through exporters on this host, one port each."""
    exporters = given.get("pg_exporters")
    out = []
    for port, target in exporters.items() if isinstance(exporters, dict) else ():
        known = _instance(target) if isinstance(target, dict) else None
        address = target.get("pg_host") if isinstance(target, dict) else None
        if known is not None and _port(port, 0):
            ip = address if isinstance(address, str) and address else given["ip"]
            labels = {"cls": known[0], "ins": known[1], "ip": ip}
            out.append({"targets": [f"{given['ip']}:{port}"], "labels": labels})
    return out


def _vips(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Addresses that move between nodes are probed from each of them."""
    out = []
    vip = _vip(given)
    if vip is not None:
        labels = {"ip": given["ip"], "ins": given["ins"], "cls": given["cls"]}
        out.append({"targets": [vip], "labels": {**labels, "vip": vip, "job": "node-vip"}})
    known, vip = _instance(given), _pg_vip(given)
    if known is not None and vip is not None:
        labels = {"ip": given["ip"], "ins": known[1], "cls": known[0]}
        out.append({"targets": [vip], "labels": {**labels, "vip": vip, "job": "pgsql-vip"}})
    return out


def _pg_vip(given: dict[str, Any]) -> str | None:
    return _address(given.get("pg_vip_address")) if given.get("pg_vip_enabled") is True else None


def _cluster_names(hosts: dict[str, dict[str, Any]], register: dict[str, dict[str, Any]]) -> None:
    """Names of clusters, each published by one host of it: the primary, or the first with a VIP."""
    done: set[str] = set()
    named: set[str] = set()
    for host, given in hosts.items():
        known = _instance(given)
        if known is not None and given.get("pg_role") == "primary" and known[0] not in done:
            name = f"{known[0]}{given.get('pg_dns_suffix') or ''}"
            target = given.get("pg_dns_target", "auto")
            address = {
                "auto": _pg_vip(given) or given.get("ip"),
                "primary": given.get("ip"),
                "vip": _pg_vip(given),
            }.get(str(target), _address(target))
            if address and _is_word(name):
                done.add(known[0])
                named.add(name)
                register[host]["pgsql"].setdefault("dns", []).append(
                    {"address": address, "names": [name]}
                )
    for role in ("master", None):
        for host, given in hosts.items():
            vip = _vip(given)
            name = f"{given['cls']}{given.get('vip_dns_suffix') or ''}"
            matches = role is None or given.get("vip_role") == role
            if vip is not None and matches and _is_word(name) and name not in named:
                named.add(name)
                register[host]["vip"]["dns"] = [{"address": vip, "names": [name]}]
