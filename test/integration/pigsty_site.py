"""A machine as Pigsty lays it out, with real programs under Pigsty's unit names.

Paths, modes, accounts and flags are facts of Pigsty v4.0 to v4.5; where releases differ, `layout`
says so. Nothing here is of this formula.
"""

import textwrap

ADDRESS = "10.10.10.10"
PACKAGES = [
    "nginx-light", "dnsmasq-base", "chrony", "openssl", "apt-utils", "victoria-metrics",
    "prometheus-alertmanager", "prometheus-blackbox-exporter", "prometheus-nginx-exporter",
    "prometheus-node-exporter",
]  # fmt: skip
UNITS = {
    "vmetrics": ("victoria", "/usr/bin/victoria-metrics",
                 "-storageDataPath=/infra/metrics -httpListenAddr=:8428 "
                 "-promscrape.config=/infra/prometheus.yml -retentionPeriod=15d "
                 "-promscrape.fileSDCheckInterval=5s"),
    "vmalert": ("victoria", "/usr/bin/vmalert",
                "-datasource.url=http://127.0.0.1:8428 -remoteRead.url=http://127.0.0.1:8428 "
                "-remoteWrite.url=http://127.0.0.1:8428 -notifier.url=http://127.0.0.1:9059 "
                "-httpListenAddr=:8880 -rule=/infra/rules/*.yml -evaluationInterval=10s"),
    "alertmanager": ("prometheus", "/usr/bin/prometheus-alertmanager",
                     "--config.file=/etc/alertmanager.yml --web.listen-address=:9059 "
                     "--storage.path=/infra/alertmgr --web.route-prefix=/ "
                     "--web.external-url=http://localhost/alertmgr --cluster.listen-address="),
    "blackbox_exporter": ("root", "/usr/bin/prometheus-blackbox-exporter",
                          "--config.file=/etc/blackbox.yml --web.listen-address=:9115"),
    "nginx_exporter": ("prometheus", "/usr/bin/prometheus-nginx-exporter",
                       "-nginx.scrape-uri http://127.0.0.1:80/nginx -web.listen-address=:9113"),
    "node_exporter": ("root", "/usr/bin/prometheus-node-exporter",
                      "--web.listen-address=:9100 --web.telemetry-path=/metrics"),
}  # fmt: skip
UNIT = """\
[Unit]
Description={name}
After=network.target
[Service]
Type=simple
User={user}
EnvironmentFile=/etc/default/{name}
ExecStart={program} ${variable}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
[Install]
WantedBy=multi-user.target
"""
DNSMASQ = """\
[Unit]
Description=DNS caching server
After=network-online.target
[Service]
Type=forking
PIDFile=/run/dnsmasq.pid
ExecStart=/usr/sbin/dnsmasq -x /run/dnsmasq.pid
[Install]
WantedBy=multi-user.target
"""
NGINX = """\
user nginx;
worker_processes auto;
error_log /var/log/nginx-error.log warn;
pid /run/nginx.pid;
events { worker_connections 2048; }
http {
    include mime.types;
    access_log /var/log/nginx/access.log combined;
    include conf.d/*.conf;
}
"""
HOME = """\
include conf.d/haproxy/upstream-*.conf;
server {
    listen 80 default_server;
    listen 443 ssl;
    server_name i.pigsty localhost;
    ssl_certificate conf.d/cert/i.pigsty.crt;
    ssl_certificate_key conf.d/cert/i.pigsty.key;
    root /www;
    location /nginx { stub_status; }
    location /vmetrics/ { proxy_pass http://127.0.0.1:8428/; }
    location / { autoindex on; }
    include conf.d/haproxy/location-*.conf;
}
"""
WIKI = """\
server {
    listen 80;
    server_name wiki.pigsty;
    auth_basic "wiki";
    auth_basic_user_file /etc/nginx/.htpasswd;
    location / { proxy_pass http://127.0.0.1:8428; }
}
"""
OWN = "server { listen 8076; return 200 own; }\n"


