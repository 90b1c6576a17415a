"""The run that processes start and key events: minions that join and leave.

The reactor's files (``infra/orch/reactor``) call ``spool.reaction`` inside the master's reactor. Of
an event it keeps the id of the minion only, and only if this master has accepted that minion's key:
a minion may send any event with any data, under any tag, and may name another minion. It writes an
empty file to the spool and requests a run, unless one works or is requested. So a storm of events
costs some files and one run.

:func:`process_events` is that run. It decides by the accepted keys and the mine, and not by the
data of events: a minion without facts in the mine is asked to publish them, and one that has none
is applied, alone and by its id; the INFRA nodes register changed facts, at most once in
``INTERVAL`` seconds. A file of the spool is removed after its work is done, so that an interrupted
run loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, NamedTuple

import salt.client
import salt.key

from infra_formula import redaction
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.orchestration.publishing import ask
from infra_formula.orchestration.steps import state_failure
from infra_formula.registration.facts import ALIAS
from infra_formula.registration.spool import Spool, is_accepted

log = redaction.logger(__name__)


GATHER = 3
"""Seconds that a run waits at its start for further events."""

INTERVAL = 30
"""Seconds from one check of the mine to the next."""

UNCHANGED = 3600
"""Seconds before a registration is repeated although the mine holds the same facts."""

ATTEMPTS = 3
"""Attempts of a run at a registration that fails. The next event starts again."""

APPLIES = 10
"""Most minions that are applied at the same time."""

RETRY = 600
"""Seconds before a minion whose apply failed is applied again."""

DEADLINE = 3600
"""Seconds after which a run no longer waits for an apply."""

PUBLISH = 30
"""Seconds to wait for minions that are asked to publish their facts."""

ASK = 60
"""Seconds between two queries of minions whether their apply still runs."""

POLL = 5
"""Seconds between two checks of the spool and of the job cache."""

QUEUE = 100
"""State runs that an apply waits for on its minion. A number: with ``true``, Salt 3008 reports that
nothing runs while a run is queued, and the run counts as failed."""


def process_events(minion: Minion) -> dict[str, Any]:
    """Process the start and key events since the last run (see ``infra_fleet.process_events``)."""
    report: dict[str, Any] = {"applied": [], "failed": {}, "registrations": 0}
    spool = Spool(minion.opts)
    spool.forget_request()
    more = True
    while more:
        with spool.exclusive() as held:
            if not held:
                return report
            _Run(minion, spool, report).work()
        # An event between the last check and the release of the lock has requested no run.
        more = spool.has_work()
    return report


class _Apply(NamedTuple):
    jid: str
    since: float


class _Run:
    """One run; it ends when there is nothing left to do or to wait for."""

    def __init__(self, minion: Minion, spool: Spool, report: dict[str, Any]) -> None:
        self.minion, self.spool, self.report = minion, spool, report
        self.record = spool.record()
        # By the file: an orchestration has replaced the user in these options.
        self.client = salt.client.get_local_client(minion.opts["conf_file"])
        self.applies: dict[str, _Apply] = {}
        self.asked: set[str] = set()  # to publish their facts, once in a run
        self.queried = time.time()
        self.failures = 0

    def work(self) -> None:
        self.spool.requeue_all()
        time.sleep(GATHER)
        while True:
            self._check_applies()
            due = self._is_due()
            started = self.spool.started()
            # Also true after the clock was set back.
            rested = not 0 <= time.time() - self.record["looked"] < INTERVAL
            if (due or started) and rested:
                self._process()
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
        return self.spool.is_registration_requested() or (
            self.spool.is_registering() and self.failures < ATTEMPTS
        )

    def _process(self) -> None:
        """Process the events so far, by the accepted keys and the mine."""
        if self.spool.is_registration_requested():
            self.failures = 0
        # Before the mine is read: an event from here on is processed by the next check.
        self.spool.begin_registration()
        taken = [i for i in self.spool.started() if i not in self.applies]
        for minion_id in taken:
            self.spool.take(minion_id)
        facts = _mine(self.minion)
        self._ask_to_publish([i for i in taken if not _is_applied(facts.get(i))], facts)
        for minion_id in taken:
            if not is_accepted(self.minion.opts, minion_id):
                self.spool.finish(minion_id)
            elif _is_applied(facts.get(minion_id)):
                self.spool.continue_registration()
                self.spool.finish(minion_id)
            elif self._may_apply(minion_id):
                self._apply(minion_id)
            else:
                self.spool.requeue(minion_id)
        if self.spool.is_registering() and self.failures < ATTEMPTS:
            self._register(facts)
        self._write(looked=time.time())

    # Minions that are applied.

    def _ask_to_publish(self, unknown: list[str], facts: dict[str, Any]) -> None:
        """Add the facts of minions that were applied before and that the mine has lost.

        A master whose cache was deleted, or that was replaced, knows nobody: its minions have
        their facts on disk. Without this, each of them would be applied.
        """
        minions = [
            minion_id
            for minion_id in unknown
            if minion_id not in self.asked and is_accepted(self.minion.opts, minion_id)
        ]
        if not minions:
            return
        self.asked.update(minions)
        # A minion that hangs, or says so, must not keep the others waiting.
        ask(self.minion.opts, minions, "infra_register.send", seconds=PUBLISH, limit=2 * PUBLISH)
        facts.update(_mine(self.minion, minions))

    def _may_apply(self, minion_id: str) -> bool:
        last = self.record["attempts"].get(minion_id)
        rested = last is None or not 0 <= time.time() - last < RETRY
        return rested and len(self.applies) < APPLIES

    def _apply(self, minion_id: str) -> None:
        now = time.time()
        recent = {i: t for i, t in self.record["attempts"].items() if 0 <= now - t < RETRY}
        self._write(attempts={**recent, minion_id: now})
        log.info("infra: %s is not in the mine, state.apply infra", minion_id)
        published = self.client.run_job(
            [minion_id], "state.apply", ["infra"], tgt_type="list", kwarg={"queue": QUEUE}
        )
        if published.get("jid"):
            self.applies[minion_id] = _Apply(published["jid"], now)
        else:
            self._ended(minion_id, "the job was not published")

    def _check_applies(self) -> None:
        if not self.applies:
            return
        for minion_id in list(self.applies):
            self._check(minion_id)
        if not self.applies or 0 <= time.time() - self.queried < ASK:
            return
        self.queried = time.time()
        # A minion that was switched off in its apply, or never connected, does not answer.
        answers = ask(
            self.minion.opts, list(self.applies), "saltutil.is_running", ["state.*"], seconds=10,
            limit=20,
        )  # fmt: skip
        for minion_id, apply in list(self.applies.items()):
            if apply.since > self.queried - ASK or _runs(answers.get(minion_id), apply.jid):
                continue
            self._check(minion_id)
            if minion_id in self.applies:
                self._ended(minion_id, "it ended without a return")

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
            others = {i: t for i, t in self.record["attempts"].items() if i != minion_id}
            self._write(attempts=others)
        self.spool.request_registration()
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
            # Until this has succeeded, the state of the INFRA nodes is unknown.
            self._write(digest="")
            outcome = self.minion.call(
                "saltutil.runner", "state.orchestrate", kwarg={"mods": "infra.orch.register"}
            )
            if not isinstance(outcome, dict) or outcome.get("retcode") != 0:
                self.failures += 1
                log.error(
                    "infra: infra.orch.register failed, %s of %s: %s",
                    self.failures, ATTEMPTS, _failed_steps(outcome),
                )  # fmt: skip
                return
            self._write(digest=digest, registered=time.time())
        self.failures = 0
        self.spool.end_registration()

    def _write(self, **changes: Any) -> None:
        self.record.update(changes)
        self.spool.write_record(self.record)


def _mine(minion: Minion, only: list[str] | None = None) -> dict[str, Any]:
    """Minion id → facts, of all minions or of some.

    Raises CommandFailed without an answer: every minion would seem unknown.
    """
    target: dict[str, Any] = {"tgt": "*"} if only is None else {"tgt": only, "tgt_type": "list"}
    mine = minion.call("saltutil.runner", "mine.get", kwarg={**target, "fun": ALIAS})
    if not isinstance(mine, dict):
        raise CommandFailed(f"mine.get: expected a dictionary, got {str(mine)[:300]}")
    return mine


def _is_applied(facts: Any) -> bool:
    """Whether the facts in the mine are of a minion that this formula was applied to.

    Without an address they are empty, or another formula's: the minion has the formula's modules,
    which other states of the site may have synced, and was not applied.
    """
    return isinstance(facts, dict) and bool(facts.get("ip"))


def _failed_steps(outcome: Any) -> str:
    """Comments of the states that failed in an orchestration. Safe with any value."""
    data = outcome.get("data") if isinstance(outcome, dict) else None
    steps = [
        str(state.get("comment"))
        for states in (data.values() if isinstance(data, dict) else ())
        for state in (states.values() if isinstance(states, dict) else ())
        if isinstance(state, dict) and state.get("result") is False
    ]
    return "; ".join(steps)[:2000] or str(outcome)[:300]


def _runs(answer: Any, jid: str) -> bool:
    jobs = answer if isinstance(answer, list) else []
    return any(isinstance(job, dict) and job.get("jid") == jid for job in jobs)


def _failure(returned: Any) -> str:
    """Why a return of ``state.apply`` is a failure; '' if it is none. Safe with any value."""
    if not isinstance(returned, dict) or not returned:
        return f"it returned {str(returned)[:200]!r}"
    return state_failure(returned)
