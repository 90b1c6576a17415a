"""Grafana: its settings, its administrator, and what it shows, as states.

An *administrator* is a mapping of ``port``, ``username`` and ``password``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_formula.daemon import health, systemd
from infra_formula.fileset.file_set import FileSet
from infra_formula.grafana import provisioning, server
from infra_formula.minion import Minion
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_ROOT = "/etc/grafana"
_KEPT = Path("/var/lib/infra/replaced/grafana")


def configured(
    name: str, daemon: dict[str, Any], settings: dict[str, Any], config: dict[str, Any]
) -> dict[str, Any]:
    """Grafana's settings are as asked for; where it runs and they changed, it is restarted.

    name
        ``/etc/grafana/grafana.ini``.
    daemon
        Grafana, see the execution module infra_daemon.
    settings
        See infra/grafana/settings.jinja.
    config
        The value of ``grafana_config``.

    Where it is not well with them the files that it ran with are put back, and it runs with those.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        files = server.rendered(_minion(), settings, config)
        plan = FileSet("grafana", _ROOT, replace=files).plan(files)
        if not plan.has_changes:
            return {**ret, "comment": "Grafana's settings are as asked for"}
        fault = server.database_fault(settings["pgurl"])
        if fault:
            raise CommandExecutionError(fault)
        runs = systemd.unit_state(daemon["unit"])["active"]
        ret["changes"] = dict(plan.diff)
        if runs:
            ret["changes"][daemon["unit"]] = "restarted: its settings changed"
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "Grafana's settings would change"}
        taken = health.port_problem(daemon)
        if taken:
            raise CommandExecutionError(taken)
        plan.apply(reload=(lambda: health.restart(daemon)) if runs else None)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": "Grafana's settings are as asked for"}


def administrator(name: str, daemon: dict[str, Any], password: str) -> dict[str, Any]:
    """Grafana's administrator has this name and this password, in the Grafana that runs.

    name
        The value of ``grafana_admin_username``.
    daemon
        Grafana, see the execution module infra_daemon.
    password
        The value of ``grafana_admin_password``.

    The password is set whatever it was before; that it is taken is asked for afterwards.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    who = {"port": daemon["port"], "username": name, "password": password}
    good = {**ret, "comment": f"Grafana knows its administrator {name}"}
    try:
        if __opts__["test"] and not systemd.unit_state(daemon["unit"])["active"]:
            return {**ret, "comment": "it is asked for only where Grafana runs"}
        if server.accepts(who):
            if not __opts__["test"] and server.known() != name:
                server.remember(name)
            return good
        changes = {name: "password set (not shown)"}
        if __opts__["test"]:
            comment = "the administrator's password would be set"
            return {**ret, "result": None, "changes": changes, "comment": comment}
        server.reset_password(daemon["program"], password)
        if not server.accepts(who):
            old = _renamed(who)
            changes = {name: f"password set (not shown); renamed from {old}"}
        server.remember(name)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**good, "changes": changes}


def _renamed(who: dict[str, Any]) -> str:
    """Rename the administrator; returns the name that it had."""
    old = server.known()
    before = {**who, "username": old}
    if old and old != who["username"] and server.accepts(before):
        server.rename(before, who["username"])
        if server.accepts(who):
            return old
    raise CommandExecutionError(
        "grafana_admin_username, grafana_admin_password: Grafana refuses them, though the password "
        f"of its first user was set anew. Either that user is not called {who['username']} (set "
        "grafana_admin_username to its name, or rename it in Grafana under Administration, Users), "
        "or five wrong passwords have locked it for five minutes (apply again then)"
    )


def datasources(
    name: str,
    daemon: dict[str, Any],
    administrator: dict[str, Any],
    rows: list[dict[str, Any]],
    values: dict[str, Any],
    enabled: list[str],
    nodes: list[dict[str, Any]],
    site: str = "{}",
) -> dict[str, Any]:
    """Grafana's data sources are ours and the site's; those that were and are not are removed.

    name
        Any name for the state.
    daemon
        Grafana, see the execution module infra_daemon.
    administrator
        With whose name Grafana is told to read them again.
    rows, values, enabled, nodes
        See ``infra_grafana_content.sources`` among the execution modules.
    site
        The value of ``grafana_datasources``, as JSON text.
    """

    def files() -> dict[str, Any]:
        found = provisioning.sources(rows, values, enabled, nodes, json.loads(site))
        return provisioning.source_files(found)

    return _provisioned(name, "datasources", _ROOT, files, daemon, administrator)


def dashboards(
    name: str,
    daemon: dict[str, Any],
    administrator: dict[str, Any],
    site: str = "{}",
    dirs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The dashboards are ours and the site's; those that were and are not are removed.

    name
        Directory that they lie in.
    daemon, administrator
        As for :func:`datasources`.
    site
        The value of ``grafana_dashboards``, as JSON text.
    dirs
        The value of ``grafana_dashboard_dirs``.

    A dashboard of somebody else's that has the uid of one that is new here is kept as a file
    before it is replaced, and named among the changes.
    """
    return _provisioned(
        name,
        "dashboards",
        name,
        lambda: provisioning.gathered(_minion(), json.loads(site), dirs or {}),
        daemon,
        administrator,
        keep=True,
    )


