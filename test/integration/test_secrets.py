"""No secret of a pillar is told or kept but in the file that needs it, on a whole site.

A salt-master applies to an INFRA node and a client, with the vendor's package names and everything
on. Minions log at their most talkative, every process is watched, and so is the master's event bus.
"""

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
OTHERS = re.compile(
    r"/srv/pillar/infra\.sls|/var/cache/salt/minion/(high|low)state\.cache\.p"
    r"|/var/cache/salt/master/(minions|pillar)/.*\.p"
    r"|/var/lib/grafana/grafana\.db"
)
"""Salt's own: what a pillar is read from, and its caches, which none but root opens. And what
Grafana keeps, who encrypts the secrets of data sources there; its stand-in does not."""

TALK = "log_level_logfile: debug\n"


def secret(what):
    return SECRETS[what][0]


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
    return {**SECRETS, "key of the CA": (line, ["/etc/pki/ca/ca.key"])}


@pytest.fixture(scope="module")
def pillar(vendor, ca):
    hook = {
        "url": f"http://10.10.10.1:5001/{secret('address of a webhook')}",
        "http_config": {"authorization": {"credentials": secret("token of a webhook")}},
    }
    login = {"username": "ann", "password": secret("password of a scrape job")}
    return {
        "infra": {
            "infra_hosts": {INFRA[1]: {"infra_seq": 1}},
            **vendor.parameters(),
            **ca,
            "portal_auth": "basic",
            "nginx_users": {"ann": secret("password of nginx_users")},
            "infra_portal": {"home": {"domain": "i.pigsty"}},
            "alertmanager_receivers": {"hook": {"webhook": hook}},
            "alertmanager_global": {
                "smtp_smarthost": "mail:25",
                "smtp_from": "a@example.org",
                "smtp_auth_username": "ann",
                "smtp_auth_password": secret("password of the mail server"),
            },
            "vmetrics_scrape_jobs": [{"job_name": "shop", "targets": "shop", "basic_auth": login}],
            "certbot_dns_credentials": f"token = {secret('credentials of a plugin')}",
            "proxy_env": {"http_proxy": f"http://u:{secret('password of a proxy')}@127.0.0.1:9"},
            "grafana_admin_password": secret("password of Grafana's administrator"),
            "grafana_datasources": {
                "Shop": {
                    "type": "prometheus", "url": "http://10.10.10.30:9090", "basicAuth": True,
                    "basicAuthUser": "scraper",
                    "secureJsonData": {"basicAuthPassword": secret("password of a data source")},
                },
            },
        }
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
        yield
        assert process.poll() is None  # it looked until now
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
        what: sorted(p for p, text in texts.items() if word in text and not OTHERS.fullmatch(p))
        for what, (word, _) in secrets.items()
    }, found


@pytest.mark.parametrize("name", ["infra-1", "node-1", "master"])
def test_no_secret_is_kept_but_in_its_own_closed_file(lab, applied, secrets, name):
    machine = lab.machine(name)
    if name != "master":
        assert "[DEBUG" in machine.read("/var/log/salt/minion")  # as talkative as asked for
    kept, every = holders(machine, secrets)
    wanted = {what: files if name == INFRA[0] else [] for what, (_, files) in secrets.items()}
    assert kept == wanted
    journal = machine.run(["journalctl", "--no-pager", "--output=json"]).stdout
    for what, (word, _) in secrets.items():
        assert word not in journal, what
    for path in every:
        if not path.startswith("/srv/"):  # which the lab wrote
            assert not others_may_read(machine, path), path


def others_may_read(machine, path):
    """Whether an account without privileges, of none of our groups, can open a file."""
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", path]
    return machine.run(words, check=False).returncode == 0
