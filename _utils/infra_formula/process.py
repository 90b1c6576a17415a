"""Run a program: the one place where the library starts one and waits for its output."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, TypedDict

from infra_formula.errors import CommandFailed

log = logging.getLogger(__name__)

# cron starts programs with /usr/bin:/bin; nginx, dnsmasq and nft are in the others.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_POLL = 1.0  # seconds between two looks whether a program has ended
_DRAIN = 0.2  # seconds for the output of a program that has ended


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
            cwd=cwd,
            env=environment,
        )
    except OSError as err:
        raise CommandFailed(f"{err.filename or command[0]}: {err.strerror}") from err
    feed = None
    try:
        if process.stdin is not None:
            # communicate() writes no further input after its first timeout.
            feed = threading.Thread(
                target=_feed, args=(process.stdin, (stdin or "").encode()), daemon=True
            )
            process.stdin = None
            feed.start()
        stdout, stderr = _communicate(process, timeout)
    except subprocess.TimeoutExpired as err:
        message = f"{command[0]} did not end within {timeout:g} s"
        return {"retcode": 124, "stdout": _text(err.stdout), "stderr": message}
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if feed is not None:
            feed.join(_DRAIN)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return {"retcode": process.returncode, "stdout": _text(stdout), "stderr": _text(stderr)}


def _feed(stream: IO[bytes], content: bytes) -> None:
    with contextlib.suppress(OSError), stream:  # the program may not read it
        stream.write(content)


def _communicate(
    process: subprocess.Popen[bytes], timeout: float | None
) -> tuple[bytes | None, bytes | None]:
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = False
    while True:
        pause = _DRAIN if ended else _POLL
        if deadline is not None:
            pause = min(pause, max(0.0, deadline - time.monotonic()))
        try:
            return process.communicate(timeout=pause)
        except subprocess.TimeoutExpired as err:
            if ended:
                return err.stdout, err.stderr
            ended = process.poll() is not None
            if not ended and deadline is not None and time.monotonic() >= deadline:
                raise


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace").rstrip()
