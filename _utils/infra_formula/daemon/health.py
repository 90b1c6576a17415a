"""A running daemon: whether it is healthy, restarts and reloads, and why they failed."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Collection

from infra_formula import json_text, systemd
from infra_formula.daemon import checks, flags, local_ports
from infra_formula.daemon.model import Daemon, Expected, Reload
from infra_formula.errors import CommandFailed
from infra_formula.systemd import UnitState

_CRASH_LOOP = 3  # restarts by systemd after which waiting is of no use


def restart_reason(daemon: Daemon, state: UnitState) -> str:
    """Why a running daemon is not the desired one; empty if it is, or if it does not run.

    state
        What :func:`infra_formula.systemd.unit_state` returned.
    """
    if not state["active"]:
        return ""
    if state["replaced"]:
        return "its program was upgraded"
    later = flags.at_next_start(daemon, state["command"])
    desired = [word for word in flags.command_line(daemon) if word not in later]
    # A script's command line begins with its interpreter.
    differs = bool(state["command"]) and state["command"][-len(desired) :] != desired
    if differs and not daemon.get("use_package_unit"):
        return "it runs with other flags"
    return "its unit changed" if state["reload"] else ""


def restart(daemon: Daemon) -> None:
    """Have systemd read its units again, restart a daemon, and wait until it is healthy.

    Raises CommandFailed with the error lines of its journal if it is not in time.
    """
    since = f"@{time.time():.3f}"
    systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", f"{daemon['unit']}.service", must=False)
    systemd.systemctl("restart", f"{daemon['unit']}.service")
    wait_until_healthy(daemon, daemon.get("seconds", 30.0), since)


def wait_until_healthy(daemon: Daemon, seconds: float = 30.0, since: str = "-5min") -> None:
    """Wait until a daemon's unit runs, owns its port, and answers its health path.

    since
        Start of the period from which the journal is quoted, as journalctl takes it.

    Raises CommandFailed that names the parameter and quotes the journal.
    """
    deadline = time.monotonic() + seconds
    while True:
        problem = health_problem(daemon)
        if not problem:
            return
        systemd.SNAPSHOT.drop()
        looping = systemd.restarts(daemon["unit"]) >= _CRASH_LOOP
        if time.monotonic() > deadline or (looping and "active/running" not in problem):
            raise CommandFailed(f"{daemon['unit']}: {problem}{_diagnosis(daemon, since)}")
        time.sleep(0.1)


def health_problem(daemon: Daemon, timeout: float = 3.0) -> str:
    """Why a daemon is unhealthy; empty if it is healthy.

    timeout
        Seconds to wait for its answer.
    """
    state = systemd.unit_state(daemon["unit"])
    if not state["active"] or not state["pid"]:
        return f"its unit is {state['state']}"
    code, _body = local_ports.request(daemon["port"], daemon["health"], timeout)
    if code not in (200, 401):  # 401: the site asks for a login
        answer = "no answer" if code is None else f"HTTP {code}"
        return (
            f"{answer} from port {daemon['port']}{daemon['health']}; its unit is {state['state']}"
        )
    if "expects" in daemon and not _has_loaded(daemon["port"], daemon["expects"]):
        return f"it has loaded no {daemon['expects']['what']}"
    if local_ports.listens(state["pid"], daemon["port"]):
        return ""
    owners = local_ports.listeners(daemon["port"])
    if owners and state["pid"] not in owners and not systemd.has_process(daemon["unit"], owners):
        return f"another program answers on port {daemon['port']}"
    return ""


def _has_loaded(port: int, expected: Expected) -> bool:
    _code, body = local_ports.request(port, expected["path"])
    try:
        answer = json_text.parse(body)
        for key in expected["key"]:
            answer = answer[key]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(answer)


def port_problem(daemon: Daemon) -> str:
    """Which other process listens on a daemon's port, naming the parameter; empty for none."""
    pid = systemd.unit_state(daemon["unit"])["pid"]
    owners = local_ports.listeners(daemon["port"]) - {pid}
    return taken_port(daemon["port_parameter"], daemon["port"], owners, [daemon["unit"]])


def taken_port(parameter: str, port: int, owners: Collection[int], units: Collection[str]) -> str:
    """Which of the processes that listen on a port have no right to; empty for none.

    parameter
        Name of the port's parameter.
    owners
        Processes that listen on it.
    units
        Names of units that may.
    """
    others = [pid for pid in owners if not any(systemd.has_process(unit, [pid]) for unit in units)]
    if not others:
        return ""
    names = sorted(f"{local_ports.process_name(other)} (process {other})" for other in others)
    return (
        f"{parameter}: port {port} is taken by {', '.join(names)}; stop it or choose another port"
    )


def directory_problem(path: str) -> str:
    """Why nothing can be written to a directory (read-only, full); empty if it can."""
    try:
        status = os.statvfs(path)
    except FileNotFoundError:
        return ""
    except OSError as err:
        return f"{path}: {os.strerror(err.errno or errno.EIO)}"
    if status.f_flag & os.ST_RDONLY:
        return f"{path} is on a read-only file system"
    if status.f_blocks and status.f_bavail == 0:
        return f"{path} is on a full file system"
    return ""


