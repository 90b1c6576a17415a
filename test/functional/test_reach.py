"""Who reaches which port: what the states are given, by the pillar."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula.firewall import nftables as infra_nft
from infra_formula.parameters import validation

TWO = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}, "10.10.10.11": {"infra_seq": 2}}
PEERS = {"8428/tcp", "8880/tcp", "8881/tcp", "9059/tcp", "9113/tcp", "9115/tcp", "3000/tcp"}
INTRANET = ["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"]


@pytest.fixture
def reach(modules):
    """Port → its row, for a pillar."""

    def rows(**infra):
        given = {"infra_hosts": TWO, **infra}
        (chunk,) = (
            chunk
            for chunk in modules.state.show_low_sls("infra.firewall", pillar={"infra": given})
            if chunk["__id__"] == "infra-firewall-services-confined"
        )
        return {port: row for row in chunk["rows"] for port in row["ports"]}

    return rows


def test_infra_nodes_reach_another_and_nobody_else_does(reach):
    found = reach()
    for port in {*PEERS, "9094/tcp", "9094/udp"}:
        assert (found[port]["reached_by"], found[port]["sources"]) == ("peers", ["10.10.10.11"])
        assert found[port]["ours"] is True
    for port in ("9100/tcp", "9598/tcp"):
        assert found[port]["sources"] == ["10.10.10.10", "10.10.10.11"]
    for port in ("9428/tcp", "10428/tcp"):
        assert found[port]["sources"] == [*INTRANET, "10.10.10.10", "10.10.10.11"]
    assert not {"80/tcp", "443/tcp", "53/udp", "123/udp", "22/tcp"} & set(found)


def test_a_client_lets_in_the_infra_nodes_alone(reach):
    found = reach(infra_hosts={"10.10.10.11": {"infra_seq": 2}}, haproxy_enabled=True)
    assert {port: row["sources"] for port, row in found.items()} == {
        "9100/tcp": ["10.10.10.11"],
        "9598/tcp": ["10.10.10.11"],
        "9101/tcp": ["10.10.10.11"],
    }
    assert found["9101/tcp"]["ours"] is False


def test_what_listens_on_loopback_needs_no_rule(reach):
    found = reach(infra_hosts={"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}})
    for port in PEERS:
        assert (found[port]["reached_by"], found[port]["ours"]) == ("machine", False)
    assert "9094/tcp" not in found


def test_pigstys_way_is_the_sites_networks_and_opens_no_firewall(reach):
    found = reach(infra_listen="0.0.0.0")  # noqa: S104 - the parameter's value
    assert found["8428/tcp"]["sources"] == [*INTRANET, "10.10.10.10", "10.10.10.11"]
    assert found["8428/tcp"]["opened"] == ["10.10.10.11"]


def test_what_is_switched_off_has_no_row(reach):
    found = reach(vmetrics_enabled=False, vlogs_enabled=False, alertmanager_enabled=False)
    assert not {"8428/tcp", "9428/tcp", "8881/tcp", "9059/tcp", "9094/udp"} & set(found)


def test_who_is_named_besides_is_let_in(reach):
    found = reach(infra_firewall_allow={"vmetrics": ["10.20.0.7"], "alertmanager": ["fd00::/8"]})
    assert (
        found["8428/tcp"]["sources"] == found["8428/tcp"]["opened"] == ["10.10.10.11", "10.20.0.7"]
    )
    assert (
        found["9059/tcp"]["sources"] == found["9094/udp"]["sources"] == ["10.10.10.11", "fd00::/8"]
    )


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"infra_firewall_allow": {"vmetrics": "10.0.0.1"}}, "infra_firewall_allow.vmetrics"),
        ({"infra_firewall_allow": {"vmetrics": [{"a": 1}]}}, "infra_firewall_allow.vmetrics[0]"),
        ({"infra_firewall_allow": {"vmetrics": ["x"]}}, "infra_firewall_allow.vmetrics[0]"),
        (
            {"infra_firewall_allow": {"nginx": ["10.0.0.1"]}},
            "infra_firewall_allow.nginx: expected one",
        ),
        ({"infra_firewall_allow": ["10.0.0.1"]}, "infra_firewall_allow: expected"),
        ({"infra_firewall": False}, "infra_firewall: expected"),
        ({"node_firewall_intranet": [{"a": 1}]}, "node_firewall_intranet[0]"),
    ],
)
def test_what_is_wrong_renders_all_the_same_and_is_told_by_its_key(reach, minion, given, fault):
    reach(**given)
    (error,) = validation.check(minion, {"infra_hosts": TWO, **given})["errors"]
    assert error.startswith(fault)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "infra_listen": st.sampled_from(["auto", "0.0.0.0"]),  # noqa: S104
            "infra_firewall_allow": st.dictionaries(
                st.sampled_from(["vmetrics", "vlogs", "node_exporter"]),
                st.lists(st.ip_addresses().map(str), max_size=2),
                max_size=2,
            ),
            "node_firewall_intranet": st.sampled_from([[], INTRANET, ["0.0.0.0/0", "::/0"]]),
            "vlogs_enabled": st.booleans(),
        },
    )
)
def test_no_pillar_makes_a_table_that_keeps_ssh_or_the_portal_out(reach, given):
    text = infra_nft.text(
        [row for row in reach(**given).values() if row["ours"] and row["sources"] is not None]
    )
    dropped = [line for line in text.splitlines() if line.endswith("drop")]
    ports = {word.strip("{},") for line in dropped for word in line.split() if word[0].isdigit()}
    assert ports
    assert not ports & {"22", "80", "443", "53", "123"}
    assert text.index('iif "lo" accept') < text.index("counter drop")
