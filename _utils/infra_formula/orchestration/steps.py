"""A step of an orchestration: states on the minions of a target, in batches.

``salt.state`` reports only minions that return. A minion that is switched off, or that does not
answer in time, takes no part and is not named: the step succeeds. Here the master's accepted keys
say who is expected, a ping says who answers, and the states are sent to those alone. Publishing and
batches are Salt's.

A minion with an accepted key may answer to anything, with anything. It takes part only if its id
can belong to the target and is a name; what it returns is a success only in the form of one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import salt.utils.minions
from salt.exceptions import SaltClientError, SaltException

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion
from infra_formula.orchestration.publishing import ATTEMPTS, ask
from infra_formula.redaction import scrub_data
from infra_formula.registration.spool import Spool, is_minion_id

MISSING = ("fail", "warn", "report")
"""What follows if a minion does not answer; ``report`` leaves it to :func:`answered`."""

TIMEOUT = 15
"""Seconds to wait for answers, unless ``timeout`` says otherwise; as many again pass before one
counts as missing. Salt's own 5 s are too short for a master whose minions all answer."""

ANSWERS = 20
"""Answers that a master takes in a second: it waits that much longer for many minions."""

HEALTHY = 120
"""Seconds in which each component of a minion has to become healthy."""

LOOK = 60
"""Seconds in which a minion has to report about its components, at least."""

SHARE = 25
"""Percent of the minions that are applied at the same time, unless ``batch`` says otherwise."""

MOST = 50
"""Most minions that are applied at the same time, unless ``batch`` says otherwise."""

QUEUE = 100
"""State runs that a run waits for on its minion. A number: with ``true``, Salt 3008 reports that
nothing runs while a run is queued, and the run counts as failed."""

_NAMED = 20  # ids in a line; the others are counted
_RECORD = "infra_orchestration_record"  # in the context of a run
_LOCK = "infra_orchestration_lock"  # likewise
_BY_FACTS = tuple(f"{letter}@" for letter in "GPIJSR")  # words of a target that a minion decides


@dataclass
class Outcome:
    """What became of the minions of a step, by their ids."""

    changed: dict[str, Any] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    returns: dict[str, Any] = field(default_factory=dict)


def applied(
    minion: Minion,
    name: str,
    tgt: str | list[str],
    sls: str,
    *,
    tgt_type: str = "compound",
    arguments: Mapping[str, Any] | None = None,
    batch: str | int | None = None,
    missing: str = "fail",
    required: bool = True,
    stop: bool = True,
    timeout: int | None = None,
    exclusive: bool = False,
) -> dict[str, Any]:
    """Apply states to the minions of a target (see ``infra_fleet.applied``)."""
    test = bool(minion.opts.get("test"))
    arguments = {"queue": QUEUE, "concurrent": False, **(arguments or {})}
    if test:
        arguments["test"] = True
    preview = bool(arguments.get("test"))
    try:
        _check(batch, missing, timeout)
        if exclusive and not preview:
            _exclude_others(minion)
        if tgt_type == "compound" and isinstance(tgt, str):
            tgt = without_nodegroups(minion.opts, tgt)
        members = _members(minion, tgt, tgt_type, timeout)
        answering, unanswered, seconds = members.answering, members.unanswered, members.seconds
        outcome = Outcome(unanswered=sorted(unanswered), unusable=sorted(members.unusable))
        if answering:
            number = _batch_size(batch, len(answering))
            returned = _send(minion, sorted(answering), sls, arguments, number, stop, seconds)
            _judge(outcome, answering, returned, stopped=stop and number is not None)
    except (CommandFailed, InvalidInput, SaltException) as err:
        return {"name": name, "result": False, "changes": {}, "comment": str(err)}
    if not required:
        _record(minion)["minions"].update(answering | unanswered)
    return _report(minion, name, outcome, _text(tgt), missing, required, preview)


