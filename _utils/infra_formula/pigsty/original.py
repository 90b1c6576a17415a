"""A model of Pigsty's templates: what Pigsty serves with an inventory.

It is written from the facts of the templates, and shares nothing with the conversion but the
reading of inventories: so a fault of the one does not hide in the other.
"""

from __future__ import annotations

import re
from typing import Any

from infra_formula.pigsty import releases
from infra_formula.pigsty.hosts import Hosts
from infra_formula.pigsty.inventory import Inventory
from infra_formula.pigsty.served import Served, Web, target

_TRUE = ("yes", "on", "1", "true")
_DEFAULT_RECORDS = [
    "${admin_ip} i.pigsty",
    "${admin_ip} m.pigsty supa.pigsty api.pigsty adm.pigsty cli.pigsty ddl.pigsty",
]
_SWITCHES = {
    # part: its switches in Pigsty 4, and in Pigsty 2 and 3
    "metrics": (["vmetrics_enabled"], ["prometheus_enabled"]),
    "logs": (["vlogs_enabled"], ["loki_enabled"]),
    "traces": (["vtraces_enabled"], None),
    "rules": (["vmalert_enabled", "vmetrics_enabled"], ["prometheus_enabled"]),
    "alerts": (["alertmanager_enabled"], ["alertmanager_enabled"]),
    "grafana": (["grafana_enabled"], ["grafana_enabled"]),
    "blackbox": (["blackbox_enabled"], ["blackbox_enabled"]),
    "portal": (["nginx_enabled"], ["nginx_enabled"]),
    "names": (["dns_enabled"], ["dns_enabled"]),
    "repository": (["repo_enabled"], ["repo_enabled"]),
    "pushgateway": (None, ["pushgateway_enabled"]),
}
_EXPORTERS = (
    ("pg_exporter", 9630, ("pg_exporter_enabled",)),
    ("pgbouncer_exporter", 9631, ("pgbouncer_enabled", "pgbouncer_exporter_enabled")),
    ("pgbackrest_exporter", 9854, ("pgbackrest_enabled", "pgbackrest_exporter_enabled")),
)
_SINCE = {"pgbackrest_exporter": (3, 4)}
"""Exporters that a release before this one does not have."""


def served(inventory: Inventory, hosts: Hosts, release: releases.Release) -> Served:
    """What Pigsty serves."""
    model = _Model(inventory, hosts, release)
    infra = hosts.groups.get("infra", [])
    return {
        "parts": {hosts.key(host): model.parts(host) for host in infra},
        "names": {hosts.key(host): model.names(host) for host in infra},
        "records": {hosts.key(host): model.records(host) for host in infra},
        "hosts": {hosts.key(host): model.lines(host) for host in inventory["hosts"]},
        "targets": model.targets(),
    }


