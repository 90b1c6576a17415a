"""The course of a state: compare, test, apply, report."""

import pytest
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.state import Plan, converge


def test_a_machine_that_is_up_to_date_is_left_alone():
    calls = []
    plan = Plan(comment="3 records", apply=lambda: calls.append(1))
    assert converge("x", False, lambda: plan) == {
        "name": "x",
        "result": True,
        "changes": {},
        "comment": "3 records",
    }
    assert calls == []


@pytest.mark.parametrize("test", [True, False])
def test_a_difference_is_reported_under_test_and_closed_otherwise(test):
    calls = []
    plan = Plan({"a": "b"}, "is", "would be", lambda: calls.append(1), ["look"])
    ret = converge("x", test, lambda: plan)
    assert ret["changes"] == {"a": "b"}
    assert (ret["result"], ret["comment"]) == ((None, "would be") if test else (True, "is"))
    assert ret["warnings"] == ["look"]
    assert calls == ([] if test else [1])


def test_what_was_done_may_say_so_itself():
    ret = converge("x", False, lambda: Plan({"a": "b"}, "is", apply=lambda: "2 reloaded"))
    assert ret["comment"] == "2 reloaded"


@pytest.mark.parametrize("error", [CommandFailed, InvalidInput])
@pytest.mark.parametrize("in_apply", [True, False])
def test_an_error_fails_the_state_without_a_change(error, in_apply):
    def fail():
        raise error("dns_port: expected a port")

    plan = (lambda: Plan({"a": "b"}, apply=fail)) if in_apply else fail
    ret = converge("x", False, plan)
    assert (ret["result"], ret["changes"], ret["comment"]) == (
        False,
        {},
        "dns_port: expected a port",
    )


@pytest.mark.parametrize("changes", [{}, {"a": "b"}])
def test_a_record_is_written_in_each_run_that_is_none_of_test(changes):
    calls = []
    plan = Plan(changes, apply=lambda: calls.append("applied"), record=lambda: calls.append("done"))
    converge("x", True, lambda: plan)
    assert calls == []
    converge("x", False, lambda: plan)
    assert calls == (["applied", "done"] if changes else ["done"])


def test_a_record_is_not_written_after_an_error():
    def fail():
        raise CommandFailed("no")

    calls = []
    converge("x", False, lambda: Plan({"a": 1}, apply=fail, record=lambda: calls.append(1)))
    assert calls == []


def test_states_within_a_state_would_change_under_test_where_they_differ():
    plan = Plan({"a": "b"}, sub_states=[{"name": "n", "result": True, "changes": {"a": "b"}},
                                        {"name": "m", "result": True, "changes": {}}])  # fmt: skip
    results = [
        [sub["result"] for sub in converge("x", test, lambda: plan)["sub_state_run"]]
        for test in (True, False)
    ]
    assert results == [[None, True], [True, True]]
