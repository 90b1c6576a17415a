"""No secret of a pillar is told or kept but in the file that needs it, on a whole site.

A salt-master applies to an INFRA node and a client, with the vendor's package names and everything
on. Secrets are in `infra_secrets`, which the INFRA node alone gets. Minions log at their most
talkative, every process is watched, and so is the master's event bus. A client has no secret
anywhere, Salt's own caches included; at last one is given to it on purpose, and it warns of that.
"""

import json
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
import vendors
from authority import authority
from lab import fleet
from lab.suites import MachineSpec

INFRA = ("infra-1", "10.10.10.10")
NODE = ("node-1", "10.10.10.21")
MARK = "mArKeD"
ADMINISTRATOR = "/etc/grafana/infra/admin_password"
SOURCE = "/etc/grafana/provisioning/datasources/pigsty-secret.yml"
SECRETS = {
    # what: (the secret, files that hold it on the INFRA node)
    "password of nginx_users": (f"{MARK}-users", []),
    "password of the mail server": (f"{MARK}-mail", ["/etc/alertmanager.yml"]),
    "address of a webhook": (f"{MARK}-hook", ["/etc/alertmanager.yml"]),
    "token of a webhook": (f"{MARK}-token", ["/etc/alertmanager.yml"]),
    "password of a scrape job": (f"{MARK}-scrape", ["/data/infra/prometheus.yml"]),
    "password of a proxy": (f"{MARK}-proxy", []),
    "credentials of a plugin": (f"{MARK}-dns", []),
    "password of Grafana's administrator": (f"{MARK}-grafana", [ADMINISTRATOR]),
    "password of a data source": (f"{MARK}-source", [SOURCE]),
}
BESIDE = {
    "password of Grafana's mail server": f"{MARK}-config",
    "header of a probe": f"{MARK}-probe",
    "password of the CMDB's reader": f"{MARK}-reader",
    "header of an entry of the portal": f"{MARK}-entry",
    "option of certbot": f"{MARK}-certbot",
    "token of a scrape job": f"{MARK}-bearer",
    "password of another data source": f"{MARK}-another",
}
"""Further ones, in files of the INFRA node that are not listed one by one."""
UNUSED = {"password of a proxy", "credentials of a plugin", "option of certbot"}
"""No service of this site takes these: it builds no repository and has no public certificate."""
OTHERS = re.compile(
    r"/srv/pillar/infra_secrets\.sls|/var/cache/salt/minion/(high|low)state\.cache\.p"
    r"|/var/cache/salt/master/(minions|pillar)/.*\.p"
    r"|/var/lib/grafana/grafana\.db"
)
"""Salt's own, on the master and the INFRA node: what a pillar is read from, and its caches, which
none but root opens. And what Grafana keeps, who encrypts the secrets of data sources there; its
stand-in does not."""

TALK = "log_level_logfile: debug\n"


def secret(what):
    return BESIDE[what] if what in BESIDE else SECRETS[what][0]


pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def vendor(tmp_path_factory):
    return vendors.repository(tmp_path_factory.mktemp("vendor"))


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def secrets(ca):
    """What → the secret and its files; of the CA's key a line of it."""
    line = ca["ca_key"].splitlines()[10]
    beside = {what: (word, None) for what, word in BESIDE.items()}
    return {**SECRETS, **beside, "key of the CA": (line, ["/etc/pki/ca/ca.key"])}


