"""What of an INFRA node is in a backup, how it is copied while it runs, and how it is restored.

In the archive: ``files/`` (the CA, the repository's signing key, the formula's own generated
secrets), ``grafana.db``, ``silences.json``, ``repository.list`` and ``metrics/``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from infra_formula import json_text, paths, systemd
from infra_formula.backup import archive
from infra_formula.daemon import local_ports
from infra_formula.errors import CommandFailed
from infra_formula.fileset import restoring
from infra_formula.minion import Minion
from infra_formula.orchestration import steps
from infra_formula.pki import certificates
from infra_formula.status import report

GRAFANA = Path("/var/lib/grafana/grafana.db")
METRICS = Path("/infra/metrics")
_FILES = re.compile(
    r"files/(etc/pki/(ca\.crt|ca/ca\.key|misc/[A-Za-z0-9._@*-]+\.(crt|key))"
    r"|var/lib/infra/grafana\.json|var/lib/infra/repo/(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+)"
)
_CA = ("files/etc/pki/ca.crt", "files/etc/pki/ca/ca.key")
_SMALL = 64 << 20  # bytes of a file that is not metrics or Grafana's database
_TIMEOUT = 300.0  # seconds for a snapshot


# -- backup --------------------------------------------------------------------------------------


def create(minion: Minion, path: str, recipient: str = "", metrics: bool = True) -> dict[str, Any]:
    """Back up this INFRA node; see ``infra_backup.create``."""
    checks = _checks()
    skipped: dict[str, str] = {}
    with archive.create(path, recipient) as writer:
        _add_files(writer)
        for name, what in (("grafana", _add_grafana), ("alertmanager", _add_silences)):
            reason = what(writer, checks.get(name))
            if reason:
                skipped[name] = reason
        marker = _marker(checks)
        if marker and marker.is_file():
            writer.add_path("repository.list", marker)
        if not metrics:
            skipped["vmetrics"] = "metrics: false"
        elif reason := _add_metrics(writer, checks.get("vmetrics")):
            skipped["vmetrics"] = reason
        writer.close(minion=str(minion.grains.get("id", "")), created=int(time.time()))
    summary = _summary(writer.files)
    return {
        "path": path, "bytes": os.stat(path).st_size, "encrypted": bool(recipient),
        "holds": summary, "skipped": skipped,
    }  # fmt: skip


def _checks() -> dict[str, dict[str, Any]]:
    """Enabled components of this node by their names, as the last apply recorded them."""
    rows = {row["name"]: row for row in report.components() if row.get("enabled")}
    if "ca" not in rows:
        raise CommandFailed("This minion is no INFRA node: it has no CA to back up.")
    return rows


def _port(row: dict[str, Any] | None) -> int | None:
    """Port of a component that runs here, and not elsewhere."""
    check = (row or {}).get("check") or {}
    port = check.get("port")
    return int(port) if port and (row or {}).get("unit") else None


def _marker(checks: dict[str, dict[str, Any]]) -> Path | None:
    listed = (checks.get("repo", {}).get("check") or {}).get("paths") or []
    return Path(listed[0]) if listed else None


def _add_files(writer: archive.Writer) -> None:
    root = paths.PKI.parent.parent
    files = [paths.PKI / "ca.crt", paths.PKI / "ca/ca.key"]
    if missing := [str(path) for path in files if not path.is_file()]:
        raise CommandFailed(f"{missing[0]} is missing; apply infra.ca first")
    files += sorted((paths.PKI / "misc").glob("*.*"))
    files += [paths.STATE_DIR / "grafana.json"]
    files += sorted((paths.STATE_DIR / "repo").rglob("*"))
    for path in files:
        name = f"files/{path.relative_to(root)}"
        if path.is_file() and not path.is_symlink() and _FILES.fullmatch(name):
            writer.add_bytes(name, path.read_bytes())


def _add_grafana(writer: archive.Writer, row: dict[str, Any] | None) -> str:
    if not GRAFANA.is_file():
        return "there is no database" if row else "switched off"
    with tempfile.TemporaryDirectory(prefix="infra-backup-", dir=paths.STATE_DIR) as folder:
        copy = Path(folder, "grafana.db")
        copy_database(GRAFANA, copy)
        writer.add_path("grafana.db", copy)
    return ""


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database that a program may be writing to, as of one moment.

    Raises CommandFailed if it is none, or is damaged.
    """
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as here,
            contextlib.closing(sqlite3.connect(target)) as there,
        ):
            here.backup(there)
            (verdict,) = there.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as err:
        raise CommandFailed(f"{source}: {err}") from err
    if verdict != "ok":
        raise CommandFailed(f"{source}: SQLite finds it damaged: {verdict}")