def build(machine, layout="4.5"):
    """Lay a machine out as Pigsty does, and start what it starts.

    machine
        Of the lab; its sources reach Debian's archive.
    layout
        ``4.0`` or ``4.5``: where units and records are.
    """
    run, write = machine.run, machine.write
    run(["apt-get", "update", "-q"])
    script(machine, _ACCOUNTS)
    write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
         "--no-install-recommends", *PACKAGES])  # fmt: skip
    run(["rm", "/usr/sbin/policy-rc.d"])
    _pki(machine)
    units = "/usr/lib/systemd/system" if layout == "4.0" else "/etc/systemd/system"
    records = "/infra/hosts" if layout == "4.0" else "/etc/dnsmasq.d/pigsty"
    for name, (user, program, flags) in UNITS.items():
        variable = f"{name.upper()}_OPTS"
        text = UNIT.format(name=name, user=user, program=program, variable=variable)
        write(f"{units}/{name}.service", text)
        write(f"/etc/default/{name}", f'{variable}="{flags}"\n')
    write(f"{units}/dnsmasq.service", DNSMASQ)
    _web(machine)
    write("/etc/dnsmasq.conf", f"hostsdir={records}\nno-hosts\nlisten-address=127.0.0.1,{ADDRESS}\n"
          "port=53\nuser=dnsmasq\ngroup=dnsmasq\nbind-dynamic\nno-resolv\n")  # fmt: skip
    write(f"{records}/default", f"{ADDRESS} i.pigsty wiki.pigsty\n")
    write(f"{records}/pg-test", "10.10.10.51 pg-test\n")
    _monitoring(machine)
    run(["systemctl", "daemon-reload"])
    names = [*UNITS, "nginx", "dnsmasq"]
    run(["systemctl", "enable", "--now", *names])


def script(machine, text):
    machine.run(["sh", "-eu"], input=textwrap.dedent(text))


_ACCOUNTS = """
    groupadd --system infra
    mkdir -p /data/infra /data/nginx /var/lib/dnsmasq
    ln -s /data/infra /infra
    ln -s /data/nginx /www
    account() {
        useradd --system --user-group --home-dir $2 --shell $3 --no-create-home $1
        usermod -aG infra $1
    }
    account victoria /infra /bin/bash
    account prometheus /infra /bin/bash
    account grafana /var/lib/grafana /bin/bash
    account dnsmasq /var/lib/dnsmasq /usr/sbin/nologin
    account nginx /var/cache/nginx /usr/sbin/nologin
    cd /data/infra
    mkdir -p pgadmin alertmgr conf tmp datasources dashboards metrics logs traces rules bin targets
    chown root:infra /data/infra; chmod 0771 /data/infra
    chown victoria:infra metrics logs traces rules bin targets
    chown prometheus:infra alertmgr; chmod 0700 alertmgr
    for job in node ping etcd infra pgsql redis; do
        install -d -o victoria -g infra -m 0750 targets/$job
    done
"""


def _pki(machine):
    script(machine, """
        mkdir -p /root/pigsty/files/pki/ca /etc/pki
        cd /root/pigsty/files/pki/ca
        openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /O=pigsty/OU=ca/CN=pigsty-ca \
            -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature \
            -keyout ca.key -out ca.crt 2>/dev/null
        chmod 0600 ca.key
        install -m 0644 ca.crt /etc/pki/ca.crt
        mkdir -p /usr/local/share/ca-certificates
        ln -s /etc/pki/ca.crt /usr/local/share/ca-certificates/ca.crt
        update-ca-certificates 2>/dev/null
        issue() {
            openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout $1.key -out $1.csr 2>/dev/null
            printf 'subjectAltName=%s\n' "$3" > $1.ext
            openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -days 397 -out $1.crt \
                -extfile $1.ext 2>/dev/null
        }
        issue infra /O=pigsty/OU=infra/CN=10.10.10.10 \
            DNS:localhost,DNS:infra-1,IP:127.0.0.1,IP:10.10.10.10
        issue pigsty /O=pigsty/OU=nginx/CN=pigsty \
            DNS:i.pigsty,DNS:wiki.pigsty,DNS:localhost,IP:10.10.10.10
        install -g infra -m 0644 infra.crt /etc/pki/; install -g infra -m 0640 infra.key /etc/pki/
        cd /etc/nginx; install -d -g nginx -m 0750 conf.d conf.d/cert conf.d/haproxy; cd -
        install -g nginx -m 0644 pigsty.crt /etc/nginx/conf.d/cert/
        install -g nginx -m 0640 pigsty.key /etc/nginx/conf.d/cert/
        for end in crt key; do ln -s pigsty.$end /etc/nginx/conf.d/cert/i.pigsty.$end; done
    """)  # fmt: skip


