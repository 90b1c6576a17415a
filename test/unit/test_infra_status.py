"""The table of what runs."""

import ipaddress
import json
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths, process
from infra_formula.daemon import units
from infra_formula.firewall import admission
from infra_formula.minion import Minion
from infra_formula.status import access, sockets
from infra_formula.status import report as status
from salt.exceptions import CommandExecutionError

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

Id=vtraces.service
ActiveState=inactive
SubState=dead
UnitFileState=
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
    blocks = [b for b in SHOWN.split("\n\n") if b.split("\n")[0].removeprefix("Id=") in command]
    answers = {"systemctl": "\n\n".join(blocks), "sh": "Dnsmasq version 2.90  Copyright"}
    name = command[0].rpartition("/")[2]
    return {"stdout": SS if name == "ss" else answers[name], "stderr": "", "retcode": 0}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    found = Minion()
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    (tmp_path / "status.json").write_text(json.dumps(ROWS), encoding="utf-8")
    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=run_all))
    counted = {"dnsmasq.service": 2, "sshd.service": 1}
    restarts = create_autospec(units.restarts_last_hour, return_value=counted)
    monkeypatch.setattr(units, "restarts_last_hour", restarts)
    monkeypatch.setattr(sockets, "_control_group", lambda pid: GROUPS[pid])
    monkeypatch.setattr(status.salt.utils.path, "which", lambda name: f"/usr/bin/{name}")
    return found


def test_each_component_is_told_of(machine):
    found = status.services(machine)
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
    assert machine.context["retcode"] == 1


def test_a_well_machine_ends_without_an_error(machine, monkeypatch):
    components = create_autospec(status.components, return_value=ROWS[:1])
    monkeypatch.setattr(status, "components", components)
    status.services(machine)
    assert "retcode" not in machine.context


def test_the_table_names_what_is_wrong(machine):
    lines = status.table(machine).splitlines()
    assert lines[0].split() == list(status._COLUMNS)
    assert lines[len(ROWS) + 1] == ""
    assert "reach.json is missing" in lines[-1]
    assert "NO: vlogs is failed (failed)" in lines[2]


@pytest.mark.parametrize("content", ["{", "{}", "7"])
def test_a_damaged_list_is_said(machine, content):
    (paths.STATE_DIR / "status.json").write_text(content, encoding="utf-8")
    with pytest.raises(CommandExecutionError, match="apply infra anew"):
        status.components()


def test_where_nothing_was_applied(machine):
    (paths.STATE_DIR / "status.json").unlink()
    with pytest.raises(CommandExecutionError, match=r"state\.apply infra"):
        status.services(machine)


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
    assert all(places for places in sockets.parse(output, str).values())


# -- who reaches what


NODES, SITE = ["10.0.0.11", "10.0.0.12"], ["10.0.0.0/8"]


def test_one_of_each_kind_is_asked_for():
    asked = access.callers(["10.0.0.11", "192.0.2.0/24"], NODES, SITE)
    assert asked["10.0.0.11"] == ("10.0.0.11", True)
    assert asked["10.0.0.12"] == ("10.0.0.12", False)
    assert asked["192.0.2.0/24"][1] is True
    assert asked["10.0.0.0/8"] == ("10.0.0.1", False)
    assert asked["any machine"][1] is False
    assert asked["any machine (IPv6)"][1] is False
    assert {entitled for _, entitled in access.callers(None, NODES, SITE).values()} == {True}


networks = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
) | st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=6).map(str),
    st.integers(1, 128),
)


@given(st.lists(networks, max_size=6), st.lists(networks, max_size=3))
def test_whoever_is_asked_for_is_entitled_if_an_entitled_network_has_them(sources, site):
    asked = access.callers(sources, NODES, site)
    for who, (address, entitled) in asked.items():
        inside = [ipaddress.ip_address(address) in ipaddress.ip_network(s) for s in sources]
        assert entitled is any(inside)
        if "machine" in who:
            assert not entitled
        else:
            assert ipaddress.ip_address(address) in ipaddress.ip_network(who)


SOCKETS = """\
tcp LISTEN 0 4096 *:8428 *:*
tcp LISTEN 0 4096 127.0.0.1:9113 0.0.0.0:*
tcp LISTEN 0 4096 10.0.0.11%eth0:9094 0.0.0.0:*
udp UNCONN 0 0 [::1]:53 [::]:*
"""


def reach(*rows):
    keys = ("service", "ports", "reached_by", "sources")
    return {
        "rows": [dict(zip(keys, row, strict=True)) for row in rows],
        "nodes": NODES,
        "site": SITE,
    }


@pytest.fixture
def judged(machine, monkeypatch):
    """What the rules say; a test changes it."""
    rules = {}
    sockets = {"retcode": 0, "stdout": SOCKETS, "stderr": ""}
    process.run.side_effect = lambda _command: sockets
    answer = ("table inet infra", lambda *asked: rules.get(asked[0], False))
    monkeypatch.setattr(
        admission, "current", create_autospec(admission.current, return_value=answer)
    )
    data = reach(
        ("vmetrics", ["8428/tcp"], "peers", ["10.0.0.12"]),
        ("nginx_exporter", ["9113/tcp"], "machine", []),
        ("alertmanager", ["9094/tcp", "9094/udp"], "peers", ["10.0.0.12"]),
    )
    (paths.STATE_DIR / "reach.json").write_text(json.dumps(data), encoding="utf-8")
    return rules


def test_who_reaches_a_port_is_said_by_the_rules_and_the_sockets(machine, judged):
    judged["10.0.0.12"] = True
    found = access.access(machine)
    assert set(found) == {"8428/tcp", "9113/tcp", "9094/tcp"}
    assert found["8428/tcp"]["reached_by"] == found["9094/tcp"]["reached_by"] == ["10.0.0.12"]
    assert found["9113/tcp"]["reached_by"] == ["this machine"]
    assert found["8428/tcp"]["listens"] == ["*"]
    assert "retcode" not in machine.context


def test_somebody_who_is_not_entitled_ends_the_call_with_an_error(machine, judged):
    judged.update({"10.0.0.12": True, "10.0.0.1": True, "10.0.0.11": None})
    row = access.access(machine)["8428/tcp"]
    assert (row["beyond"], row["unknown"]) == (["10.0.0.0/8"], ["10.0.0.11"])
    assert machine.context["retcode"] == 1
    told = access.table(access.access(machine))
    assert "10.0.0.0/8 (NOT ENTITLED), 10.0.0.11?" in told


def test_a_socket_of_one_family_is_not_reached_by_the_other(machine, judged):
    judged["2000::/3"] = True
    address = access.callers([], NODES, SITE)["any machine (IPv6)"][0]
    judged[address] = True
    found = access.access(machine)
    assert found["8428/tcp"]["reached_by"] == ["any machine (IPv6)"]
    assert found["9094/tcp"]["reached_by"] == ["this machine"]


@pytest.mark.parametrize("content", ["{", "{}", "7"])
def test_damaged_entitlements_are_said(machine, judged, content):
    (paths.STATE_DIR / "reach.json").write_text(content, encoding="utf-8")
    with pytest.raises(CommandExecutionError, match="apply infra anew"):
        access.access(machine)
