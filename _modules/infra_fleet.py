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

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import salt.client
import salt.key
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __salt__: dict[str, Any]

log = logging.getLogger(__name__)

__load__ = ["process_events"]  # what Salt loads; the rest is for the reactor's files

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

REQUESTED = 60
"""Seconds that a run may take from its request to its start; then another one is requested."""

QUEUE = 100
"""State runs that an apply waits for on its minion. A number: with ``true``, Salt 3008 answers that
nothing runs while a run is queued, and who waits for it is told that it failed."""

FACTS = "infra_register.facts"

_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
"""Ids that the registration takes, too. No wildcard, comma, blank, line break, slash or ``@``."""


def __virtual__() -> bool | tuple[bool, str]:
    if __opts__.get("__role") == "master":
        return True
    return (False, "infra_fleet works on a salt-master")


# -- in the reactor ------------------------------------------------------------------------------


def reaction(opts: dict[str, Any], kind: str, data: Any) -> dict[str, Any]:
    """What the reactor runs for one event: nothing, or :func:`process_events`, without arguments.

    opts
        Options of the master.
    kind
        ``start``: a minion has started; ``delete``: a key was deleted.
    data
        Data of the event, anything. Who sent it is unknown: a minion can send both events itself.

    Returns high data of a reaction. Nothing of the event is in it.

    Raises CommandExecutionError where the master's folder is not safe.
    """
    minion_id = data.get("id") if isinstance(data, dict) else None
    if not is_minion_id(minion_id):
        _warn("an event that names no valid minion id")
        return {}
    spool = Spool(opts)
    if kind == "start":
        if not spool.has_started(minion_id):
            if not is_accepted(opts, minion_id):
                _warn(f"a start event of {minion_id}, whose key is not accepted")
                return {}
            spool.add_started(minion_id)
    elif data.get("act") == "delete" and data.get("result") is True:
        if not spool.is_register_noted():
            if is_accepted(opts, minion_id):
                _warn(f"an event that the key of {minion_id} was deleted, which is accepted")
                return {}
            spool.note_register()
    else:
        return {}
    if not spool.request_run():
        return {}
    return {
        "infra-reactor-events-processed": {
            "runner.state.orchestrate": [{"args": [{"mods": "infra.orch.process_events"}]}]
        }
    }


_warned: list[str] = []


def _warn(what: str) -> None:
    # Once for each time that this file is loaded, which is every few seconds: who sends events in
    # a storm does not fill the log with them.
    if not _warned:
        _warned.append(what)
        log.warning("infra: ignored %s; others in these seconds are not logged", what)


