"""Secrets, owners, modes, listeners and sandboxes of an INFRA node, as an apply leaves them.

The golden list of files (golden/files.<platform>.txt) is written anew with INFRA_GOLDEN=write in
the environment; what changed in it is then for a reviewer to read.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from lab.host import run
from lab.paths import CHECKOUT

HERE = Path(__file__).resolve().parent
ADDRESS = "10.10.10.10"
MARK = "mArKeD"
SECRETS = {
    # what: (the secret, files that hold it)
    "password of nginx_users": (f"{MARK}-users", []),
    "password of the mail server": (f"{MARK}-mail", ["/etc/alertmanager.yml"]),
    "address of a webhook": (f"{MARK}-hook", ["/etc/alertmanager.yml"]),
    "token of a webhook": (f"{MARK}-token", ["/etc/alertmanager.yml"]),
    "password of a scrape job": (f"{MARK}-scrape", ["/data/infra/prometheus.yml"]),
    "password of a proxy": (f"{MARK}-proxy", []),
    "password of a data source": (f"{MARK}-dns", []),
}
SALT = re.compile(r"/srv/pillar/infra\.sls|/var/cache/salt/minion/(high|low)state\.cache\.p")
"""Salt's own: what the pillar is read from, and its cache of the last run, which is 0600 root."""

PACKAGED = {f"{name}_enabled": False for name in ("vlogs", "vtraces", "vector", "grafana")}
DEFAULTS = yaml.safe_load((CHECKOUT / "infra/defaults.yaml").read_text(encoding="utf-8"))
CLOSED = {8428: "vmetrics", 8880: "vmalert", 9059: "alertmanager", 9113: "nginx", 9115: "blackbox"}
LIMIT = 3.0  # exposure, by systemd-analyze security
FOLDERS = ("/etc", "/data", "/infra", "/www", "/usr/local", "/var/lib/infra")

NOT_OURS = [
    re.compile(pattern)
    for pattern in (
        r"/etc/ssl/certs/",  # links that update-ca-certificates makes
        r"/etc/(ld\.so\.cache|passwd-?|group-?|g?shadow-?|subuid-?|subgid-?|\.pwd\.lock)$",
        r"/etc/(rc[0-6S]\.d|systemd/system/[a-z.-]+\.(wants|requires))/",
        r"/etc/(alternatives|salt|logcheck|apparmor\.d)(/|$)",
        r"/etc/(chrony/chrony\.keys|default/nginx|systemd/system/chronyd\.service)$",
        r"/etc/nginx/(modules|sites)-enabled/",
        r"/usr/local/lib/",
        r"/data/infra/(alertmgr|metrics)/",  # data, of the daemons themselves
        r"/var/lib/infra/textfile/",  # metrics, of timers
    )
]
"""What packages, their scripts, the daemons and timers write."""
OURS_THOUGH_PACKAGED = re.compile(r"/etc/(nginx/nginx\.conf|chrony/chrony\.conf|dnsmasq\.conf)$")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
         "-subj", "/O=pigsty/OU=ca/CN=pigsty-ca", "-keyout", str(folder / "ca.key"),
         "-out", str(folder / "ca.crt"),
         "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
    )  # fmt: skip
    return (folder / "ca.crt").read_text(), (folder / "ca.key").read_text()


@pytest.fixture(scope="module")
def secrets(authority):
    """What → the secret and its files; of the CA's key a line of it."""
    line = authority[1].splitlines()[10]
    return {**SECRETS, "key of the CA": (line, ["/etc/pki/ca/ca.key"])}


@pytest.fixture(scope="module")
def pillar(authority):
    def secret(what):
        return SECRETS[what][0]

    hook = {
        "url": f"http://10.10.10.1:5001/{secret('address of a webhook')}",
        "http_config": {"authorization": {"credentials": secret("token of a webhook")}},
    }
    job = {"job_name": "shop", "targets": "shop"}
    return {
        "infra": {
            "infra_hosts": {ADDRESS: {"infra_seq": 1}},
            "infra_packaging": "distro",
            "repo_enabled": False,
            "node_repo_modules": "",
            **{name: value for name, value in PACKAGED.items() if name in DEFAULTS},
            "ca_crt": authority[0],
            "ca_key": authority[1],
            "portal_auth": "basic",
            "nginx_users": {"ann": secret("password of nginx_users")},
            "infra_portal": {
                "home": {"domain": "i.pigsty"},
                "metrics": {"domain": "p.pigsty", "endpoint": "${admin_ip}:8428"},
            },
            "alertmanager_receivers": {"hook": {"webhook": hook}},
            "alertmanager_global": {
                "smtp_smarthost": "mail:25",
                "smtp_from": "a@example.org",
                "smtp_auth_username": "ann",
                "smtp_auth_password": secret("password of the mail server"),
            },
            "vmetrics_scrape_jobs": [
                {**job, "basic_auth": {
                    "username": "ann", "password": secret("password of a scrape job")}}
            ],
            "certbot_dns_credentials": f"token = {secret('password of a data source')}",
            "proxy_env": {"http_proxy": f"http://u:{secret('password of a proxy')}@127.0.0.1:9"},
        }
    }  # fmt: skip


