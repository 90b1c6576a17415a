"""The table of what runs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from _modules import infra_status as status

SS = """\
udp UNCONN 0 0 127.0.0.1:53 0.0.0.0:* users:(("dnsmasq",pid=7,fd=4))
tcp LISTEN 0 32 127.0.0.1:53 0.0.0.0:* users:(("dnsmasq",pid=7,fd=5),("dnsmasq",pid=8,fd=5))
tcp LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=9,fd=6))
broken
"""
GROUPS = {
    7: "/system.slice/dnsmasq.service",
    8: "/system.slice/dnsmasq.service",
    9: "/system.slice/nginx.service",
}
SHOWN = """\
Id=dnsmasq.service
ActiveState=active
SubState=running
UnitFileState=enabled
ActiveEnterTimestamp=Mon 2026-11-23 22:56:54 UTC
ControlGroup=/system.slice/dnsmasq.service

Id=vlogs.service
ActiveState=failed
SubState=failed
UnitFileState=enabled
ActiveEnterTimestamp=
ControlGroup=
"""
ROWS = [
    {
        "name": "dns",
        "unit": "dnsmasq",
        "enabled": True,
        "check": {"kind": "files", "paths": ["/"]},
        "version": ["sh", "--version"],
    },
    {"name": "vlogs", "unit": "vlogs", "enabled": True, "check": {"kind": "files", "paths": []}},
    {"name": "vtraces", "unit": "vtraces", "enabled": False, "check": {}},
    {"name": "ca", "unit": "", "enabled": True, "check": {"kind": "files", "paths": ["/nowhere"]}},
]


def run_all(command, **_):
    answers = {"systemctl": SHOWN, "sh": "Dnsmasq version 2.90  Copyright"}
    name = command[0].rpartition("/")[2]
    return {"stdout": SS if name == "ss" else answers[name], "stderr": "", "retcode": 0}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    context = {}
    known = tmp_path / "status.json"
    known.write_text(json.dumps(ROWS), encoding="utf-8")
    monkeypatch.setattr(status, "KNOWN", known)
    salt = {
        "cmd.run_all": run_all,
        "infra_units.restarts_last_hour": lambda: {"dnsmasq.service": 2, "sshd.service": 1},
    }
    monkeypatch.setattr(status, "__salt__", salt, raising=False)
    monkeypatch.setattr(status, "__context__", context, raising=False)
    monkeypatch.setattr(status, "_cgroup", lambda pid: GROUPS[pid])
    monkeypatch.setattr(status.salt.utils.path, "which", lambda name: f"/usr/bin/{name}")
    return context


def test_each_component_is_told_of(machine):
    found = status.services()
    assert found["dns"] == {
        "unit": "dnsmasq",
        "enabled": True,
        "running": True,
        "since": "Mon 2026-11-23 22:56:54 UTC",
        "restarts": 2,
        "listening": ["127.0.0.1:53/tcp", "127.0.0.1:53/udp"],
        "healthy": True,
        "said": "is there",
        "version": "2.90",
    }
    assert found["vlogs"]["healthy"] is False
    assert found["vlogs"]["said"] == "vlogs is failed (failed)"
    assert found["vtraces"]["healthy"] is None
    assert found["ca"]["said"] == "missing: /nowhere"
    assert machine["retcode"] == 1


def test_a_well_machine_ends_without_an_error(machine, monkeypatch):
    monkeypatch.setattr(status, "known", lambda: ROWS[:1])
    status.services()
    assert "retcode" not in machine


def test_the_table_names_what_is_wrong(machine):
    lines = status.table().splitlines()
    assert lines[0].split() == list(status._COLUMNS)
    assert len(lines) == len(ROWS) + 1
    assert "NO: vlogs is failed (failed)" in lines[2]


@pytest.mark.parametrize("content", ["{", "{}", "7"])
def test_a_damaged_list_is_said(machine, content):
    status.KNOWN.write_text(content, encoding="utf-8")
    with pytest.raises(CommandExecutionError, match="apply infra anew"):
        status.known()


def test_where_nothing_was_applied(machine):
    status.KNOWN.unlink()
    with pytest.raises(CommandExecutionError, match=r"state\.apply infra"):
        status.services()


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("chronyd (chrony) version 4.3 (+CMDMON)", "4.3"),
        ("prometheus, version 1.5.0+ds-2 (branch: debian)", "1.5.0+ds"),
        ("victoria-metrics-20240101-000000-tags-v1.112.0-0-gabc", "1.112.0-0"),
        ("", ""),
        ("no number", ""),
    ],
)
def test_versions(said, version):
    assert status.version_in(said) == version


@given(st.text())
def test_no_output_of_ss_does_harm(output):
    assert all(places for places in status.listening(output, str).values())