def is_minion_id(value: Any) -> TypeGuard[str]:
    """Whether a value is a minion id that this formula takes."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_accepted(opts: dict[str, Any], minion_id: str) -> bool:
    """Whether this master has accepted the key of a minion.

    opts
        Options of the master.
    minion_id
        A valid id.
    """
    return minion_id in salt.key.get_key(opts).list_match(minion_id).get("minions", [])


class Spool:
    """A folder below the master's cache that holds what is still to be done.

    ``started/ID``    a minion has started
    ``taken/ID``      the run works on it; one that is found at the start of a run was interrupted
    ``register``      the INFRA nodes are to register what is there now
    ``registering``   the run works on it, or it failed
    ``requested``     a run was requested and has not begun
    ``lock``          held by the one run
    ``record.json``   the last registration, and attempts to apply
    """

    def __init__(self, opts: dict[str, Any]) -> None:
        self.root = Path(opts["cachedir"]) / "infra_fleet"
        for folder in (self.root, self.root / "started", self.root / "taken"):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if (
                not stat.S_ISDIR(found.st_mode)
                or found.st_uid != os.geteuid()
                or found.st_mode & 0o022
            ):
                raise CommandExecutionError(
                    f"{folder}: expected a folder that belongs to the master's user and that "
                    "nobody else may write; remove it, it is made anew"
                )

    # What has happened.

    def has_started(self, minion_id: str) -> bool:
        return (self.root / "started" / minion_id).exists()

    def add_started(self, minion_id: str) -> None:
        (self.root / "started" / minion_id).touch(mode=0o600)

    def started(self) -> list[str]:
        return sorted(filter(is_minion_id, os.listdir(self.root / "started")))

    def take(self, minion_id: str) -> None:
        (self.root / "started" / minion_id).replace(self.root / "taken" / minion_id)

    def finish(self, minion_id: str) -> None:
        (self.root / "taken" / minion_id).unlink(missing_ok=True)

    def put_back(self, minion_id: str) -> None:
        (self.root / "taken" / minion_id).replace(self.root / "started" / minion_id)

    def put_all_back(self) -> None:
        """What an interrupted run had taken is to be done."""
        for minion_id in filter(is_minion_id, os.listdir(self.root / "taken")):
            self.put_back(minion_id)

    # Registration.

    def is_register_noted(self) -> bool:
        return (self.root / "register").exists()

    def note_register(self) -> None:
        (self.root / "register").touch(mode=0o600)

    def is_registering(self) -> bool:
        return (self.root / "registering").exists()

    def begin_register(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.root / "register").replace(self.root / "registering")

    def continue_register(self) -> None:
        (self.root / "registering").touch(mode=0o600)

    def end_register(self) -> None:
        (self.root / "registering").unlink(missing_ok=True)

    # The run.

    def has_work(self) -> bool:
        return self.is_register_noted() or bool(self.started())

    def request_run(self) -> bool:
        """Whether a run has to be started, now that something was noted.

        The order matters. A run removes ``requested`` before it reads anything, and reads once more
        after it has released the lock; so what was noted before this call is never missed.
        """
        mark = self.root / "requested"
        with contextlib.suppress(FileNotFoundError):
            if 0 <= time.time() - mark.stat().st_mtime < REQUESTED:
                return False
        with self.exclusive() as held:
            if not held:
                return False
        mark.touch(mode=0o600)
        return True

    def forget_request(self) -> None:
        (self.root / "requested").unlink(missing_ok=True)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Hold the lock; yields False at once where another run has it."""
        handle = os.open(
            self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                # Not left to the close: a process that Salt forked meanwhile has the handle, too.
                fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def record(self) -> dict[str, Any]:
        """What earlier runs did; nothing where the file is missing or unreadable.

        ``attempts`` (id → time of its last apply), ``digest`` of the facts that the INFRA nodes
        registered last, ``registered`` (when), ``looked`` (when the facts were looked at last).
        """
        try:
            found = json.loads((self.root / "record.json").read_text(encoding="utf-8"))
            return {
                "attempts": {str(k): float(v) for k, v in found["attempts"].items()},
                "digest": str(found["digest"]),
                "registered": float(found["registered"]),
                "looked": float(found["looked"]),
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
            log.warning("infra: %s/record.json is unreadable and is written anew: %s",
                        self.root, err)  # fmt: skip
        return {"attempts": {}, "digest": "", "registered": 0.0, "looked": 0.0}

    def write_record(self, record: dict[str, Any]) -> None:
        new = self.root / "record.json.new"
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(record, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.root / "record.json")


# -- the run -------------------------------------------------------------------------------------


def process_events() -> dict[str, Any]:
    """Do what start and key events asked for since the last run.

    The reactor calls it; call it by hand to go on after the master was stopped in the middle. A
    minion that has started and is unknown to the mine is applied with ``state.apply infra``. If
    what the mine holds has changed, the INFRA nodes register it. Returns at once where another run
    is under way, which sees to it.

    Returns ``applied`` (ids), ``failed`` (id → reason), ``registrations`` (how many were run).

    Raises CommandExecutionError where a registration failed each time. It stays noted, and the
    next event tries it again.

    CLI Example:

    .. code-block:: bash

        salt-run state.orchestrate infra.orch.process_events
    """
    report: dict[str, Any] = {"applied": [], "failed": {}, "registrations": 0}
    spool = Spool(__opts__)
    spool.forget_request()
    more = True
    while more:
        with spool.exclusive() as held:
            if not held:
                return report
            _Run(spool, report).work()
        # What was noted between the last look and the release of the lock started no run.
        more = spool.has_work()
    return report


class _Apply(NamedTuple):
    jid: str
    since: float


class _Run:
    """One run: it ends when nothing is left to do or to wait for."""

    def __init__(self, spool: Spool, report: dict[str, Any]) -> None:
        self.spool, self.report = spool, report
        self.record = spool.record()
        # By the file: in these options an orchestration has made the user that of its caller.
        self.client = salt.client.get_local_client(__opts__["conf_file"])
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
            raise CommandExecutionError(
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
        facts = _mine()
        for minion_id in taken:
            if not is_accepted(__opts__, minion_id):
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
            done = __salt__["saltutil.runner"](
                "state.orchestrate", kwarg={"mods": "infra.orch.register"}
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


def _mine() -> dict[str, Any]:
    """Id → facts, of all minions whose keys are accepted.

    Raises CommandExecutionError where there is no such answer: every minion would be unknown.
    """
    found = __salt__["saltutil.runner"]("mine.get", kwarg={"tgt": "*", "fun": FACTS})
    if not isinstance(found, dict):
        raise CommandExecutionError(f"mine.get: expected a dictionary, got {str(found)[:300]}")
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
