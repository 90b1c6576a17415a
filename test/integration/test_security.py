"""Owners, modes, listeners and sandboxes of an INFRA node, as an apply leaves them.

The golden list of files (golden/files.<platform>.txt) is written anew with INFRA_GOLDEN=write in
the environment; what changed in it is then for a reviewer to read.
"""

import json
import os
import re
from pathlib import Path

import pytest
from lab.applied import Applied
from vendors import DISTRO

HERE = Path(__file__).resolve().parent
ADDRESS = "10.10.10.10"
PASSWORD = "ann-Pass"  # noqa: S105 (of a machine that is thrown away)
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
        r"/data/nginx/\.states/",  # copies of pages, while the store answers
    )
]
"""What packages, their scripts, the daemons and timers write."""
OURS_THOUGH_PACKAGED = re.compile(r"/etc/(nginx/nginx\.conf|chrony/chrony\.conf|dnsmasq\.conf)$")


PILLAR = {
    "infra": {
        "infra_hosts": {ADDRESS: {"infra_seq": 1}},
        **DISTRO,
        "repo_enabled": False,
        "node_repo_modules": "",
        "portal_auth": "basic",
        "infra_portal": {
            "home": {"domain": "i.pigsty"},
            "metrics": {"domain": "p.pigsty", "endpoint": "${admin_ip}:8428"},
        },
        "vmetrics_scrape_jobs": [{"job_name": "shop", "targets": "shop"}],
    },
    "infra_secrets": {
        "nginx_users": {"ann": PASSWORD},
        "alertmanager_receivers": {"hook": {"webhook": {"url": "http://10.10.10.1:5001/"}}},
    },
}


@pytest.fixture(scope="module")
def machine(boot_lab, platform):
    return boot_lab(platform=platform, pillar=PILLAR).machine("infra-1")


CRON = ["env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "SHELL=/bin/sh", "LOGNAME=root",
        "sh", "-c", 'umask 077 && exec "$0" "$@"']  # fmt: skip
"""The surroundings of a job of cron on a machine whose administrator closes new files to others."""


@pytest.fixture(scope="module")
def applied(machine):
    """What was on the machine before the first apply, by path.

    That apply is a job of cron's: its short PATH has no sbin, and what it makes without a mode of
    its own cannot be read by the daemons, nor has the mode of the golden list.
    """
    before = _listed(machine)
    program = machine.run(["sh", "-c", "command -v salt-call"]).stdout.strip()
    words = [program, "--local", "--out=json", "--retcode-passthrough", "state.apply", "infra"]
    done = machine.run([*CRON, *words], check=False, timeout=1800)
    result = Applied.of(json.loads(done.stdout)["local"])
    assert result.ok, result.complaint()
    return before


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
        before = applied.get(path)
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
    login = ["--user", f"ann:{PASSWORD}"]
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
