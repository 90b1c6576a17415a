"""Provisioning of Grafana: publish data sources, folders and dashboards, and have them loaded."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import salt.utils.yaml

from infra_formula import paths, systemd
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FileSet
from infra_formula.grafana import api, data_sources
from infra_formula.grafana.api import Administrator
from infra_formula.grafana.settings import ROOT
from infra_formula.state import Plan

_PAUSE = 1.0  # seconds


def plan(
    what: str, root: str, files: Mapping[str, File], daemon: Daemon, administrator: Administrator
) -> Plan:
    """Plan one set of provisioning files; if Grafana runs, it reloads them.

    A dashboard that a user made in Grafana is backed up before one with its uid replaces it.

    what
        ``datasources``, ``dashboards`` or ``providers``.
    root
        Directory of the files.
    """
    # The package's samples, and Pigsty's files, are backed up.
    difference = FileSet(f"grafana-{what}", root, replace=files).plan(files)
    changes = dict(difference.diff)

    def apply() -> None:
        runs = systemd.unit_state(daemon["unit"])["active"]
        if runs and what == "dashboards":
            changes.update(_back_up((files[rel] for rel in difference.create), administrator))
        kind = "datasources" if what == "datasources" else "dashboards"
        since = f"@{time.time():.3f}"

        def reload() -> None:
            api.reload(administrator, kind, daemon["unit"], since)

        difference.apply(reload=reload if runs else None)

    comment = f"{len(files)} files are up to date."
    return Plan(changes, comment, f"Grafana's {what} would change.", apply)


def _back_up(files: Iterable[File], administrator: Administrator) -> dict[str, str]:
    """Save dashboards with the uids of these files that a user made in Grafana."""
    new = {json.loads(file["text"]).get("uid") for file in files}
    saved = {}
    for uid in sorted(api.uids(administrator)["dashboards"] & new):
        dashboard = api.dashboard(administrator, uid)
        if dashboard is None or dashboard["meta"].get("provisioned"):
            continue
        path = paths.STATE_DIR / f"replaced/grafana/{uid}.json"
        atomic.write(path, json.dumps(dashboard["dashboard"], indent=1))
        saved[f"dashboard {uid}"] = f"a user's dashboard; backed up as {path}"
    return saved


def provisioned_uids(root: str) -> dict[str, set[str]]:
    """The uids in the files on this machine: ``datasources`` and ``dashboards``.

    root
        Directory of the dashboards.

    Raises CommandFailed for a file that cannot be read.
    """
    try:
        uids = []
        for path in (Path(ROOT, data_sources.SOURCES), Path(ROOT, data_sources.SECRET_SOURCES)):
            if path == Path(ROOT, data_sources.SOURCES) or path.exists():
                text = path.read_text(encoding="utf-8")
                uids += salt.utils.yaml.safe_load(text)["datasources"]
        boards = set()
        for path in Path(root).rglob("*.json"):
            board = json.loads(path.read_text(encoding="utf-8"))
            boards.add(str(board.get("uid") or board["metadata"]["name"]))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise CommandFailed(f"{root}: {err}") from err
    return {"datasources": {str(source["uid"]) for source in uids}, "dashboards": boards}


def wait_until_provisioned(
    root: str, daemon: Daemon, administrator: Administrator, seconds: float
) -> dict[str, int]:
    """Wait until Grafana has every data source and dashboard of the files on this machine.

    root
        Directory of the dashboards.

    Returns how many of each there are.

    Raises CommandFailed that names those that are missing.
    """
    deadline = time.monotonic() + seconds
    expected = provisioned_uids(root)
    while True:
        present = api.uids(administrator)
        missing = {kind: sorted(uids - present[kind]) for kind, uids in expected.items()}
        if not any(missing.values()):
            return {kind: len(uids) for kind, uids in expected.items()}
        if time.monotonic() > deadline:
            names = "; ".join(f"{k}: {', '.join(uids)}" for k, uids in missing.items() if uids)
            raise CommandFailed(
                f"Grafana has not loaded {names}; see journalctl -u {daemon['unit']}"
            )
        time.sleep(_PAUSE)
