"""Every unit and drop-in of the formula is sandboxed, by the rating of systemd-analyze."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = {
    "nginx": """[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'
""",
    "chrony": """[Service]
Type=forking
ExecStart=/usr/sbin/chronyd
User=_chrony
DeviceAllow=char-rtc rw
DevicePolicy=closed
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
""",
    "certbot": """[Service]
Type=oneshot
ExecStart=/usr/bin/certbot -q renew
PrivateTmp=true
""",
}
"""What a drop-in adds to: the units of Debian 12's packages, as far as it matters here."""

LIMITS = {"infra-cert-renew": 3.1, "certbot": 3.4, "chrony": 3.1, "infra-drift": 7.6}
"""Exposure of those that run other programs as root, of what sets the clock, and of a whole run of
Salt, which looks at all that an apply does; else, LIMIT."""
LIMIT = 3.0
UNITS = sorted(ROOT.glob("infra/*/files/*.service"))
DROP_INS = sorted(ROOT.glob("infra/*/files/*.service.conf"))


def rendered(text):
    """A template with a value for each expression."""
    return re.sub(r"\{\{.*?\}\}", "/usr/bin/true", text)


def exposure(folder, unit):
    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--root={folder}", f"{unit}.service"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    found = re.search(r"exposure level for \S+: ([\d.]+)", answer)
    assert found, answer[-500:]
    return float(found[1])


def place(folder, unit, text, drop_in=""):
    units = folder / "etc/systemd/system"
    (units / f"{unit}.service.d").mkdir(parents=True)
    (units / f"{unit}.service").write_text(rendered(text))
    if drop_in:
        (units / f"{unit}.service.d/infra.conf").write_text(rendered(drop_in))


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_a_unit_of_the_formula_is_sandboxed(file, tmp_path):
    place(tmp_path, file.stem, file.read_text(encoding="utf-8"))
    assert exposure(tmp_path, file.stem) <= LIMITS.get(file.stem, LIMIT)


@pytest.mark.parametrize("file", DROP_INS, ids=lambda file: file.name)
def test_a_drop_in_sandboxes_the_packages_unit(file, tmp_path):
    unit = file.name.removesuffix(".service.conf")
    place(tmp_path, unit, PACKAGED[unit], file.read_text(encoding="utf-8"))
    assert exposure(tmp_path, unit) <= LIMITS.get(unit, LIMIT)


@pytest.mark.parametrize("file", [*UNITS, *DROP_INS], ids=lambda file: file.name)
def test_what_runs_other_programs_is_denied_by_group(file):
    text = file.read_text(encoding="utf-8")
    unit = file.name.partition(".")[0]
    if unit in ("infra-cert-renew", "certbot"):
        assert re.search(r"^SystemCallFilter=~@clock .*@mount", text, re.MULTILINE)
        assert "MemoryDenyWriteExecute" not in text.replace("# ", "").split("[Service]")[1]


def test_every_file_that_systemd_reads_is_one_of_these():
    known = {str(file.relative_to(ROOT)) for file in [*UNITS, *DROP_INS]}
    read = {
        str(file.relative_to(ROOT))
        for file in ROOT.glob("infra/*/files/*")
        if file.is_file()
        and re.search(r"^\[(Service|Unit)\]", file.read_text(errors="replace"), re.MULTILINE)
    }
    # The daemons' template is rated with each daemon (test/functional/test_monitoring_programs.py).
    daemons = {f"infra/daemon/files/{name}" for name in ("unit.service.j2", "dropin.conf.j2")}
    timers = {name for name in read if name.endswith(".timer")}
    assert read - daemons - timers == known
    assert {name.replace(".timer", ".service") for name in timers} <= known
