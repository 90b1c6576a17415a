"""Time as states: chrony's configuration, and that it has the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.daemon import units
from infra_formula.fileset import originals
from infra_formula.minion import Minion
from infra_formula.ntp import chrony
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_TEMPLATE = "salt://infra/ntp/files/chrony.conf.j2"
_DROPIN = """\
# Managed by Salt (infra formula). Changes here are overwritten.
# This machine may not set its clock: chronyd tells the time and leaves the clock alone (-x).
[Unit]
ConditionCapability=

[Service]
EnvironmentFile=/etc/default/infra-chrony
"""
_OPTIONS = """\
# Managed by Salt (infra formula). Changes here are overwritten.
DAEMON_OPTS=-x
OPTIONS=-x
"""


def configured(name: str, unit: str, settings: dict[str, Any]) -> dict[str, Any]:
    """chrony's configuration is what the parameters say, and fit for this machine.

    name
        Absolute path of chrony.conf.
    unit
        Name of its unit.
    settings
        See ``infra_ntp.config_text`` among the execution modules.

    Where the clock may not be set, chronyd is told so (``-x``) by a drop-in of its unit.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    dropin = f"/etc/systemd/system/{unit}.service.d/infra.conf"
    try:
        template = _minion().call("cp.get_file_str", _TEMPLATE)
        if not template:
            return {**ret, "result": False, "comment": f"{_TEMPLATE} is not served"}
        wanted = {name: chrony.config_text(template, settings)}
    except SaltInvocationError as err:
        return {**ret, "result": False, "comment": str(err)}
    steers = chrony.clock_settable()
    kept = {dropin: _DROPIN, "/etc/default/infra-chrony": _OPTIONS}
    if not __opts__["test"]:
        originals.backup([name])  # what the package brought, for the way back
    runs = []
    for path, text in {**wanted, **({} if steers else kept)}.items():
        runs.append(
            __states__["file.managed"](
                name=path, contents=text, user="root", group="root", mode="0644", makedirs=True
            )
        )
    if steers:
        runs += [__states__["file.absent"](name=path) for path in kept]
    told = "it sets the clock" if steers else "the clock may not be set here: it runs with -x"
    failed = [r["comment"] for r in runs if r["result"] is False]
    ret["changes"] = {r["name"]: r["changes"] for r in runs if r["changes"]}
    if failed:
        return {**ret, "result": False, "comment": "; ".join(failed)}
    if dropin in ret["changes"] and not __opts__["test"]:
        _minion().call("service.systemctl_reload")
    if ret["changes"] and __opts__["test"]:
        return {**ret, "result": None, "comment": f"chrony would be configured; {told}"}
    return {**ret, "comment": told}


def synchronised(name: str, settings: dict[str, Any], unit: str, wait: int) -> dict[str, Any]:
    """chrony has the time, and says so itself.

    name
        Any name for the state.
    settings, unit
        As for :func:`configured`.
    wait
        Seconds after its start in which a client waits for INFRA nodes that are being set up, too.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if __opts__["test"]:
        return {**ret, "comment": "health is asked only in a real run"}
    try:
        sourced = bool(chrony.sources_of(settings))
        seconds = chrony.patience(unit, 0 if settings["serves"] else wait)
        told = chrony.wait_until_well(settings["serves"], sourced, seconds)
        units.record_healthy(_minion(), unit)
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    selected = [s["address"] for s in told["sources"] if s["state"] == "selected"]
    follows = ", ".join(selected) or (
        "its own clock" if told["tracking"]["local"] else "nobody yet"
    )
    steers = "" if told["steers"] else "; leaves the clock alone (-x)"
    stratum = told["tracking"]["stratum"]
    return {**ret, "comment": f"follows {follows}, stratum {stratum}{steers}"}
