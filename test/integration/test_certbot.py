"""Certificates: public ones of a real ACME server, and those of the site's own CA.

One lab goes through the life of a portal, so the tests of this file stand in their order.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from acme_server import ADDRESS as ACME
from acme_server import DIRECTORY, AcmeServer
from cryptography import x509
from lab.suites import MachineSpec
from waiting import eventually

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
EXAMPLE = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
DEMO = EXAMPLE["infra_portal"]
STATES = "infra.ca,infra.nginx,infra.certbot"
ADDRESS, SECOND = "10.10.10.10", "10.10.10.11"
SHARED = ("pigsty.demo", "pigsty.cc", "pigsty.doc")
PORTAL_CERT = "/etc/nginx/conf.d/cert/pigsty.crt"


class Site:
    """An INFRA node with the demo's portal, and the ACME server that it is told to ask."""

    def __init__(self, lab):
        self.lab, self.machine = lab, lab.machine("infra-1")
        self.acme = AcmeServer(lab.machine("acme")).start()
        self.parameters = {
            **EXAMPLE,
            "certbot_sign": True,
            "certbot_email": "root@pigsty.cc",
            "certbot_server": DIRECTORY,
            "certbot_ca": "/etc/acme-ca.crt",
        }
        self.trust(self.machine)

    def trust(self, machine):
        machine.write("/etc/acme-ca.crt", self.acme.authority)

    def apply(self, test=False, check=True, **parameters):
        self.parameters |= parameters
        self.machine.set_pillar({"infra": self.parameters})
        return self.machine.apply(STATES, test=test, check=check)

    def portal(self, **entries):
        return {"infra_portal": {**DEMO, **entries}}

    def outcomes(self, applied):
        """What became of each certificate."""
        return {
            title.split("_|-")[2]: result
            for title, result in applied.items()
            if title.endswith("_|-certificate")
        }

    def served(self, name, address=ADDRESS):
        """The certificate that a client gets to see."""
        shown = self.lab.net(
            ["openssl", "s_client", "-connect", f"{address}:443", "-servername", name], input=""
        ).stdout
        pem = shown[shown.index("-----BEGIN") : shown.index("-----END CERTIFICATE-----")]
        return x509.load_pem_x509_certificate(f"{pem}-----END CERTIFICATE-----\n".encode())

    def issuer(self, name, address=ADDRESS):
        return self.served(name, address).issuer.rfc4514_string()

    def lineage(self, name):
        return x509.load_pem_x509_certificate(
            self.machine.read(f"/etc/letsencrypt/live/{name}/cert.pem").encode()
        )

    @contextmanager
    def steady(self, name, folder):
        """A client that never pauses; what it tells, once it was stopped, is in the mapping."""
        stop, told = folder / "stop", {}
        command = [sys.executable, str(HERE / "tls_steady.py"), ADDRESS, name, str(stop)]
        with subprocess.Popen(self.lab.net_command(command), stdout=subprocess.PIPE) as client:
            try:
                yield told
            finally:
                stop.touch()
            told |= json.loads(client.communicate(timeout=60)[0])


@pytest.fixture(scope="module")
def site(boot_lab):
    lab = boot_lab(machines=[MachineSpec("infra-1", ADDRESS), MachineSpec("acme", ACME)])
    return Site(lab)


def test_the_three_shared_names_of_the_demo_are_issued(site):
    told = site.apply(test=True)
    assert {r["result"] for r in told.values()} <= {True, None}
    assert {n: r["result"] for n, r in site.outcomes(told).items()} == dict.fromkeys(SHARED)
    done = site.apply()
    assert {n: r["result"] for n, r in site.outcomes(done).items()} == dict.fromkeys(SHARED, True)
    for name in ("home.pigsty.cc", "wiki.pigsty.cc", "zh.pigsty.cc"):
        cert = site.served(name)
        assert "Pebble" in cert.issuer.rfc4514_string()
        assert name in _names(cert)
    assert "pigsty-ca" in site.issuer("cli.pigsty.cc")  # an entry without a `certbot` name
    again = site.apply()
    assert again.changes == {}
    assert site.apply(test=True).changes == {}
    units = ["certbot.timer", "infra-cert-renew.timer"]
    assert site.machine.run(["systemctl", "is-enabled", *units]).stdout.split() == ["enabled"] * 2
    site.machine.apply("infra.status")
    row = site.machine.salt_call("infra_status.services", check=False)["certbot"]
    assert (row["unit"], row["healthy"]) == ("certbot.timer", True)
    assert row["version"]


