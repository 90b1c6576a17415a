"""What the other modules of a Pigsty inventory run, as this formula registers it.

Ports, labels and names are those that Pigsty's own registration gives them: pg_exporter 9630,
pgbouncer_exporter 9631, pgbackrest_exporter 9854, Patroni 8008, etcd 2379, MinIO 9000,
redis_exporter 9121, mysqld_exporter 9104, Kafka's JMX exporter 9404, kafka_exporter 9308, Docker
9323, JuiceFS 9567 and keepalived_exporter 9650.

Everything here is pure.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from infra_formula import addresses
from infra_formula.registration import canonical

_PGSQL = (
    # exporter, its port, the program that it needs
    ("pg_exporter", 9630, None),
    ("pgbouncer_exporter", 9631, "pgbouncer"),
    ("pgbackrest_exporter", 9854, "pgbackrest"),
)
_MEMBERS = (
    # job, variable of the cluster, its default, variable of the number, variable of the port, port
    ("etcd", "etcd_cluster", "etcd", "etcd_seq", "etcd_port", 2379),
    ("minio", "minio_cluster", "minio", "minio_seq", "minio_port", 9000),
    ("mysql", "mysql_cluster", None, "mysql_seq", "mysql_exporter_port", 9104),
)
_KAFKA_EXPORTERS = 2  # so many brokers of a cluster, those with the lowest numbers, run one
_JUICE_PORT = 9567
_KAFKA_JMX_PORT = 9404
_KAFKA_PORT = 9308
_DOCKER_PORT = 9323
_KEEPALIVED_PORT = 9650
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


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

    Returns ``register`` (host → value of the parameter of that name), ``vmetrics_targets``
    (value of that parameter: what the contract of registration cannot say), and ``problems``
    (host → variable → why nothing is registered because of it).
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
    _kafka(hosts, register)
    register = {host: register[host] for host in hosts if host in register}
    _cluster_names(hosts, register)
    problems = {host: _problems(variables) for host, variables in hosts.items()}
    return {"register": register, "vmetrics_targets": targets, "problems": problems}


def _problems(variables: dict[str, Any]) -> dict[str, str]:
    """Variable → why nothing is registered because of it."""
    problems = {}
    for module, number in (
        ("pg", "pg_seq"), ("etcd", "etcd_seq"), ("minio", "minio_seq"), ("mysql", "mysql_seq"),
        ("kafka", "kafka_seq"), ("redis", "redis_node"),
    ):  # fmt: skip
        name = f"{module}_cluster"
        if name in variables and not _is_word(variables[name]):
            problems[name] = (
                "expected a name of letters, digits, dots and hyphens; nothing is registered"
            )
        if number in variables and not _is_seq(variables[number]):
            problems[number] = "expected a number; nothing is registered"
    return problems


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and ".." not in value


def _dns_names(*names: str) -> list[str]:
    """Names in the form of DNS, those that it can hold."""
    canonical_names = dict.fromkeys(canonical.name(name) for name in names)
    return [name for name in canonical_names if canonical.is_dns_name(name)]


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
        for exporter, port, program in _PGSQL
        if variables.get(f"{exporter}_enabled", True) is True
        and (program is None or variables.get(f"{program}_enabled", True) is True)
    ]
    if _has_patroni(variables) and not _tls(variables):
        ports.append(_port(variables.get("patroni_port"), 8008))
    published["pgsql"] = {
        "targets": [{"job": "pgsql", "port": p, "cls": cluster, "ins": instance} for p in ports]
    }
    names_of_dns = _dns_names(instance)
    if variables.get("ip") and names_of_dns:
        published["pgsql"]["dns"] = [{"address": variables["ip"], "names": names_of_dns}]


def _has_patroni(variables: dict[str, Any]) -> bool:
    enabled = variables.get("patroni_enabled", True) is True
    return enabled and variables.get("patroni_mode") != "remove"


def _tls(variables: dict[str, Any]) -> bool:
    return variables.get("patroni_ssl_enabled", False) is True


def _patroni(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Patroni over TLS is a job of its own, whose targets carry the job `pgsql`."""
    instance = _instance(variables)
    if instance is None or not _tls(variables) or not _has_patroni(variables):
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
            names = _dns_names(instance, node)
            if names:
                published[job]["dns"] = [{"address": variables["ip"], "names": names}]


def _kafka(hosts: dict[str, dict[str, Any]], register: dict[str, dict[str, Any]]) -> None:
    """Kafka's JMX exporter on each node, and kafka_exporter on the first brokers of a cluster."""
    brokers: dict[str, list[tuple[int, str]]] = {}
    for host, variables in hosts.items():
        cluster, seq = variables.get("kafka_cluster"), variables.get("kafka_seq")
        if not _is_word(cluster) or not _is_seq(seq):
            continue
        role = str(variables.get("kafka_role") or "combined")
        if role in ("combined", "broker"):
            brokers.setdefault(str(cluster), []).append((int(str(seq)), host))
        names = {"cls": str(cluster), "ins": f"{cluster}-{seq}"}
        port = _port(variables.get("kafka_jmx_exporter_port"), _KAFKA_JMX_PORT)
        labels = {"role": role, "node_id": str(seq)}
        target = {"job": "kafka", "port": port, **names, "labels": labels}
        register.setdefault(host, {})["kafka"] = {"targets": [target]}
    for cluster, members in brokers.items():
        for seq, host in sorted(members)[:_KAFKA_EXPORTERS]:
            port = _port(hosts[host].get("kafka_exporter_port"), _KAFKA_PORT)
            target = {"job": "kafka", "port": port, "cls": cluster, "ins": f"{cluster}-{seq}"}
            register[host]["kafka"]["targets"].append(target)


def _docker(variables: dict[str, Any], published: dict[str, Any]) -> None:
    if variables.get("docker_enabled") is True:
        port = _port(variables.get("docker_exporter_port"), _DOCKER_PORT)
        published["docker"] = {"targets": [{"job": "docker", "port": port}]}


def _juice(variables: dict[str, Any], published: dict[str, Any]) -> None:
    instances = variables.get("juice_instances")
    ports = [
        _port(instance.get("port"), _JUICE_PORT)
        for instance in (instances.values() if isinstance(instances, dict) else ())
        if isinstance(instance, dict) and instance.get("state", "create") != "absent"
    ]
    targets = [{"job": "juice", "port": port} for port in dict.fromkeys(ports)]
    if targets:
        published["juice"] = {"targets": targets}


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
            if address and _dns_names(name):
                done.add(instance[0])
                named.add(name)
                register[host]["pgsql"].setdefault("dns", []).append(
                    {"address": address, "names": _dns_names(name)}
                )
    for role in ("master", None):
        for host, variables in hosts.items():
            vip = _vip(variables)
            name = f"{variables['cls']}{variables.get('vip_dns_suffix') or ''}"
            matches = role is None or variables.get("vip_role") == role
            if vip is not None and matches and _dns_names(name) and name not in named:
                named.add(name)
                register[host]["vip"]["dns"] = [{"address": vip, "names": _dns_names(name)}]
