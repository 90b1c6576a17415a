"""TCP ports of this machine: processes that listen on them, and HTTP requests to them."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra_formula import json_text
from infra_formula.errors import CommandFailed

_TLS_ONLY = "Client sent an HTTP request to an HTTPS server"  # Go's net/http, server.go
_BODY_LIMIT = 64 * 1024 * 1024


def request(
    port: int,
    path: str,
    timeout: float = 3.0,
    method: str = "GET",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int | None, str]:
    """Send one HTTP request to this machine.

    timeout
        Seconds.

    Returns the status code and the body; None and the reason if there is no HTTP response.

    Raises CommandFailed for a body of more than 64 MiB.
    """
    status, content = _request(_plain(port, timeout), path, method, body, headers)
    if status == 400 and _TLS_ONLY in content:
        # The site gave the program a certificate. Nobody else can answer on this machine's port.
        status, content = _request(_encrypted(port, timeout), path, method, body, headers)
    return status, content


def _plain(port: int, timeout: float) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)


def _encrypted(port: int, timeout: float) -> http.client.HTTPConnection:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)


def _request(
    connection: http.client.HTTPConnection,
    path: str,
    method: str,
    body: str | None,
    headers: Mapping[str, str] | None,
) -> tuple[int | None, str]:
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        content = response.read(_BODY_LIMIT + 1)
    except (OSError, http.client.HTTPException) as err:
        return None, str(err)
    finally:
        connection.close()
    if len(content) > _BODY_LIMIT:
        raise CommandFailed(
            f"http://127.0.0.1:{connection.port}{path}: expected a response of at most 64 MiB, "
            "got more"
        )
    return response.status, content.decode("utf-8", "replace")


def get_json(port: int, path: str, program: str, timeout: float = 3.0) -> Any:
    """Query an HTTP API of this machine.

    program
        Name of the program that listens there, for errors.

    Raises CommandFailed if it does not answer 200 and JSON.
    """
    code, body = request(port, path, timeout)
    if code != 200:
        raise CommandFailed(f"{program} on port {port}: {body or code}")
    try:
        return json_text.parse(body)
    except ValueError as err:
        raise CommandFailed(f"{program} on port {port}: expected JSON: {err}") from err


def listeners(port: int) -> set[int]:
    """Processes of this machine that listen on a TCP port."""
    return listeners_by_port([port])[port]


def listeners_by_port(ports: Iterable[int]) -> dict[int, set[int]]:
    """Processes of this machine that listen on TCP ports, by one look at all processes.

    Returns each of the ports → process ids.
    """
    inodes: dict[int, set[int]] = {port: set() for port in ports}
    sockets = {socket: port for socket, port in _listening().items() if port in inodes}
    if sockets:
        for folder in Path("/proc").glob("[0-9]*"):
            for socket in _open_files(folder.name) & sockets.keys():
                inodes[sockets[socket]].add(int(folder.name))
    return inodes


_known: dict[str, int] = {}
"""Sockets that listened when the kernel's tables were read last → port."""


def listens(pid: int, port: int) -> bool:
    """Whether a process itself listens on a TCP port; looks at no other process.

    The kernel takes milliseconds to write its table of sockets. One that it had once is still the
    same as long as a process has it open; the table is read again if no such socket is known.
    """
    files = _open_files(str(pid))
    if not any(_known.get(file) == port for file in files):
        _known.clear()
        _known.update(_listening())
    return any(_known.get(file) == port for file in files)


def ports_of(pid: int) -> set[int]:
    """TCP ports that a process itself listens on."""
    files = _open_files(str(pid))
    return {port for socket, port in _listening().items() if socket in files}


def _listening() -> dict[str, int]:
    """Sockets that listen, as ``/proc/PID/fd`` names them → TCP port."""
    sockets = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split(None, 10)
            if fields[3] == "0A":
                sockets[f"socket:[{fields[9]}]"] = int(fields[1].rsplit(":", 1)[1], 16)
    return sockets


def _open_files(pid: str) -> set[str]:
    inodes = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as files:
            for file in files:
                try:
                    inodes.add(os.readlink(file.path))
                except OSError:  # it was closed meanwhile
                    continue
    except OSError:  # the process ended
        pass
    return inodes


def process_name(pid: int) -> str:
    """Name of a process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a process"
