"""Run a program: the one place where the library starts one and waits for its output."""

from __future__ import annotations

import os
import select
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import TypedDict

from infra_formula import redaction
from infra_formula.errors import CommandFailed

log = redaction.logger(__name__)

# cron starts programs with /usr/bin:/bin; nginx, dnsmasq and nft are in the others.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_POLL = 1.0  # seconds between two looks whether a program has ended
_DRAIN = 0.2  # seconds for the output of a program that has ended
_ENDING = 5  # milliseconds between two looks at one that has closed its outputs


class Outcome(TypedDict):
    """Return code and output of a program."""

    retcode: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    cwd: str = "/",
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    umask: int = -1,
) -> Outcome:
    """Run a program to its end, in the C locale.

    command
        The program and its arguments; never a shell string. It is logged: a secret goes to stdin.
    stdin
        Text for its standard input; empty if None.
    cwd
        Directory that it runs in.
    env
        Variables on top of this process's.
    timeout
        Seconds after which it is killed; its return code is 124 then, as with ``timeout(1)``.
    umask
        Permissions that files which it creates do not get; -1 for this process's.

    A process that the program leaves in the background may keep its outputs open; it is not waited
    for.

    Returns its return code and both outputs, without white space at their ends.

    Raises CommandFailed if the program cannot be started.
    """
    log.debug("Running %s", list(command))
    environment = {**os.environ, "LC_ALL": "C", "LANGUAGE": "", **(env or {})}
    environment["PATH"] = f"{environment.get('PATH', '')}:{_PATH}".lstrip(":")
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=environment,
            umask=umask,
        )
    except OSError as err:
        raise CommandFailed(f"{err.filename or command[0]}: {err.strerror}") from err
    output: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    try:
        _exchange(process, (stdin or "").encode(), output, timeout)
    except subprocess.TimeoutExpired:
        message = f"{command[0]} did not end within {timeout:g} s"
        return {"retcode": 124, "stdout": _text(output["stdout"]), "stderr": message}
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return {
        "retcode": process.returncode,
        "stdout": _text(output["stdout"]),
        "stderr": _text(output["stderr"]),
    }


def _exchange(
    process: subprocess.Popen[bytes],
    data: bytes,
    output: Mapping[str, list[bytes]],
    timeout: float | None,
) -> None:
    """Write a program's input and read its outputs until it has ended.

    Not ``Popen.communicate``: that waits for whoever has the pipes, and where it has a timeout it
    writes no further input after the first, and sleeps, which a faked clock does not allow (poll
    does).
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = False
    with selectors.PollSelector() as selector:
        for name in output:
            selector.register(getattr(process, name), selectors.EVENT_READ, name)
        if process.stdin is not None:
            selector.register(process.stdin, selectors.EVENT_WRITE, "stdin")
        while any(key.data != "stdin" for key in selector.get_map().values()):
            pause = _DRAIN if ended else _POLL
            if deadline is not None:
                pause = max(0.0, min(pause, deadline - time.monotonic()))
            ready = selector.select(pause)
            for key, _ in ready:
                if key.data == "stdin":
                    data = _write(key.fd, data)
                    more = bool(data)
                else:
                    chunk = os.read(key.fd, 65536)
                    output[key.data].append(chunk)
                    more = bool(chunk)
                if not more:
                    selector.unregister(key.fileobj)
                    if key.data == "stdin":
                        key.fileobj.close()  # type: ignore[union-attr]
            if not ready and ended:
                return
            ended = ended or (not ready and process.poll() is not None)
            if not ended and deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(process.args, timeout or 0.0)
    if deadline is None:
        process.wait()
    while process.poll() is None:
        if deadline is not None and time.monotonic() >= deadline:
            raise subprocess.TimeoutExpired(process.args, timeout or 0.0)
        select.poll().poll(_ENDING)


def _write(fd: int, data: bytes) -> bytes:
    """Write as much as a pipe takes at once; returns the rest, nothing if nobody reads it."""
    try:
        return data[os.write(fd, data[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return b""


def _text(chunks: list[bytes]) -> str:
    return b"".join(chunks).decode(errors="replace").rstrip()
