"""The table that confines ports, and what a ruleset lets in."""

import ipaddress
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError

from _modules import infra_nft as nft

CASES = Path(__file__).parent / "cases"
ROWS = [
    {"service": "vmetrics", "ports": ["8428/tcp"], "sources": ["10.0.0.12", "fd00::12"]},
    {"service": "alertmanager", "ports": ["9059/tcp"], "sources": ["fd00::12", "10.0.0.12"]},
    {"service": "alertmanager", "ports": ["9094/tcp", "9094/udp"], "sources": ["10.0.0.12"]},
    {"service": "vlogs", "ports": ["9428/tcp"], "sources": ["10.0.0.0/8", "10.0.0.12", "192.168.0.0/16"]},
    {"service": "blackbox", "ports": ["9115/tcp"], "sources": []},
]  # fmt: skip


def test_the_file_is_golden():
    golden = CASES / "infra-firewall.nft"
    assert nft.text(ROWS) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "row",
    [
        {"ports": ["8428"], "sources": []},
        {"ports": ["0/tcp"], "sources": []},
        {"ports": ["65536/tcp"], "sources": []},
        {"ports": ["1/tcp; drop"], "sources": []},
        {"ports": ["1/icmp"], "sources": []},
        {"ports": ["1/tcp"], "sources": ["10.0.0.2; drop"]},
        {"ports": ["1/tcp"], "sources": ["infra-1"]},
    ],
)
def test_what_is_no_port_and_no_address_does_not_get_into_the_file(row):
    with pytest.raises(ValueError, match="expected a port|does not appear to be"):
        nft.text([{"service": "x", **row}])


# -- what nft makes of it


def in_force(*contents):
    """Have nft load files in a network namespace of its own; returns the ruleset then."""
    # A minion's own loader is not needed for that: this is the real program and the real kernel.
    script = 'for f; do printf %s "$f" | nft -f - || exit 1; done; nft --json list ruleset'
    # nft wants a line of its own behind a bracket that closes a block.
    lines = [
        re.sub(r"([;}]) }( |$)", r"\1\n}\n", re.sub(r"([;}]) }", r"\1\n}", c)) for c in contents
    ]
    lines = [re.sub(r"\n} (chain|table)", r"\n}\n\1", c) for c in lines]
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", *lines],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["nftables"]


def usable():
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--net", "nft", "list", "tables"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_nft = pytest.mark.skipif(not usable(), reason="no nft, or no right to use it")

networks = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=4).map(str),
    st.integers(0, 32),
) | st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=6).map(str),
    st.integers(0, 128),
)
ports = st.builds(
    lambda number, protocol: f"{number}/{protocol}",
    st.integers(1, 65535).filter(lambda number: number != 22),
    st.sampled_from(["tcp", "udp"]),
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "service": st.sampled_from(["vmetrics", "vlogs", "grafana"]),
            "ports": st.lists(ports, max_size=3),
            "sources": st.lists(networks, max_size=4),
        }
    ),
    max_size=4,
)


@needs_nft
@settings(max_examples=25, deadline=None)
@given(rows, st.ip_addresses())
def test_loopback_what_is_established_and_every_other_port_are_never_dropped(rows, address):
    rules = in_force(nft.text(rows))
    source = str(address)
    confined = {port for row in rows for port in row["ports"]}
    assert nft.admits(rules, source, 22) is True
    assert nft.admits(rules, source, 22, begins=False) is True
    for port in confined:
        number, _, protocol = port.partition("/")
        entitled = [
            address in ipaddress.ip_network(word)
            for row in rows
            if port in row["ports"]
            for word in row["sources"]
        ]
        asked = (rules, source, int(number), protocol)
        assert nft.admits(*asked, interface="lo") is True
        assert nft.admits(*asked) is any(entitled)
        if protocol == "tcp":
            assert nft.admits(*asked, begins=False) is True
    for free in (80, 443, 53):
        if f"{free}/tcp" not in confined:
            assert nft.admits(rules, source, free) is True


@needs_nft
def test_loading_it_again_replaces_it_and_leaves_the_tables_of_others():
    others = "table ip nat { chain x { } }\ntable inet docker { chain input { type filter hook input priority 0; } }\n"
    once = in_force(others, nft.text(ROWS))
    again = in_force(others, nft.text(ROWS[:1]), nft.text(ROWS))
    assert nft.own(once) == nft.own(again)
    assert nft.own(once) != []
    named = {
        value["name"] for item in nft.foreign(once) for value in item.values() if "name" in value
    }
    assert {"nat", "docker"} <= named
    assert nft.own(nft.foreign(once)) == []


# -- what rules of others let in