def test_an_added_name_expands_the_certificate_and_no_connection_drops(site, tmp_path):
    site.machine.write("/www/repo/index.html", "a page")
    site.machine.run(["truncate", "--size=20M", "/www/repo/large"])
    before = f"{site.served('pro.pigsty.cc').serial_number:x}"
    with site.steady("pro.pigsty.cc", tmp_path) as told:
        done = site.apply(**site.portal(repo={**DEMO["repo"], "domains": ["new.pigsty.cc"]}))
        after = f"{site.served('pro.pigsty.cc').serial_number:x}"
    assert site.outcomes(done)["pigsty.doc"]["changes"]["pigsty.doc"]["reason"].endswith(
        "with new.pigsty.cc"
    )
    assert "Pebble" in site.issuer("new.pigsty.cc")
    assert (told["failures"], told["serials"]) == ([], [before, after])
    assert told["requests"] > 100
    assert told["bodies"] > 0


def test_certbots_own_timer_renews_and_nginx_takes_it_up(site, tmp_path):
    before = site.served("pro.pigsty.cc").serial_number
    other = site.served("wiki.pigsty.cc").serial_number
    conf = "/etc/letsencrypt/renewal/pigsty.doc.conf"
    soon = "s/^# renew_before_expiry.*/renew_before_expiry = 3000 days/"
    site.machine.run(["sed", "--in-place", soon, conf])
    with site.steady("pro.pigsty.cc", tmp_path) as told:
        _trigger(site.machine, "certbot")
    assert told["failures"] == []
    assert told["serials"] == [f"{s:x}" for s in (before, site.lineage("pigsty.doc").serial_number)]
    assert site.served("wiki.pigsty.cc").serial_number == other
    site.machine.run(["sed", "--in-place", "s/^renew_before_expiry.*//", conf])


def _trigger(machine, unit):
    """Let a timer elapse, and wait for the end of what it starts."""
    machine.write(
        f"/etc/systemd/system/{unit}.timer.d/soon.conf",
        "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1ms\n",
    )
    begun = "systemctl show --property=InactiveEnterTimestampMonotonic --value"
    machine.run(
        ["bash", "-euc",
         f"before=$({begun} {unit}.service); systemctl daemon-reload; "
         f"systemctl restart {unit}.timer; "
         f"until [[ $({begun} {unit}.service) != $before ]]; do sleep 0.2; done"],
        timeout=100,
    )  # fmt: skip
    result = machine.run(
        ["systemctl", "show", "--property=Result,ExecMainStatus", f"{unit}.service"]
    ).stdout
    machine.run(["rm", "--recursive", f"/etc/systemd/system/{unit}.timer.d"])
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "restart", f"{unit}.timer"])
    assert "Result=success" in result
    assert "ExecMainStatus=0" in result


def test_a_name_that_is_closed_to_everybody_is_issued_and_renewed(site):
    closed = {
        "domain": "closed.pigsty.cc", "path": "/www/closed", "certbot": "closed",
        "config": "satisfy all;\ndeny all;\nauth_basic own;\nauth_basic_user_file .htpasswd;\n"
        "return 301 https://elsewhere.example$request_uri;",
    }  # fmt: skip
    done = site.apply(**site.portal(closed=closed))
    assert site.outcomes(done)["closed"]["result"] is True
    before = site.served("closed.pigsty.cc").serial_number
    # Without a terminal it sleeps for up to eight minutes first.
    site.machine.run(
        ["env", "REQUESTS_CA_BUNDLE=/etc/acme-ca.crt", "certbot", "renew", "--cert-name", "closed",
         "--force-renewal", "--no-random-sleep-on-renew"]
    )  # fmt: skip
    # certbot's hook has nginx reloaded; the old workers answer until the new ones are up.
    assert eventually(lambda: site.served("closed.pigsty.cc").serial_number != before, 60)
    site.apply(**site.portal())