def _add_silences(writer: archive.Writer, row: dict[str, Any] | None) -> str:
    port = _port(row)
    if port is None:
        return "switched off, or elsewhere"
    silences = local_ports.get_json(port, "/api/v2/silences", "Alertmanager")
    unexpired = [s for s in silences if s.get("status", {}).get("state") != "expired"]
    writer.add_bytes("silences.json", json.dumps(unexpired).encode())
    return ""


def _add_metrics(writer: archive.Writer, row: dict[str, Any] | None) -> str:
    port = _port(row)
    if port is None:
        return "switched off, or elsewhere"
    answer = local_ports.get_json(port, "/snapshot/create", "VictoriaMetrics", _TIMEOUT)
    name = str(answer.get("snapshot", ""))
    if answer.get("status") != "ok" or not re.fullmatch(r"[0-9A-Fa-f-]{1,64}", name):
        raise CommandFailed(f"VictoriaMetrics makes no snapshot: {answer!r:.200}")
    try:
        root = METRICS / "snapshots" / name
        for path in _files_below(root):
            writer.add_path(f"metrics/{path.relative_to(root)}", path)
    finally:
        local_ports.get_json(port, f"/snapshot/delete?snapshot={name}", "VictoriaMetrics", _TIMEOUT)
    return ""


def _files_below(root: Path) -> Iterator[Path]:
    # A snapshot leads by links to the parts, which never change.
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))


# -- what is in one ------------------------------------------------------------------------------


def inspect(path: str, identity: str = "") -> dict[str, Any]:
    """Read a backup whole, and say what it holds; see ``infra_backup.inspect``."""
    manifest, _small = _read_small(path, identity)
    return {
        "minion": manifest.get("minion", ""), "created": _text(manifest.get("created", 0)),
        "holds": _summary(manifest["files"]),
    }  # fmt: skip


def _summary(files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {"files": 0, "bytes": 0, "metrics": 0}
    for name, row in files.items():
        if name == archive.MANIFEST:
            continue
        totals["bytes"] += row["size"]
        top = name.split("/")[0]
        if top in ("files", "metrics"):
            totals[top] += 1
        else:
            totals[top] = True
    return totals


def _read_small(path: str, identity: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest of a whole archive, and its files but for metrics and Grafana's database."""
    small: dict[str, bytes] = {}

    def receive(name: str, member: tarfile.TarInfo, stream: IO[bytes]) -> None:
        if name == "grafana.db" or name.startswith("metrics/"):
            return
        if not (_FILES.fullmatch(name) or name in ("silences.json", "repository.list")):
            raise CommandFailed(f"{path}: {name[:200]!r} is not expected in a backup")
        if member.size > _SMALL:
            raise CommandFailed(f"{path}: {name} is too large")
        small[name] = stream.read()

    manifest = archive.read(path, receive, identity)
    texts = [small.get(name, b"").decode("utf-8", "replace") for name in _CA]
    if fault := certificates.text_fault(*texts):
        raise CommandFailed(f"{path}: the CA in it cannot be used: {fault}")
    return manifest, small


# -- restoration ---------------------------------------------------------------------------------


def restore(
    minion: Minion, path: str, identity: str = "", force: bool = False, apply: bool = True
) -> dict[str, Any]:
    """Restore an INFRA node; see ``infra_backup.restore``."""
    manifest, small = _read_small(path, identity)
    stamp = time.strftime("%Y%m%dT%H%M%S")
    restored = _restore_files(small, force, stamp)
    if apply:
        returned = minion.call("state.apply", "infra", queue=100, concurrent=False)
        minion.context["retcode"] = 0
        if failure := steps.state_failure(returned):
            raise CommandFailed(
                f"The CA and the keys are restored, but state.apply infra did not succeed: "
                f"{failure}. Mend that, and restore again."
            )
    checks = _checks()
    out: dict[str, Any] = {"minion": manifest.get("minion", ""), "files": restored}
    if {"metrics", "grafana.db"} & {name.split("/")[0] for name in manifest["files"]}:
        out |= _restore_data(path, identity, manifest, checks, stamp)
    if "silences.json" in small:
        out["silences"] = _restore_silences(
            small["silences.json"], _port(checks.get("alertmanager"))
        )
    if "repository.list" in small:
        out["repository"] = _compare_repository(small["repository.list"], _marker(checks))
    return out


def _restore_files(small: dict[str, bytes], force: bool, stamp: str) -> dict[str, str]:
    files = {n.removeprefix("files/"): c for n, c in small.items() if n.startswith("files/")}
    return restoring.put(files, {"etc/pki/ca.crt": 0o644}, stamp, force)


def _restore_data(
    path: str, identity: str, manifest: dict[str, Any], checks: dict[str, Any], stamp: str
) -> dict[str, str]:
    """Extract what belongs to services beside its place, and put it there when all is checked."""
    wanted = {
        name: folder
        for name, folder in (("grafana", GRAFANA.parent), ("vmetrics", METRICS.resolve().parent))
        if checks.get(name, {}).get("unit") and folder.is_dir()
    }
    outcomes = {}
    with contextlib.ExitStack() as stack:
        staged = {
            name: Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix=".infra-restore-", dir=folder)
                )
            )
            for name, folder in wanted.items()
        }

        def receive(name: str, _member: tarfile.TarInfo, stream: IO[bytes]) -> None:
            component = {"grafana.db": "grafana", "metrics": "vmetrics"}.get(name.split("/")[0])
            if component not in staged:
                return
            target = staged[component] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)

        if archive.read(path, receive, identity) != manifest:
            raise CommandFailed(f"{path} changed while it was read")
        if "grafana" in staged and "grafana.db" in manifest["files"]:
            outcomes["grafana"] = _replace(
                checks["grafana"]["unit"], staged["grafana"] / "grafana.db", GRAFANA, stamp
            )
        if "vmetrics" in staged and (staged["vmetrics"] / "metrics").is_dir():
            outcomes["vmetrics"] = _replace(
                checks["vmetrics"]["unit"], staged["vmetrics"] / "metrics", METRICS, stamp
            )
    tops = {name.split("/")[0] for name in manifest["files"]}
    for name, top in (("grafana", "grafana.db"), ("vmetrics", "metrics")):
        if top in tops and name not in outcomes:
            outcomes[name] = "not restored: it is switched off here"
    return outcomes


