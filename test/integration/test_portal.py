"""The portal on a machine of its own, from nothing to served, as an operator would see it."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from waiting import eventually

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
EXAMPLE = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
DEMO = EXAMPLE["infra_portal"]
ADDRESS = "10.10.10.10"
SERVED = {key: entry for key, entry in DEMO.items() if "domain" in entry}
STATES = "infra.ca,infra.nginx"
TOOLS = ("prometheus", "alertmanager", "blackbox", "vmalert")  # entries of Debian's own daemons
FAR = "10.2.82.163"  # where the demo's own upstreams are; here an address of the machine itself


class Portal:
    """A machine with the demo's portal and something behind every endpoint of it."""

    def __init__(self, lab):
        self.lab = lab
        self.machine = lab.machine("infra-1")
        self.changed = False

    def start_upstreams(self, besides=()):
        """Have something behind each endpoint, `besides` those that the machine's own daemons have.

        besides: names of entries.
        """
        ports = {
            entry["endpoint"].rpartition(":")[2]
            for name, entry in DEMO.items()
            if "endpoint" in entry and name not in besides
        }
        self.machine.run(["ip", "address", "add", f"{FAR}/32", "dev", "lo"])
        self.machine.put(HERE / "upstreams.py", "/root/upstreams.py")
        self.machine.run(
            ["systemd-run", "--unit=upstreams", "/opt/salt/bin/python3", "/root/upstreams.py",
             *sorted(ports)]
        )  # fmt: skip

    def portal(self, **entries):
        """The demo's portal with some entries changed, added, or (None) removed."""
        merged = {**DEMO, **entries}
        return {k: v for k, v in merged.items() if v is not None}

    def apply(self, portal=None, check=True, test=False, **parameters):
        infra = {**EXAMPLE, **parameters}
        self.changed = portal is not None or bool(parameters)
        if portal is not None:
            infra["infra_portal"] = portal
        self.machine.set_pillar({"infra": infra})
        return self.machine.apply(STATES, check=check, test=test)

    def get(self, url, *options, address=ADDRESS):
        """Status code and body, asked from outside the machine."""
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        name, _, port = host.partition(":")
        port = port or {"http": "80", "https": "443"}[scheme]
        done = self.lab.net(
            ["curl", "--silent", "--insecure", "--path-as-is", "--max-time", "20",
             "--resolve", f"{name}:{port}:{address}",
             "--write-out", "\n%{http_code} %{redirect_url}", *options, url]
        )  # fmt: skip
        body, _, last = done.stdout.rpartition("\n")
        code, _, target = last.partition(" ")
        return int(code), target if code.startswith("3") else body

    def files(self):
        """Every file below /etc/nginx with its digest and attributes."""
        listed = self.machine.run(
            ["find", "/etc/nginx", "-printf", "%p %y %l %m %u %g %i %T@\\n"]
        ).stdout
        return {line.split(" ")[0]: line for line in listed.splitlines()}

    def processes(self):
        return self.machine.run(["pgrep", "nginx"]).stdout.split()


@pytest.fixture(scope="module")
def fresh(boot_lab, first_platform):
    """A machine on which nothing was ever applied, with the demo's pillar and no secrets."""
    found = Portal(boot_lab(platform=first_platform))
    found.machine.set_pillar({"infra": EXAMPLE})
    return found


@pytest.fixture(scope="module")
def portal(fresh):
    """The same, applied; each test leaves the demo's portal behind."""
    told = fresh.machine.apply(STATES, test=True)
    assert {r["result"] for r in told.values()} <= {True, None}
    assert any(r["result"] is None for r in told.values())
    assert fresh.machine.run(["ls", "/etc"]).stdout.split().count("nginx") == 0
    fresh.start_upstreams()
    fresh.machine.apply(STATES)
    return fresh


@pytest.fixture(autouse=True)
def _restore(portal):
    yield
    if portal.changed:
        portal.apply()


