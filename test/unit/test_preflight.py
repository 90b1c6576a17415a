"""The first look of an apply: which parts are asked of which program, and what is a refusal."""

import socket
import stat

import pytest
from infra_formula import paths, preflight, state_tree
from infra_formula.daemon import installation, local_ports
from infra_formula.dns import dnsmasq
from infra_formula.errors import CommandFailed, Refused
from infra_formula.logs import vector
from infra_formula.minion import Minion
from infra_formula.monitoring import alertmanager, blackbox, scraping, vmalert
from infra_formula.ntp import chrony
from infra_formula.portal import configuration
from support.doubles import double

GRAINS = {"id": "infra-1", "os_family": "Debian", "os": "Debian", "osmajorrelease": 12,
          "oscodename": "bookworm", "osarch": "amd64", "ipv4": ["10.10.10.10"]}  # fmt: skip
INFRA = {
    "infra_hosts": {"infra-1": {"infra_seq": 1}},
    "infra_packaging": "distro",
    "vlogs_enabled": False,
    "vtraces_enabled": False,
    "grafana_enabled": False,
    "vector_enabled": False,
}
ASKED = {
    "flags": (installation, "plan"),
    "alertmanager": (alertmanager, "plan"),
    "blackbox": (blackbox, "plan"),
    "rules": (vmalert, "plan"),
    "scrape jobs": (scraping, "plan_of"),
    "vector": (vector, "check"),
    "dnsmasq": (dnsmasq, "check"),
    "chrony": (chrony, "check"),
    "nginx": (configuration, "check"),
}


def given(**changes):
    found = state_tree.values(Minion(grains=GRAINS), {**INFRA, **changes}, {})
    assert found["errors"] == []
    return found


@pytest.fixture
def programs(monkeypatch):
    """All programs are installed, and accept everything; tests change what they say."""
    monkeypatch.setattr("salt.utils.path.which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(local_ports, "listeners_by_port", lambda ports: {p: set() for p in ports})
    return {name: double(monkeypatch, *where) for name, where in ASKED.items()}


@pytest.mark.parametrize("part", [part for part in ASKED if part != "vector"])
def test_each_part_is_asked_of_its_program(programs, part):
    programs[part].side_effect = Refused(f"a parameter of {part}: refused")
    found = preflight.check(Minion(), given())
    assert f"a parameter of {part}: refused" in found.refused
    others = {name for name in ASKED if name not in (part, "vector")}
    assert all(programs[name].called for name in others)


def test_a_client_has_its_own_parts_only(programs):
    found = preflight.check(Minion(), given(infra_hosts={"infra-2": {"infra_seq": 1}}))
    assert found.accepted == ["node_exporter (flags)", "chrony"]


def test_what_is_switched_off_is_not_asked_for(programs):
    found = preflight.check(Minion(), given(alertmanager_enabled=False, node_ntp_enabled=False))
    assert not [name for name in found.accepted if "alertmanager" in name or "chrony" in name]


@pytest.mark.parametrize("error", [CommandFailed("an unmanaged file"), OSError("no directory")])
def test_what_is_no_refusal_is_left_to_the_state_of_that_part(programs, error):
    """An earlier state of the same apply may put it right."""
    programs["nginx"].side_effect = error
    found = preflight.check(Minion(), given())
    assert (found.refused, found.unchecked) == ([], ["nginx"])


def test_one_refusal_does_not_hide_another(programs):
    programs["nginx"].side_effect = Refused("a")
    programs["dnsmasq"].side_effect = Refused("b")
    assert {*preflight.check(Minion(), given()).refused} == {"a", "b"}


def test_a_program_that_is_not_installed_is_not_asked(programs, monkeypatch):
    monkeypatch.setattr("salt.utils.path.which", lambda program: None)
    found = preflight.check(Minion(), given())
    assert found.accepted == []
    assert {"nginx", "dnsmasq", "vmalert (rules)"} <= {*found.unchecked}
    assert not any(asked.called for asked in programs.values())


@pytest.mark.parametrize("parameter", ["vmetrics_port", "nginx_port", "nginx_ssl_port"])
def test_a_port_that_another_program_holds_is_named(programs, monkeypatch, parameter):
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (said,) = list(preflight._taken_ports(given(**{parameter: port})))
    assert said.startswith(f"{parameter}: port {port} is taken by ")
    assert not list(preflight._taken_ports(given(**{parameter: port})))


def test_a_port_of_a_unit_that_stops_before_is_free(programs, monkeypatch):
    monkeypatch.setattr(local_ports, "listeners_by_port", lambda ports: {p: {7} for p in ports})
    monkeypatch.setattr(
        "infra_formula.systemd.has_process", lambda unit, pids: unit == "victoria-metrics"
    )
    assert not list(preflight._taken_ports(given()))


def test_the_same_is_not_asked_again_and_something_else_is(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    assert not preflight.passed_before(given())
    preflight.record(given())
    assert preflight.passed_before(given())
    for change in ({"nginx_users": {"a": "password-1"}}, {"vmalert_options": "-x"}):
        assert not preflight.passed_before(given(**change))
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"\xff")
    assert not preflight.passed_before(given())
