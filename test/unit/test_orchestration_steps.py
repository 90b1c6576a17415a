"""A step of an orchestration: who is asked, who is applied, and what it says of the others."""

import gc
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.minion import Minion
from infra_formula.orchestration import publishing, steps
from salt.exceptions import SaltClientError

CHANGED = {"a": {"result": True, "changes": {"x": 1}}}
UNCHANGED = {"a": {"result": True, "changes": {}}}
FAILED = {"a": {"result": False, "changes": {}, "__id__": "broken"}}


class Master:
    """Accepted keys, minions that answer, and what their states return."""

    def __init__(self, monkeypatch, accepted, answers, returns):
        self.answers, self.returns, self.commands, self.failing = answers, returns, [], 0
        self.forged = {}  # returns of minions that nobody asked, before all others
        self.hung = set()  # minions that report for ever that they still work
        self.clock = 0.0
        monkeypatch.setattr(steps, "accepted", lambda opts, tgt, kind: set(accepted))
        clock = SimpleNamespace(monotonic=lambda: self.clock, sleep=self.sleep)
        monkeypatch.setattr(publishing, "time", clock)
        monkeypatch.setattr(steps, "time", clock)
        monkeypatch.setattr(publishing.salt.client, "get_local_client", lambda path: self)
        self.minion = Minion({"saltutil.cmd": self.cmd}, {"conf_file": "/x"}, {}, {})

    def sleep(self, seconds):
        self.clock += seconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def cmd(self, tgt, fun, arg=(), **options):
        if self.failing:
            self.failing -= 1
            raise SaltClientError("140274199415680")
        self.commands.append((tgt, fun, arg, options))
        if fun == "state.sls":
            return {i: {"ret": self.returns[i]} for i in tgt if i in self.returns}
        return {i: {"ret": matches} for i, matches in self.answers.items()}

    def cmd_iter_no_block(self, tgt, fun, arg=(), **options):
        found = self.cmd(tgt, fun, arg, **options)
        for minion_id, returned in self.forged.items():
            yield {minion_id: {"ret": returned}}
        for minion_id, answer in found.items():
            if minion_id not in self.hung:
                yield {minion_id: answer}
        while self.hung:
            assert self.clock < 3600, "waits for ever"
            yield None

    def applied(self, tgt="node-*", **options):
        return steps.applied(self.minion, "step", tgt, "infra", **options)


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
    [
        None,
        {},
        False,
        [],
        ["The function is running"],
        "no",
        5,
        FAILED,
        {"a": "x"},
        {"a": {}},
        {"a": {"result": "yes"}},
        {"a": {"result": 1}},
        {"a": {"changes": {"x": 1}}},
    ],
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
    master.minion.opts = {"test": True, "conf_file": "/x"}
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
    for minion_id in accepted:
        matches = answers.get(minion_id)
        if matches is False or (matches and returns.get(minion_id) in good):
            continue
        assert ret["result"] is False
        assert minion_id in ret["comment"]


# -- minions that lie, hang, or have another name ------------------------------------------------


def test_a_minion_that_does_not_belong_to_a_target_by_its_id_is_no_member_of_it(master):
    """It answers a question to others that it belongs to their target."""
    master.answers["evil"] = True
    master.returns["evil"] = FAILED
    ret = master.applied(missing="warn")
    assert ret["result"] is True
    assert master.commands[-1][0] == ["node-1"]


def test_a_return_of_a_minion_that_was_not_asked_ends_no_wait(master):
    master.forged = {"evil": UNCHANGED, "evil-2": FAILED}
    ret = master.applied(missing="warn")
    assert ret["result"] is True
    assert "1 up to date" in ret["comment"]


def test_a_minion_that_says_for_ever_that_it_still_works_does_not_answer(master):
    master.answers["node-2"] = True
    master.hung = {"node-2"}
    ret = steps.healthy(master.minion, "x", "node-*", timeout=5)
    assert ret["comment"] == "Did not answer: node-2."
    assert master.clock < 15


def test_an_id_that_is_a_pattern_or_a_list_is_named_and_not_applied(monkeypatch):
    odd = ["node-*", "node-1,infra-1", "a b", "node-1\n"]
    answers = dict.fromkeys(["node-1", *odd], True)
    master = Master(monkeypatch, answers, answers, {"node-1": UNCHANGED})
    ret = master.applied()
    assert ret["result"] is False
    assert master.commands[-1][0] == ["node-1"]
    for minion_id in odd:
        assert repr(minion_id) in ret["comment"]
    assert master.applied(missing="warn")["result"] is True
    assert master.applied(missing="report", required=False)["result"] is True
    assert steps.answered(master.minion, "end", "*")["result"] is False


@pytest.mark.parametrize(
    ("tgt", "bound"),
    [
        ("L@infra-1", "L@infra-1"),
        ("L@infra-1 and ( * )", "L@infra-1 and ( * )"),
        ("( S@10.0.0.1 or L@infra-2 ) and E@x.*", "( * or L@infra-2 ) and E@x.*"),
        ("* and not G@os:Debian", "* and *"),
        ("* and not ( L@a or L@b )", "* and not ( L@a or L@b )"),
        ("* and not ( L@a or G@os:x )", "*"),
        ("node-1 or I@a:b", "node-1 or *"),
    ],
)
def test_who_may_belong_to_a_target(monkeypatch, tgt, bound):
    asked = []
    monkeypatch.setattr(steps, "accepted", lambda opts, tgt, kind: asked.append((tgt, kind)))
    steps.possible({}, tgt, "compound")
    assert asked == [(bound, "compound")]


def test_texts_of_a_minion_reach_a_terminal_without_control_characters(master):
    master.returns = {"node-1": {"a": {"result": False, "__id__": "x\x1b[2J\ny"}}}
    assert "failed: x [2J y" in master.applied(missing="warn")["comment"]
    master.returns = {"node-1": "\x1b]0;x"}
    assert "\x1b" not in master.applied(missing="warn")["comment"]


def test_two_runs_do_not_work_on_the_infra_nodes_at_the_same_time(master, tmp_path):
    master.minion.opts = {"conf_file": "/x", "cachedir": str(tmp_path)}
    assert master.applied(missing="warn", exclusive=True)["result"] is True
    other = Minion({"saltutil.cmd": master.cmd}, master.minion.opts, {}, {})
    ret = steps.applied(other, "step", "node-*", "infra", missing="warn", exclusive=True)
    assert ret["result"] is False
    assert "Another infra.orch.deploy or infra.orch.upgrade works" in ret["comment"]
    ret = steps.healthy(other, "step", "node-*", exclusive=True)
    assert "Another infra.orch.deploy or infra.orch.upgrade works" in ret["comment"]
    # A preview changes nothing, and the further steps of the first run are its own.
    options = {"missing": "warn", "exclusive": True}
    ret = steps.applied(other, "x", "node-*", "infra", arguments={"test": True}, **options)
    assert ret["result"] is True
    assert master.applied(**options)["result"] is True
    # Its context goes with the run.
    master.minion.context.clear()
    gc.collect()
    ret = steps.applied(other, "step", "node-*", "infra", **options)
    assert ret["result"] is True
