"""Ports for the servers that tests start, which nobody else takes before such a server does.

To bind port 0, close the socket and pass the number on is a race: until the server binds it, the
kernel may give the same number to any connection of any process. These ports are below the range
that the kernel takes such numbers from, and each process of the tests has its own.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 20_000  # above those of the formula's services, which end at 15,672
_BLOCK = 100  # ports that one lock holds: a lock for each would take all of a process's files

_locks: list[socket.socket] = []
"""Held until the process ends."""


def _lock(block: int) -> bool:
    """Whether a block of ports is this process's from now on.

    By an abstract Unix socket (unix(7)): it belongs to the same network namespace as ports do, and
    the kernel removes it with its process, however that ends.
    """
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0infra-formula-test-ports-{block}")
    except OSError:
        lock.close()
        return False
    _locks.append(lock)
    return True


def _is_free(port: int) -> bool:
    """Whether nothing on the machine has it: no TCP server, and no UDP one."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as probe:
            if kind == socket.SOCK_STREAM:  # as servers do, for which TIME_WAIT is no obstacle
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def _own() -> Iterator[int]:
    """The ports of this process, block by block."""
    end = int(_RANGE.read_text("ascii").split()[0])  # the first that the kernel gives (ip(7))
    for block in range(_FIRST, end - _BLOCK + 1, _BLOCK):
        if _lock(block):
            yield from range(block, block + _BLOCK)


_ports = _own()


def free_port() -> int:
    """A port that nothing listens on, and that is given to nobody else.

    Returns:
        The number; each call, in this process or another, gives another one.

    Raises:
        RuntimeError: all of them have been given.
    """
    for port in _ports:
        if _is_free(port):
            return port
    raise RuntimeError(f"no port from {_FIRST} is free below those in {_RANGE}")
