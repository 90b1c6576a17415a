"""Health between the steps of an upgrade: a node begins only when the last one is healthy."""

import pytest
from infra_formula import state_tree
from infra_formula.minion import Minion
from infra_formula.orchestration import steps
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site

WELL = {"nginx": {"enabled": True, "healthy": True}, "dns": {"enabled": False, "healthy": None}}
ILL = {"nginx": {"enabled": True, "healthy": False, "said": "answers 502"}}


@pytest.fixture
def ask(monkeypatch):
    """Return a function that checks the health of minions whose answers come one by one."""
    monkeypatch.setattr(steps.time, "sleep", lambda _: None)

    def run(*rounds, expected=("infra-1",), answering=("infra-1",), **options):
        left = list(rounds)
        matches = dict.fromkeys(answering, True)
        monkeypatch.setattr(steps, "accepted", lambda *_: {*expected, *answering})
        monkeypatch.setattr(steps, "_ask_whether_they_match", lambda *_: matches)

        def answer(_opts, members, function, **_options):
            assert function == "infra_status.services"
            answers = left.pop(0) if len(left) > 1 else left[0]
            return {name: answers[name] for name in members if name in answers}

        monkeypatch.setattr(steps, "ask", answer)
        return steps.healthy(Minion(), "x", "tgt", **options)

    return run


def test_a_node_that_becomes_healthy_is_waited_for(ask):
    found = ask({"infra-1": ILL}, {"infra-1": ILL}, {"infra-1": WELL})
    assert found["result"] is True


@pytest.mark.parametrize(
    "answers",
    [
        {"infra-1": ILL},
        {},
        {"infra-1": "no such function"},
        {"infra-1": None},
        {"infra-1": {"nginx": 1}},
        {"infra-1": {}},
        {"infra-1": []},
        {"infra-1": {"dns": {"enabled": False}}},
        {"infra-1": {"dns": {"enabled": True}}},
        {"infra-1": {"dns": {"enabled": True, "healthy": "x"}}},
    ],
    ids=repr,
)
def test_one_that_does_not_become_healthy_is_named(ask, answers):
    found = ask(answers, seconds=0)
    assert found["result"] is False
    assert "infra-1" in found["comment"]


def test_a_component_that_is_unhealthy_says_why(ask):
    found = ask({"infra-1": ILL}, seconds=0)
    assert found["comment"] == "infra-1 is not healthy: nginx (answers 502)"


def test_one_that_does_not_answer_is_unhealthy(ask):
    found = ask({"infra-1": WELL}, expected=("infra-1", "infra-2"))
    assert found["result"] is False
    assert found["comment"] == "Did not answer: infra-2."


def test_a_preview_checks_nothing(ask):
    assert ask({"infra-1": ILL}, preview=True)["result"] is True


def test_a_target_without_a_node_is_an_error_only_if_one_is_required(ask):
    assert ask({}, expected=(), answering=())["result"] is False
    assert ask({}, expected=(), answering=(), required=False)["result"] is True


def packages(minion_id):
    """What `infra.upgrade` has the newest release of on a machine of a site."""
    grains = {"id": minion_id, "ipv4": [], "os_family": "Debian", "kernel": "Linux",
              "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
    values = {
        **merging.defaults(grains),
        "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
        "admin_ip": "10.10.10.10",
        "infra_packaging": "distro",
    }
    here = Site(values, grains)
    return {*state_tree._arguments(here)["daemons"]["packages"]}, here


def test_an_upgrade_is_of_all_that_serves_on_the_machine():
    of_node, here = packages("infra-1")
    names = {here["dns_package"], here["ntp_package"], "nginx-light", "victoria-metrics"}
    assert of_node >= names
    of_client, here = packages("node-1")
    assert here["ntp_package"] in of_client
    assert not of_client & (names - {here["ntp_package"]})