def test_every_name_of_the_demo_answers_on_both_ports(portal):
    for key, entry in SERVED.items():
        for name in [entry["domain"], *entry.get("domains", [])]:
            code, body = portal.get(f"https://{name}/any?thing=1")
            if "endpoint" in entry:
                told = json.loads(body)
                assert code == 200, (key, body)
                assert told["uri"] == "/any?thing=1"
                assert told["port"] == int(entry["endpoint"].rpartition(":")[2])
                assert told["Host"] == name
                assert told["X-Forwarded-Proto"] == "https"
            plain = portal.get(f"http://{name}/any")
            if entry.get("enforce_https"):
                assert plain == (301, f"https://{name}/any")
            else:
                assert plain[0] == (200 if "endpoint" in entry else 404), (key, plain)


def test_second_apply_changes_nothing_and_keeps_the_processes(portal):
    before = portal.processes(), portal.files()
    applied = portal.apply()
    assert applied.changes == {}
    assert (portal.processes(), portal.files()) == before
    assert portal.apply(test=True).changes == {}


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websockets_pass_through_where_they_are_asked_for(portal, scheme):
    talk = [sys.executable, str(HERE / "websocket_talk.py")]
    port = {"ws": "80", "wss": "443"}[scheme]
    said = portal.lab.net([*talk, f"{scheme}://lab.pigsty.cc/ws", ADDRESS, port]).stdout
    assert said == "echo hello\n"
    refused = portal.lab.net([*talk, f"{scheme}://cli.pigsty.cc/ws", ADDRESS, port], check=False)
    assert refused.returncode != 0


def test_static_sites_their_index_and_their_config_are_served(portal):
    portal.machine.write("/www/web.cc/page.html", "a page")
    portal.machine.write("/www/web.cc/index.html", "the site")
    portal.machine.write("/www/repo/some.txt", "a file")
    assert portal.get("https://zh.pigsty.cc/") == (200, "the site")
    assert portal.get("https://pigsty.cc/page.html") == (200, "a page")
    assert portal.get("https://pigsty.cc/zh/page.html") == (301, "https://pigsty.cc/page.html")
    listing = portal.get("https://pro.pigsty.cc/")
    assert listing[0] == 200
    assert "some.txt" in listing[1]
    assert portal.get("https://en.pigsty.cc/")[0] == 403  # no index page, and no listing


