"""A machine as Pigsty 3.6 lays it out, with real programs under Pigsty's unit names.

Paths, accounts and flags are facts of Pigsty v2.0 to v3.6. Prometheus, Alertmanager, the exporters,
nginx and dnsmasq are Debian's; Loki, Promtail, Pushgateway and Grafana have only their units and
data. Nothing here is of this formula.
"""

import sqlite3
import tempfile
import time
from pathlib import Path

from pigsty_site import _pki, script

ADDRESS = "10.10.10.10"
DAYS = 3  # of old samples
PACKAGES = [
    "nginx-light", "dnsmasq-base", "openssl", "apt-utils", "prometheus",
    "prometheus-alertmanager", "prometheus-blackbox-exporter", "prometheus-node-exporter",
]  # fmt: skip
UNITS = {
    "prometheus": ("prometheus", "/usr/bin/prometheus",
                   "--config.file=/etc/prometheus/prometheus.yml "
                   "--storage.tsdb.path=/data/prometheus/data --storage.tsdb.retention.time=15d"),
    "alertmanager": ("prometheus", "/usr/bin/prometheus-alertmanager",
                     "--config.file=/etc/alertmanager.yml "
                     "--cluster.advertise-address=0.0.0.0:9093 "
                     "--storage.path=/data/prometheus/alertmanager"),
    "blackbox_exporter": ("root", "/usr/bin/prometheus-blackbox-exporter",
                          "--config.file=/etc/blackbox.yml"),
    "node_exporter": ("root", "/usr/bin/prometheus-node-exporter", "--web.listen-address=:9100"),
    "loki": ("loki", "/usr/bin/python3", "-m http.server --directory /data/loki 3100"),
    "promtail": ("root", "/usr/bin/python3", "-m http.server --directory /etc/promtail 9080"),
    "pushgateway": ("prometheus", "/usr/bin/python3", "-m http.server 9091"),
}  # fmt: skip
UNIT = """\
[Unit]
Description={name}
After=network.target
[Service]
EnvironmentFile=-/etc/default/{name}
User={user}
ExecStart={program} ${variable}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5s
[Install]
WantedBy=multi-user.target
"""
DNSMASQ = """\
[Unit]
Description=DNS caching server.
[Service]
Type=forking
PIDFile=/run/dnsmasq.pid
ExecStart=/usr/sbin/dnsmasq -x /run/dnsmasq.pid
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
NGINX = """\
user  nginx;
worker_processes  1;
error_log  /var/log/nginx-error.log warn;
pid        /run/nginx.pid;
events { worker_connections  1024; }
http {
    include       /etc/nginx/mime.types;
    access_log  /var/log/nginx/access.log;
    include /etc/nginx/conf.d/*.conf;
}
"""
TLS = """\
    listen 80{default};
    listen 443 ssl{default};
    ssl_certificate     /etc/nginx/conf.d/cert/{domain}.crt;
    ssl_certificate_key /etc/nginx/conf.d/cert/{domain}.key;
"""
HOME = """\
include /etc/nginx/conf.d/haproxy/upstream-*.conf;
server {{
    server_name h.pigsty;
{tls}
    location /nginx {{ stub_status on; }}
    location / {{ root /www; index index.html; autoindex on; }}
    include /etc/nginx/conf.d/haproxy/location-*.conf;
}}
"""
PROXY = """\
upstream {name} {{ server {endpoint} max_fails=0; }}
server {{
    server_name {domain};
{tls}
    location / {{ proxy_pass http://{name}/; proxy_set_header Host $host; }}
}}
"""
PORTAL = {
    "grafana": ("g.pigsty", "3000"),
    "prometheus": ("p.pigsty", "9090"),
    "alertmanager": ("a.pigsty", "9093"),
}
JOBS = ("ping", "infra", "node", "docker", "etcd", "minio", "pgsql", "redis")
OWN = "server { listen 8076; return 200 own; }\n"


def build(machine):
    """Lay a machine of the lab out as Pigsty 3.6 does, and start what it starts."""
    run, write = machine.run, machine.write
    run(["apt-get", "update", "-q"])
    script(machine, _ACCOUNTS)
    write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
         "--no-install-recommends", *PACKAGES])  # fmt: skip
    run(["rm", "/usr/sbin/policy-rc.d"])
    _pki(machine)
    script(machine, _DIRECTORIES)
    for name, (user, program, flags) in UNITS.items():
        variable = f"{name.upper()}_OPTS"
        text = UNIT.format(name=name, user=user, program=program, variable=variable)
        write(f"/usr/lib/systemd/system/{name}.service", text)
        write(f"/etc/default/{name}", f'{variable}="{flags}"\n')
    write("/usr/lib/systemd/system/dnsmasq.service", DNSMASQ)
    _web(machine)
    write("/etc/dnsmasq.conf", "hostsdir=/etc/hosts.d\nno-hosts\nlisten-address=127.0.0.1,"
          f"{ADDRESS}\nport=53\nuser=dnsmasq\ngroup=dnsmasq\nbind-interfaces\n"
          "conf-dir=/etc/dnsmasq.d,.rpmnew,.rpmsave,.rpmorig\n")  # fmt: skip
    write("/etc/hosts.d/default", f"{ADDRESS} h.pigsty a.pigsty p.pigsty g.pigsty\n"
          f"{ADDRESS} api.pigsty adm.pigsty lab.pigsty git.pigsty wiki.pigsty\n")  # fmt: skip
    write("/etc/hosts.d/pg-test", "10.10.10.51 pg-test\n")
    _monitoring(machine)
    _old_samples(machine)
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "enable", "--now", *UNITS, "nginx", "dnsmasq"])


_ACCOUNTS = """
    groupadd --system infra
    account() {
        useradd --system --user-group --home-dir $2 --shell /usr/sbin/nologin --no-create-home $1
        usermod -aG infra $1
    }
    account prometheus /var/lib/prometheus
    account grafana /var/lib/grafana
    account loki /data/loki
    account dnsmasq /var/lib/dnsmasq
    account nginx /var/cache/nginx
"""
_DIRECTORIES = """
    mkdir -p /etc/dnsmasq.d /etc/loki /etc/promtail /etc/pigsty/dashboards /etc/hosts.d
    mkdir -p /var/lib/grafana
    install -d -o prometheus -g prometheus -m 0755 /data/prometheus
    install -d -o prometheus -g prometheus -m 0700 /data/prometheus/data
    install -d -o prometheus -g prometheus -m 0700 /data/prometheus/alertmanager
    install -d -o loki -m 0700 /data/loki /data/loki/chunks
    install -d -o prometheus -g prometheus -m 0750 /etc/prometheus /etc/prometheus/bin \
        /etc/prometheus/rules /etc/prometheus/targets
"""


def _web(machine):
    write = machine.write
    write("/etc/nginx/nginx.conf", NGINX)
    tls = TLS.format(domain="h.pigsty", default=" default_server")
    write("/etc/nginx/conf.d/home.conf", HOME.format(tls=tls))
    for name, (domain, port) in PORTAL.items():
        text = PROXY.format(
            name=name, domain=domain, endpoint=f"{ADDRESS}:{port}",
            tls=TLS.format(domain=domain, default=""),
        )  # fmt: skip
        write(f"/etc/nginx/conf.d/{name}.conf", text)
    write("/etc/nginx/conf.d/own.conf", OWN)
    for domain in ("h.pigsty", *(domain for domain, _ in PORTAL.values())):
        for end in ("crt", "key"):
            link = f"/etc/nginx/conf.d/cert/{domain}.{end}"
            machine.run(["ln", "-sf", f"/etc/nginx/conf.d/cert/pigsty.{end}", link])
    for name in ("link-cert", "sign-cert"):
        write(f"/etc/nginx/{name}", "#!/bin/bash\n", 0o755)
    write("/etc/nginx/conf.d/haproxy/upstream-db-1.conf",
          "upstream haproxy-db-1 { server 10.10.10.51:9101 max_fails=0; }\n")  # fmt: skip
    write("/etc/nginx/conf.d/haproxy/location-db-1.conf",
          "location ^~/haproxy/db-1/ { proxy_pass http://haproxy-db-1; }\n")  # fmt: skip
    for page in ("index", "pev"):
        write(f"/www/{page}.html", f"<title>Pigsty {page}</title>\n")
    script(machine, """
        cd /www
        mkdir -p acme pigsty logs schema report docs
        cp /etc/pki/ca.crt ca.crt
        echo mine > docs/index.html
        cd pigsty
        apt-get download -q tree
        apt-ftparchive packages . > Packages
        gzip -9c Packages > Packages.gz
        md5sum *.deb > repo_complete
        echo 'deb [trusted=yes] file:/www/pigsty ./' > /etc/apt/sources.list.d/pigsty-local.list
    """)  # fmt: skip


def _monitoring(machine):
    write = machine.write
    job = (
        "- job_name: {0}\n  metrics_path: /metrics\n"
        "  file_sd_configs: [{{files: [/etc/prometheus/targets/{0}/*.yml]}}]\n"
    )
    jobs = "".join(job.format(name) for name in ("infra", "node", "pgsql"))
    write(
        "/etc/prometheus/prometheus.yml",
        "global: {scrape_interval: 1s}\nalerting: {alertmanagers: [{static_configs: "
        f"[{{targets: [{ADDRESS}:9093]}}]}}]}}\nrule_files: [rules/*.yml]\n"
        f"scrape_configs:\n{jobs}",
    )
    target = "- labels: {{ip: {0}, ins: {1}, cls: {2}}}\n  targets: [{0}:{3}]\n"
    targets = "/etc/prometheus/targets"
    write(f"{targets}/node/{ADDRESS}.yml", target.format(ADDRESS, "pg-meta-1", "pg-meta", 9100))
    write(f"{targets}/node/10.10.10.51.yml", target.format("10.10.10.51", "db-1", "db", 9100))
    write(f"{targets}/pgsql/db-1.yml", target.format("10.10.10.51", "db-1", "db", 9630))
    write(f"{targets}/pgsql/pg-meta-1.yml", target.format(ADDRESS, "pg-meta-1", "pg-meta", 9630))
    write(f"{targets}/infra/infra-1.yml",
          target.format(ADDRESS, "prometheus-1", "prometheus", 9090))  # fmt: skip
    rule = "groups: [{name: %s, rules: [{record: 'x:%s', expr: '1'}]}]\n"
    for name in ("agent", "infra", "node", "pgsql", "etcd", "mine"):
        write(f"/etc/prometheus/rules/{name}.yml", rule % (name, name))
    for name in ("check", "new", "reload", "status"):
        write(f"/etc/prometheus/bin/{name}", "#!/bin/bash\n", 0o755)
    write("/etc/alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n")
    write("/etc/blackbox.yml", "modules: {icmp: {prober: icmp}}\n")
    write("/data/loki/chunks/one", "a chunk of Loki\n")
    write("/etc/loki/config.yml", "auth_enabled: false\n")
    write("/etc/promtail/config.yml", "clients: []\n")
    machine.run(["chown", "-R", "prometheus:prometheus", "/etc/prometheus"])
    with tempfile.TemporaryDirectory() as folder:
        with sqlite3.connect(Path(folder, "grafana.db")) as database:
            database.execute("create table dashboard (title text)")
            database.execute("insert into dashboard values ('mine')")
        machine.put(Path(folder, "grafana.db"), "/var/lib/grafana/grafana.db")


def _old_samples(machine):
    """Blocks of Prometheus, of days before today, as it writes them itself."""
    now = int(time.time())
    lines = "".join(
        f"pigsty_was_here {hour} {now - hour * 3600}\n" for hour in range(DAYS * 24, 3, -1)
    )
    text = f"# HELP pigsty_was_here x\n# TYPE pigsty_was_here gauge\n{lines}# EOF\n"
    machine.write("/root/samples", text)
    script(machine, """
        promtool tsdb create-blocks-from openmetrics /root/samples /data/prometheus/data >/dev/null
        chown -R prometheus:prometheus /data/prometheus
    """)  # fmt: skip
