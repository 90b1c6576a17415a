"""What systemd reports of units: the one place where ``systemctl show`` is called."""

from __future__ import annotations

from collections.abc import Iterable

from infra_formula import process
from infra_formula.errors import CommandFailed

_SUFFIXES = (".service", ".timer", ".socket")


def unit_name(unit: str) -> str:
    """Full name of a unit: of a service, unless it has another known suffix."""
    return unit if unit.endswith(_SUFFIXES) else f"{unit}.service"


def show(
    units: Iterable[str], properties: Iterable[str], must: bool = True
) -> dict[str, dict[str, str]]:
    """Report properties of units, by one call of systemctl.

    units
        Their names, with or without ``.service``.
    properties
        Names of properties, e.g. ``ActiveState``.
    must
        False: if systemd does not answer, or is not installed, no properties are returned.

    Returns name of the unit, as passed → property → value.

    Raises CommandFailed if systemd does not answer.
    """
    names = sorted(set(units))
    if not names:
        return {}
    # One answer per name, in their order: an alias is reported under its real name.
    command = ["systemctl", "show", f"--property={','.join(properties)}", "--"]
    try:
        outcome = process.run([*command, *map(unit_name, names)])
        blocks = [block for block in outcome["stdout"].split("\n\n") if block.strip()]
        if len(blocks) != len(names):
            raise CommandFailed(f"systemctl show: {outcome['stderr'].strip() or 'no answer'}")
    except CommandFailed:
        if must:
            raise
        return {name: {} for name in names}
    return {name: _parse(block) for name, block in zip(names, blocks, strict=True)}


def _parse(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
    return {key: value for key, _, value in pairs}