def answered(minion: Minion, name: str, tgt: str, missing: str = "fail") -> dict[str, Any]:
    """Whether each minion of the steps so far answered (see ``infra_fleet.answered``)."""
    record = _record(minion)
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}}
    ret["comment"] = "Each minion of the steps before answered."
    # Steps that need not have a minion may have found some whose grains the master does not know.
    if not accepted(minion.opts, tgt, "compound") | record["minions"]:
        ret |= {"result": False, "comment": f"No accepted minion belongs to the target {tgt}."}
    unanswered = sorted(record["unanswered"])
    if unanswered:
        ret["comment"] = _unanswered(unanswered)
        ret["result"] = missing == "warn"
        if missing == "warn":
            ret["warnings"] = [ret["comment"]]
    return ret


def healthy(
    minion: Minion,
    name: str,
    tgt: str,
    *,
    required: bool = True,
    preview: bool = False,
    timeout: int | None = None,
    seconds: float = HEALTHY,
    exclusive: bool = False,
) -> dict[str, Any]:
    """Wait until the minions of a target are healthy (see ``infra_fleet.healthy``)."""
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}}
    if preview or minion.opts.get("test"):
        return {**ret, "comment": "Health is checked only without test=True."}
    deadline = time.monotonic() + seconds
    try:
        _check(None, "fail", timeout)
        if exclusive:
            _exclude_others(minion)
        found = _members(minion, tgt, "compound", timeout)
        absent = sorted(found.unanswered | found.unusable)
        if absent:
            return {
                **ret,
                "result": False,
                "comment": f"Did not answer: {ids(map(_shown, absent))}.",
            }
        members = sorted(found.answering)
        if not members:
            comment = f"No accepted minion belongs to the target {tgt}."
            return {**ret, "result": not required, "comment": comment}
        while True:
            left = deadline - time.monotonic()
            faults = _unhealthy(minion, members, found.seconds, max(left, LOOK))
            if not faults or time.monotonic() > deadline:
                break
            time.sleep(1)
    except (CommandFailed, InvalidInput, SaltException) as err:
        return {**ret, "result": False, "comment": str(err)}
    if faults:
        return {**ret, "result": False, "comment": "\n".join(faults)}
    return {**ret, "comment": f"Each component is healthy on {ids(members)}."}


def _unhealthy(minion: Minion, members: list[str], seconds: int, limit: float) -> list[str]:
    """A line for each minion that does not report, or that has a component that is not healthy."""
    returned = ask(
        minion.opts, members, "infra_status.services", seconds=max(seconds, TIMEOUT), limit=limit
    )
    lines = [_fault(minion_id, returned.get(minion_id)) for minion_id in members]
    scrubbed: list[str] = scrub_data([line for line in lines if line])
    return scrubbed


def _fault(minion_id: str, rows: Any) -> str:
    """Why a minion is not healthy; '' if it is. Safe with any value."""
    if not isinstance(rows, dict) or not all(isinstance(r, dict) for r in rows.values()):
        return f"{minion_id}: {_line(str(rows or 'did not answer')[:300])}"
    enabled = {name: row for name, row in rows.items() if row.get("enabled")}
    if not enabled:
        return f"{minion_id} reports no component that is enabled."
    faults = [
        _line(f"{name} ({str(row.get('said', ''))[:200]})")
        for name, row in enabled.items()
        if row.get("healthy") is not True
    ]
    return f"{minion_id} is not healthy: {ids(faults)}" if faults else ""


def _shown(minion_id: str) -> str:
    return minion_id if is_minion_id(minion_id) else repr(minion_id)[:100]


