"""Grafana's administrator: name and password of its first user."""

from __future__ import annotations

import json
from pathlib import Path

from infra_formula import paths, process, systemd
from infra_formula.daemon import checks
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.grafana import api
from infra_formula.grafana.api import Administrator
from infra_formula.grafana.settings import ROOT
from infra_formula.state import Plan

_HOME = "/usr/share/grafana"


def plan(daemon: Daemon, username: str, password: str, test: bool) -> Plan:
    """Plan name and password of the administrator in the running Grafana.

    The password is set whatever it was before, and then tried.

    test
        Grafana need not run.
    """
    administrator: Administrator = {
        "port": daemon["port"], "username": username, "password": password
    }  # fmt: skip
    comment = f"Grafana's administrator is {username}."
    if test and not systemd.unit_state(daemon["unit"])["active"]:
        return Plan(comment="Grafana does not run; its administrator is checked when it does.")
    if api.accepts(administrator):
        if not test and recorded_name() != username:
            record_name(username)
        return Plan(comment=comment)
    changes = {username: "password set (not shown)"}

    def apply() -> None:
        reset_password(daemon["program"], password)
        if not api.accepts(administrator):
            previous = _rename(administrator)
            changes[username] += f"; renamed from {previous}"
        record_name(username)

    return Plan(changes, comment, "The administrator's password would be set.", apply)


def _rename(administrator: Administrator) -> str:
    """Rename the administrator; returns the previous name."""
    name, previous = administrator["username"], recorded_name()
    current: Administrator = {**administrator, "username": previous}
    if previous and previous != name and api.accepts(current):
        api.rename(current, name)
        if api.accepts(administrator):
            return previous
    raise CommandFailed(
        "grafana_admin_username, grafana_admin_password: Grafana refuses them, although the "
        f"password of its first user was reset. Either that user is not called {name} (set "
        "grafana_admin_username to its name, or rename it in Grafana under Administration, Users), "
        "or five wrong passwords have locked it for five minutes (apply again after that)"
    )


def reset_password(program: str, password: str) -> None:
    """Set the password of Grafana's first user, whatever it was, with ``grafana cli``.

    program
        Path of ``grafana``.
    password
        Goes to its standard input, so that no list of processes shows it.

    Raises CommandFailed that quotes it.
    """
    # As Grafana's own user: files of its database stay readable to it.
    command = ["runuser", "-u", "grafana", "--", program, "cli", "--homepath", _HOME,
               "--config", f"{ROOT}/grafana.ini", "admin", "reset-admin-password",
               "--password-from-stdin"]  # fmt: skip
    outcome = process.run(command, stdin=password + "\n", timeout=120)
    if outcome["retcode"]:
        lines = checks.extract_error_lines(f"{outcome['stderr']}\n{outcome['stdout']}")
        raise CommandFailed(
            "grafana_admin_password: `grafana cli admin reset-admin-password` refuses it: "
            f"{lines.replace(password, '<secret>')}"
        )


def _record() -> Path:
    return paths.STATE_DIR / "grafana.json"


def recorded_name() -> str:
    """Name of the administrator at the last apply; empty if there is none."""
    try:
        return str(json.loads(_record().read_text(encoding="utf-8"))["administrator"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def record_name(username: str) -> None:
    """Record the name of the administrator."""
    atomic.write(_record(), json.dumps({"administrator": username}), 0o644)
