"""The running nginx: test a configuration, reload it, query what it serves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from infra_formula import process
from infra_formula.daemon import health
from infra_formula.errors import CommandFailed, Refused
from infra_formula.minion import Minion
from infra_formula.portal import faults, http_client, rendering

_ERROR_LOG = Path("/var/log/nginx-error.log")
_PID_FILE = Path("/run/nginx.pid")


def check_staged(stage: str, portal: dict[str, Any]) -> None:
    """Test a staged copy of ``/etc/nginx`` with ``nginx -t``.

    portal
        What it was rendered from.

    Raises Refused with a line for each faulty entry: the attribute, and nginx's message.
    """
    stderr = _test(stage, "nginx.conf")
    if stderr:
        test = partial(_test_without, stage)
        raise Refused("\n".join(faults.messages(stderr, stage, portal, test)))


def _test(stage: str, name: str) -> str:
    command = ["nginx", "-t", "-q", "-c", str(Path(stage, name))]
    # A test opens the logs, and creates those that are missing.
    outcome = process.run(command, umask=0o027)
    return (outcome["stderr"] or "nginx -t failed") if outcome["retcode"] else ""


def _test_without(stage: str, left_out: Collection[str]) -> str:
    """Test a staged copy without the files of some entries; returns nginx's errors."""
    text = Path(stage, "nginx.conf").read_text(encoding="utf-8")
    rest = [
        f"include conf.d/{path.name};"
        for path in sorted(Path(stage, "conf.d").glob("*.conf"))
        if path.stem not in left_out
    ]
    part = Path(stage, "nginx-part.conf")
    part.write_text(text.replace("include conf.d/*.conf;", "\n".join(rest)), encoding="utf-8")
    try:
        return _test(stage, part.name)
    finally:
        part.unlink()


def explain(stderr: str, stage: str, portal: dict[str, Any]) -> str:
    """Turn nginx's message about a file below a directory into one about the pillar."""
    return faults.explain(stderr, stage, portal)


def reload(minion: Minion, port: int, portal: dict[str, Any] | None = None) -> None:
    """Reload a running nginx, and wait until it serves the configuration on disk.

    port
        HTTP port of the portal.
    portal
        What the configuration was rendered from, for errors.

    Raises CommandFailed if it does not. An nginx that is not started is left alone.
    """
    if served_hash(port) is None and not minion.call("service.status", "nginx"):
        return
    expected = hash_on_disk()
    log_size = error_log_size()
    since = f"@{time.time():.3f}"
    if not minion.call("service.reload", "nginx"):
        quote = health.journal_quote("nginx", since, last=True)
        raise CommandFailed(f"systemctl reload nginx failed; see journalctl -u nginx{quote}")
    wait_until_served(
        port,
        expected,
        since=log_size,
        portal=portal,
        reload=lambda: minion.call("service.reload", "nginx"),
    )


def hash_on_disk() -> str:
    """The hash of the configuration in ``/etc/nginx``."""
    shared = Path(rendering.ROOT, rendering.SHARED)
    if not shared.exists():
        raise CommandFailed(f"{shared} does not exist; apply infra.nginx")
    return rendering.config_hash(shared.read_text(encoding="utf-8"))


def served_hash(port: int, timeout: float = 2.0) -> str | None:
    """The hash of the configuration that nginx runs with; None if it does not answer.

    port
        HTTP port of the portal.
    timeout
        Seconds to wait for the answer.
    """
    try:
        code, _, body = http_client.get(port, "/", rendering.CONFIG_HASH_NAME, timeout=timeout)
    except OSError:
        return None
    return body.strip() if code == 200 else None


def wait_until_served(
    port: int,
    expected: str,
    seconds: float = 30.0,
    since: int | None = None,
    portal: dict[str, Any] | None = None,
    reload: Callable[[], object] | None = None,
) -> None:
    """Wait until the running nginx serves a configuration.

    port
        HTTP port of the portal.
    expected
        Hash of the configuration.
    seconds
        How long to wait.
    since
        Size in bytes of nginx's error log before the reload; an error after it ends the wait. None
        for its present size: older errors are of earlier reloads.
    portal
        As for :func:`reload`.
    reload
        Has nginx read its configuration again, if it could not listen on a port the first time. A
        port stays taken while a worker of an earlier configuration ends, or another program does.

    Raises CommandFailed with lines of nginx's error log.
    """
    since = error_log_size() if since is None else since
    deadline = time.monotonic() + seconds
    taken = ""
    while time.monotonic() < deadline:
        if served_hash(port) == expected:
            return
        refused = [line for line in _error_log(since) if _is_refusal(line)]
        # A port that a worker of an earlier configuration still has is free as soon as that ends.
        # nginx itself tries five times within 2.5 s; it is asked again while there is time.
        if refused and all(map(_is_about_a_taken_port, refused)) and reload is not None:
            taken = next((line for line in refused if "bind() to" in line), taken)
            if _has_given_up(refused):
                since = error_log_size()
                reload()
        elif refused:
            reason = explain(refused[-1], rendering.ROOT, portal or {})
            raise CommandFailed(f"nginx refuses the configuration on reload: {reason}")
        time.sleep(0.05)
    if taken:
        stream = faults.stream_of_port(taken, rendering.ROOT)
        raise CommandFailed(f"nginx refuses the configuration on reload: {stream}{taken}")
    lines = " | ".join(_error_log(since)[-3:]) or "nothing"
    raise CommandFailed(
        f"nginx does not serve the new configuration on port {port} after {seconds:.0f} s; "
        f"its error log says: {lines}"
    )


def _is_about_a_taken_port(line: str) -> bool:
    return "Address already in use" in line or "still could not bind()" in line


def _has_given_up(lines: list[str]) -> bool:
    return any("still could not bind()" in line for line in lines)


def _is_refusal(line: str) -> bool:
    """Whether nginx's master refuses a configuration by a line of its error log.

    Other lines are about requests, and a server that is not of the formula may log what a visitor
    sends: a whole line, if there is a line break in it. The number of the process is not known to
    visitors.
    """
    try:
        pid = int(_PID_FILE.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return bool(re.match(rf"[\d/]+ [\d:]+ \[emerg\] {pid}#", line)) and ", client: " not in line


def error_log_size() -> int:
    """Size of nginx's error log in bytes; 0 if there is none."""
    return _ERROR_LOG.stat().st_size if _ERROR_LOG.exists() else 0


def _error_log(since: int) -> list[str]:
    if not _ERROR_LOG.exists():
        return []
    with _ERROR_LOG.open("rb") as stream:
        stream.seek(since if since <= error_log_size() else 0)  # rotated in between: all of it
        return stream.read().decode("utf-8", "replace").splitlines()
