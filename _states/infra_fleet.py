"""Steps of an orchestration, on a master: each minion that takes no part is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.orchestration import steps

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def __virtual__() -> bool | tuple[bool, str]:
    if __opts__.get("__role") == "master":
        return True
    return (False, "infra_fleet works in an orchestration of a salt-master")


def applied(
    name: str,
    tgt: str | list[str],
    sls: str,
    tgt_type: str = "compound",
    arguments: dict[str, Any] | None = None,
    batch: str | int | None = None,
    missing: str = "fail",
    required: bool = True,
    stop: bool = True,
    timeout: int | None = None,
    exclusive: bool = False,
) -> dict[str, Any]:
    """The minions of a target have these states.

    As ``salt.state``, but minions whose keys are accepted and that do not answer are named. States
    are sent only to those that answer a ping.

    name
        Any name for the state.
    tgt
        The target.
    sls
        Name of the SLS.
    tgt_type
        Type of the target: ``compound``, or ``list`` with a list of ids.
    arguments
        Further arguments of ``state.sls``: ``test``, ``pillar``, ``saltenv``, ``pillarenv``.
    batch
        How many minions at a time: a number, a share like ``25%``, or ``auto``: 25%, at most 50.
        None: all at once.
    missing
        If a minion does not answer: ``fail``, ``warn``, or ``report``, with which :func:`answered`
        decides at the end.
    required
        Whether it is an error if the target has no minion.
    stop
        Whether no further minion of a batch is begun after one has failed.
    timeout
        Seconds to wait for the answers of the minions, and as many again until one counts as
        missing. It does not limit how long the states take. None: 15, and one more for each 20
        minions.
    exclusive
        Whether this fails while another orchestration has a step that is exclusive. It holds until
        the orchestration ends.

    Returns what ``salt.state`` returns: in ``changes`` the returns of the minions that changed or
    failed.
    """
    return steps.applied(
        _minion(),
        name,
        tgt,
        sls,
        tgt_type=tgt_type,
        arguments=arguments,
        batch=batch,
        missing=missing,
        required=required,
        stop=stop,
        timeout=timeout,
        exclusive=exclusive,
    )


def answered(name: str, tgt: str, missing: str = "fail") -> dict[str, Any]:
    """Each minion answered in the steps of this orchestration that left it to this state.

    name
        Any name for the state.
    tgt
        The compound target of the whole orchestration. A target without a minion is an error.
    missing
        If one did not answer: ``fail`` or ``warn``.
    """
    return steps.answered(_minion(), name, tgt, missing)


def healthy(
    name: str,
    tgt: str,
    required: bool = True,
    preview: bool = False,
    timeout: int | None = None,
    seconds: float = steps.HEALTHY,
    exclusive: bool = False,
) -> dict[str, Any]:
    """Each component of the minions of a target is healthy, as ``infra_status.services`` says.

    name
        Any name for the state.
    tgt
        The compound target.
    required
        Whether it is an error if the target has no minion.
    preview
        Whether this is a preview, in which nothing is checked.
    timeout
        Seconds to wait for the answers of the minions, as for :func:`applied`.
    seconds
        In which all have to become healthy.
    exclusive
        As for :func:`applied`.
    """
    return steps.healthy(
        _minion(),
        name,
        tgt,
        required=required,
        preview=preview,
        timeout=timeout,
        seconds=seconds,
        exclusive=exclusive,
    )


redaction.guard(globals())