def providers(
    name: str,
    daemon: dict[str, Any],
    administrator: dict[str, Any],
    own: list[str],
    site: bool = False,
    dirs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Grafana knows the folders, and where the dashboards of each lie.

    name
        Directory of the dashboards.
    daemon, administrator
        As for :func:`datasources`.
    own, site, dirs
        See ``infra_grafana_content.providers`` among the execution modules.
    """
    return _provisioned(
        name,
        "providers",
        _ROOT,
        lambda: provisioning.providers(name, own, site, dirs or {}),
        daemon,
        administrator,
    )


def _provisioned(
    name: str,
    what: str,
    root: str,
    make: Callable[[], dict[str, Any]],
    daemon: dict[str, Any],
    administrator: dict[str, Any],
    keep: bool = False,
) -> dict[str, Any]:
    """Publish one set of what Grafana provisions from, and have it read again."""
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        files = make()
        # The package's samples, and what Pigsty wrote, are kept as replaced files.
        plan = FileSet(f"grafana-{what}", root, replace=files).plan(files)
        comment = f"{len(files)} files are as asked for"
        if not plan.has_changes:
            return {**ret, "comment": comment}
        ret["changes"] = dict(plan.diff)
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{what} would change"}
        runs = systemd.unit_state(daemon["unit"])["active"]
        if keep and runs:
            ret["changes"].update(_keep([files[rel] for rel in plan.create], administrator))
        reloaded = "datasources" if what == "datasources" else "dashboards"
        since = f"@{time.time():.3f}"
        plan.apply(
            reload=(lambda: server.reload(administrator, reloaded, daemon["unit"], since))
            if runs
            else None
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": comment}


def _keep(files: list[dict[str, Any]], administrator: dict[str, Any]) -> dict[str, str]:
    """Save dashboards of the same uids that somebody made in Grafana; returns what was saved."""
    mine = {json.loads(spec["text"]).get("uid") for spec in files}
    there = server.uids(administrator)["dashboards"]
    saved = {}
    for uid in sorted(str(u) for u in mine if u in there):
        found = server.dashboard(administrator, uid)
        if found is None or found["meta"].get("provisioned"):
            continue
        path = _KEPT / f"{uid}.json"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(found["dashboard"], indent=1), encoding="utf-8")
        saved[f"dashboard {uid}"] = f"was somebody's own; it is kept as {path}"
    return saved


def shown(
    name: str, daemon: dict[str, Any], administrator: dict[str, Any], seconds: int = 60
) -> dict[str, Any]:
    """Grafana has every data source and every dashboard that the files of this machine name.

    name
        Directory of the dashboards.
    daemon, administrator
        As for :func:`datasources`.
    seconds
        How long to wait for that.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if __opts__["test"]:
        return {**ret, "comment": "it is asked for only in a real run"}
    deadline = time.monotonic() + seconds
    try:
        wanted = provisioning.wanted(name)
        while True:
            there = server.uids(administrator)
            missing = {kind: sorted(wanted[kind] - there[kind]) for kind in wanted}
            if not any(missing.values()):
                break
            if time.monotonic() > deadline:
                told = "; ".join(f"{k}: {', '.join(v)}" for k, v in missing.items() if v)
                raise CommandExecutionError(
                    f"Grafana has not taken up {told}; see journalctl -u {daemon['unit']}"
                )
            time.sleep(1)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    counted = ", ".join(f"{len(found)} {kind}" for kind, found in wanted.items())
    return {**ret, "comment": f"it shows {counted}"}
