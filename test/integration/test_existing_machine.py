"""A machine on which an operator has things already: they stay."""

import pytest

from .test_portal import ADDRESS, EXAMPLE, STATES, Portal

PAGE = "<title>mine</title>the operator's own page"


@pytest.fixture(scope="module")
def machine(boot_lab):
    """An nginx that serves a site, a web root with content, and a CA of the site's own."""
    portal = Portal(boot_lab())
    portal.machine.set_pillar({"infra": EXAMPLE})  # without secrets
    run, write = portal.machine.run, portal.machine.write
    run(["apt-get", "update"])
    run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "nginx-light"])
    write("/www/index.html", PAGE)
    write("/www/data/report.csv", "1,2,3")
    write("/etc/nginx/conf.d/own.conf", "server { listen 8076; return 200 own; }\n")
    write("/etc/nginx/sites-available/default", "server { listen 80; return 200 theirs; }\n")
    run(["install", "-d", "-m", "700", "/etc/pki/ca"])
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "3650", "-subj", "/CN=corporate ca", "-addext",
         "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "/etc/pki/ca/ca.key",
         "-out", "/etc/pki/ca.crt"]
    )  # fmt: skip
    run(["systemctl", "restart", "nginx"])
    portal.before = {p: portal.machine.read(p) for p in ("/etc/pki/ca/ca.key", "/etc/pki/ca.crt")}
    portal.pid = run(["systemctl", "show", "--property=MainPID", "nginx"]).stdout
    portal.applied = portal.machine.apply(STATES)
    return portal


def test_the_web_root_and_its_pages_are_kept(machine):
    assert machine.machine.run(["readlink", "/www"], check=False).stdout == ""
    assert machine.get(f"http://{ADDRESS}/") == (200, PAGE)
    assert machine.get(f"http://{ADDRESS}/data/report.csv") == (200, "1,2,3")
    assert machine.get(f"http://{ADDRESS}/zh")[0] == 200
    warned = [w for r in machine.applied.values() for w in r.get("warnings", [])]
    assert any("/www/index.html" in w for w in warned)


def test_servers_of_their_own_go_on(machine):
    assert machine.get(f"http://{ADDRESS}:8076/") == (200, "own")
    assert machine.machine.read("/etc/nginx/sites-available/default").startswith("server {")


def test_nginx_was_reloaded_not_restarted(machine):
    now = machine.machine.run(["systemctl", "show", "--property=MainPID", "nginx"]).stdout
    assert now == machine.pid


def test_the_corporate_ca_signs(machine):
    for path, text in machine.before.items():
        assert machine.machine.read(path) == text
    told = machine.machine.salt_call("infra_cert.describe", "/etc/nginx/conf.d/cert/pigsty.crt")
    assert told["issuer"] == "CN=corporate ca"
    machine.machine.run(["curl", "--silent", "--fail", "--head", f"https://{ADDRESS}/ca.crt"])


def test_a_ca_that_is_half_there_or_not_to_be_made_is_an_error(machine):
    run = machine.machine.run
    run(["mv", "/etc/pki/ca/ca.key", "/root/ca.key"])
    half = machine.apply(check=False)
    assert "/etc/pki/ca.crt exists, but its key /etc/pki/ca/ca.key is missing" in half.complaint()
    run(["mv", "/etc/pki/ca.crt", "/root/ca.crt"])
    none = machine.apply(check=False, ca_create=False)
    assert "/etc/pki/ca.crt, /etc/pki/ca/ca.key: missing" in none.complaint()
    assert "ca_create" in none.complaint()
    run(["install", "-m", "600", "/etc/nginx/conf.d/cert/pigsty.key", "/etc/pki/ca/ca.key"])
    run(["mv", "/root/ca.crt", "/etc/pki/ca.crt"])
    other = machine.apply(check=False)
    assert "The CA is not usable: key: expected the private key of" in other.complaint()
    run(["mv", "/root/ca.key", "/etc/pki/ca/ca.key"])
    assert machine.apply().changes == {}


def test_the_way_back_leaves_what_was_there(machine):
    refused = machine.machine.apply("infra.nginx.clean", check=False)
    assert "infra_safeguard is on" in refused.complaint()
    assert refused.changes == {}
    machine.machine.apply("infra.nginx.clean", pillar={"infra": {"infra_safeguard": False}})
    restored = machine.machine.read("/etc/nginx/nginx.conf")
    assert "sites-enabled" in restored
    assert "Managed by Salt" not in restored
    assert machine.machine.read("/www/index.html") == PAGE
    assert machine.machine.run(["ls", "/etc/nginx/conf.d"]).stdout.split() == ["own.conf"]
    # It ran before us, and does again.
    assert machine.get(f"http://{ADDRESS}/") == (200, "theirs")