def journal_quote(unit: str, since: str, last: bool = False) -> str:
    """The error lines of a unit's journal, to be put behind an error; empty if there are none.

    unit, since
        See :func:`infra_formula.systemd.journal`.
    last
        See :func:`infra_formula.daemon.checks.extract_error_lines`.
    """
    log = systemd.journal(unit, since)
    return f"; its journal: {checks.extract_error_lines(log, last)}" if log else ""


def _diagnosis(daemon: Daemon, since: str) -> str:
    """Known reasons why a daemon is unhealthy: port, directories, error lines of its journal."""
    directories = [directory_problem(path) for path in daemon["writes"]]
    problems = [port_problem(daemon)]
    problems += [f"{daemon['writes_parameter']}: {problem}" for problem in directories if problem]
    reasons = "".join(f"; {problem}" for problem in problems if problem)
    return reasons + journal_quote(daemon["unit"], since)


def metrics(port: int, path: str = "/metrics") -> dict[str, float]:
    """A daemon's own metrics without labels, by name; empty if it does not answer."""
    code, body = local_ports.request(port, path)
    if code != 200:
        return {}
    matches = (
        re.fullmatch(r"([a-zA-Z_:][\w:]*) (\S+)(?: \d+)?", line) for line in body.splitlines()
    )
    return {match[1]: float(match[2]) for match in matches if match}


def reload(daemon: Daemon, seconds: float = 20.0) -> None:
    """Reload a running daemon's configuration, and wait until it has read it.

    daemon
        If it does not run, or still runs on another port, nothing is done: it reads its
        configuration when it starts with its new unit.
    seconds
        How long to wait for a sign of success.

    Only what changed since this function's own signal counts, see :func:`_outcome`: what a daemon
    reports of an earlier reload, one by hand included, says nothing about this one.

    Raises CommandFailed with the error lines of its journal.
    """
    if not systemd.unit_state(daemon["unit"])["active"]:
        return
    since = f"@{time.time():.3f}"
    verified_by = daemon["reload"]
    message = verified_by.get("reload_log_message")
    deadline = time.monotonic() + seconds
    before = metrics(daemon["port"])
    # A program that is still starting may not handle the signal yet, and would end of it.
    elsewhere = time.monotonic() + _START_SECONDS
    while verified_by.get("success_metric") and not before and time.monotonic() < deadline:
        if time.monotonic() > elsewhere and _listens_elsewhere(daemon):
            return
        time.sleep(0.1)
        before = metrics(daemon["port"])
    systemd.systemctl("reload", f"{daemon['unit']}.service")
    signals = 1
    deadline = time.monotonic() + seconds
    while True:
        after = metrics(daemon["port"])
        outcome = _outcome(verified_by, before, after)
        if outcome is False:
            break
        log = "" if outcome else systemd.journal(daemon["unit"], since)
        if outcome or "nothing changed" in log or (message and message in log):
            return
        if time.monotonic() > deadline:
            if _has_no_failure(verified_by, before, after):
                return
            break
        if signals == 1 and _attempts(verified_by, before, after) == 1:
            systemd.systemctl("reload", f"{daemon['unit']}.service")
            signals = 2
        time.sleep(0.1)
    raise CommandFailed(
        f"{daemon['unit']} did not load its new configuration{_diagnosis(daemon, since)}"
    )


_START_SECONDS = 2.0  # in which a program that starts listens on all its ports


def _listens_elsewhere(daemon: Daemon) -> bool:
    """Whether a daemon runs on other ports than its own: with flags of before, or of Pigsty's."""
    ports = local_ports.ports_of(systemd.unit_state(daemon["unit"])["pid"])
    return bool(ports) and daemon["port"] not in ports


def _outcome(verified_by: Reload, before: dict[str, float], after: dict[str, float]) -> bool | None:
    """Whether a reload between two looks at the metrics succeeded; None if they do not say yet."""

    def changed(key: str) -> bool:
        return key in before and key in after and before[key] != after[key]

    success = verified_by.get("success_metric", "")
    if changed(verified_by.get("error_counter", "")):
        return False
    if changed(success):
        return after[success] == 1
    if changed(verified_by.get("reload_counter", "")):
        # The success of a first reload may be counted a moment before it is shown.
        return True if after.get(success, 1) == 1 else None
    # A program that reloads in one thread ended the first attempt when it begins the second.
    return True if _attempts(verified_by, before, after) > 1 else None


def _attempts(verified_by: Reload, before: dict[str, float], after: dict[str, float]) -> float:
    """Reloads that began between two looks at the metrics; 0 if the program does not count them."""
    counter = verified_by.get("attempt_counter", "")
    return after.get(counter, 0.0) - before.get(counter, 0.0)


def _has_no_failure(verified_by: Reload, before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether a program that counts its failures counted none, and no earlier one is left.

    One that finds nothing changed may show no other sign than a line of its log, which the site
    may have switched off; a vmalert has read its rules before a group takes them, which waits for
    the group's next evaluation.
    """
    errors, success = verified_by.get("error_counter", ""), verified_by.get("success_metric", "")
    if errors not in before or before[errors] != after.get(errors):
        return False
    return after.get(success) == 1 or _attempts(verified_by, before, after) >= 1
