"""The unit of a daemon and the environment file of its flags, as text."""

from __future__ import annotations

import re
from typing import Any

from infra_formula import templates
from infra_formula.daemon import flags
from infra_formula.daemon.model import Daemon
from infra_formula.minion import Minion

SERVICE = {
    "Restart": "always",
    "RestartSec": "2",
    "TimeoutStopSec": "30",
    "LimitNOFILE": "65536",
    "UMask": "0027",
    "SupplementaryGroups": "infra",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "KeyringMode": "private",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
}
"""Directives of [Service] in each unit; a daemon's own ``service`` overrides one, None drops it."""

_TEMPLATES = "salt://infra/daemon/files/"
_DENIED_CALLS = (
    "~@clock @cpu-emulation @debug @module @mount @obsolete @privileged @raw-io @reboot @swap"
)
"""System calls that no daemon may make, by systemd's groups (systemd.exec(5)).

A list of what is allowed would refuse the next call that a new release of a program makes:
VictoriaMetrics 1.131 calls mincore(2), which @system-service lacks, and dies of the refusal.
"""


def template_path(daemon: Daemon) -> str:
    """Served template of a daemon's unit, or of the drop-in to its package's unit."""
    return _TEMPLATES + ("dropin.conf.j2" if daemon.get("use_package_unit") else "unit.service.j2")


def served(minion: Minion, daemon: Daemon) -> dict[str, dict[str, Any]]:
    """As :func:`files`, with the served template."""
    return files(daemon, templates.read(minion, template_path(daemon)))


def files(daemon: Daemon, template: str) -> dict[str, dict[str, Any]]:
    """Render the unit and the environment file of a daemon, as a file set below ``/etc``.

    template
        Text of the unit's template, or of the drop-in's.
    """
    unit, variable = daemon["unit"], variable_name(daemon["unit"])
    service: dict[str, str | None] = {**SERVICE, **daemon["service"]}
    allowed_calls = service.pop("SystemCallFilter", None)
    directives = [(key, value) for key, value in service.items() if value is not None]
    # The first line makes it a list of what is denied; a later one takes calls off that list.
    directives.append(("SystemCallFilter", _DENIED_CALLS))
    if allowed_calls is not None:
        directives.append(("SystemCallFilter", allowed_calls))
    values = {"daemon": daemon, "variable": variable, "service": directives}
    text = templates.render(template_path(daemon), template, values)
    if daemon.get("use_package_unit"):
        return {f"systemd/system/{unit}.service.d/infra.conf": {"text": text}}
    words = " ".join(_quote(argument) for argument in flags.command_line(daemon)[1:])
    environment = (
        f"# Managed by Salt (infra formula): flags of {unit}.\n"
        f"# Changes here are overwritten; set {daemon['options_parameter'] or 'its parameters'}.\n"
        f'{variable}="{words}"\n'
    )
    return {
        f"systemd/system/{unit}.service": {"text": text},
        f"default/{unit}": {"text": environment},
    }


def _quote(argument: str) -> str:
    """An argument as systemd splits it off a variable's value, in the double quotes of a file.

    Both the split (systemd.service(5), "Command lines") and the file (systemd.exec(5),
    EnvironmentFile=) take a backslash before a character as that character.
    """
    word = re.sub(r"([\\'\"])", r"\\\1", argument)
    if not argument or re.search(r"[\s;]", argument):
        word = f"'{word}'"
    return re.sub(r"([\\\"$`])", r"\\\1", word)


def variable_name(unit: str) -> str:
    """Name of the variable that holds a unit's flags, like ``VMETRICS_OPTS``."""
    return re.sub(r"[^A-Z0-9]", "_", unit.upper()) + "_OPTS"


def requires_restart(current: str, desired: str, daemon: Daemon) -> bool:
    """Whether a running daemon has to be restarted for a changed unit or environment file.

    A flag that is new to the file may wait for the next start (``at_next_start``).

    A filter of system calls applies from the next start: a running daemon makes no call that it
    did not make before, and is not interrupted for it.
    """
    for flag in flags.at_next_start(daemon, re.findall(r"[^\s\"]+", current)):
        desired = desired.replace(f" {_quote(flag)}", "")
    return _without_call_filter(current) != _without_call_filter(desired)


def _without_call_filter(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("SystemCallFilter=")]
