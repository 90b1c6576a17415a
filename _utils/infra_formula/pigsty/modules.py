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

from infra_formula import addresses

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


def identity(variables: dict[str, Any]) -> dict[str, str]:
    """Name and cluster of a node of PostgreSQL, which are those of its instance in Pigsty.

    variables
        Variables of the host, rendered.

    Returns ``nodename`` and ``node_cluster``, as far as they follow from it; both may be set by
    hand, and ``node_id_from_pg: false`` keeps them apart.
    """
    cluster, seq = variables.get("pg_cluster"), variables.get("pg_seq")
    if (
        variables.get("node_id_from_pg", True) is not True
        or not _is_word(cluster)
        or not _is_seq(seq)
    ):
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
    for host, variables in hosts.items():
        published: dict[str, Any] = {}
        for publisher in (_pgsql, _members, _docker, _juice, _node_vip):
            publisher(variables, published)
        if variables.get("ip"):
            for job, entries in (
                ("patroni", _patroni(variables)),
                ("redis", _redis(variables)),
                ("pgrds", _pgrds(variables)),
                ("ping", _vips(variables)),
            ):
                if entries:
                    targets.setdefault(job, []).extend(entries)
        if published:
            register[host] = published
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


def _instance(variables: dict[str, Any]) -> tuple[str, str] | None:
    cluster, seq = variables.get("pg_cluster"), variables.get("pg_seq")
    if not _is_word(cluster) or not _is_seq(seq):
        return None
    return str(cluster), f"{cluster}-{seq}"


def _pgsql(variables: dict[str, Any], published: dict[str, Any]) -> None:
    names = _instance(variables)
    if names is None:
        return
    cluster, instance = names
    ports = [
        _port(variables.get(f"{exporter}_port"), port)
        for exporter, port in _PGSQL
        if variables.get(f"{exporter}_enabled", True) is True
    ]
    if variables.get("patroni_enabled", True) is True and not _tls(variables):
        ports.append(_port(variables.get("patroni_port"), 8008))
    published["pgsql"] = {
        "targets": [{"job": "pgsql", "port": p, "cls": cluster, "ins": instance} for p in ports]
    }
    if variables.get("ip"):
        published["pgsql"]["dns"] = [{"address": variables["ip"], "names": [instance]}]


def _tls(variables: dict[str, Any]) -> bool:
    return variables.get("patroni_ssl_enabled", False) is True