def test_http2_and_ipv6_and_modern_tls_only(portal):
    code = portal.lab.net(
        ["curl", "--silent", "--insecure", "--http2", "--output", "/dev/null", "--write-out",
         "%{http_version} %{ssl_verify_result}", "https://[fd00:10:10:10::10]/"]
    ).stdout  # fmt: skip
    assert code.startswith("2 ")
    for version, accepted in (("1.1", False), ("1.2", True), ("1.3", True)):
        done = portal.lab.net(
            ["openssl", "s_client", "-connect", f"{ADDRESS}:443", "-cipher", "ALL@SECLEVEL=0",
             f"-tls{version.replace('.', '_').removesuffix('_0')}"],
            input="", check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is accepted, version


def test_the_certificate_names_everything_and_is_trusted_through_ca_crt(portal):
    ca = portal.get(f"http://{ADDRESS}/ca.crt")
    assert ca[0] == 200
    assert "BEGIN CERTIFICATE" in ca[1]
    portal.machine.write("/root/ca.crt", ca[1])
    for name in (*[e["domain"] for e in SERVED.values()], "zh.pigsty.cc"):
        portal.machine.run(
            ["curl", "--silent", "--fail", "--cacert", "/root/ca.crt", "--output", "/dev/null",
             "--resolve", f"{name}:443:127.0.0.1", "-w", "%{http_code}", f"https://{name}/"],
            check=name not in ("en.pigsty.cc", "pigsty.cc", "zh.pigsty.cc"),
        )  # fmt: skip
    portal.machine.run(["curl", "--silent", "--head", f"https://{ADDRESS}/"])  # trusted on the node
    told = portal.machine.salt_call("infra_cert.describe", "/etc/nginx/conf.d/cert/pigsty.crt")
    assert {"zh.pigsty.cc", "home.pigsty.cc", "localhost"} <= set(told["names"])
    assert {"10.10.10.10", "127.0.0.1"} <= set(told["addresses"])
    assert 396 < told["days_left"] <= 397
    assert "pigsty-ca" in told["issuer"]


def test_private_keys_are_closed(portal):
    modes = portal.machine.run(
        ["stat", "-c", "%n %a %U %G", "/etc/pki/ca", "/etc/pki/ca/ca.key", "/etc/pki/ca.crt",
         "/etc/nginx/conf.d/cert/pigsty.key", "/etc/nginx/conf.d"]
    ).stdout.splitlines()  # fmt: skip
    assert modes == [
        "/etc/pki/ca 700 root root",
        "/etc/pki/ca/ca.key 600 root root",
        "/etc/pki/ca.crt 644 root root",
        "/etc/nginx/conf.d/cert/pigsty.key 600 root nginx",
        "/etc/nginx/conf.d 750 root nginx",
    ]
    for key in ("/etc/nginx/conf.d/cert/pigsty.key", "/etc/pki/ca/ca.key", "/etc/pki/infra.key"):
        as_worker = ["setpriv", "--reuid=nginx", "--regid=nginx", "--init-groups", "cat", key]
        told = portal.machine.run(as_worker, check=False)
        assert told.returncode != 0, key
        assert "PRIVATE KEY" not in told.stdout


def test_stub_status_is_for_this_machine_only(portal):
    inside = portal.machine.run(["curl", "--silent", "http://127.0.0.1/nginx"]).stdout
    assert inside.startswith("Active connections:")
    assert portal.get(f"http://{ADDRESS}/nginx")[0] == 403
    assert portal.get("http://generation.infra.localhost/")[0] == 403


def test_hidden_files_and_paths_outside_are_not_served(portal):
    portal.machine.write("/www/.secret", "x")
    portal.machine.write("/www/logs/.git/config", "x")
    for path in ("/.secret", "/logs/.git/config", "/../etc/passwd", "/%2e%2e/etc/passwd",
                 "/pigsty/../../etc/passwd", "/pigsty../etc/passwd"):  # fmt: skip
        assert portal.get(f"http://{ADDRESS}{path}")[0] in (400, 404), path


# -- bad input, and what it must not do


def unchanged(portal, apply):
    """Run an apply that has to fail; returns its complaint."""
    before = portal.processes(), portal.files()
    applied = apply()
    assert not applied.ok
    assert applied.changes == {}
    assert (portal.processes(), portal.files()) == before
    assert portal.get("https://api.pigsty.cc/")[0] == 200
    return applied.complaint()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"domain": "bad", "endpoint": "x"}, "infra_portal.broken.endpoint: expected host:port"),
        ({"domain": "b.p", "endpoints": "x:1"}, "did you mean 'endpoint'?"),
        ({"domain": "b.p"}, "infra_portal.broken: expected an endpoint, a path or a conf"),
        (
            {"domain": "b.p", "endpoint": "x:1", "cert": "/none.crt", "key": "/none.key"},
            "infra_portal.broken.cert: expected a file, there is none at /none.crt",
        ),
        (
            {"domain": "b.p", "endpoint": "x:1", "cert": "/etc/pki/ca.crt",
             "key": "/etc/nginx/conf.d/cert/pigsty.key"},
            "infra_portal.broken.key: expected the private key of /etc/pki/ca.crt",
        ),
        (
            {"domain": "b.p", "endpoint": "x:1", "cert": "/etc/passwd", "key": "/etc/passwd"},
            "infra_portal.broken.cert: expected a PEM certificate",
        ),
        (
            {"domain": "demo.pigsty.cc", "endpoint": "x:1"},
            "'demo.pigsty.cc' is already a name of infra_portal.grafana",
        ),
        ({"domain": True, "endpoint": "x:1"}, "YAML reads unquoted on"),
    ],
)  # fmt: skip
def test_a_bad_entry_is_named_and_nothing_changes(portal, entry, expected):
    said = unchanged(portal, lambda: portal.apply(portal.portal(broken=entry), check=False))
    assert expected in said


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            {"domain": "b.p", "endpoint": "127.0.0.1:1", "config": "no_such_thing on;"},
            "infra_portal.broken.config: nginx refuses line",
        ),
        (
            {"domain": "b.p", "endpoint": "127.0.0.1:1", "config": "location / { return 204; }"},
            'duplicate location "/"',
        ),
        ({"domain": "b.p", "conf": "none.j2"}, "infra_portal.broken.conf: expected a template"),
    ],
)
def test_what_only_nginx_can_tell_changes_no_configuration(portal, entry, expected):
    before = portal.processes(), portal.files()
    applied = portal.apply(portal.portal(broken=entry), check=False)
    assert expected in applied.complaint()
    files = {p: line for p, line in portal.files().items() if "cert/pigsty.crt" not in p}
    kept = {p: line for p, line in before[1].items() if "cert/pigsty.crt" not in p}
    drop = {"/etc/nginx/conf.d/cert"}  # its time of change, by the certificate's new names
    assert {k: v for k, v in files.items() if k not in drop} == {
        k: v for k, v in kept.items() if k not in drop
    }
    assert portal.processes()[0] == before[0][0]
    assert portal.get("https://api.pigsty.cc/")[0] == 200