def test_a_failed_challenge_is_an_error_of_that_name_alone(site):
    site.acme.update(f"add bad.pigsty.cc 0 A {ACME}")
    bad = {"domain": "bad.pigsty.cc", "path": "/www/bad", "certbot": "bad"}
    failed = site.apply(check=False, **site.portal(bad=bad))
    assert not failed.ok
    outcomes = site.outcomes(failed)
    assert outcomes["bad"]["result"] is False
    assert "bad.pigsty.cc: connection: " in outcomes["bad"]["comment"]
    assert "connection refused" in outcomes["bad"]["comment"]
    assert {n: r["result"] for n, r in outcomes.items() if n != "bad"} == dict.fromkeys(
        SHARED, True
    )
    # Its entry is served with what the portal has anyhow; a name that was dropped is dropped.
    assert "pigsty-ca" in site.issuer("bad.pigsty.cc")
    assert "new.pigsty.cc" not in _names(site.lineage("pigsty.doc"))
    orders = site.acme.orders()
    again = site.apply(check=False)
    assert "not requested again before" in site.outcomes(again)["bad"]["comment"]
    assert site.acme.orders() == orders
    site.acme.update("delete bad.pigsty.cc A")
    assert site.machine.salt_call("infra_certbot.retry") == ["bad"]
    assert site.outcomes(site.apply())["bad"]["result"] is True
    assert "Pebble" in site.issuer("bad.pigsty.cc")


def _names(cert):
    return cert.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)


def test_what_is_no_longer_asked_for_is_removed(site):
    done = site.apply(**site.portal())
    assert site.outcomes(done)["bad"]["comment"] == "removed"
    assert set(site.machine.salt_call("infra_certbot.certificates")) == set(SHARED)
    assert site.apply().changes == {}


def test_a_revoked_certificate_is_issued_anew(site):
    old = site.lineage("pigsty.demo")
    site.machine.run(
        ["env", "REQUESTS_CA_BUNDLE=/etc/acme-ca.crt", "certbot", "revoke", "--non-interactive",
         "--cert-name", "pigsty.demo", "--reason", "superseded", "--delete-after-revoke",
         "--server", DIRECTORY]
    )  # fmt: skip
    assert site.acme.status(old) == "Revoked"
    done = site.apply()
    assert site.outcomes(done)["pigsty.demo"]["result"] is True
    new = site.served("home.pigsty.cc")
    assert new.serial_number == site.lineage("pigsty.demo").serial_number != old.serial_number
    assert site.acme.status(new) == "Valid"


def test_a_compromised_key_is_replaced_and_then_revoked(site):
    old = site.lineage("pigsty.cc")
    told = site.machine.salt_call("infra_certbot.replace", "pigsty.cc", "revoke=keycompromise")
    assert told["days_left"] > 0
    new = site.served("wiki.pigsty.cc")
    assert new.serial_number == site.lineage("pigsty.cc").serial_number != old.serial_number
    assert new.public_key() != old.public_key()
    assert (site.acme.status(old), site.acme.status(new)) == ("Revoked", "Valid")


# -- what the site's own CA signs


def _sign(site, path, **changes):
    """Issue a certificate by a changed specification that is not recorded."""
    record = "/var/lib/infra/certs.json"
    before = site.machine.read(record)
    data = json.loads(before)
    data["certificates"][path].update(changes)
    site.machine.write(record, json.dumps(data))
    site.machine.salt_call("infra_cert.renew", path, "force=True")
    site.machine.write(record, before)


def test_what_the_ca_signed_is_renewed_by_a_timer_without_master_and_pillar(site, tmp_path):
    _sign(site, PORTAL_CERT, days=5)
    site.machine.run(["systemctl", "reload", "nginx"])
    gone = ["/srv/pillar", "/srv/salt"]
    for folder in gone:
        site.machine.run(["mount", "-t", "tmpfs", "none", folder])
    try:
        _trigger(site.machine, "infra-cert-renew")
    finally:
        site.machine.run(["umount", *gone])
    told = site.machine.salt_call("infra_cert.describe", PORTAL_CERT)
    assert 396 < told["days_left"] <= 397
    on_disk = x509.load_pem_x509_certificate(site.machine.read(PORTAL_CERT).encode())
    assert site.served("cli.pigsty.cc") == on_disk


