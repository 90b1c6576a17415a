"""Commands to minions, with an end to the wait for their returns.

``saltutil.cmd`` waits as long as a minion reports that the job still runs, so that one minion whose
disk hangs, or that lies, stops an orchestration for ever. It also counts returns of minions that
the command was not sent to: whoever has an accepted key may return to any job.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import salt.client
from salt.exceptions import SaltClientError

ATTEMPTS = 3
"""Attempts to publish a command."""

_PAUSE = 0.02  # seconds between two looks at the events


def ask(
    opts: Mapping[str, Any],
    tgt: str | Iterable[str],
    function: str,
    arguments: Iterable[Any] = (),
    *,
    tgt_type: str = "list",
    seconds: int,
    limit: float | None,
    kwarg: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Send a command to minions; returns minion id → return, of those that returned.

    opts
        Options of the master.
    tgt, tgt_type
        The target. Of a list, only the returns of its minions are taken.
    function, arguments, kwarg
        The command.
    seconds
        After which, and as many again, a minion that does not report the job counts as missing.
    limit
        Seconds after which the wait ends though minions report that the job runs; None: never.

    Now and then, Salt 3008 fails inside its own client before it publishes (a KeyError of a thread,
    passed on as SaltClientError). A state run that is published twice waits for the first one.

    Raises SaltClientError if the command could not be published.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _ask(opts, tgt, function, arguments, tgt_type, seconds, limit, kwarg)
        except SaltClientError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(1)
    raise AssertionError("unreachable")


def _ask(
    opts: Mapping[str, Any],
    tgt: str | Iterable[str],
    function: str,
    arguments: Iterable[Any],
    tgt_type: str,
    seconds: int,
    limit: float | None,
    kwarg: Mapping[str, Any] | None,
) -> dict[str, Any]:
    target = tgt if isinstance(tgt, str) else list(tgt)
    expected = None if tgt_type != "list" else set(target)
    found: dict[str, Any] = {}
    begun = time.monotonic()
    with salt.client.get_local_client(opts["conf_file"]) as client:
        returns = client.cmd_iter_no_block(
            target,
            function,
            list(arguments),
            timeout=seconds,
            tgt_type=tgt_type,
            kwarg=dict(kwarg) if kwarg else None,
            gather_job_timeout=seconds,
            expect_minions=False,
        )
        for returned in returns:
            for minion_id, answer in (returned or {}).items():
                is_awaited = expected is None or minion_id in expected
                if is_awaited and isinstance(answer, dict) and "ret" in answer:
                    found.setdefault(minion_id, answer["ret"])
            if expected is not None and expected <= set(found):
                break
            if limit is not None and time.monotonic() - begun > limit:
                break
            if not returned:
                time.sleep(_PAUSE)
        returns.close()
    return found
