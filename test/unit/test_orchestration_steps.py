"""A step of an orchestration: who is asked, who is applied, and what it says of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.minion import Minion
from infra_formula.orchestration import steps
from salt.exceptions import SaltClientError

CHANGED = {"a": {"result": True, "changes": {"x": 1}}}
UNCHANGED = {"a": {"result": True, "changes": {}}}
FAILED = {"a": {"result": False, "changes": {}, "__id__": "broken"}}


class Master:
    """Accepted keys, minions that answer, and what their states return."""

    def __init__(self, monkeypatch, accepted, answers, returns):
        self.answers, self.returns, self.commands, self.failing = answers, returns, [], 0
        monkeypatch.setattr(steps, "accepted", lambda opts, tgt, kind: set(accepted))
        monkeypatch.setattr(steps.time, "sleep", lambda seconds: None)
        self.minion = Minion({"saltutil.cmd": self.cmd}, {}, {}, {})

    def cmd(self, tgt, fun, arg=(), **options):
        if self.failing:
            self.failing -= 1
            raise SaltClientError("140274199415680")
        self.commands.append((tgt, fun, arg, options))
        if fun == "state.sls":
            return {i: {"ret": self.returns[i]} for i in tgt if i in self.returns}
        return {i: {"ret": matches} for i, matches in self.answers.items()}

    def applied(self, **options):
        return steps.applied(self.minion, "step", "node-*", "infra", **options)


@pytest.fixture
def master(monkeypatch):
    return Master(
        monkeypatch, {"node-1", "node-2"}, {"node-1": True}, {"node-1": UNCHANGED}
    )  # fmt: skip


def test_a_minion_that_does_not_answer_is_named_and_the_others_are_applied(master):
    ret = master.applied()
    assert ret["result"] is False
    assert "Applied on 1 minion: 1 up to date." in ret["comment"]
    assert "did not answer, so that nothing was applied to them: node-2." in ret["comment"]
    assert master.commands[-1][:3] == (["node-1"], "state.sls", ["infra"])
    assert master.commands[-1][3]["kwarg"] == {"queue": 100, "concurrent": False}


def test_a_minion_that_does_not_answer_may_be_a_warning(master):
    ret = master.applied(missing="warn")
    assert ret["result"] is True
    assert "node-2" in ret["warnings"][0]


def test_a_minion_that_does_not_answer_may_be_left_to_the_end_of_the_run(master):
    assert master.applied(missing="report", required=False)["result"] is True
    ret = steps.answered(master.minion, "end", "node-*")
    assert ret["result"] is False
    assert "node-2" in ret["comment"]
    ret = steps.answered(master.minion, "end", "node-*", missing="warn")
    assert ret["result"] is True
    assert "node-2" in ret["warnings"][0]


def test_a_minion_that_answers_and_belongs_to_the_target_no_longer_is_not_missing(master):
    master.answers["node-2"] = False
    ret = master.applied()
    assert ret["result"] is True
    assert "node-2" not in ret["comment"]
    assert master.commands[0][:3] == (
        "( node-* ) or L@node-1,node-2", "match.compound", ["node-*"],
    )  # fmt: skip


def test_a_target_without_a_minion_fails_if_one_is_required(monkeypatch):
    master = Master(monkeypatch, set(), {}, {})
    ret = master.applied()
    assert (ret["result"], ret["comment"]) == (
        False, "No accepted minion belongs to the target node-*.",
    )  # fmt: skip
    assert master.applied(required=False)["result"] is True
    assert steps.answered(master.minion, "end", "node-*")["result"] is False


@pytest.mark.parametrize(
    "returned",
    [None, {}, False, [], ["The function is running"], "no", 5, FAILED, {"a": "x"}],
    ids=repr,
)
def test_a_return_that_is_no_success_is_a_failure(master, returned):
    master.returns = {"node-1": returned}
    ret = master.applied(missing="warn")
    assert ret["result"] is False
    assert "node-1" in ret["comment"]


def test_a_minion_that_answered_and_did_not_return_is_named(master):
    master.returns = {}
    ret = master.applied(missing="warn")
    assert ret["result"] is False
    assert "did not return from the states: node-1." in ret["comment"]


def test_a_preview_with_changes_has_no_result(master):
    master.returns = {"node-1": CHANGED}
    assert master.applied(missing="warn", arguments={"test": True})["result"] is None
    master.minion.opts = {"test": True}
    ret = master.applied(missing="warn")
    assert ret["result"] is None
    assert master.commands[-1][3]["kwarg"]["test"] is True
    assert "1 would change" in ret["comment"]


def test_a_command_that_salt_could_not_publish_is_published_again(master):
    master.failing = 2
    assert master.applied(missing="warn")["result"] is True
    master.failing = 3
    ret = master.applied(missing="warn")
    assert (ret["result"], ret["comment"]) == (False, "140274199415680")


@pytest.mark.parametrize(
    ("batch", "total", "size"),
    [(None, 9, None), ("auto", 1, 1), ("auto", 40, 10), ("auto", 1000, 50), ("25%", 1000, 250),
     ("1%", 10, 1), (3, 10, 3), ("3", 10, 3)],
)  # fmt: skip
def test_batches(batch, total, size):
    assert steps._batch_size(batch, total) == size


@pytest.mark.parametrize("batch", ["", "x", "0", "0%", "-1", "5%%", "1.5", True, [], "٣"])
def test_a_batch_that_is_none_is_refused(master, batch):
    ret = master.applied(batch=batch)
    assert ret["result"] is False
    assert "batch: expected a number or a share like 25%" in ret["comment"]
    assert master.commands == []


@pytest.mark.parametrize("options", [{"missing": "x"}, {"timeout": 0}, {"timeout": True}])
def test_other_arguments_that_are_not_valid_are_refused(master, options):
    ret = master.applied(**options)
    assert ret["result"] is False
    assert f"{next(iter(options))}: expected" in ret["comment"]


def test_the_wait_for_answers_grows_with_the_number_of_minions(monkeypatch):
    master = Master(monkeypatch, {f"n-{i}" for i in range(1000)}, {"n-1": True}, {"n-1": CHANGED})
    master.applied()
    assert master.commands[0][3]["timeout"] == steps.TIMEOUT + 50
    master.applied(timeout=7)
    assert master.commands[-1][3]["timeout"] == 7


IDS = st.sets(st.sampled_from([f"n-{i}" for i in range(6)]))
RETURNS = st.sampled_from([None, {}, CHANGED, UNCHANGED, FAILED, ["x"], "x"])


@given(IDS, st.dictionaries(st.sampled_from([f"n-{i}" for i in range(6)]), st.booleans()),
       st.dictionaries(st.sampled_from([f"n-{i}" for i in range(6)]), RETURNS),
       st.sampled_from([None, "auto", 2]), st.booleans())  # fmt: skip
def test_no_minion_of_a_target_is_passed_over(accepted, answers, returns, batch, stop):
    """Each accepted minion is up to date or changed, or its name is in a step that fails."""
    with pytest.MonkeyPatch.context() as patch:
        ret = Master(patch, accepted, answers, returns).applied(batch=batch, stop=stop)
    good = (CHANGED, UNCHANGED)
    for minion_id in accepted | {i for i, matches in answers.items() if matches}:
        matches = answers.get(minion_id)
        if matches is False or (matches and returns.get(minion_id) in good):
            continue
        assert ret["result"] is False
        assert minion_id in ret["comment"]