def test_a_name_without_an_address_is_told_and_costs_its_own_entry_alone(portal):
    entry = {"domain": "b.p", "endpoint": "no.such.host.invalid:1"}
    applied = portal.apply(portal.portal(broken=entry))
    warnings = [w for state in applied.values() for w in state.get("warnings", [])]
    assert any("infra_portal.broken.endpoint: this machine finds no address" in w for w in warnings)
    assert portal.get("https://b.p/")[0] == 502
    assert portal.get("https://api.pigsty.cc/")[0] == 200
    portal.apply()


def test_an_unknown_parameter_is_named(portal):
    said = unchanged(portal, lambda: portal.apply(check=False, nginx_prot=8080))
    assert "nginx_prot: unknown key; did you mean 'nginx_port'?" in said


def test_a_port_that_somebody_else_has_leaves_the_portal_as_it_was(portal):
    """nginx -t passes, the reload does not take effect: the old files come back."""
    portal.machine.run(
        ["systemd-run", "--unit=squatter", "/opt/salt/bin/python3", "-m", "http.server", "8099"]
    )
    before = {p: line.rpartition(" ")[0] for p, line in portal.files().items() if ".conf" in p}
    applied = portal.apply(check=False, nginx_port=8099)
    portal.machine.run(["systemctl", "stop", "squatter"])
    assert "nginx refuses the configuration on reload" in applied.complaint()
    assert "8099 failed (98" in applied.complaint()
    after = {p: line.rpartition(" ")[0] for p, line in portal.files().items() if ".conf" in p}
    assert after == before
    assert portal.get("https://api.pigsty.cc/")[0] == 200


def test_what_breaks_before_a_reboot_costs_its_own_entry_only(portal):
    """By systemd itself: nginx fails, starts again without them, and gets them back."""
    portal.machine.write("/etc/nginx-more.conf", "")
    streams = {
        "kept": {"listen": 5433, "endpoint": f"{FAR}:8884"},
        "taken": {"listen": 5434, "endpoint": f"{FAR}:8884"},
        "named": {"listen": 5435, "endpoint": "no.such.host.invalid:5432"},
    }
    broken = {"domain": "b.p", "path": "/www/b", "config": "include /etc/nginx-more.conf;"}
    applied = portal.apply(portal.portal(broken=broken), infra_streams=streams)
    warnings = [w for state in applied.values() for w in state.get("warnings", [])]
    assert any("infra_streams.named.endpoint: this machine finds no" in w for w in warnings)
    portal.machine.run(["rm", "/etc/nginx-more.conf"])
    portal.machine.run(["systemctl", "stop", "nginx"])
    portal.machine.run(
        ["systemd-run", "--unit=squatter", "/opt/salt/bin/python3", "-m", "http.server", "5434"]
    )
    listening = 'ss -Hltn "sport = :5434" | grep -q .'
    eventually(lambda: portal.machine.run(["sh", "-c", listening], check=False).returncode == 0)
    portal.machine.run(["systemctl", "start", "nginx"], check=False)
    active = ["systemctl", "is-active", "nginx"]
    assert eventually(lambda: portal.machine.run(active, check=False).returncode == 0)
    assert portal.get("https://api.pigsty.cc/")[0] == 200
    assert portal.get("https://b.p/")[0] == 503
    ports = portal.machine.run(["ss", "-Hltn"]).stdout
    assert ":5433 " in ports
    assert ":5435 " in ports
    journal = portal.machine.run(["journalctl", "--unit=nginx", "--output=cat"]).stdout
    assert "infra_portal.broken: nginx refuses it: open() " in journal
    assert "infra_streams.taken: another program has port 5434/tcp" in journal
    portal.machine.run(["systemctl", "is-active", "infra-nginx-put-back.timer"])
    portal.machine.write("/etc/nginx-more.conf", "")
    portal.machine.run(["systemctl", "stop", "squatter"])
    portal.machine.run(["systemctl", "start", "infra-nginx-put-back.service"])
    assert eventually(lambda: portal.get("https://b.p/")[0] in (403, 404))
    assert eventually(lambda: "nginx" in portal.machine.run(
        ["ss", "-Hltnp", "sport = :5434"]).stdout)  # fmt: skip
    portal.apply()
    portal.machine.run(["rm", "/etc/nginx-more.conf"])


