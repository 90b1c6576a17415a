"""Machines that join and leave: what the reactor notes, and the one run that acts on it.

The reactor's files (``infra/orch/reactor``) call :func:`reaction` inside the master's reactor. It
keeps nothing of an event but the id of a minion, and that only if this master has accepted the
minion's key: a minion may send any event with any data, under any tag, and may name another minion.
It leaves an empty file in a folder of the master and, where no run is under way or requested,
requests one. So a storm of events costs some files and one run.

:func:`process_events` is that run. It decides by what the master itself knows, accepted keys and
the mine, and not by what an event said: a minion without facts in the mine is applied, alone and by
its id; the INFRA nodes register what has changed, at most once in ``INTERVAL`` seconds. Files go
only after what they stand for is done, so that a run that was interrupted loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from typing import Any, NamedTuple

import salt.client
import salt.key

from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.registration.spool import Spool, is_accepted

log = logging.getLogger(__name__)


GATHER = 3
"""Seconds that a run waits at its start, for the events that come along with the first one."""

INTERVAL = 30
"""Seconds from one look at the mine, with what it led to, to the next."""

UNCHANGED = 3600
"""Seconds for which a registration is not repeated while the mine holds the same facts."""

ATTEMPTS = 3
"""How often a run tries a registration that fails. The next event begins anew."""

APPLIES = 10
"""Minions that are applied at the same time."""

RETRY = 600
"""Seconds before a minion whose apply failed is applied again."""

DEADLINE = 3600
"""Seconds after which the end of an apply is not waited for any more."""

ASK = 60
"""Seconds between two questions to minions whether their apply still runs."""

POLL = 5
"""Seconds between two looks at files and at the job cache."""

QUEUE = 100
"""State runs that an apply waits for on its minion. A number: with ``true``, Salt 3008 answers that
nothing runs while a run is queued, and who waits for it is told that it failed."""

FACTS = "infra_register.facts"

# -- the run -------------------------------------------------------------------------------------


def process_events(minion: Minion) -> dict[str, Any]:
    """Do what start and key events asked for since the last run.

    The reactor calls it; call it by hand to go on after the master was stopped in the middle. A
    minion that has started and is unknown to the mine is applied with ``state.apply infra``. If
    what the mine holds has changed, the INFRA nodes register it. Returns at once where another run
    is under way, which sees to it.

    Returns ``applied`` (ids), ``failed`` (id → reason), ``registrations`` (how many were run).

    Raises CommandExecutionError where a registration failed each time. It stays noted, and the
    next event tries it again.
    """
    report: dict[str, Any] = {"applied": [], "failed": {}, "registrations": 0}
    spool = Spool(minion.opts)
    spool.forget_request()
    more = True
    while more:
        with spool.exclusive() as held:
            if not held:
                return report
            _Run(minion, spool, report).work()
        # What was noted between the last look and the release of the lock started no run.
        more = spool.has_work()
    return report


class _Apply(NamedTuple):
    jid: str
    since: float


class _Run:
    """One run: it ends when nothing is left to do or to wait for."""

    def __init__(self, minion: Minion, spool: Spool, report: dict[str, Any]) -> None:
        self.minion, self.spool, self.report = minion, spool, report
        self.record = spool.record()
        # By the file: in these options an orchestration has made the user that of its caller.
        self.client = salt.client.get_local_client(minion.opts["conf_file"])
        self.applies: dict[str, _Apply] = {}
        self.asked = time.time()
        self.failures = 0

    def work(self) -> None:
        self.spool.put_all_back()
        time.sleep(GATHER)
        while True:
            self._see_to_applies()
            due = self._is_due()
            started = self.spool.started()
            # A clock that was set back does not stop anything.
            rested = not 0 <= time.time() - self.record["looked"] < INTERVAL
            if (due or started) and rested:
                self._look()
            elif due or started or self.applies:
                time.sleep(POLL)
            else:
                break
        if self.failures >= ATTEMPTS:
            raise CommandFailed(
                "infra.orch.register failed each time; the next event tries it again. See "
                "`salt-run state.orchestrate infra.orch.register`"
            )

    def _is_due(self) -> bool:
        return self.spool.is_register_noted() or (
            self.spool.is_registering() and self.failures < ATTEMPTS
        )

    def _look(self) -> None:
        """Compare what was noted so far with keys and mine, and act on it."""
        if self.spool.is_register_noted():
            self.failures = 0
        # Both before the mine is read: what happens from here on is noted anew.
        self.spool.begin_register()
        taken = [i for i in self.spool.started() if i not in self.applies]
        for minion_id in taken:
            self.spool.take(minion_id)
        facts = _mine(self.minion)
        for minion_id in taken:
            if not is_accepted(self.minion.opts, minion_id):
                self.spool.finish(minion_id)
            elif minion_id in facts:
                self.spool.continue_register()
                self.spool.finish(minion_id)
            elif self._may_apply(minion_id):
                self._apply(minion_id)
            else:
                self.spool.put_back(minion_id)
        if self.spool.is_registering() and self.failures < ATTEMPTS:
            self._register(facts)
        self._write(looked=time.time())

    # Minions that are applied.

    def _may_apply(self, minion_id: str) -> bool:
        tried = self.record["attempts"].get(minion_id)
        rested = tried is None or not 0 <= time.time() - tried < RETRY
        return rested and len(self.applies) < APPLIES

    def _apply(self, minion_id: str) -> None:
        now = time.time()
        kept = {i: t for i, t in self.record["attempts"].items() if 0 <= now - t < RETRY}
        self._write(attempts={**kept, minion_id: now})
        log.info("infra: %s is not in the mine, state.apply infra", minion_id)
        published = self.client.run_job(
            [minion_id], "state.apply", ["infra"], tgt_type="list", kwarg={"queue": QUEUE}
        )
        if published.get("jid"):
            self.applies[minion_id] = _Apply(published["jid"], now)
        else:
            self._ended(minion_id, "the job was not published")

    def _see_to_applies(self) -> None:
        if not self.applies:
            return
        for minion_id in list(self.applies):
            self._check(minion_id)
        if not self.applies or 0 <= time.time() - self.asked < ASK:
            return
        self.asked = time.time()
        # One that was switched off in its apply, or never was there, answers nothing.
        answers = self.client.cmd(
            list(self.applies), "saltutil.is_running", ["state.*"], tgt_type="list", timeout=10
        )
        for minion_id, apply in list(self.applies.items()):
            if apply.since > self.asked - ASK or _runs(answers.get(minion_id), apply.jid):
                continue
            self._check(minion_id)
            if minion_id in self.applies:
                self._ended(minion_id, "it runs no longer, and returned nothing")

    def _check(self, minion_id: str) -> None:
        apply = self.applies[minion_id]
        returned = self.client.get_cache_returns(apply.jid).get(minion_id)
        if returned is not None:
            self._ended(minion_id, _failure(returned.get("ret")))
        elif not 0 <= time.time() - apply.since < DEADLINE:
            self._ended(minion_id, f"it did not end within {DEADLINE} s")

    def _ended(self, minion_id: str, failure: str) -> None:
        if failure:
            log.error("infra: state.apply infra failed on %s: %s", minion_id, failure)
            self.report["failed"][minion_id] = failure
        else:
            self.report["applied"].append(minion_id)
            kept = {i: t for i, t in self.record["attempts"].items() if i != minion_id}
            self._write(attempts=kept)
        self.spool.note_register()
        self.spool.finish(minion_id)
        self.applies.pop(minion_id, None)

    # Registration.

    def _register(self, facts: dict[str, Any]) -> None:
        digest = hashlib.sha256(
            json.dumps(facts, sort_keys=True, default=str).encode(errors="replace")
        ).hexdigest()
        age = time.time() - self.record["registered"]
        if digest != self.record["digest"] or not 0 <= age < UNCHANGED:
            self.report["registrations"] += 1
            # What the INFRA nodes have is unknown until this has succeeded.
            self._write(digest="")
            done = self.minion.call(
                "saltutil.runner", "state.orchestrate", kwarg={"mods": "infra.orch.register"}
            )
            if not isinstance(done, dict) or done.get("retcode") != 0:
                self.failures += 1
                log.error("infra: infra.orch.register failed, %s of %s", self.failures, ATTEMPTS)
                return
            self._write(digest=digest, registered=time.time())
        self.failures = 0
        self.spool.end_register()

    def _write(self, **changes: Any) -> None:
        self.record.update(changes)
        self.spool.write_record(self.record)


def _mine(minion: Minion) -> dict[str, Any]:
    """Id → facts, of all minions whose keys are accepted.

    Raises CommandExecutionError where there is no such answer: every minion would be unknown.
    """
    found = minion.call("saltutil.runner", "mine.get", kwarg={"tgt": "*", "fun": FACTS})
    if not isinstance(found, dict):
        raise CommandFailed(f"mine.get: expected a dictionary, got {str(found)[:300]}")
    return found


def _runs(answer: Any, jid: str) -> bool:
    jobs = answer if isinstance(answer, list) else []
    return any(isinstance(job, dict) and job.get("jid") == jid for job in jobs)


def _failure(returned: Any) -> str:
    """Why a return of ``state.apply`` is no success; '' where it is one. Safe with anything."""
    if not isinstance(returned, dict) or not returned:
        return f"it returned {str(returned)[:200]!r}"
    failed = [
        str(key)[:100]
        for key, state in returned.items()
        if not isinstance(state, dict) or state.get("result") is False
    ]
    return f"failed: {', '.join(failed[:5])}" if failed else ""