def _replace(unit: str, source: Path, target: Path, stamp: str) -> str:
    """Put data in the place of a service's, which is stopped meanwhile; the former stays beside."""
    target = target.resolve()
    status = target.stat() if target.exists() else target.parent.stat()
    systemd.systemctl("stop", f"{unit}.service")
    aside = target.with_name(f"{target.name}.before-{stamp}")
    try:
        if target.exists():
            target.rename(aside)
        for beside in ("-wal", "-shm", "-journal"):
            Path(f"{target}{beside}").unlink(missing_ok=True)
        _give(source, status)
        source.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise
    finally:
        systemd.systemctl("start", f"{unit}.service")
    former = f"; what was there is at {aside}" if aside.exists() else ""
    return f"restored{former}"


def _give(root: Path, like: os.stat_result) -> None:
    """Give files to the account of a service."""
    closed = 0o640 if like.st_uid else 0o600
    for path in [root, *root.rglob("*")]:
        os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)
        path.chmod(0o750 if path.is_dir() else closed)


def _restore_silences(data: bytes, port: int | None) -> str:
    wanted = json_text.parse(data)
    if port is None:
        return f"{len(wanted)} silences not restored: Alertmanager is switched off here"
    deadline = time.monotonic() + 60
    while local_ports.request(port, "/-/ready")[0] != 200:
        if time.monotonic() > deadline:
            raise CommandFailed("Alertmanager does not answer; restore again when it does")
        time.sleep(0.2)
    there = local_ports.get_json(port, "/api/v2/silences", "Alertmanager")
    known = {_silence_key(s) for s in there if s.get("status", {}).get("state") != "expired"}
    added = 0
    for silence in wanted:
        if _silence_key(silence) in known or _is_over(silence):
            continue
        fields = ("matchers", "startsAt", "endsAt", "createdBy", "comment")
        body = {key: silence[key] for key in fields if key in silence}
        code, answer = local_ports.request(
            port, "/api/v2/silences", 30.0, "POST", json.dumps(body),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        if code != 200:
            raise CommandFailed(f"Alertmanager refuses a silence ({code}): {answer:.300}")
        added += 1
    return f"{added} silences restored, {len(wanted) - added} were there or are over"


def _silence_key(silence: dict[str, Any]) -> str:
    matchers = sorted(json.dumps(m, sort_keys=True) for m in silence.get("matchers", []))
    return json.dumps([matchers, silence.get("endsAt", ""), silence.get("comment", "")])


def _is_over(silence: dict[str, Any]) -> bool:
    return str(silence.get("endsAt", "")) < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def _compare_repository(data: bytes, marker: Path | None) -> str:
    before = set(data.decode("utf-8", "replace").splitlines())
    copy_path = paths.STATE_DIR / "restored-repository.list"
    restoring.write(copy_path, data, 0o600)
    if marker is None or not marker.is_file():
        return f"not built here; what it held is listed in {copy_path}"
    now = set(marker.read_text(encoding="utf-8", errors="replace").splitlines())
    if before == now:
        return "holds the same packages"
    return f"{len(before - now)} packages of the backup are missing or other ones; see {copy_path}"


def _text(timestamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