# -- changes


def test_one_entry_comes_and_goes_and_the_others_do_not_change(portal):
    before = portal.files()
    added = portal.apply(portal.portal(extra={"domain": "extra.pigsty.cc", "path": "/www/extra"}))
    changed = [key for key, result in added.items() if result["changes"]]
    assert [k for k in changed if k.endswith("_|-entry")] == [
        "infra_portal_|-infra-nginx-portal-extra_|-extra_|-entry"
    ]
    assert portal.get("https://extra.pigsty.cc/")[0] == 403
    assert portal.machine.run(["test", "-e", "/etc/nginx/conf.d/extra.conf"]).returncode == 0
    portal.apply()
    after = portal.files()
    ours = {p for p in before if p.endswith(".conf") and "00-infra" not in p}
    assert {p: after[p] for p in ours} == {p: before[p] for p in ours}
    assert set(after) == set(before)
    assert portal.get("https://extra.pigsty.cc/")[0] == 200  # the home page, as for any other name


def test_foreign_files_are_left_alone_unless_asked(portal):
    server = "server { listen 8077; return 200 theirs; }\n"
    portal.machine.write("/etc/nginx/conf.d/theirs.conf", server)
    portal.apply(portal.portal(wiki={"domain": "wiki.pigsty.cc", "endpoint": "127.0.0.1:9003"}))
    assert portal.get(f"http://{ADDRESS}:8077/") == (200, "theirs")
    taken = portal.apply(portal.portal(theirs={"domain": "t.p", "path": "/www/t"}), check=False)
    assert "expected no unmanaged file at /etc/nginx/conf.d/theirs.conf" in (taken.complaint())
    assert portal.machine.read("/etc/nginx/conf.d/theirs.conf") == server
    portal.apply(nginx_clean=True)
    assert portal.machine.run(
        ["test", "-e", "/etc/nginx/conf.d/theirs.conf"], check=False
    ).returncode
    kept = portal.machine.read("/var/lib/infra/replaced/etc/nginx/conf.d/theirs.conf")
    assert kept == server


def test_other_ports_everywhere(portal):
    portal.apply(nginx_port=8080, nginx_ssl_port=8443)
    assert portal.get("http://api.pigsty.cc:8080/")[0] == 200
    assert json.loads(portal.get("https://api.pigsty.cc:8443/")[1])["Host"] == "api.pigsty.cc:8443"
    assert portal.get("http://en.pigsty.cc:8080/x") == (301, "https://en.pigsty.cc:8443/x")
    assert portal.machine.run(["curl", "--silent", "http://127.0.0.1:8080/nginx"]).stdout
    assert "https://api.pigsty.cc:8443/" in portal.get(f"http://{ADDRESS}:8080/")[1]