@pytest.fixture(scope="module")
def pillar(vendor, ca):
    hook = {
        "url": f"http://10.10.10.1:5001/{secret('address of a webhook')}",
        "http_config": {"authorization": {"credentials": secret("token of a webhook")}},
    }
    login = {"username": "ann", "password": secret("password of a scrape job")}
    bearer = {"authorization": {"credentials": secret("token of a scrape job")}}
    header = {"headers": {"Authorization": secret("header of a probe")}}
    entry = {"proxy_set_header": {"X-Token": secret("header of an entry of the portal")}}
    return {
        "infra": {
            "infra_hosts": {INFRA[1]: {"infra_seq": 1}},
            **vendor.parameters(),
            "ca_crt": ca["ca_crt"],
            "portal_auth": "basic",
            "infra_portal": {
                "home": {"domain": "i.pigsty"},
                "wiki": {"domain": "wiki.pigsty", "endpoint": "10.10.10.21:9002"},
            },
            "alertmanager_severities": {"CRIT": "hook"},
            "grafana_datasources": {
                "Shop": {
                    "type": "prometheus", "url": "http://10.10.10.30:9090", "basicAuth": True,
                    "basicAuthUser": "scraper",
                },
            },
        },
        "infra_secrets": {
            "ca_key": ca["ca_key"],
            "nginx_users": {"ann": secret("password of nginx_users")},
            "infra_portal": {"wiki": entry},
            "grafana_config": {
                "smtp": {"password": secret("password of Grafana's mail server")},
            },
            "grafana_view_password": secret("password of the CMDB's reader"),
            "blackbox_modules": {"shop": {"prober": "http", "http": header}},
            "certbot_options": f"--eab-hmac-key {secret('option of certbot')}",
            "alertmanager_receivers": {"hook": {"webhook": hook}},
            "alertmanager_global": {
                "smtp_smarthost": "mail:25",
                "smtp_from": "a@example.org",
                "smtp_auth_username": "ann",
                "smtp_auth_password": secret("password of the mail server"),
            },
            "vmetrics_scrape_jobs": [
                {"job_name": "shop", "targets": "shop", "basic_auth": login},
                {"job_name": "wiki", "targets": "wiki", **bearer},
            ],
            "certbot_dns_credentials": f"token = {secret('credentials of a plugin')}",
            "proxy_env": {"http_proxy": f"http://u:{secret('password of a proxy')}@127.0.0.1:9"},
            "grafana_admin_password": secret("password of Grafana's administrator"),
            "grafana_datasources": {
                "Shop": {
                    "secureJsonData": {"basicAuthPassword": secret("password of a data source")},
                },
                "Wiki": {
                    "type": "prometheus",
                    "url": "http://10.10.10.30:9090",
                    "basicAuth": True,
                    "basicAuthUser": "ann",
                    "secureJsonData": {
                        "basicAuthPassword": secret("password of another data source"),
                    },
                },
            },
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def lab(boot_lab, pillar, vendor):
    machines = [MachineSpec(*INFRA), MachineSpec(*NODE)]
    site = boot_lab("fleet", pillar=pillar, machines=machines)
    for minion in site.minions:
        minion.write("/etc/salt/minion.d/talk.conf", TALK)
        minion.run(["systemctl", "restart", "salt-minion"])
    fleet.start(site.minions, site.master)
    with vendor.served(site):
        yield site


WATCH = """
import glob, re, sys, time
words = sys.stdin.readline().split()
wanted = re.compile(b'|'.join(re.escape(word.encode()) for word in words))
print('ready', flush=True)
seen = set()
while True:
    for path in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):
        try:
            found = wanted.findall(open(path, 'rb').read())
        except OSError:
            continue
        for secret in set(found) - seen:
            seen.add(secret)
            print(secret.decode(), open(path.replace('environ', 'cmdline')).read(80), flush=True)
    time.sleep(0.01)
"""


@contextmanager
def watched(words, told):
    """Look at every process, those of all machines are this host's, too; adds what was seen."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(" ".join(words) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        try:
            yield
            assert process.poll() is None  # it looked until now
        finally:
            process.kill()
        told.append(process.stdout.read())


@pytest.fixture(scope="module")
def applied(lab, secrets):
    """What was told while the site was applied, twice, so that what is published is taken up."""
    words = ["sh", "-c", "exec salt-run state.event >/run/events 2>&1"]
    lab.master.run(["systemd-run", "--unit=listener", *words])
    processes = []
    with watched([word for word, _ in secrets.values()], processes):
        done = [lab.apply(), lab.apply(), lab.apply(test=True)]
    lab.master.run(["systemctl", "stop", "listener"])
    return {
        "events": lab.master.read("/run/events"),
        "return": str(done),
        "processes": processes,
    }


def test_no_secret_is_told_while_it_is_applied(applied, secrets):
    assert applied["processes"] == [""]
    # It was listened to.
    assert "salt/job/" in applied["events"]
    assert "infra-nginx-portal-managed" in applied["events"]
    assert "infra-nginx-portal-managed" in applied["return"]
    for what, (word, _) in secrets.items():
        for told in ("return", "events"):
            assert word not in applied[told], f"{what} is in the {told}"


def holders(machine, secrets):
    """What → the files of a machine that hold it, others' own left out; and all of them."""
    words = [word for word, _ in secrets.values()]
    machine.write("/run/secrets", "\n".join(words) + "\n", mode=0o600)
    found = machine.run(
        ["grep", "-rlaFf", "/run/secrets", "/", "--exclude-dir=proc", "--exclude-dir=sys",
         "--exclude-dir=dev", "--exclude=secrets"],
        check=False, timeout=600,
    ).stdout.split()  # fmt: skip
    texts = {path: machine.run(["cat", path]).stdout for path in found}
    machine.run(["rm", "/run/secrets"])
    return {
        what: sorted(path for path, text in texts.items() if word in text)
        for what, (word, _) in secrets.items()
    }, found


@pytest.mark.parametrize("name", ["infra-1", "node-1", "master"])
def test_no_secret_is_kept_but_in_its_own_closed_file(lab, applied, secrets, name):
    machine = lab.machine(name)
    if name != "master":
        assert "[DEBUG" in machine.read("/var/log/salt/minion")  # as talkative as asked for
    kept, every = holders(machine, secrets)
    if name == NODE[0]:
        # Not even in Salt's caches: a client is not given it.
        assert every == []
    else:
        # The master has them, so that what was looked for can be found, and the INFRA node what
        # its services take.
        absent = {what for what, paths in kept.items() if not paths}
        assert absent == (UNUSED if name == INFRA[0] else set())
        ours = {what: [p for p in paths if not OTHERS.fullmatch(p)] for what, paths in kept.items()}
        listed = {what: files for what, (_, files) in secrets.items() if files is not None}
        wanted = {what: files if name == INFRA[0] else [] for what, files in listed.items()}
        assert {what: ours[what] for what in listed} == wanted
        assert name == INFRA[0] or not any(ours.values())
    journal = machine.run(["journalctl", "--no-pager", "--output=json"]).stdout
    for what, (word, _) in secrets.items():
        assert word not in journal, what
    for path in every:
        if not path.startswith("/srv/"):  # which the lab wrote
            assert not others_may_read(machine, path), path


def test_questions_about_the_pillar_are_answered_by_both(lab, applied):
    machine = lab.machine(INFRA[0])
    assert machine.salt_call("infra_portal.diff") == {}
    assert machine.salt_call("infra_pillar.validate") == {
        "valid": True,
        "errors": [],
        "warnings": [],
    }


def others_may_read(machine, path):
    """Whether an account without privileges, of none of our groups, can open a file."""
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", path]
    return machine.run(words, check=False).returncode == 0


def test_a_client_that_is_given_a_secret_warns_of_it_by_name(lab, applied, pillar, secrets):
    """As a site does that has all of it in one pillar."""
    apart = {"nginx_users": pillar["infra_secrets"]["nginx_users"]}
    lab.master.write("/srv/pillar/old.sls", json.dumps({"infra": apart}))
    top = {"base": {"*": ["infra"], "infra-*": ["infra_secrets"], "node-*": ["old"]}}
    lab.master.write("/srv/pillar/top.sls", json.dumps(top))
    lab.salt(NODE[0], "saltutil.refresh_pillar", "wait=True")
    # As a person sees it.
    words = ["salt", "--timeout=600", NODE[0], "state.apply", "infra"]
    shown = lab.master.run(words, timeout=900).stdout
    assert "Warnings:" in shown
    assert "no INFRA node, but its pillar holds secrets: nginx_users." in " ".join(shown.split())
    assert re.search(r"Failed: +0\b", shown)
    assert "changed=" not in shown
    assert secret("password of nginx_users") not in shown
    top["base"]["node-*"] = ["old", "strict"]
    lab.master.write(
        "/srv/pillar/strict.sls", json.dumps({"infra": {"infra_secrets_strict": True}})
    )
    lab.master.write("/srv/pillar/top.sls", json.dumps(top))
    lab.salt(NODE[0], "saltutil.refresh_pillar", "wait=True")
    done = lab.salt("--timeout=600", NODE[0], "state.apply", "infra", check=False)[NODE[0]]
    failed = [state["comment"] for state in done.values() if state["result"] is False]
    assert any("nginx_users" in comment for comment in failed)
    assert secret("password of nginx_users") not in str(done)
