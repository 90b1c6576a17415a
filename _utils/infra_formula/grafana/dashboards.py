"""Grafana's dashboards and their folders, as provisioning files.

Those of the formula are JSON below ``salt://infra/grafana/dashboards``, one directory per folder; a
site adds its own in pillar, or as directories.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra_formula import json_text, templates
from infra_formula.errors import InvalidInput
from infra_formula.fileset.contents import File
from infra_formula.grafana.data_sources import HEADER, NAME, UID, escape, uid_of
from infra_formula.grafana.settings import readable
from infra_formula.minion import Minion

PROVIDERS = "provisioning/dashboards/pigsty.yml"
"""Pigsty's name: its file is replaced."""

DASHBOARDS = "infra/grafana/dashboards"
SITE = "site"
_SOURCES = {
    "prometheus": "ds-metrics",
    "victoriametrics-metrics-datasource": "ds-vmetrics",
    "victoriametrics-logs-datasource": "ds-vlogs",
    "jaeger": "ds-vtraces",
}
"""Type of a data source → uid of the formula's (infra/grafana/datasources.yaml)."""
_REFRESH = 30  # seconds after which Grafana looks for changed files


def served(minion: Minion, site: dict[str, Any], dirs: dict[str, str]) -> dict[str, File]:
    """As :func:`files`, with served files.

    site, dirs
        The values of ``grafana_dashboards`` and ``grafana_dashboard_dirs``.
    """
    folders = {}
    for title, path in dirs.items():
        if path.startswith("salt://"):
            key = f"grafana_dashboard_dirs.{title}"
            folders[key] = _served_below(minion, path.removeprefix("salt://"))
            if not folders[key]:
                raise InvalidInput(f"{key}: expected *.json below {path}, got none")
    texts = {
        value: str(minion.call("cp.get_file_str", value) or "")
        for value in site.values()
        if isinstance(value, str) and value.startswith("salt://")
    }
    return files(_served_below(minion, DASHBOARDS), site, folders, texts)


def _served_below(minion: Minion, prefix: str) -> dict[str, str]:
    """Files named ``*.json`` below a served directory: path below it → text."""
    base = prefix.strip("/") + "/"
    return {
        path.removeprefix(base): templates.read(minion, f"salt://{path}")
        for path in sorted(minion.call("cp.list_master", prefix=base))
        if path.startswith(base) and path.endswith(".json")
    }


def files(
    standard: dict[str, str],
    site: dict[str, Any],
    folders: dict[str, dict[str, str]],
    texts: Mapping[str, str],
) -> dict[str, File]:
    """All dashboards as a file set, one directory per folder.

    standard
        Path below the formula's dashboards → text.
    site
        The value of ``grafana_dashboards``: name → the dashboard (a dictionary, JSON as text, or
        the ``salt://`` path of a file).
    folders
        Key path of a folder of the site → path below it → text.
    texts
        ``salt://`` path in ``site`` → text; empty or missing if it is not served.

    Raises InvalidInput that names what is no dashboard, or two with one uid.
    """
    sources: dict[str, tuple[str, str]] = {}  # path → origin, text
    for rel, text in standard.items():
        path = rel if "/" in rel else f"home/{rel}"
        sources[path] = (f"salt://{DASHBOARDS}/{rel}", text)
    for name, value in site.items():
        where = f"grafana_dashboards.{name}"
        if isinstance(value, str) and value.startswith("salt://"):
            text = texts.get(value, "")
            if not text:
                raise InvalidInput(f"{where}: {value} is not served")
        else:
            text = value if isinstance(value, str) else json.dumps(value, indent=1)
        sources[f"{SITE}/{name}.json"] = (where, text)
    for key, below in folders.items():
        slug = uid_of(key.partition(".")[2])
        for rel, text in below.items():
            sources[f"{slug}/{rel}"] = (f"{key}: {rel}", text)
    out: dict[str, File] = {}
    owners: dict[str, str] = {}
    for path, (where, text) in sources.items():
        uid, text = _with_uid(where, text, Path(path).stem)
        _claim(owners, uid, where)
        out[path] = {"text": text, "group": "infra", "mode": "0640"}
    return out


def _claim(owners: dict[str, str], uid: str, where: str) -> None:
    if uid in owners:
        raise InvalidInput(f"{where}: expected a uid of its own; {uid} is that of {owners[uid]}")
    owners[uid] = where