class _Model:
    def __init__(self, inventory: Inventory, hosts: Hosts, release: releases.Release) -> None:
        self.inventory, self.hosts, self.release = inventory, hosts, release
        self.is_old = not releases.has_victoria(release)
        self.infra = hosts.groups.get("infra", [])

    def var(self, host: str, name: str, default: Any = None) -> Any:
        """The value of a variable; the default if it is not set, or not known."""
        if name not in self.hosts.variables[host]:
            return default
        value, problem = self.hosts.value(host, name)
        return default if problem else value

    def on(self, host: str, name: str, default: bool = True) -> bool:
        """A variable as Ansible's filter `bool` reads it."""
        return _as_bool(self.var(host, name, default))

    def admin_ip(self, host: str) -> str:
        address = self.var(host, "admin_ip")
        return str(address or (self.hosts.key(self.infra[0]) if self.infra else "10.10.10.10"))

    # -- INFRA

    def parts(self, host: str) -> set[str]:
        result = set()
        for part, switches in _SWITCHES.items():
            names = switches[1 if self.is_old else 0]
            if names and all(self.on(host, name) for name in names):
                result.add(part)
        return result

    def ports(self, host: str) -> dict[str, str]:
        """Port of an INFRA node → its program."""
        if self.is_old:
            known = releases.ports(self.release)
            ports = {
                "metrics": self.var(host, "prometheus_port", known.get("prometheus")),
                "logs": known.get("loki"),
                "alerts": self.var(host, "alertmanager_port", known.get("alertmanager")),
            }
        else:
            ports = {
                "metrics": self.var(host, "vmetrics_port", 8428),
                "logs": self.var(host, "vlogs_port", 9428),
                "traces": self.var(host, "vtraces_port", 10428),
                "rules": self.var(host, "vmalert_port", 8880),
                "alerts": self.var(host, "alertmanager_port", 9059),
            }
        ports["grafana"] = self.var(host, "grafana_port", 3000)
        ports["blackbox"] = self.var(host, "blackbox_port", 9115)
        return {str(port): program for program, port in ports.items()}

    def names(self, host: str) -> dict[str, Web]:
        """Name → what the portal of an INFRA node answers."""
        if not self.on(host, "nginx_enabled"):
            return {}
        portal = self.var(host, "infra_portal", releases.defaults(self.release).get("infra_portal"))
        raw = self.hosts.variables[host].get("infra_portal")
        if raw is not None and isinstance(raw["value"], dict):
            portal = {key: self._resolved(host, entry) for key, entry in raw["value"].items()}
        if portal is None:
            portal = {"home": {"domain": "i.pigsty"}}
        sites: dict[str, Web] = {}
        entries = portal if isinstance(portal, dict) else {}
        for key in sorted(entries, key=lambda key: f"{key}.conf"):
            entry = entries[key]
            if not isinstance(entry, dict) or entry.get("domain") in (None, ""):
                continue
            web = self._web(host, str(key), entry)
            if web is None:
                continue
            for name in _names(entry):
                sites.setdefault(name, web)
        return sites

    def _resolved(self, host: str, entry: Any) -> Any:
        if not isinstance(entry, dict):
            return self.hosts.resolve(entry, host)[0]
        result = {}
        for key, value in entry.items():
            if isinstance(value, list):
                items = [self.hosts.resolve(item, host) for item in value]
                result[key] = [item for item, problem in items if problem is None]
                continue
            resolved, problem = self.hosts.resolve(value, host)
            if problem is None:
                result[key] = resolved
        return result

    def _web(self, host: str, key: str, entry: dict[str, Any]) -> Web | None:
        mode = self.var(host, "nginx_sslmode", "enable")
        is_home = key == "home"
        home = str(self.var(host, "nginx_home", "/www")).rstrip("/")
        listing = "index" in entry and _as_bool(entry["index"])
        if "conf" in entry:
            upstream = f"template {entry['conf']}"
        elif is_home:
            upstream = str(entry.get("path") or home).rstrip("/")
            listing = listing or "index" not in entry
        elif "path" in entry:
            upstream = str(entry["path"]).rstrip("/")
        elif "endpoint" in entry:
            upstream = self._upstream(host, str(entry["endpoint"]))
            listing = False
        else:
            return None
        enforced = mode == "enforce" or _as_bool(entry.get("enforce_https"))
        return {
            "upstream": upstream,
            "scheme": str(entry.get("scheme") or "http"),
            "websocket": not is_home and "path" not in entry and _as_bool(entry.get("websocket")),
            "login": not self.is_old and _as_bool(entry.get("auth")),
            "https": mode != "disable",
            "redirect": mode != "disable" and enforced and not is_home,
            "listing": listing,
        }

    def _upstream(self, host: str, endpoint: str) -> str:
        text = endpoint.replace("${admin_ip}", self.admin_ip(host)).strip()
        if text.startswith("unix:"):
            return text
        place, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            place, port = text, "80"
        own = {"127.0.0.1", "localhost", *self.infra, *map(self.hosts.key, self.infra)}
        infra = set(map(self.hosts.key, self.infra))
        own |= {name for name, addresses in self.records(host).items() if addresses & infra}
        own |= {name for name, address in self.lines(host) if address in infra}
        program = self.ports(host).get(port) if place in own else None
        return f"{program} of {place}" if program else f"{place}:{port}"

    # -- names

    def records(self, host: str) -> dict[str, set[str]]:
        """Name → addresses, in the name server of an INFRA node."""
        result: dict[str, set[str]] = {}
        lines = self.hosts.variables[host].get("dns_records")
        usual = releases.defaults(self.release).get("dns_records", _DEFAULT_RECORDS)
        pairs = self._pairs(host, usual if lines is None else lines["value"])
        for name, address in [*pairs, *self._module_names()]:
            result.setdefault(name.lower(), set()).add(address)
        return result

    def _pairs(self, host: str, raw: Any) -> list[tuple[str, str]]:
        """Names and addresses of lines of hosts(5)."""
        if not isinstance(raw, list):
            raw = self.hosts.resolve(raw, host)[0]
        pairs = []
        for line in raw if isinstance(raw, list) else ():
            value, problem = self.hosts.resolve(line, host)
            if problem or not isinstance(value, str):
                continue
            words = value.replace("${admin_ip}", self.admin_ip(host)).split("#")[0].split()
            if words and re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]+", words[0]):
                # dnsmasq does not serve a name that is none.
                names = [w for w in words[1:] if re.fullmatch(r"[A-Za-z0-9_.-]+", w)]
                pairs += [(name.lower().rstrip("."), words[0]) for name in names]
        return pairs

    def lines(self, host: str) -> set[tuple[str, str]]:
        """What Pigsty adds to ``/etc/hosts``."""
        if not self.on(host, "node_write_etc_hosts"):
            return set()
        defaults = releases.defaults(self.release)
        usual = defaults.get("node_default_etc_hosts", ["${admin_ip} i.pigsty"])
        result: set[tuple[str, str]] = set()
        for name, default in (("node_default_etc_hosts", usual), ("node_etc_hosts", [])):
            variable = self.hosts.variables[host].get(name)
            result |= set(self._pairs(host, default if variable is None else variable["value"]))
        return result

    def _module_names(self) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        clusters: set[str] = set()
        vips: dict[str, str] = {}
        for host in self.inventory["hosts"]:
            ip = self.hosts.address(host)
            if ip is None:
                continue
            instance = self._instance(host, "pg")
            if instance:
                pairs.append((instance[1], ip))
                if self.var(host, "pg_role") == "primary" and instance[0] not in clusters:
                    clusters.add(instance[0])
                    address = self._cluster_address(host, ip)
                    if address:
                        suffix = self.var(host, "pg_dns_suffix") or ""
                        pairs.append((f"{instance[0]}{suffix}", address))
            minio = self._instance(host, "minio", "minio")
            if minio:
                pattern = str(self.var(host, "minio_node", "${minio_cluster}-${minio_seq}.pigsty"))
                node = pattern.replace("${minio_cluster}", minio[0])
                node = node.replace("${minio_seq}", minio[1].rpartition("-")[2])
                pairs += [(minio[1], ip), (node, ip)]
            vip = self._vip(host)
            if vip:
                suffix = self.var(host, "vip_dns_suffix") or ""
                vips.setdefault(f"{self.identity(host)[1]}{suffix}", vip)
        return [*pairs, *vips.items()]

    def _cluster_address(self, host: str, ip: str) -> str | None:
        wanted = str(self.var(host, "pg_dns_target", "auto"))
        vip = self._pg_vip(host)
        if wanted == "none":
            return None
        return {"auto": vip or ip, "primary": ip, "vip": vip}.get(wanted, wanted)

    # -- targets

    def identity(self, host: str) -> tuple[str, str]:
        """Name and cluster of a node."""
        name, cluster = self.var(host, "nodename"), self.var(host, "node_cluster")
        instance = self._instance(host, "pg")
        by_database = self.on(host, "node_id_from_pg")
        if instance and by_database:
            name = instance[1]
        of_database = self.var(host, "pg_cluster")
        if by_database and of_database and instance and cluster in (None, "", "nodes"):
            cluster = of_database
        return str(name or host), str(cluster or "nodes")

    def _instance(self, host: str, module: str, usual: str | None = None) -> tuple[str, str] | None:
        cluster = self.var(host, f"{module}_cluster", usual)
        seq = self.var(host, f"{module}_seq")
        if not isinstance(cluster, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", cluster):
            return None
        if isinstance(seq, bool) or not re.fullmatch(r"[0-9]+", str(seq)):
            return None
        return cluster, f"{cluster}-{int(str(seq))}"

    def _vip(self, host: str) -> str | None:
        vip = self.var(host, "vip_address")
        enabled = self.on(host, "vip_enabled", default=False)
        return str(vip).split("/")[0] if enabled and vip else None

    def _pg_vip(self, host: str) -> str | None:
        vip = self.var(host, "pg_vip_address")
        enabled = self.on(host, "pg_vip_enabled", default=False)
        return str(vip).split("/")[0] if enabled and vip else None

    def targets(self) -> set[str]:
        result: set[str] = set()
        exporting = self._kafka_exporters()
        for host in self.inventory["hosts"]:
            ip = self.hosts.address(host)
            if ip is not None:
                result |= self._node_targets(host, ip) | self._pgsql_targets(host, ip)
                result |= self._other_targets(host, ip, host in exporting)
        return result

    def _node_targets(self, host: str, ip: str) -> set[str]:
        name, cluster = self.identity(host)
        targets = {target("ping", cluster, name, ip)}
        shipper = "promtail_enabled" if self.is_old else "vector_enabled"
        # Promtail's metrics were on another port; its place is that of Vector.
        for switch, port, usual in (
            ("node_exporter_enabled", "node_exporter_port", 9100),
            ("haproxy_enabled", "haproxy_exporter_port", 9101),
            (shipper, "vector_port", 9598),
        ):
            if self.on(host, switch):
                targets.add(target("node", cluster, name, f"{ip}:{self.var(host, port, usual)}"))
        vip = self._vip(host)
        if vip:
            port = self.var(host, "vip_exporter_port", 9650)
            targets.add(target("node", cluster, name, f"{ip}:{port}"))
            targets.add(target("ping", cluster, name, vip))
        if self.on(host, "docker_enabled", default=False):
            port = self.var(host, "docker_exporter_port", 9323)
            targets.add(target("docker", cluster, name, f"{ip}:{port}"))
        return targets

    def _pgsql_targets(self, host: str, ip: str) -> set[str]:
        targets: set[str] = set()
        instance = self._instance(host, "pg")
        if instance:
            for exporter, usual, switches in _EXPORTERS:
                is_there = self.release["version"] >= _SINCE.get(exporter, (2, 0))
                if is_there and all(self.on(host, switch) for switch in switches):
                    port = self.var(host, f"{exporter}_port", usual)
                    targets.add(target("pgsql", *instance, f"{ip}:{port}"))
            if self.on(host, "patroni_enabled") and self.var(host, "patroni_mode") != "remove":
                tls = self.on(host, "patroni_ssl_enabled", default=False)
                port = self.var(host, "patroni_port", 8008)
                targets.add(target("patroni" if tls else "pgsql", *instance, f"{ip}:{port}"))
            vip = self._pg_vip(host)
            if vip:
                targets.add(target("ping", *instance, vip))
        remote = self.var(host, "pg_exporters")
        for port, spec in remote.items() if isinstance(remote, dict) else ():
            if isinstance(spec, dict) and "pg_cluster" in spec and "pg_seq" in spec:
                name = f"{spec['pg_cluster']}-{spec['pg_seq']}"
                targets.add(target("pgrds", str(spec["pg_cluster"]), name, f"{ip}:{port}"))
        return targets

    def _other_targets(self, host: str, ip: str, exports_kafka: bool) -> set[str]:
        targets: set[str] = set()
        name, cluster = self.identity(host)
        for module, usual, variable, port in (
            ("etcd", "etcd", "etcd_port", 2379),
            ("minio", "minio", "minio_port", 9000),
            ("mysql", None, "mysql_exporter_port", 9104),
            ("kafka", None, "kafka_jmx_exporter_port", 9404),
        ):
            instance = self._instance(host, module, usual)
            if instance:
                address = f"{ip}:{self.var(host, variable, port)}"
                targets.add(target(module, *instance, address))
                if module == "kafka" and exports_kafka:
                    port = self.var(host, "kafka_exporter_port", 9308)
                    targets.add(target(module, *instance, f"{ip}:{port}"))
        redis, node = self.var(host, "redis_cluster"), self.var(host, "redis_node")
        instances = self.var(host, "redis_instances")
        if redis and node is not None and isinstance(instances, dict):
            for port in instances:
                place = f"redis://{ip}:{port}"
                targets.add(target("redis", str(redis), f"{redis}-{node}-{port}", place))
        juice = self.var(host, "juice_instances")
        for spec in juice.values() if isinstance(juice, dict) else ():
            if isinstance(spec, dict) and spec.get("state", "create") != "absent":
                address = f"{ip}:{spec.get('port', 9567)}"
                targets.add(target("juice", cluster, name, address))
        return targets

    def _kafka_exporters(self) -> set[str]:
        brokers: dict[str, list[tuple[int, str]]] = {}
        for host in self.inventory["hosts"]:
            instance = self._instance(host, "kafka")
            role = self.var(host, "kafka_role") or "combined"
            if instance and role in ("combined", "broker"):
                seq = int(instance[1].rpartition("-")[2])
                brokers.setdefault(instance[0], []).append((seq, host))
        return {host for members in brokers.values() for _, host in sorted(members)[:2]}


def _as_bool(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in _TRUE
    return value in (True, 1)


def _names(entry: dict[str, Any]) -> list[str]:
    """Names that nginx reads in a `server_name` of these."""
    more = entry.get("domains")
    texts = [entry["domain"], *(more if isinstance(more, list) else [more] if more else [])]
    words = [word for text in texts for word in str(text).replace(";", " ").split()]
    result = []
    for word in words:
        plain = word.lower().rstrip(".")
        result += [plain[1:], f"*{plain}"] if plain.startswith(".") else [plain]
    # A regular expression and `_` are no names that anybody asks for.
    return [name for name in result if re.fullmatch(r"(?:\*\.)?[a-z0-9_.-]*[a-z0-9]", name)]
