"""The run that acts on start and key events: what it applies, what it registers, and how often."""

import inspect
import itertools
import json
import os
import stat
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.minion import Minion
from infra_formula.orchestration import publishing
from infra_formula.registration import events as fleet
from infra_formula.registration import spool
from salt.exceptions import CommandExecutionError

from _modules import infra_fleet


class Site:
    """A master with its minions: keys, mine, jobs and a clock that only sleeping moves."""

    def __init__(self, folder, monkeypatch):
        self.opts = {"cachedir": str(folder), "conf_file": "/etc/salt/master"}
        self.clock = 1_000_000.0
        self.accepted, self.mine = set(), {}
        self.jobs, self.returns, self.running = [], {}, set()
        self.registrations, self.failing, self.looks = [], 0, 0
        self.disks, self.asked = {}, []  # facts that minions have on disk, who was asked for them
        self.hung = set()  # minions that report for ever that they still work
        self.works = True  # an apply returns, with facts in the mine
        self.during = []  # called one after the other while the run sleeps
        self.minion = Minion({"saltutil.runner": self.runner}, self.opts)
        monkeypatch.setattr(fleet.salt.client, "get_local_client", lambda path: self)
        now = lambda: self.clock  # noqa: E731
        clock = SimpleNamespace(time=now, monotonic=now, sleep=self.sleep)
        monkeypatch.setattr(publishing, "time", clock)
        for module in (fleet, spool):
            monkeypatch.setattr(module, "is_accepted", lambda opts, i: i in self.accepted)
            monkeypatch.setattr(module, "time", clock)

    @property
    def spool(self):
        return spool.Spool(self.opts)

    def run(self):
        return fleet.process_events(self.minion)

    def sleep(self, seconds):
        self.clock += seconds
        if self.during:
            self.during.pop(0)()

    def event(self, minion_id, kind="start"):
        data = {"id": minion_id, "act": "delete", "result": True}
        return bool(spool.reaction(self.opts, kind, data))

    # What a master offers.

    def runner(self, name, kwarg):
        return {"mine.get": self.get, "state.orchestrate": self.orchestrate}[name](**kwarg)

    def get(self, tgt, fun, tgt_type="glob"):
        assert fun == "infra_register.facts"
        if tgt_type == "list":
            return {i: facts for i, facts in self.mine.items() if i in tgt}
        assert (tgt, tgt_type) == ("*", "glob")
        self.looks += 1
        return dict(self.mine)

    def orchestrate(self, mods):
        assert mods == "infra.orch.register"
        self.registrations.append((self.clock, json.dumps(self.mine, sort_keys=True)))
        if self.failing:
            self.failing -= 1
            return {"retcode": 1}
        return {"retcode": 0}

    # What a LocalClient offers.

    def run_job(self, target, function, arguments, tgt_type, kwarg):
        assert (function, arguments, tgt_type) == ("state.apply", ["infra"], "list")
        # A number: with true, Salt 3008 tells of a run that is queued as of one that failed.
        assert kwarg == {"queue": 100}
        (minion_id,) = target
        jid = str(len(self.jobs))
        self.jobs.append(minion_id)
        if self.works:
            self.mine[minion_id] = {"ip": minion_id}
            self.returns[jid] = {minion_id: {"ret": {"a": {"result": True}}}}
        return {"jid": jid, "minions": target}

    def get_cache_returns(self, jid):
        return self.returns.get(jid, {})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def cmd_iter_no_block(self, target, function, arguments=(), *, tgt_type, **_options):
        assert tgt_type == "list"
        if function == "infra_register.send":
            self.asked.append(sorted(target))
            self.mine |= {i: facts for i, facts in self.disks.items() if i in target}
            for minion_id in set(target) - self.hung:
                known = minion_id in self.disks
                yield {minion_id: {"ret": None if known else "not available"}}
            while self.hung & set(target):
                assert self.clock < 1_100_000, "waits for ever"
                yield None
            return
        assert function == "saltutil.is_running"
        for minion_id in target:
            yield {minion_id: {"ret": [{"jid": j} for j in self.running]}}


@pytest.fixture
def site(tmp_path, monkeypatch):
    found = Site(tmp_path, monkeypatch)
    found.accepted |= {"infra-1", "node-1", "node-2"}
    found.mine |= {"infra-1": {"ip": "a"}, "node-1": {"ip": "b"}}
    return found


def test_a_minion_that_hangs_when_it_is_asked_for_its_facts_keeps_no_other_waiting(site):
    site.hung = {"node-2"}
    for minion_id in ("node-1", "node-2"):
        site.event(minion_id)
    site.run()
    assert site.registrations
    assert site.jobs == ["node-2"]


def test_an_unknown_minion_is_applied_and_then_registered(site):
    assert site.event("node-2")
    report = site.run()
    assert report == {"applied": ["node-2"], "failed": {}, "registrations": 1}
    assert site.jobs == ["node-2"]
    assert "node-2" in site.registrations[-1][1]
    assert not site.spool.has_work()


def test_a_known_minion_is_registered_and_not_applied(site):
    site.event("node-1")
    assert site.run()["registrations"] == 1
    assert site.jobs == []