def test_the_ca_comes_back_from_its_backup(site):
    site.machine.run(
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet",
         "--no-install-recommends", "gnupg"]
    )  # fmt: skip
    site.apply()  # takes up what the timer renewed
    site.machine.salt_call("infra_cert.issue", "etcd-1", "san=etcd-1,10.10.10.21")
    before = site.machine.read("/etc/pki/ca/ca.key")
    arguments = ["/root/ca.backup", "passphrase_file=/root/ca.passphrase"]
    site.machine.write("/root/ca.passphrase", "a passphrase\n", 0o600)
    held = site.machine.salt_call("infra_cert.backup", *arguments)
    assert "/etc/pki/ca/ca.key" in held
    assert "/etc/pki/misc/etcd-1.key" in held
    site.machine.run(["rm", "--recursive", "/etc/pki/ca", "/etc/pki/ca.crt", "/etc/pki/misc"])
    site.machine.salt_call("infra_cert.restore", *arguments)
    assert site.machine.read("/etc/pki/ca/ca.key") == before
    # Nothing that it signed has to be issued again.
    assert site.apply().changes == {}
    assert site.machine.salt_call("infra_cert.list")["/etc/pki/ca.crt"]["kind"] == "ca"


# -- longer runs


@pytest.mark.soak
def test_a_wildcard_is_validated_over_dns_and_renewed_so(site):
    wild = {"domain": "*.apps.pigsty.cc", "path": "/www/apps", "certbot": "apps"}
    request = {
        "certbot_dns_plugin": "rfc2136",
        "certbot_dns_credentials": site.acme.credentials,
        "certbot_dns_propagation": 1,
    }
    done = site.apply(**site.portal(apps=wild), **request)
    assert site.outcomes(done)["apps"]["result"] is True
    assert _names(site.served("any.apps.pigsty.cc")) == ["*.apps.pigsty.cc"]
    assert site.apply().changes == {}
    secret = site.acme.credentials.split("secret = ")[1].split("\n")[0]
    assert secret not in json.dumps({title: dict(r) for title, r in done.items()})
    shown = site.machine.run(["stat", "-c", "%a %U", "/etc/letsencrypt/infra-dns.ini"]).stdout
    assert shown == "600 root\n"
    before = site.lineage("apps").serial_number
    conf = "/etc/letsencrypt/renewal/apps.conf"
    soon = "s/^# renew_before_expiry.*/renew_before_expiry = 3000 days/"
    site.machine.run(["sed", "--in-place", soon, conf])
    _trigger(site.machine, "certbot")
    assert site.served("any.apps.pigsty.cc").serial_number != before
    site.apply(**site.portal(), certbot_dns_plugin="", certbot_dns_credentials="")


@pytest.mark.soak
def test_a_second_infra_node_gets_its_own_through_the_first(site):
    """Every name leads to the first node; what the second one has to prove is asked of it there."""
    pair = {"ca_crt": site.machine.read("/etc/pki/ca.crt"),
            "ca_key": site.machine.read("/etc/pki/ca/ca.key")}  # fmt: skip
    hosts = {"infra_hosts": {ADDRESS: {"infra_seq": 1}, SECOND: {"infra_seq": 2}}}
    site.apply(**hosts)
    second = site.lab.add("infra-2", SECOND)
    site.trust(second)
    second.set_pillar({"infra": {**site.parameters, **hosts, **pair}})
    done = second.apply(STATES)
    assert {n: r["result"] for n, r in site.outcomes(done).items()} == dict.fromkeys(SHARED, True)
    for name in ("home.pigsty.cc", "wiki.pigsty.cc", "pro.pigsty.cc"):
        assert "Pebble" in site.issuer(name, SECOND)
        assert site.served(name, SECOND).serial_number != site.served(name).serial_number
    assert second.apply(STATES).changes == {}
    # A challenge that nobody has ends after one round.
    code = site.lab.net(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--header",
         "Host: home.pigsty.cc", f"http://{ADDRESS}/.well-known/acme-challenge/none"]
    ).stdout  # fmt: skip
    assert code == "404"
