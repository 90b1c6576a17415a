"""What chrony is told, and what it says."""

import contextlib
import time
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.ntp import chrony as ntp
from salt.exceptions import CommandExecutionError

TEMPLATE = (
    Path(__file__).resolve().parents[2] / "infra" / "ntp" / "files" / "chrony.conf.j2"
).read_text(encoding="utf-8")
TRACKING = (
    "0A0A0A0A,10.10.10.10,11,1795474347.421624221,-0.000001,0.000002,0.000003,1.5,0.1,0.2,"
    "0.0003,0.0004,64.2,Normal\n"
)
LOCAL = "7F7F0101,,10,1795474347.4,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,Normal"
SILENT = "^,?,10.10.10.11,0,6,0,4294967295,0.0,0.0,0.0"
SOURCES = f"^,*,10.10.10.10,10,6,377,12,0.000001,0.000001,0.0002\n{SILENT}\n"
SETTINGS = {
    "infra": ["10.10.10.10", "10.10.10.11"],
    "servers": ["pool pool.ntp.org iburst"],
    "admin_ip": "10.10.10.10",
    "serves": False,
    "networks": ["10.0.0.0/8"],
    "stratum": 10,
}


def test_a_client_prefers_the_infra_nodes_in_their_order():
    assert ntp.source_lines(SETTINGS) == [
        "server 10.10.10.10 iburst prefer",
        "server 10.10.10.11 iburst prefer",
        "pool pool.ntp.org iburst",
    ]
    text = ntp.config_text(TEMPLATE, SETTINGS)
    assert "allow" not in text
    assert "local" not in text


def test_an_infra_node_never_asks_itself():
    settings = {**SETTINGS, "infra": ["10.10.10.11"], "serves": True}
    settings["servers"] = ["pool ${admin_ip} iburst", "server 10.0.0.9"]
    assert ntp.source_lines(settings) == ["server 10.10.10.11 iburst", "server 10.0.0.9"]


def test_a_line_of_pigsty_that_names_the_admin_node_is_not_asked_twice():
    settings = {**SETTINGS, "servers": ["pool ${admin_ip} iburst"]}
    assert ntp.source_lines(settings) == [
        "server 10.10.10.10 iburst prefer",
        "server 10.10.10.11 iburst prefer",
    ]


def test_an_infra_node_serves_the_site_and_nobody_else():
    lines = ntp.config_text(TEMPLATE, {**SETTINGS, "serves": True}).splitlines()
    assert "allow 10.0.0.0/8" in lines
    assert "local stratum 10 orphan" in lines
    assert not [line for line in lines if "::" in line]


@pytest.mark.parametrize(
    ("bits", "settable"), [("000001ffffffffff", True), ("00000000fcecbfff", False)]
)
def test_whether_the_clock_may_be_set(bits, settable):
    assert ntp.can_set_clock(f"Name:\tx\nCapBnd:\t{bits}\n") is settable


def test_tracking_is_read():
    found = ntp.parse_tracking(TRACKING)
    assert found["reference"] == "10.10.10.10"
    assert found["stratum"] == 11
    assert found["synchronised"] is True
    assert found["local"] is False
    assert ntp.parse_tracking(LOCAL)["local"] is True


def test_sources_are_read():
    first, second = ntp.parse_sources(SOURCES)
    assert (first["state"], first["address"], first["reach"]) == ("selected", "10.10.10.10", 8)
    assert (second["state"], second["reach"]) == ("unusable", 0)


@given(st.text(max_size=80))
def test_other_output_is_an_error_and_no_crash(text):
    with contextlib.suppress(ValueError):
        assert set(ntp.parse_tracking(text)) == {*ntp._TRACKING, "synchronised", "local"}
    with contextlib.suppress(ValueError):
        assert len(ntp.parse_sources(text)) == len([x for x in text.strip().splitlines() if x])


def status(tracking, sources):
    return {
        "tracking": ntp.parse_tracking(tracking),
        "sources": ntp.parse_sources(sources),
        "steers": True,
    }


def test_what_is_healthy():
    lost = LOCAL.replace("7F7F0101", "00000000").replace("Normal", "Not synchronised")
    assert ntp.health_problem(status(LOCAL, SILENT), serves=True, has_sources=True) is None
    assert (
        ntp.health_problem(status(lost, SILENT), serves=True, has_sources=True)
        == "it has no time to serve"
    )
    assert ntp.health_problem(status(TRACKING, SOURCES), serves=False, has_sources=True) is None
    assert "10.10.10.11" in str(
        ntp.health_problem(status(lost, SILENT), serves=False, has_sources=True)
    )
    assert ntp.health_problem(status(lost, ""), serves=False, has_sources=False) is None


def test_chronyc_that_fails_is_quoted(monkeypatch):
    outcome = {"retcode": 1, "stdout": "506 Cannot talk to daemon", "stderr": ""}
    run = create_autospec(ntp.process.run, return_value=outcome)
    monkeypatch.setattr(ntp.process, "run", run)
    monkeypatch.setattr(ntp.salt.utils.path, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(CommandExecutionError, match="506 Cannot talk to daemon"):
        ntp.status()
    assert run.call_args.args == (["/usr/bin/chronyc", "-n", "-c", "tracking"],)


def test_parameters_are_named_in_their_errors():
    found = ntp.problems(
        {"node_ntp_servers": ["pool a", "ntp.org"], "ntp_networks": ["10.0.0.0/8", "10.0.0.1/8"]}
    )
    assert [e.split(":")[0] for e in found] == ["node_ntp_servers[1]", "ntp_networks[1]"]


@pytest.mark.parametrize(
    ("age", "first", "expected"), [(10, 900, 890), (1000, 900, 30), (10, 0, 30), (None, 900, 30)]
)
def test_a_client_whose_chronyd_has_just_been_started_waits_for_its_infra_nodes(
    monkeypatch, age, first, expected
):
    since = "" if age is None else str(int((time.monotonic() - age) * 1e6))
    outcome = {"retcode": 0, "stdout": f"ActiveEnterTimestampMonotonic={since}", "stderr": ""}
    run = create_autospec(ntp.process.run, return_value=outcome)
    monkeypatch.setattr(ntp.process, "run", run)
    assert ntp._timeout("chrony", first) == pytest.approx(expected, abs=5)


@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        ("server ntp.example iburst key 1", False),
        ("pool ntp.example key 25 iburst", False),
        ("server key iburst", True),
        ("server ntp.example iburst nts", True),
    ],
)
def test_a_source_with_a_key_that_chronyd_does_not_have_is_refused(line, accepted):
    found = ntp.problems({"node_ntp_servers": [line]})
    assert (found == []) is accepted, found
    assert accepted or found[0].startswith("node_ntp_servers[0]: expected no key")