@needs_nft
@pytest.mark.parametrize(
    ("content", "admitted"),
    [
        ("table inet f { chain i { type filter hook input priority 0; policy drop; } }", False),
        ("table ip f { chain i { type filter hook input priority 0; policy drop; } }", False),
        ("table ip6 f { chain i { type filter hook input priority 0; policy drop; } }", True),
        ("table inet f { chain i { type filter hook forward priority 0; policy drop; } }", True),
        ("table inet f { chain i { type filter hook input priority 0; policy drop; tcp dport 8428 accept; } }",
         True),
        ("table inet f { chain i { type filter hook input priority 0; policy drop; iif lo accept; "
         "ct state { established, related } accept; ct state invalid drop; tcp dport { 22, 80-90 } accept; } }",
         False),
        ("table inet f { chain i { type filter hook input priority 0; ip saddr 10.0.0.0/8 drop; } }", False),
        ("table inet f { chain i { type filter hook input priority 0; ip saddr != 10.0.0.0/8 drop; } }", True),
        ("table inet f { set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 } } "
         "chain i { type filter hook input priority 0; policy drop; ip saddr @s accept; } }", True),
        ("table inet f { chain z { tcp dport 22 accept; reject; } "
         "chain i { type filter hook input priority 0; jump z; } }", False),
        ("table inet f { chain z { tcp dport 8428 return; drop; } "
         "chain i { type filter hook input priority 0; jump z; accept; } }", True),
        ("table inet f { chain z { ip saddr 10.9.9.9 drop; } "
         "chain i { type filter hook input priority 0; policy drop; goto z; accept; } }", False),
        ("table inet f { chain i { type filter hook input priority 0; "
         "tcp dport vmap { 22 : accept, 8428 : drop }; } }", False),
        ("table inet f { chain i { type filter hook input priority 0; "
         "meta nfproto ipv6 drop; meta l4proto udp drop; } }", True),
        ("table inet f { chain i { type filter hook input priority 0; policy drop; iifname \"eth7\" accept; } }",
         None),
        ("table inet f { chain i { type filter hook input priority 0; limit rate 1/second drop; } }", None),
        ("table inet f { chain i { type filter hook input priority 0; policy drop; ip daddr 10.0.0.1 accept; } }",
         None),
        ("table inet a { chain i { type filter hook input priority 0; accept; } } "
         "table inet b { chain i { type filter hook input priority 9; drop; } }", False),
    ],
)  # fmt: skip
def test_rules_of_others_are_followed(content, admitted):
    assert nft.admits(in_force(content), "10.0.0.7", 8428) is admitted


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["lo", "@s", "accept", "tcp", "10.0.0.7"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["match", "left", "right", "op", "set", "prefix", "range", "meta", "payload",
                         "key", "field", "xt", "vmap", "jump", "goto", "ct", "&", "limit", "drop"]),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JUNK, max_size=4))
def test_a_rule_that_is_not_understood_is_at_most_unknown(expr):
    place = {"family": "inet", "table": "t"}
    rules = [
        {"chain": {**place, "name": "c", "hook": "input", "type": "filter", "policy": "accept"}},
        {"rule": {**place, "chain": "c", "expr": expr}},
    ]
    assert nft.admits(rules, "10.0.0.7", 8428) in (True, False, None)


def test_chains_that_lead_in_a_circle_end():
    place = {"family": "inet", "table": "t"}
    rules = [
        {"chain": {**place, "name": "c", "hook": "input", "type": "filter", "policy": "accept"}},
        {"rule": {**place, "chain": "c", "expr": [{"jump": {"target": "c"}}]}},
    ]
    assert nft.admits(rules, "10.0.0.7", 8428) is None


# -- the program


@pytest.fixture
def program(monkeypatch):
    """What nft answers; a test changes it."""
    answer = {"retcode": 0, "stdout": "", "stderr": ""}
    monkeypatch.setattr(nft, "__salt__", {"cmd.run_all": lambda *a, **k: answer}, raising=False)
    monkeypatch.setattr(nft.salt.utils.path, "which", lambda name: f"/usr/sbin/{name}")
    return answer


def test_why_nft_cannot_be_used_is_said(program, monkeypatch):
    assert nft.unavailable() is None
    program.update(retcode=1, stderr="Operation not permitted (you must be root)\nmore")
    assert (
        nft.unavailable() == "nft cannot be used here: Operation not permitted (you must be root)"
    )
    monkeypatch.setattr(nft.salt.utils.path, "which", lambda name: None)
    assert nft.unavailable() == "nft is not installed"


def test_a_file_that_nft_refuses_is_told_in_its_words(program):
    assert nft.refusal("") is None
    program.update(retcode=1, stderr="Error: syntax error\n")
    assert "syntax error" in nft.refusal("x")


@pytest.mark.parametrize(("code", "said"), [(1, ""), (0, "{"), (0, "{}"), (0, "7")])
def test_a_ruleset_that_cannot_be_read_is_an_error(program, code, said):
    program.update(retcode=code, stdout=said)
    with pytest.raises(CommandExecutionError, match="nft list ruleset"):
        nft.ruleset()
