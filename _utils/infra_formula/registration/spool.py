"""The spool below the master's cache: start and key events that wait for the run.

The reactor loads this file alone, by its path in the file roots, so that it and the reactor's files
are of one release. Therefore it imports nothing else of the library. The run that processes the
spool is :mod:`infra_formula.registration.events`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import salt.key
from salt.exceptions import CommandExecutionError

log = logging.getLogger(__name__)

REQUESTED = 60
"""Seconds from the request of a run to its start, after which another one is requested."""

_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
"""As in the registration: no wildcard, comma, blank, line break, slash or ``@``."""


def reaction(opts: Mapping[str, Any], kind: str, data: Any) -> dict[str, Any]:
    """What the reactor runs for an event: nothing, or ``process_events`` without arguments.

    opts
        Options of the master.
    kind
        ``start``: a minion has started; ``delete``: a key was deleted.
    data
        Data of the event, any value. A minion can send both kinds of events itself.

    Returns high data of a reaction, which holds nothing of the event.

    Raises CommandExecutionError if the master's folder is not safe.
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
        if not spool.is_registration_requested():
            if is_accepted(opts, minion_id):
                _warn(f"an event that the key of {minion_id} was deleted, which is accepted")
                return {}
            spool.request_registration()
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
    # Once per load of this file, every few seconds: a storm of events does not fill the log.
    if not _warned:
        _warned.append(what)
        log.warning("infra: ignored %s; further ones in these seconds are not logged", what)


def is_minion_id(value: Any) -> TypeGuard[str]:
    """Whether a value is a minion id that this formula accepts."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_accepted(opts: Mapping[str, Any], minion_id: str) -> bool:
    """Whether this master has accepted the key of a minion.

    opts
        Options of the master.
    minion_id
        A valid id.
    """
    return minion_id in salt.key.get_key(opts).list_match(minion_id).get("minions", [])


class Spool:
    """A folder below the master's cache with the work that is left.

    ``started/ID``    a minion has started
    ``taken/ID``      the run works on it; at the start of a run: its predecessor was interrupted
    ``register``      the INFRA nodes have to register the present facts
    ``registering``   the run works on it, or it failed
    ``requested``     a run was requested and has not begun
    ``lock``          held by the run
    ``nodes.lock``    held by an orchestration that works on the INFRA nodes
    ``record.json``   the last registration, and attempts to apply
    """

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self.root = Path(opts["cachedir"]) / "infra_fleet"
        for folder in (self.root, self.root / "started", self.root / "taken"):
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            if (
                not stat.S_ISDIR(status.st_mode)
                or status.st_uid != os.geteuid()
                or status.st_mode & 0o022
            ):
                raise CommandExecutionError(
                    f"{folder}: expected a folder that belongs to the master's user and that "
                    "nobody else may write; remove it, it is created again"
                )

    # Events.

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

    def requeue(self, minion_id: str) -> None:
        (self.root / "taken" / minion_id).replace(self.root / "started" / minion_id)

    def requeue_all(self) -> None:
        """Requeue the minions of an interrupted run."""
        for minion_id in filter(is_minion_id, os.listdir(self.root / "taken")):
            self.requeue(minion_id)

    # Registration.

    def is_registration_requested(self) -> bool:
        return (self.root / "register").exists()

    def request_registration(self) -> None:
        (self.root / "register").touch(mode=0o600)

    def is_registering(self) -> bool:
        return (self.root / "registering").exists()

    def begin_registration(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.root / "register").replace(self.root / "registering")

    def continue_registration(self) -> None:
        (self.root / "registering").touch(mode=0o600)

    def end_registration(self) -> None:
        (self.root / "registering").unlink(missing_ok=True)

    # The run.

    def has_work(self) -> bool:
        return self.is_registration_requested() or bool(self.started())

    def request_run(self) -> bool:
        """Whether a run has to be started after an event was written.

        The order matters. A run removes ``requested`` before it reads anything, and reads again
        after it has released the lock, so that no event before this call is missed.
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
    def exclusive(self, name: str = "lock") -> Iterator[bool]:
        """Hold a lock; yields False at once if another run holds it."""
        handle = os.open(
            self.root / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
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
                # Closing is not enough: a process that Salt forked meanwhile has the handle too.
                fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def record(self) -> dict[str, Any]:
        """The record of earlier runs; empty if the file is missing or corrupt.

        ``attempts`` (id → time of its last apply), ``digest`` of the facts that the INFRA nodes
        registered last, ``registered`` (when), ``looked`` (time of the last check of the mine).
        """
        try:
            data = json.loads((self.root / "record.json").read_text(encoding="utf-8"))
            return {
                "attempts": {str(k): float(v) for k, v in data["attempts"].items()},
                "digest": str(data["digest"]),
                "registered": float(data["registered"]),
                "looked": float(data["looked"]),
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
            log.warning("infra: %s/record.json is corrupt and is written again: %s",
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