def _line(text: str) -> str:
    """A text of a minion for a terminal: in one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def _exclude_others(minion: Minion) -> None:
    """Hold a lock until the run ends: two runs would restart two INFRA nodes at the same time.

    Raises CommandFailed if another run holds it.
    """
    if _LOCK in minion.context:
        return
    lock = ExitStack()
    if not lock.enter_context(Spool(minion.opts).exclusive("nodes.lock")):
        raise CommandFailed(
            "Another infra.orch.deploy or infra.orch.upgrade works on the INFRA nodes. Run this "
            "again when it has ended; `salt-run jobs.active` shows it."
        )
    # Released with the context, and by the kernel if the process is killed.
    minion.context[_LOCK] = lock


def _record(minion: Minion) -> dict[str, set[str]]:
    record: dict[str, set[str]] = minion.context.setdefault(
        _RECORD, {"minions": set(), "unanswered": set()}
    )
    return record


def accepted(opts: Mapping[str, Any], tgt: str | list[str], tgt_type: str) -> set[str]:
    """Ids with an accepted key that belong to a target, by what the master knows of their grains.

    opts
        Options of the master.
    tgt
        The target.
    tgt_type
        Its type.
    """
    matcher = salt.utils.minions.CkMinions(dict(opts))
    # Not greedy: a minion whose grains are unknown is not expected at an address.
    matched = matcher.check_minions(tgt, tgt_type, greedy=False)
    return set(matched["minions"])


def without_nodegroups(opts: Mapping[str, Any], tgt: str) -> str:
    """A compound target with each nodegroup replaced by its definition.

    A minion decides whether it belongs to a target, and does not know the nodegroups of its master.

    opts
        Options of the master.
    tgt
        The target, ``N@web and not G@os:Debian``.

    Raises InvalidInput for a nodegroup that the master does not have.
    """
    groups = opts.get("nodegroups") or {}
    words = []
    for word in tgt.split():
        if not word.startswith("N@"):
            words.append(word)
            continue
        resolved = salt.utils.minions.nodegroup_comp(word[2:], groups)
        if not resolved:
            raise InvalidInput(
                f"tgt: expected a nodegroup of the master's configuration, got {word[2:]!r}"
            )
        words += ["(", *([resolved] if isinstance(resolved, str) else resolved), ")"]
    return " ".join(words)


def _check(batch: str | int | None, missing: str, timeout: int | None) -> None:
    if missing not in MISSING:
        raise InvalidInput(f"missing: expected one of {', '.join(MISSING)}, got {missing!r}")
    if timeout is not None and (
        not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 1
    ):
        raise InvalidInput(f"timeout: expected seconds, at least 1, got {timeout!r}")
    if batch not in (None, "auto"):
        _number(batch, 100)


def _number(batch: str | int | None, total: int) -> int:
    text = str(batch).strip()
    share = text.endswith("%")
    digits = text.removesuffix("%")
    if not (digits.isascii() and digits.isdecimal()) or not 1 <= int(digits) <= 100000:
        raise InvalidInput(f"batch: expected a number or a share like 25%, got {batch!r}")
    return max(1, math.ceil(total * int(digits) / 100)) if share else int(digits)


def _batch_size(batch: str | int | None, total: int) -> int | None:
    """How many minions at a time; None for all at once."""
    if batch is None:
        return None
    if batch == "auto":
        return min(MOST, _number(f"{SHARE}%", total))
    return _number(batch, total)


@dataclass
class _Members:
    """Minions of a target, by what became of a question to them.

    ``answering``
        They belong to it.
    ``unanswered``
        They are expected and did not answer.
    ``unusable``
        They belong to it by an id that is a pattern or a list: in a target it may name others.
    ``seconds``
        To wait for their answers.
    """

    answering: set[str]
    unanswered: set[str]
    unusable: set[str]
    seconds: int


def _members(minion: Minion, tgt: str | list[str], tgt_type: str, timeout: int | None) -> _Members:
    expected = accepted(minion.opts, tgt, tgt_type)
    seconds = timeout or TIMEOUT + len(expected) // ANSWERS
    answers = _ask_whether_they_match(minion, tgt, tgt_type, expected, seconds)
    # Whoever answers that it belongs to a target that its id excludes does not.
    known = possible(minion.opts, tgt, tgt_type)
    members = {i for i, matches in answers.items() if matches is True and i in known}
    usable = set(filter(is_minion_id, members))
    unanswered = set(filter(is_minion_id, expected - set(answers)))
    unusable = (members - usable) | {i for i in expected if not is_minion_id(i)}
    return _Members(usable, unanswered, unusable, seconds)


def possible(opts: Mapping[str, Any], tgt: str | list[str], tgt_type: str) -> set[str]:
    """Ids with an accepted key that may belong to a target, whatever their grains and pillar are.

    opts
        Options of the master.
    tgt
        The target, without nodegroups.
    tgt_type
        Its type.
    """
    if tgt_type != "compound" or not isinstance(tgt, str):
        return accepted(opts, tgt, tgt_type)
    words: list[str] = []
    for word in tgt.split():
        if not word.startswith(_BY_FACTS):
            words.append(word)
            continue
        if words and words[-1] == "not":
            words.pop()
        words.append("*")
    bound = " ".join(words)
    if bound != " ".join(tgt.split()) and "not (" in bound:
        bound = "*"
    return accepted(opts, bound, "compound")


def _ask_whether_they_match(
    minion: Minion, tgt: str | list[str], tgt_type: str, expected: Iterable[str], seconds: int
) -> dict[str, Any]:
    """Minion id → whether it belongs to the target, of all minions that answer.

    A minion decides that itself: what the master knows of its grains and pillar may be old.
    """
    fun, arguments = "test.ping", []
    listed = ",".join(sorted(filter(is_minion_id, expected)))
    if isinstance(tgt, str) and tgt_type == "compound":
        fun, arguments = "match.compound", [tgt]
        tgt = f"( {tgt} ) or L@{listed}" if listed else tgt
    return ask(
        minion.opts, tgt, fun, arguments, tgt_type=tgt_type, seconds=seconds, limit=2 * seconds
    )


def _send(
    minion: Minion,
    ids: list[str],
    sls: str,
    arguments: Mapping[str, Any],
    number: int | None,
    stop: bool,
    seconds: int,
) -> dict[str, Any]:
    """Minion id → return of a state run, of those that returned; its time is not limited."""
    if number is None:
        return ask(minion.opts, ids, "state.sls", [sls], seconds=seconds, limit=None,
                   kwarg=arguments)  # fmt: skip
    returned = _command(
        minion,
        ids,
        "state.sls",
        [sls],
        tgt_type="list",
        timeout=seconds,
        gather_job_timeout=seconds,
        kwarg=dict(arguments),
        expect_minions=False,
        batch=str(number),
        failhard=stop,
    )
    return {
        minion_id: None if answer.get("failed") is True else answer.get("ret")
        for minion_id, answer in returned.items()
        if isinstance(answer, dict)
    }


def _command(minion: Minion, *arguments: Any, **options: Any) -> dict[str, Any]:
    """``saltutil.cmd``: minion id → return. See :func:`publishing.ask` for the attempts."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            returned = minion.call("saltutil.cmd", *arguments, **options)
        except SaltClientError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(1)
        else:
            break
    if not isinstance(returned, dict):
        raise CommandFailed(f"saltutil.cmd: expected returns of minions, got {returned!r:.200}")
    return returned


