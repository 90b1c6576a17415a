"""Time as states: chrony's configuration, and that it has the time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, state, systemd, templates
from infra_formula.daemon import units
from infra_formula.fileset import conflicts, contents, originals
from infra_formula.minion import Minion
from infra_formula.ntp import chrony
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def configured(name: str, unit: str, settings: chrony.Settings) -> dict[str, Any]:
    """chrony has the configuration of the parameters.

    name
        Absolute path of chrony.conf.
    unit
        Name of its unit.
    settings
        ``infra``, ``servers``, ``admin_ip``, ``serves``, ``networks`` and ``stratum``.

    On a machine that may not set its clock, a drop-in of the unit starts chronyd with ``-x``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        text = chrony.config_text(templates.read(_minion(), chrony.TEMPLATE), settings)
        if contents.current(Path(name)) != contents.desired({"text": text}):
            chrony.check_text(text, settings)
            conflicts.note_changed([name])
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if not __opts__["test"]:
        originals.backup([name])
    steers = chrony.can_set_clock()
    no_steering = chrony.no_steering_files(unit)
    rets = [
        __states__["file.managed"](
            name=path, contents=contents, user="root", group="root", mode="0644", makedirs=True
        )
        for path, contents in {name: text, **({} if steers else no_steering)}.items()
    ]
    if steers:
        rets += [__states__["file.absent"](name=path) for path in no_steering]
    ret["changes"] = {each["name"]: each["changes"] for each in rets if each["changes"]}
    failed = [each["comment"] for each in rets if each["result"] is False]
    if failed:
        return {**ret, "result": False, "comment": "; ".join(failed)}
    if set(no_steering) & set(ret["changes"]) and not __opts__["test"]:
        _minion().call("service.systemctl_reload")
        systemd.SNAPSHOT.drop()
    steering = "It sets the clock." if steers else "It may not set the clock here (-x)."
    if ret["changes"] and __opts__["test"]:
        return {**ret, "result": None, "comment": f"chrony would be configured. {steering}"}
    return {**ret, "comment": f"chrony is configured. {steering}"}


def synchronised(name: str, settings: chrony.Settings, unit: str, wait: int) -> dict[str, Any]:
    """chrony has the time.

    name
        Any name for the state.
    settings, unit
        As for :func:`configured`.
    wait
        A client waits this many seconds after the start of the unit: INFRA nodes may be starting
        as well.
    """

    def check() -> state.Plan:
        if __opts__["test"]:
            return state.Plan(comment="Health is checked only in a real run.")
        summary = chrony.wait_until_healthy(settings, unit, wait)
        units.record_healthy(_minion(), unit)
        return state.Plan(comment=summary)

    return state.converge(name, __opts__["test"], check)


redaction.guard(globals())