def test_a_mine_that_was_lost_is_filled_again_by_minions_that_were_applied(site):
    site.disks = {"infra-1": {"ip": "a"}, "node-1": {"ip": "b"}}
    site.mine.clear()
    for minion_id in ("infra-1", "node-1", "node-2"):
        site.event(minion_id)
    report = site.run()
    assert site.asked == [["infra-1", "node-1", "node-2"]]
    assert site.jobs == ["node-2"]
    assert report["applied"] == ["node-2"]
    assert set(json.loads(site.registrations[-1][1])) == {"infra-1", "node-1", "node-2"}


@pytest.mark.parametrize("facts", [{}, {"contract": 1, "targets": []}, {"ip": ""}, None, "x"])
def test_facts_without_an_address_are_of_a_minion_that_was_never_applied(site, facts):
    site.mine["node-2"] = facts
    site.event("node-2")
    assert site.run()["applied"] == ["node-2"]


def test_minions_that_are_known_are_not_asked_to_publish(site):
    site.event("node-1")
    site.run()
    assert site.asked == []


def test_what_is_registered_already_is_not_registered_again_until_an_hour_later(site):
    for _ in range(3):
        site.event("node-1")
        site.run()
    assert len(site.registrations) == 1
    site.mine["node-1"] = {"ip": "c"}
    site.event("node-1")
    assert site.run()["registrations"] == 1
    site.clock += fleet.UNCHANGED
    site.event("node-1")
    assert site.run()["registrations"] == 1


def test_a_deleted_minion_is_forgotten(site):
    site.event("node-1")
    site.run()
    site.accepted.discard("node-1")
    del site.mine["node-1"]
    assert site.event("node-1", kind="delete")
    site.run()
    assert "node-1" not in site.registrations[-1][1]


def test_a_thousand_events_while_a_run_works_are_one_run_and_a_registration_each_interval(site):
    site.accepted |= {f"node-{number}" for number in range(1000)}
    site.mine |= {f"node-{number}": {"ip": f"address {number}"} for number in range(1000)}
    assert site.event("node-0")
    requested = []

    def storm():
        for number in range(1000):
            requested.append(site.event(f"node-{number}"))
        site.mine["node-7"] = {"ip": "x", "clock": site.clock}  # something to register

    site.during = [storm] * 40
    report = site.run()
    assert True not in requested
    times = [when for when, _facts in site.registrations]
    assert report["registrations"] == len(times)
    assert site.looks <= (times[-1] - times[0]) / fleet.INTERVAL + 2
    assert all(late - early >= fleet.INTERVAL for early, late in itertools.pairwise(times))
    assert str(site.mine["node-7"]["clock"]) in site.registrations[-1][1]
    assert site.jobs == []


def test_an_event_between_the_last_look_and_the_end_is_not_lost(site, monkeypatch):
    release = spool.fcntl.flock
    late = []

    def flock(handle, operation):
        if operation == spool.fcntl.LOCK_UN and not late and site.registrations:
            late.append(True)
            site.mine["node-2"] = {"ip": "late"}
            with monkeypatch.context() as patch:
                patch.setattr(spool.fcntl, "flock", release)
                assert not site.event("node-2")  # the run holds the lock, so none is requested
        return release(handle, operation)

    monkeypatch.setattr(spool.fcntl, "flock", flock)
    site.event("node-1")
    site.run()
    assert late
    assert "late" in site.registrations[-1][1]


def test_a_second_run_leaves_the_work_to_the_first(site):
    site.event("node-2")
    with site.spool.exclusive() as held:
        assert held
        assert site.run() == {"applied": [], "failed": {}, "registrations": 0}
    assert site.spool.started() == ["node-2"]


def test_what_an_interrupted_run_had_begun_is_done_by_the_next(site):
    class Killed(BaseException):
        pass

    def die():
        raise Killed

    site.event("node-2")
    site.event("node-1")
    site.works = False
    site.during = [lambda: None, die]
    with pytest.raises(Killed):
        site.run()
    assert site.jobs == ["node-2"]
    # The apply went on without the master, and the minion is in the mine now.
    site.mine["node-2"] = {"ip": "x"}
    site.during = []
    site.run()
    assert site.jobs == ["node-2"]
    assert "node-2" in site.registrations[-1][1]
    assert not os.listdir(site.spool.root / "taken")


def test_a_registration_that_fails_is_tried_three_times_and_then_by_the_next_event(site):
    site.failing = 4
    site.event("node-1")
    with pytest.raises(CommandExecutionError, match=r"infra\.orch\.register failed each time"):
        site.run()
    assert len(site.registrations) == 3
    assert site.spool.is_registering()
    assert site.event("infra-1")
    site.run()
    assert len(site.registrations) == 5
    assert not site.spool.is_registering()