def _judge(
    outcome: Outcome, sent: Iterable[str], returned: Mapping[str, Any], stopped: bool
) -> None:
    for minion_id in sorted(sent):
        data = returned.get(minion_id)
        # Salt stands in for a return that did not come with an empty one.
        if not data:
            outcome.lost.append(minion_id)
            continue
        failure = state_failure(data)
        if failure:
            outcome.failed[minion_id] = failure
            outcome.returns[minion_id] = data
        elif any(isinstance(s, dict) and s.get("changes") for s in data.values()):
            outcome.changed[minion_id] = data
            outcome.returns[minion_id] = data
        else:
            outcome.unchanged.append(minion_id)
    if stopped and (outcome.failed or outcome.lost):
        # Salt has sent nothing to the rest: without a return, they are not lost.
        outcome.waiting = [i for i in outcome.lost if i not in returned]
        outcome.lost = [i for i in outcome.lost if i in returned]


def state_failure(returned: Any) -> str:
    """Why a return of a state run is a failure; '' if it is none.

    returned
        The return, any value.
    """
    if not isinstance(returned, dict) or not returned:
        lines = returned if isinstance(returned, list) else [returned]
        return _line("; ".join(str(line)[:300] for line in lines[:3]))
    failed = [
        _line(str(state.get("__id__", key) if isinstance(state, dict) else key)[:100])
        for key, state in returned.items()
        if not isinstance(state, dict) or not _has_succeeded(state)
    ]
    return f"failed: {ids(failed)}" if failed else ""