def test_without_tls_and_with_it_enforced(portal):
    plain = {k: {a: v for a, v in e.items() if a != "enforce_https"} for k, e in DEMO.items()}
    portal.apply(plain, nginx_sslmode="disable")
    assert portal.get("http://api.pigsty.cc/")[0] == 200
    assert portal.lab.net(["curl", "-sk", f"https://{ADDRESS}/"], check=False).returncode == 7
    portal.apply(nginx_sslmode="enforce")
    assert portal.get("http://api.pigsty.cc/x") == (301, "https://api.pigsty.cc/x")
    assert portal.get(f"http://{ADDRESS}/")[0] == 200


def test_basic_auth_with_hashes_and_no_way_around(portal):
    home = {**DEMO["home"], "auth": True}
    wiki = {**DEMO["wiki"], "auth": True, "realm": "The Wiki"}
    entries = portal.portal(home=home, wiki=wiki)
    portal.machine.write("/www/pigsty/some.deb", "package")
    applied = portal.apply(entries, nginx_users={"admin": "s3cret-Word!", "二": "zwei"})
    assert "s3cret" not in json.dumps(applied)
    lines = portal.machine.read("/etc/nginx/.htpasswd").splitlines()
    assert [line.split(":")[1][:3] for line in lines] == ["$6$", "$6$"]
    mode = portal.machine.run(["stat", "-c", "%a %U %G", "/etc/nginx/.htpasswd"]).stdout
    assert mode == "640 root nginx\n"
    for path in ("/", "/zh", "/index.html", "/zh.html", "/logs/", "//", "/./", "/404.html",
                 "/pigsty/../index.html"):  # fmt: skip
        assert portal.get(f"https://{ADDRESS}{path}")[0] in (401, 404), path
        assert portal.get(f"http://{ADDRESS}{path}")[0] in (301, 404), path
    assert portal.get(f"https://{ADDRESS}/")[0] == 401
    for path in ("/ca.crt", "/pigsty/some.deb"):
        assert portal.get(f"http://{ADDRESS}{path}")[0] == 200, path
    assert portal.get("https://wiki.pigsty.cc/")[0] == 401
    assert portal.get("https://wiki.pigsty.cc/", "--user", "admin:wrong")[0] == 401
    assert portal.get("https://wiki.pigsty.cc/", "--user", "admin:s3cret-Word!")[0] == 200
    assert portal.get("https://wiki.pigsty.cc/", "--user", "二:zwei")[0] == 200
    again = portal.apply(entries, nginx_users={"admin": "s3cret-Word!", "二": "zwei"})
    assert again.changes == {}
    nobody = portal.apply(entries, check=False)
    assert "infra_portal.wiki.auth: expected users in nginx_users" in nobody.complaint()


def test_several_endpoints_and_an_https_upstream_that_is_verified(portal):
    name = "up.pigsty.cc"
    portal.machine.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", "/root/upstream.key", "-out", "/root/upstream.crt"]
    )  # fmt: skip
    portal.machine.run(
        ["systemd-run", "--unit=tls-upstream", "/opt/salt/bin/python3", "/root/upstreams.py",
         "tls:9443"]
    )  # fmt: skip
    secure = {"domain": name, "endpoint": "127.0.0.1:9443", "scheme": "https"}
    verified = {**secure, "domain": "v.pigsty.cc", "proxy_ssl_verify": True}
    entries = portal.portal(
        secure=secure,
        refused=verified,
        trusted={**verified, "domain": "t.pigsty.cc", "proxy_ssl_name": name,
                 "proxy_ssl_trusted_certificate": "/root/upstream.crt"},
        many={"domain": "many.pigsty.cc", "client_max_body_size": "1k",
              "endpoint": ["127.0.0.1:8884", "127.0.0.1:1", "127.0.0.1:8885"]},
    )  # fmt: skip
    portal.apply(entries)
    assert portal.get(f"https://{name}/")[0] == 200
    assert portal.get("https://v.pigsty.cc/")[0] == 502
    assert portal.get("https://t.pigsty.cc/")[0] == 200
    answers = [json.loads(portal.get("https://many.pigsty.cc/")[1])["port"] for _ in range(6)]
    assert set(answers) == {8884, 8885}
    portal.machine.run(["systemctl", "stop", "tls-upstream"])
    assert portal.get("https://many.pigsty.cc/", "--data", "x" * 2000)[0] == 413