def _with_uid(where: str, text: str, name: str) -> tuple[str, str]:
    """Check a dashboard; returns its uid, and its text with that uid."""
    try:
        board = json_text.parse(text)
    except ValueError as err:
        raise InvalidInput(f"{where}: expected the JSON of a dashboard: {err}") from err
    if not isinstance(board, dict):
        raise InvalidInput(f"{where}: expected the JSON of a dashboard, a dictionary")
    if "apiVersion" in board:  # since Grafana 12: a resource
        uid = str((board.get("metadata") or {}).get("name", ""))
        title = (board.get("spec") or {}).get("title")
    else:
        if "dashboard" in board and "panels" not in board:
            raise InvalidInput(
                f"{where}: expected a dashboard; this is a response of the API: use its part "
                "`dashboard`"
            )
        if board.get("__inputs"):
            board = _with_inputs(where, board)
            text = json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        uid, title = str(board.get("uid") or ""), board.get("title")
        if not uid:
            uid = uid_of(name)
            text = json.dumps({**board, "uid": uid}, indent=1, ensure_ascii=False) + "\n"
    if not isinstance(title, str) or not title.strip():
        raise InvalidInput(f"{where}: expected a dashboard with a title")
    if not UID.fullmatch(uid):
        raise InvalidInput(
            f"{where}: expected a uid of up to 40 letters, digits, - and _, got {uid!r}"
        )
    return uid, text


def _with_inputs(where: str, board: dict[str, Any]) -> dict[str, Any]:
    """A dashboard that was exported for sharing, as those of grafana.com, with what it asks for.

    Each input is named ``${NAME}`` in it: a data source, for which the formula's of that type is
    filled in, or a constant with its value.
    """
    values = {}
    for item in board["__inputs"]:
        name, kind = str(item.get("name")), item.get("type")
        plugin = str(item.get("pluginId", ""))
        if kind == "constant":
            values[name] = str(item.get("value", ""))
        elif kind == "datasource" and plugin in _SOURCES:
            values[name] = _SOURCES[plugin]
        elif not (kind == "datasource" and plugin == "__expr__"):
            known = ", ".join(_SOURCES)
            raise InvalidInput(
                f"{where}: expected data sources of the types {known}; this dashboard was exported "
                f"for sharing, and asks for {name} of type {plugin or kind}. Replace it in there "
                "by the uid of one of grafana_datasources"
            )
    rest = {key: value for key, value in board.items() if key not in ("__inputs", "__requires")}
    filled = _filled(rest, values)
    return {**filled, "id": None} if isinstance(filled.get("id"), int) else filled


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    # What is no input, like ${job} or ${__from}, is a variable of Grafana's.
    return re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], match[0]), value)


def providers(
    root: str, standard: Iterable[str], site: bool, dirs: dict[str, str]
) -> dict[str, File]:
    """Grafana's provider file, one provider per folder, as a file set below ``/etc/grafana``.

    root
        Directory of the dashboards.
    standard
        Names of the formula's folders; ``home`` is the general one.
    site
        Whether the site has dashboards in pillar.
    dirs
        The value of ``grafana_dashboard_dirs``: title of a folder → directory, ``salt://`` (whose
        files are copied below root) or on the INFRA node itself.
    """
    folders = [("", "", f"{root}/home")]
    folders += [
        (name.upper(), name, f"{root}/{name}") for name in sorted(standard) if name != "home"
    ]
    if site:
        folders.append(("Site", SITE, f"{root}/{SITE}"))
    for title, path in dirs.items():
        slug = uid_of(title)
        folders.append((title, slug, f"{root}/{slug}" if path.startswith("salt://") else path))
    entries = [
        escape(
            {
                "name": uid or "home",
                "orgId": 1,
                "type": "file",
                "folder": folder,
                **({"folderUid": uid} if uid else {}),
                "disableDeletion": False,
                # A change in Grafana is saved as a copy (docs/grafana.md).
                "allowUiUpdates": False,
                "updateIntervalSeconds": _REFRESH,
                "options": {"path": path},
            }
        )
        for folder, uid, path in folders
    ]
    text = HEADER + templates.to_yaml({"apiVersion": 1, "providers": entries})
    return {PROVIDERS: readable(text)}


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the site's dashboards, without reading files.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per problem, each beginning with the key path.
    """
    errors = []
    owners: dict[str, str] = {}
    for name, board in (parameters.get("grafana_dashboards") or {}).items():
        where = f"grafana_dashboards.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name):
            errors.append(f"{where}: expected a name of up to 40 letters, digits, - and _")
        elif not (isinstance(board, str) and board.startswith("salt://")):
            try:
                text = board if isinstance(board, str) else json.dumps(board)
                uid, _ = _with_uid(where, text, name)
                _claim(owners, uid, where)
            except InvalidInput as err:
                errors.append(str(err))
    slugs: dict[str, str] = {}
    for title, path in (parameters.get("grafana_dashboard_dirs") or {}).items():
        where = f"grafana_dashboard_dirs.{title}"
        if not isinstance(title, str) or not NAME.fullmatch(title):
            errors.append(f"{where}: expected a folder's title of letters, digits, blanks, . _ -")
            continue
        slug = uid_of(title)
        if slug in ("home", "infra", "node", SITE) or slug in slugs:
            other = slugs.get(slug, "the formula")
            errors.append(f"{where}: expected another title; {other} has a similar one")
        slugs.setdefault(slug, title)
        if not re.fullmatch(r"(?:salt:/)?/[A-Za-z0-9/._-]+", path) or ".." in path:
            errors.append(f"{where}: expected salt://… or an absolute path, got {path!r}")
    return errors
