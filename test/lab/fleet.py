"""Salt on the machines: each for itself, or all of them under a master."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import pillar as pillars
from .host import CommandError, LabError
from .machine import Machine
from .suites import MachineSpec

ANSWER_SECONDS = 120


def files(
    spec: MachineSpec,
    master: MachineSpec | None,
    pillar: Mapping[str, Any] | Path | None,
    secrets: Path | None = None,
) -> dict[str, str]:
    """Return Salt's files for a machine that has not booted yet.

    Args:
        spec: the machine.
        master: the machine with the salt-master; None means that each works for itself.
        pillar: the pillar, for the machine that serves it.
        secrets: the file with the pillar of INFRA nodes, likewise.
    """
    made = settings(spec, master)
    if master is None or spec.name == master.name:
        made |= pillars.files(pillar, secrets)
    return made


def settings(spec: MachineSpec, master: MachineSpec | None) -> dict[str, str]:
    """Return the settings of Salt's programs on a machine: text by absolute path.

    Args:
        spec: the machine.
        master: the machine with the salt-master; None means that each works for itself.
    """
    minion: dict[str, Any] = {"id": spec.name}
    if master is None:
        return {"/etc/salt/minion": _yaml(minion)}
    # A minion that is turned away at first asks again after this many seconds, not ten.
    minion |= {"master": master.address, "acceptance_wait_time": 1, "random_reauth_delay": 1}
    made = {"/etc/salt/minion": _yaml(minion)} if spec.minion else {}
    if spec.name == master.name:
        listening = {"auto_accept": True, "interface": "0.0.0.0"}  # noqa: S104
        made["/etc/salt/master"] = _yaml(listening)
    return made


def start(machines: Sequence[Machine], master: Machine) -> None:
    """Start the master and all minions, and wait until every one answers.

    Args:
        machines: those that are its minions, booted.
        master: the one with the salt-master.

    Raises:
        LabError: some do not answer in time.
    """
    if master.run(["systemctl", "is-active", "salt-master"], check=False).returncode != 0:
        master.run(["systemctl", "enable", "--now", "salt-master"])
    for machine in machines:
        machine.run(["systemctl", "enable", "--now", "salt-minion"])
    wanted = {machine.name for machine in machines}
    deadline = time.monotonic() + ANSWER_SECONDS
    answering: set[str] = set()
    while not wanted <= answering:
        if time.monotonic() > deadline:
            silent = ", ".join(sorted(wanted - answering))
            raise LabError(f"These minions do not answer their master {master.name}: {silent}.")
        answering = {
            name
            for name, answer in salt(master, "--timeout=5", "*", "test.ping", check=False).items()
            if answer is True
        }
        time.sleep(0.5)


def salt(
    master: Machine, *words: str, check: bool = True, timeout: float | None = 1800
) -> dict[str, Any]:
    """Run `salt` on a master.

    Args:
        master: the machine with the salt-master.
        words: options, target, function and arguments.
        check: raise when it ends with anything but 0.
        timeout: seconds that it may take.

    Returns:
        The answers by minion; empty if nobody answered.

    Raises:
        CommandError: it failed (with `check`).
    """
    done = master.run(["salt", "--out=json", "--static", *words], check=check, timeout=timeout)
    try:
        answers = json.loads(done.stdout)
    except ValueError as error:
        if check:
            raise CommandError(
                ["salt", *words], done.returncode, done.stdout, done.stderr, master.name
            ) from error
        return {}
    return answers


def _yaml(data: dict[str, Any]) -> str:
    """Return settings as a file of Salt's, whose YAML takes JSON too."""
    return json.dumps(data, indent=2) + "\n"