def _has_succeeded(state: Mapping[str, Any]) -> bool:
    return "result" in state and (state["result"] is True or state["result"] is None)


def ids(names: Iterable[str]) -> str:
    """Names in a line; of many, the first ones and the number of the others."""
    listed = list(names)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _unanswered(unanswered: list[str]) -> str:
    return (
        "Accepted minions that did not answer, so that nothing was applied to them: "
        f"{', '.join(map(_shown, unanswered))}. "
        "Start them or delete their keys, and run this again; "
        "`infra_deploy: {missing: warn}` makes this a warning."
    )


def _count(number: int) -> str:
    return f"{number} minion{'' if number == 1 else 's'}"


def _text(tgt: str | list[str]) -> str:
    return tgt if isinstance(tgt, str) else ",".join(tgt)


def _report(
    minion: Minion,
    name: str,
    outcome: Outcome,
    tgt: str,
    missing: str,
    required: bool,
    preview: bool,
) -> dict[str, Any]:
    lines, warnings = [], []
    result: bool | None = True
    done = len(outcome.changed) + len(outcome.unchanged) + len(outcome.failed)
    if done:
        verb = "would change" if preview else "changed"
        counts = [(len(outcome.changed), verb), (len(outcome.unchanged), "up to date"),
                  (len(outcome.failed), "failed")]  # fmt: skip
        what = ", ".join(f"{number} {text}" for number, text in counts if number)
        lines.append(f"{'Previewed' if preview else 'Applied'} on {_count(done)}: {what}.")
    for minion_id, failure in outcome.failed.items():
        lines.append(f"{minion_id}: {failure}")
    if outcome.lost:
        lines.append(
            f"Answered, and did not return from the states: {', '.join(outcome.lost)}. "
            "`salt MINION saltutil.running` shows whether they still run."
        )
    if outcome.waiting:
        lines.append(
            "Not applied because of the failures, or without a return when the step stopped: "
            f"{ids(outcome.waiting)}."
        )
    if outcome.failed or outcome.lost or outcome.waiting:
        result = False
    if outcome.unusable:
        text = (
            "Not applied, because the id is no name of letters, digits, dots, hyphens and "
            f"underscores: {ids(map(_shown, outcome.unusable))}. Delete the keys (salt-key -d)."
        )
        lines.append(text)
        if missing == "fail":
            result = False
        elif missing == "warn":
            warnings.append(text)
        else:
            _record(minion)["unanswered"].update(outcome.unusable)
    if outcome.unanswered:
        if missing == "report":
            lines.append(f"Did not answer: {', '.join(outcome.unanswered)}.")
            _record(minion)["unanswered"].update(outcome.unanswered)
        else:
            text = _unanswered(outcome.unanswered)
            lines.append(text)
            if missing == "warn":
                warnings.append(text)
            else:
                result = False
    elif not done and not outcome.lost and not outcome.waiting and not outcome.unusable:
        lines.append(f"No accepted minion belongs to the target {tgt}.")
        result = not required
    if result and preview and outcome.changed:
        result = None
    changes = {"out": "highstate", "ret": outcome.returns} if outcome.returns else {}
    ret: dict[str, Any] = {"name": name, "result": result, "changes": changes}
    ret["comment"] = "\n".join(lines)
    if warnings:
        ret["warnings"] = warnings
    scrubbed: dict[str, Any] = scrub_data(ret)
    return scrubbed