def _patroni(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Patroni over TLS is a job of its own, whose targets carry the job `pgsql`."""
    instance = _instance(variables)
    if (
        instance is None
        or not _tls(variables)
        or variables.get("patroni_enabled", True) is not True
    ):
        return []
    labels = {"job": "pgsql", "cls": instance[0], "ins": instance[1], "ip": variables["ip"]}
    port = _port(variables.get("patroni_port"), 8008)
    return [{"targets": [f"{variables['ip']}:{port}"], "labels": labels}]


def _members(variables: dict[str, Any], published: dict[str, Any]) -> None:
    for job, cluster_variable, usual, seq_variable, port_variable, usual_port in _MEMBERS:
        cluster, seq = variables.get(cluster_variable, usual), variables.get(seq_variable)
        if not _is_word(cluster) or not _is_seq(seq):
            continue
        instance = f"{cluster}-{seq}"
        port = _port(variables.get(port_variable), usual_port)
        published[job] = {"targets": [{"job": job, "port": port, "cls": cluster, "ins": instance}]}
        if job == "minio" and variables.get("ip"):
            node = str(variables.get("minio_node", "${minio_cluster}-${minio_seq}.pigsty"))
            node = node.replace("${minio_cluster}", str(cluster)).replace("${minio_seq}", str(seq))
            names = [name for name in dict.fromkeys([instance, node]) if _is_word(name)]
            published[job]["dns"] = [{"address": variables["ip"], "names": names}]


def _docker(variables: dict[str, Any], published: dict[str, Any]) -> None:
    if variables.get("docker_enabled") is True:
        port = _port(variables.get("docker_exporter_port"), _DOCKER_PORT)
        published["docker"] = {"targets": [{"job": "docker", "port": port}]}


def _juice(variables: dict[str, Any], published: dict[str, Any]) -> None:
    instances = variables.get("juice_instances")
    ports = [
        _port(instance.get("port"), 0)
        for instance in (instances.values() if isinstance(instances, dict) else ())
        if isinstance(instance, dict)
    ]
    found = [{"job": "juice", "port": port} for port in ports if port]
    if found:
        published["juice"] = {"targets": found}


def _vip(variables: dict[str, Any]) -> str | None:
    return _address(variables.get("vip_address")) if variables.get("vip_enabled") is True else None


def _node_vip(variables: dict[str, Any], published: dict[str, Any]) -> None:
    vip = _vip(variables)
    if vip is not None:
        port = _port(variables.get("vip_exporter_port"), _KEEPALIVED_PORT)
        published["vip"] = {"targets": [{"job": "node", "port": port, "labels": {"vip": vip}}]}


def _redis(variables: dict[str, Any]) -> list[dict[str, Any]]:
    cluster, node = variables.get("redis_cluster"), variables.get("redis_node")
    instances = variables.get("redis_instances")
    if not _is_word(cluster) or not _is_seq(node) or not isinstance(instances, dict):
        return []
    return [
        {
            "targets": [f"redis://{addresses.in_url(variables['ip'])}:{port}"],
            "labels": {"cls": cluster, "ins": f"{cluster}-{node}-{port}", "ip": variables["ip"]},
        }
        for port in instances
        if _port(port, 0)
    ]


def _pgrds(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """PostgreSQL elsewhere, through exporters on this host, one port each."""
    exporters = variables.get("pg_exporters")
    out = []
    for port, target in exporters.items() if isinstance(exporters, dict) else ():
        instance = _instance(target) if isinstance(target, dict) else None
        address = target.get("pg_host") if isinstance(target, dict) else None
        if instance is not None and _port(port, 0):
            ip = address if isinstance(address, str) and address else variables["ip"]
            labels = {"cls": instance[0], "ins": instance[1], "ip": ip}
            out.append({"targets": [f"{variables['ip']}:{port}"], "labels": labels})
    return out


def _vips(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Addresses that move between nodes are probed from each of them."""
    out = []
    vip = _vip(variables)
    if vip is not None:
        labels = {"ip": variables["ip"], "ins": variables["ins"], "cls": variables["cls"]}
        out.append({"targets": [vip], "labels": {**labels, "vip": vip, "job": "node-vip"}})
    instance, vip = _instance(variables), _pg_vip(variables)
    if instance is not None and vip is not None:
        labels = {"ip": variables["ip"], "ins": instance[1], "cls": instance[0]}
        out.append({"targets": [vip], "labels": {**labels, "vip": vip, "job": "pgsql-vip"}})
    return out


def _pg_vip(variables: dict[str, Any]) -> str | None:
    return (
        _address(variables.get("pg_vip_address"))
        if variables.get("pg_vip_enabled") is True
        else None
    )


def _cluster_names(hosts: dict[str, dict[str, Any]], register: dict[str, dict[str, Any]]) -> None:
    """Names of clusters, each published by one host of it: the primary, or the first with a VIP."""
    done: set[str] = set()
    named: set[str] = set()
    for host, variables in hosts.items():
        instance = _instance(variables)
        if (
            instance is not None
            and variables.get("pg_role") == "primary"
            and instance[0] not in done
        ):
            name = f"{instance[0]}{variables.get('pg_dns_suffix') or ''}"
            target = variables.get("pg_dns_target", "auto")
            address = {
                "auto": _pg_vip(variables) or variables.get("ip"),
                "primary": variables.get("ip"),
                "vip": _pg_vip(variables),
            }.get(str(target), _address(target))
            if address and _is_word(name):
                done.add(instance[0])
                named.add(name)
                register[host]["pgsql"].setdefault("dns", []).append(
                    {"address": address, "names": [name]}
                )
    for role in ("master", None):
        for host, variables in hosts.items():
            vip = _vip(variables)
            name = f"{variables['cls']}{variables.get('vip_dns_suffix') or ''}"
            matches = role is None or variables.get("vip_role") == role
            if vip is not None and matches and _is_word(name) and name not in named:
                named.add(name)
                register[host]["vip"]["dns"] = [{"address": vip, "names": [name]}]