@pytest.fixture(scope="module")
def machine(boot_lab, platform, pillar):
    return boot_lab(platform=platform, pillar=pillar).machine("infra-1")


WATCH = """
import glob, os, re, sys
wanted = re.compile(b'|'.join(re.escape(line.encode()) for line in sys.stdin.read().split()))
print('ready', flush=True)
seen = set()
while not os.path.exists('/run/watched-enough'):
    for path in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):
        try:
            found = wanted.findall(open(path, 'rb').read())
        except OSError:
            continue
        for secret in set(found) - seen:
            seen.add(secret)
            print(secret.decode(), open(path.replace('environ', 'cmdline')).read(80), flush=True)
print('done', flush=True)
"""


@pytest.fixture(scope="module")
def applied(machine, secrets):
    """The first apply, at Salt's most talkative, with every process watched; what was said."""
    before = _listed(machine)
    words = "\n".join(secret for secret, _ in secrets.values())
    machine.write("/run/watch.py", WATCH)
    watch = subprocess.Popen(
        machine.command(["/opt/salt/bin/python3", "/run/watch.py"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    watch.stdin.write(words)
    watch.stdin.close()
    assert watch.stdout.readline() == "ready\n"
    done = machine.run(
        ["salt-call", "--local", "--out=json", "--log-level=debug", "state.apply", "infra"],
        check=False, timeout=900,
    )  # fmt: skip
    machine.write("/run/watched-enough", "")
    processes = watch.stdout.read()
    watch.wait()
    machine.run(["rm", "/run/watch.py", "/run/watched-enough"])
    results = json.loads(done.stdout)["local"]
    assert [r["comment"] for r in results.values() if r["result"] is False] == []
    return {"return": done.stdout, "log": done.stderr, "processes": processes, "before": before}


def test_no_secret_is_told_while_it_is_applied(applied, secrets):
    assert applied["processes"] == "done\n"
    assert "infra_portal.managed" in applied["log"]  # it was as talkative as asked for
    for what, (secret, _) in secrets.items():
        for told in ("return", "log"):
            assert secret not in applied[told], f"{what} is in the {told}"


def test_no_secret_is_kept_but_in_its_own_closed_file(machine, applied, secrets):
    machine.write("/run/secrets", "\n".join(s for s, _ in secrets.values()) + "\n", mode=0o600)
    holders = machine.run(
        ["grep", "-rlaFf", "/run/secrets", "/", "--exclude-dir=proc", "--exclude-dir=sys",
         "--exclude-dir=dev", "--exclude=secrets"],
        check=False, timeout=600,
    ).stdout.split()  # fmt: skip
    journal = machine.run(["journalctl", "--no-pager", "--output=json"]).stdout
    found = {}
    for path in holders:
        text = machine.run(["cat", path]).stdout
        for what, (secret, _) in secrets.items():
            if secret in text:
                found.setdefault(what, []).append(path)
    machine.run(["rm", "/run/secrets"])
    for what, (secret, files) in secrets.items():
        ours = [path for path in found.get(what, []) if not SALT.fullmatch(path)]
        assert ours == files, what
        assert secret not in journal, what
    closed = {path for paths in found.values() for path in paths if "/srv/" not in path}
    for path in closed:
        mode, group = machine.run(["stat", "--format=%a %G", path]).stdout.split()
        assert mode in (["600"] if group == "root" else ["600", "640"]), path


def test_a_second_time_changes_nothing(machine, applied):
    assert machine.apply().changes == {}


# -- owners and modes


def _listed(machine):
    """Path → what stands for its content and attributes."""
    command = ["find", *FOLDERS, "-printf", "%p\\t%T@\\t%m %u:%g %y\\n"]
    lines = machine.run(command, check=False).stdout.splitlines()
    return {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in lines}


def test_every_file_that_is_written_has_the_owner_and_the_mode_of_the_list(
    machine, applied, platform
):
    packaged = set(machine.run(["sh", "-c", "cat /var/lib/dpkg/info/*.list"]).stdout.splitlines())
    lines = []
    for path, (changed, attributes) in sorted(_listed(machine).items()):
        before = applied["before"].get(path)
        if any(skip.match(path) for skip in NOT_OURS):
            continue
        if before is None and path in packaged and not OURS_THOUGH_PACKAGED.match(path):
            continue
        if before is not None and (before[0] == changed or attributes.endswith("d")):
            continue
        lines.append(f"{attributes:28} {path}")
    text = "\n".join(lines) + "\n"
    golden = HERE / "golden" / f"files.{platform}.txt"
    if os.environ.get("INFRA_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    for line in lines:
        attributes, kind, path = line[:28].split()[0], line[:28].split()[2], line[29:]
        if kind == "f":
            assert not int(attributes, 8) & 0o022, f"{path} can be written by others"
        if path.endswith(".key"):
            assert not int(attributes, 8) & 0o007 or kind == "l", f"{path} can be read by all"


# -- who is reached


def test_nothing_but_the_portal_and_what_others_need_is_reached(machine, applied, boot_lab):
    told = machine.run(["ss", "-Hltn"]).stdout
    places = {line.split()[3] for line in told.splitlines()}
    for port, name in CLOSED.items():
        assert {p for p in places if p.endswith(f":{port}")} == {f"127.0.0.1:{port}"}, name
    assert {p.rpartition(":")[2] for p in places if not p.startswith("127.")} <= {
        "22", "53", "80", "443", "9100",
    }  # fmt: skip
    code = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--resolve",
            f"p.pigsty:443:{ADDRESS}"]  # fmt: skip
    assert machine.run([*code, "https://p.pigsty/health"]).stdout == "401"
    login = ["--user", f"ann:{SECRETS['password of nginx_users'][0]}"]
    # Its endpoint is the node's address, on which nothing listens: it is asked on loopback.
    assert machine.run([*code, *login, "https://p.pigsty/health"]).stdout == "200"
    assert machine.run([*code, f"http://{ADDRESS}/ca.crt"]).stdout == "200"
    targets = machine.read("/infra/targets/infra/infra-1.yml")
    assert "127.0.0.1:8428" in targets


# -- sandboxes


def test_nginx_dnsmasq_and_chrony_are_hardened_and_do_their_work(machine, applied, capsys):
    units = ("nginx", "dnsmasq", "chrony")
    machine.run(["systemctl", "restart", *units])  # as after the next start of the machine
    exposure = {}
    for unit in units:
        told = machine.run(["systemd-analyze", "security", unit], check=False).stdout
        exposure[unit] = float(told.rsplit("service:", 1)[1].split()[0])
    with capsys.disabled():
        print(f"\nexposure: {exposure}", end="")
    assert {unit: value for unit, value in exposure.items() if value > LIMIT} == {}

    machine.run(["systemctl", "reload", "nginx"])
    rotate = "cd /var/log/nginx && rm *.log && kill -USR1 $(cat /run/nginx.pid) && sleep 1"
    machine.run(["sh", "-c", f"{rotate} && curl -s http://127.0.0.1/ca.crt"])
    assert "/ca.crt" in machine.read("/var/log/nginx/access.log")
    assert machine.run(["stat", "--format=%a", "/var/log/nginx"]).stdout == "750\n"

    machine.write("/etc/hosts.d/mine", "10.10.10.77 mine.pigsty\n")
    machine.run(["systemctl", "reload", "dnsmasq"])
    asked = machine.salt_call("infra_dns.query", "mine.pigsty")
    assert asked["values"] == ["10.10.10.77"]
    machine.run(["rm", "/etc/hosts.d/mine"])

    assert machine.run(["chronyc", "-n", "tracking"]).stdout.startswith("Reference ID")
    denied = machine.run(
        ["journalctl", "--no-pager", "-b", "-u", "nginx", "-u", "dnsmasq", "-u", "chrony"]
    ).stdout
    assert not re.search(r"Permission denied|Read-only|not permitted", denied)
    assert machine.apply().changes == {}
