"""Health between the steps of an upgrade: a node begins only when the last one is healthy."""

import pytest
from infra_formula.minion import Minion
from infra_formula.orchestration import steps

WELL = {"nginx": {"enabled": True, "healthy": True}, "dns": {"enabled": False, "healthy": None}}
ILL = {"nginx": {"enabled": True, "healthy": False, "said": "answers 502"}}


@pytest.fixture
def ask(monkeypatch):
    """Return a function that checks the health of minions whose answers come one by one."""
    monkeypatch.setattr(steps.time, "sleep", lambda _: None)

    def run(*rounds, expected=("infra-1",), answering=("infra-1",), **options):
        left = list(rounds)
        matches = dict.fromkeys(answering, True)
        monkeypatch.setattr(steps, "accepted", lambda *_: set(expected))
        monkeypatch.setattr(steps, "_ask_whether_they_match", lambda *_: matches)

        def command(_minion, members, function, **_options):
            assert function == "infra_status.services"
            answers = left.pop(0) if len(left) > 1 else left[0]
            return {name: {"ret": answers[name]} for name in members if name in answers}

        monkeypatch.setattr(steps, "_command", command)
        return steps.healthy(Minion(), "x", "tgt", **options)

    return run


def test_a_node_that_becomes_healthy_is_waited_for(ask):
    found = ask({"infra-1": ILL}, {"infra-1": ILL}, {"infra-1": WELL})
    assert found["result"] is True


@pytest.mark.parametrize("answers", [{"infra-1": ILL}, {}, {"infra-1": "no such function"},
                                     {"infra-1": None}, {"infra-1": {"nginx": 1}}])  # fmt: skip
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