def test_names_that_change_get_a_new_certificate_and_old_keys_stay(portal):
    key = portal.machine.read("/etc/nginx/conf.d/cert/pigsty.key")
    ca = portal.machine.read("/etc/pki/ca.crt")
    portal.apply(portal.portal(extra={"domain": "extra.pigsty.cc", "path": "/www/extra"}))
    told = portal.machine.salt_call("infra_cert.describe", "/etc/nginx/conf.d/cert/pigsty.crt")
    assert "extra.pigsty.cc" in told["names"]
    served = portal.lab.net(
        ["openssl", "s_client", "-connect", f"{ADDRESS}:443", "-servername", "extra.pigsty.cc"],
        input="",
    ).stdout
    assert "CN = pigsty" in served or "CN=pigsty" in served
    assert portal.machine.read("/etc/nginx/conf.d/cert/pigsty.key") == key
    assert portal.machine.read("/etc/pki/ca.crt") == ca


def test_a_certificate_with_few_days_left_is_issued_anew_and_served(portal):
    portal.machine.run(["rm", "/etc/nginx/conf.d/cert/pigsty.crt"])
    portal.apply(nginx_cert_validity="20d", cert_renew_days=10)
    old = portal.machine.read("/etc/nginx/conf.d/cert/pigsty.crt")
    assert portal.apply(nginx_cert_validity="20d", cert_renew_days=10).changes == {}
    applied = portal.apply()
    assert any("certificate-issued" in title for title in applied.changes)
    new = portal.machine.read("/etc/nginx/conf.d/cert/pigsty.crt")
    assert new != old
    served = portal.lab.net(["openssl", "s_client", "-connect", f"{ADDRESS}:443"], input="").stdout
    body = served[served.index("-----BEGIN") : served.index("-----END")]
    assert body.split() == new[new.index("-----BEGIN") : new.index("-----END")].split()


def test_hsts_is_told_over_https_only(portal):
    portal.apply(portal.portal(wiki={**DEMO["wiki"], "hsts": True}))
    head = portal.get("https://wiki.pigsty.cc/", "--head")[1].lower()
    assert "strict-transport-security: max-age=31536000" in head
    assert "strict-transport" not in portal.get("http://wiki.pigsty.cc/", "--head")[1].lower()


def test_a_killed_apply_is_made_good_by_the_next(portal):
    """Files switched in, no reload: what a power cut between the two leaves behind."""
    portal.machine.run(["systemctl", "stop", "nginx"])
    portal.apply(portal.portal(late={"domain": "late.pigsty.cc", "path": "/www/late"}))
    # The manifest of an interrupted run lists more than lies there, a staged copy is left over.
    portal.machine.run(["mkdir", "/etc/.nginx.infra-dead"])
    portal.machine.write("/var/lib/infra/manifest/portal.json", '{"files": ')
    portal.apply()
    assert portal.get("https://api.pigsty.cc/")[0] == 200
    gone = portal.machine.run(["ls", "-A", "/etc/nginx/conf.d", "/etc"]).stdout
    assert "late.conf" not in gone
    assert ".nginx.infra" not in gone


def test_what_the_operator_asks(portal):
    call = portal.machine.salt_call
    assert call("infra_portal.validate") == {"valid": True, "errors": []}
    assert call("infra_portal.diff") == {}
    assert "server_name wiki.pigsty.cc;" in call("infra_portal.render")["conf.d/wiki.conf"]
    status = call("infra_portal.status")
    assert status.keys() == SERVED.keys()
    assert status["wiki"]["upstream_status"] == "ok"
    assert status["wiki"]["https"] == 200
    assert status["web.io"]["http"] == 301
    assert call("infra_portal.entries")["blackbox"]["kind"] == "unserved"
    bad = json.dumps({"wiki": {"domain": "w p"}})
    assert call("infra_portal.validate", bad)["errors"][0].startswith("infra_portal.wiki.domain")