def _web(machine):
    write = machine.write
    write("/etc/nginx/nginx.conf", NGINX)
    write("/etc/nginx/conf.d/home.conf", HOME)
    write("/etc/nginx/conf.d/wiki.conf", WIKI)
    write("/etc/nginx/conf.d/own.conf", OWN)
    write("/etc/nginx/.htpasswd", "admin:{PLAIN}s3cret\n", 0o640)
    for name in ("link-cert", "sign-cert"):
        write(f"/etc/nginx/{name}", "#!/bin/bash\n", 0o750)
    upstream = "upstream haproxy-db-1 { server 10.10.10.51:9101 max_fails=0; }\n"
    location = "location ^~/haproxy/db-1/ { proxy_pass http://haproxy-db-1; }\n"
    write("/etc/nginx/conf.d/haproxy/upstream-db-1.conf", upstream)
    write("/etc/nginx/conf.d/haproxy/location-db-1.conf", location)
    for page in ("index", "zh", "404", "pev"):
        write(f"/data/nginx/{page}.html", f"<title>Pigsty {page}</title>\n")
    script(
        machine,
        """
        chown root:nginx /etc/nginx/.htpasswd
        cd /data/nginx
        mkdir -p acme pigsty logs repos schema report docs
        install -g nginx -m 0644 /etc/pki/ca.crt ca.crt
        echo mine > docs/index.html
        cd pigsty
        apt-get download -q tree
        apt-ftparchive packages . > Packages
        gzip -k Packages
        apt-ftparchive release . > Release
        touch repo_complete
        chown -R root:nginx /data/nginx
        echo 'deb [trusted=yes] file:/www/pigsty ./' > /etc/apt/sources.list.d/pigsty-local.list
    """,
    )


def _monitoring(machine):
    write = machine.write
    job = (
        "- job_name: {0}\n  file_sd_configs: [{{files: [/infra/targets/{0}/*.yml]}}]\n"
        "  metrics_path: /metrics\n"
    )
    jobs = "".join(job.format(name) for name in ("node", "infra"))
    write("/infra/prometheus.yml", f"global: {{scrape_interval: 10s}}\nscrape_configs:\n{jobs}")
    target = "- labels: {{ip: {0}, ins: {1}, cls: {2}}}\n  targets: [{0}:{3}]\n"
    write("/infra/targets/node/10.10.10.10.yml", target.format(ADDRESS, "infra-1", "infra", 9100))
    write("/infra/targets/node/10.10.10.51.yml", target.format("10.10.10.51", "db-1", "db", 9100))
    write(
        "/infra/targets/infra/infra-1.yml", target.format(ADDRESS, "vmetrics-1", "vmetrics", 8428)
    )
    rule = "groups: [{name: %s, rules: [{record: x:%s, expr: '1'}]}]\n"
    for name in ("agent", "infra", "node", "pgsql"):
        write(f"/infra/rules/{name}.yml", rule % (name, name))
    for name in ("check", "new", "reload", "status"):
        write(f"/infra/bin/{name}", "#!/bin/bash\n", 0o755)
    write("/etc/alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n")
    write("/etc/blackbox.yml", "modules: {icmp: {prober: icmp}}\n")
    machine.run(["chown", "-R", "victoria:infra", "/data/infra/targets", "/data/infra/rules"])
