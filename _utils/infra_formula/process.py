"""Run a program: the one place where the library starts one and waits for what it says."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import TypedDict

from infra_formula.errors import CommandFailed

log = logging.getLogger(__name__)

# cron starts programs with /usr/bin:/bin; nginx, dnsmasq and nft are in the others.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Outcome(TypedDict):
    """What a program left."""

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

    Returns its return code and both outputs, without white space at their ends.

    Raises CommandFailed if the program cannot be started.
    """
    log.debug("Running %s", list(command))
    environment = {**os.environ, "LC_ALL": "C", "LANGUAGE": "", **(env or {})}
    environment["PATH"] = f"{os.environ.get('PATH', '')}:{_PATH}".lstrip(":")
    try:
        done = subprocess.run(
            list(command),
            input=(stdin or "").encode(),
            capture_output=True,
            cwd=cwd,
            env=environment,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        told = f"{command[0]} did not end within {timeout:g} s"
        return {"retcode": 124, "stdout": _text(err.stdout), "stderr": told}
    except OSError as err:
        raise CommandFailed(f"{command[0]}: {err.strerror}") from err
    return {
        "retcode": done.returncode,
        "stdout": _text(done.stdout),
        "stderr": _text(done.stderr),
    }


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace").rstrip()
