"""TCP ports of this machine: processes that listen on them, and HTTP requests to them."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra_formula.errors import CommandFailed

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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
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
            f"http://127.0.0.1:{port}{path}: expected a response of at most 64 MiB, got more"
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
        return json.loads(body)
    except ValueError as err:
        raise CommandFailed(f"{program} on port {port}: expected JSON: {err}") from err


def listeners(port: int) -> set[int]:
    """Processes of this machine that listen on a TCP port."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    return _owners(sockets) if sockets else set()


def _owners(sockets: set[str]) -> set[int]:
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in sockets for fd in (folder / "fd").iterdir()):
                pids.add(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return pids


def process_name(pid: int) -> str:
    """Name of a process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a process"
