"""What listens on this machine, as ``ss`` shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import salt.utils.path

from infra_formula import process
from infra_formula.errors import CommandFailed

_FIELDS = 5  # of a line: protocol, state, two queues, local address


def by_control_group() -> dict[str, list[str]]:
    """Control group → ``address:port/protocol`` of its sockets; empty without ``ss``."""
    program = salt.utils.path.which("ss")
    if program is None:
        return {}
    return parse(process.run([program, "-Hlntup"])["stdout"], _control_group)


def parse(output: str, control_group_of: Callable[[int], str]) -> dict[str, list[str]]:
    """Addresses by control group, from the output of ``ss -Hlntup``.

    control_group_of
        Process id → control group.
    """
    sockets: dict[str, set[str]] = {}
    for words in _lines(output):
        for pid in re.findall(r"pid=(\d+)", " ".join(words)):
            sockets.setdefault(control_group_of(int(pid)), set()).add(f"{words[4]}/{words[0]}")
    return {group: sorted(places) for group, places in sockets.items()}


def by_port() -> dict[str, list[str]]:
    """Port (``8428/tcp``) → local addresses that something listens on."""
    program = salt.utils.path.which("ss")
    if program is None:
        raise CommandFailed("ss is not installed; it shows what listens (package iproute2)")
    sockets: dict[str, set[str]] = {}
    for words in _lines(process.run([program, "-Hlntu"])["stdout"]):
        address, _, port = words[4].rpartition(":")
        address = address.partition("%")[0].strip("[]")
        sockets.setdefault(f"{port}/{words[0]}", set()).add(address)
    return {port: sorted(addresses) for port, addresses in sockets.items()}


def _lines(output: str) -> Iterator[list[str]]:
    for line in output.splitlines():
        words = line.split()
        if len(words) >= _FIELDS:
            yield words


def _control_group(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    groups = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    return groups.get("", "") or groups.get("name=systemd", "")