@pytest.mark.parametrize(
    "returned",
    [None, [], "no", {}, ["The function is running"], {"a": {"result": False}}, {"a": "x"}, 5],
)
def test_a_minion_whose_apply_fails_is_named_and_does_not_stop_the_others(site, returned):
    site.accepted.add("node-3")
    site.works = False
    site.returns = {"0": {"node-2": {"ret": returned}},
                    "1": {"node-3": {"ret": {"a": {"result": True}}}}}  # fmt: skip
    site.event("node-2")
    site.event("node-3")
    report = site.run()
    assert list(report["failed"]) == ["node-2"]
    assert report["applied"] == ["node-3"]
    assert report["registrations"] == 1


def test_a_minion_whose_apply_failed_is_not_applied_at_each_of_its_events(site):
    site.works = False
    begun = site.clock
    site.returns = {"0": {"node-2": {"ret": {"a": {"result": False}}}}}
    site.event("node-2")
    site.run()
    assert site.jobs == ["node-2"]
    site.during = [lambda: site.event("node-2")] * 20
    site.event("node-2")
    report = site.run()
    assert site.jobs == ["node-2", "node-2"]
    assert site.clock - begun >= fleet.RETRY
    assert list(report["failed"]) == ["node-2"]


def test_an_apply_that_never_ends_is_given_up(site):
    site.works = False
    site.running = {"0"}
    site.event("node-2")
    report = site.run()
    assert report["failed"] == {"node-2": f"it did not end within {fleet.DEADLINE} s"}


def test_an_apply_that_ended_without_a_word_is_given_up_sooner(site):
    site.works = False
    begun = site.clock
    site.event("node-2")
    report = site.run()
    assert report["failed"] == {"node-2": "it ended without a return"}
    assert site.clock - begun < fleet.DEADLINE / 10


def test_while_one_minion_is_applied_the_others_are_registered(site):
    site.works = False
    site.running = {"0"}
    site.event("node-2")
    site.during = [lambda: None, lambda: site.event("node-1")]
    begun = site.clock
    site.run()
    assert site.registrations[0][0] - begun < fleet.DEADLINE / 10


def test_not_all_are_applied_at_the_same_time(site):
    names = {f"new-{number}" for number in range(25)}
    site.accepted |= names
    site.works = False
    most = []

    def finish():
        waiting = [jid for jid in map(str, range(len(site.jobs))) if jid not in site.returns]
        most.append(len(waiting))
        for jid in waiting:
            name = site.jobs[int(jid)]
            site.mine[name] = {"ip": name}
            site.returns[jid] = {name: {"ret": {"a": {"result": True}}}}

    site.during = [finish] * 20
    for name in sorted(names):
        site.event(name)
    report = site.run()
    assert set(report["applied"]) == names
    assert len(site.jobs) == 25
    assert max(most) == fleet.APPLIES


def test_a_minion_whose_key_is_deleted_meanwhile_is_not_applied(site):
    site.event("node-2")
    site.accepted.discard("node-2")
    assert site.run() == {"applied": [], "failed": {}, "registrations": 0}
    assert not site.spool.has_work()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"attempts": 1}', "\x00", '{"attempts": {"a": "b"}}']
)
def test_a_damaged_record_is_written_anew(site, text):
    site.event("node-1")
    (site.spool.root / "record.json").write_text(text, encoding="utf-8")
    site.run()
    assert len(site.registrations) == 1
    assert site.spool.record()["registered"] == site.registrations[0][0]


def test_a_clock_that_is_set_back_stops_nothing(site):
    site.event("node-1")
    site.run()
    site.clock -= 500_000
    site.mine["node-1"] = {"ip": "new"}
    (site.spool.root / "requested").touch()
    assert site.event("node-1")
    begun = site.clock
    site.run()
    assert len(site.registrations) == 2
    assert site.clock - begun < fleet.INTERVAL


def test_files_are_the_masters_alone(site):
    site.event("node-2")
    site.run()
    for path in [site.spool.root, *site.spool.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) in ((0o700,) if path.is_dir() else (0o600,)), path


def test_a_master_has_the_run_alone_and_a_minion_has_nothing(site, monkeypatch):
    monkeypatch.setattr(infra_fleet, "__opts__", site.opts, raising=False)
    public = [n for n, v in vars(infra_fleet).items() if inspect.isfunction(v) and n[0] != "_"]
    assert public == ["process_events"]
    assert infra_fleet.__virtual__()[0] is False
    site.opts["__role"] = "master"
    assert infra_fleet.__virtual__() is True


def test_without_an_answer_of_the_mine_nobody_is_applied(site, monkeypatch):
    site.event("node-1")
    with monkeypatch.context() as patch:
        patch.setattr(site, "get", lambda **options: "Exception occurred in runner mine.get")
        with pytest.raises(CommandExecutionError, match=r"mine\.get: expected a dictionary"):
            site.run()
    assert site.jobs == []
    assert site.run()["registrations"] == 1


@given(st.text(max_size=120))
def test_an_id_is_a_name_without_anything_that_a_target_or_a_path_understands(value):
    if spool.is_minion_id(value):
        assert value.isascii()
        assert value[0].isalnum()
        assert value[-1].isalnum()
        assert set("".join(c for c in value if not c.isalnum())) <= set("._-")


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", fullmatch=True))
def test_usual_ids_are_taken(value):
    assert spool.is_minion_id(value)
