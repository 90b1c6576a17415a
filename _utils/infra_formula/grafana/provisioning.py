"""What Grafana shows: data sources, folders and dashboards, as files that it provisions from.

Data sources of this formula are data (infra/grafana/datasources.yaml), its dashboards are JSON
below ``salt://infra/grafana/dashboards``, one directory per folder. A site adds its own by pillar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import salt.utils.yaml
from salt.exceptions import SaltInvocationError

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion

ROOT = "/etc/grafana"
SOURCES = "provisioning/datasources/pigsty.yml"
APART = "provisioning/datasources/pigsty-secret.yml"
"""Those with a secret: no difference of it is shown."""

PROVIDERS = "provisioning/dashboards/pigsty.yml"
"""Pigsty's own names: on a machine that it had, ours take their place."""

DASHBOARDS = "infra/grafana/dashboards"
SITE = "site"
_HEAD = "# Managed by Salt (infra formula). Changes here are overwritten; see docs/grafana.md.\n"
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")
_REFRESH = 30  # seconds between two looks of Grafana at a directory


# -- data sources --------------------------------------------------------------------------------


def sources(
    rows: list[dict[str, Any]],
    values: dict[str, Any],
    enabled: Iterable[str],
    nodes: list[dict[str, Any]],
    site: dict[str, dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """All data sources, in the words of Grafana's provisioning files; pure.

    rows
        infra/grafana/datasources.yaml.
    values
        Parameters that it names.
    enabled
        Components that are enabled.
    nodes
        The INFRA nodes, each ``ip`` and ``seq``.
    site
        The value of ``grafana_datasources``: name → data source. One that is the default takes
        that from ours.

    Raises SaltInvocationError for a row that names no parameter, or a name or uid that is there
    twice.
    """
    there = {*enabled, *(key for key, value in values.items() if value)}
    out = []
    for row in rows:
        if row.get("when", "") and row["when"] not in there:
            continue
        own = {key: value for key, value in row.items() if key not in ("when", "each")}
        for more in nodes if row.get("each") == "nodes" else [{}]:
            out.append(expand(own, {**values, **more}))
    own_default = any(given.get("isDefault") for given in (site or {}).values())
    if own_default:
        out = [{**one, "isDefault": False} for one in out]
    taken: dict[str, str] = {}
    for one in out:
        taken.update({one["name"]: one["name"], one["uid"]: one["name"]})
    for name, given in (site or {}).items():
        one = {"name": name, "uid": uid_of(name), **given}
        for key in {one["name"], one["uid"]}:
            if key in taken:
                raise InvalidInput(
                    f"grafana_datasources.{name}: expected a name and uid of its own; {key} is "
                    f"taken by {taken[key]}"
                )
        taken.update({one["name"]: name, one["uid"]: name})
        out.append(one)
    known = {one["uid"] for one in out}
    return [{"orgId": 1, "access": "proxy", "editable": False, **linked(one, known)} for one in out]


def expand(value: Any, values: dict[str, Any]) -> Any:
    """Replace ``${name}`` in every string of a value; pure.

    Raises SaltInvocationError for a name that is none of the values.
    """
    if isinstance(value, dict):
        return {key: expand(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, values) for inner in value]
    if not isinstance(value, str):
        return value

    def known(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise InvalidInput(f"a data source names ${{{match[1]}}}, which is no parameter")
        return str(values[match[1]])

    # ${__value} and the like are Grafana's.
    return re.sub(r"\$\{([a-z]\w*)\}", known, value)


def linked(value: Any, known: set[str]) -> Any:
    """Leave out what links to a data source that is not there; pure.

    value
        A data source, or part of one.
    known
        The uids that there are.
    """

    def dangling(inner: Any) -> bool:
        return isinstance(inner, dict) and inner.get("datasourceUid", "") not in {"", *known}

    if isinstance(value, dict):
        return {k: linked(inner, known) for k, inner in value.items() if not dangling(inner)}
    if isinstance(value, list):
        return [linked(inner, known) for inner in value if not dangling(inner)]
    return value


def uid_of(name: str) -> str:
    """The uid of a data source or a folder of that name, where it is given none; pure."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40].lower()


def source_files(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Data sources as an infra_files set below ``/etc/grafana``; those with secrets apart.

    Grafana removes those that are in no file any more (``prune``). Pure.
    """
    # Secrets stand in the file itself: in what it reads by $__file{} Grafana expands every $.
    out = {}
    for path, secret in ((SOURCES, False), (APART, True)):
        listed = [literal(one) for one in found if bool(one.get("secureJsonData")) is secret]
        if listed or not secret:
            text = _HEAD + _yaml({"apiVersion": 1, "prune": True, "datasources": listed})
            out[path] = _readable(text, secret)
    return out


def literal(value: Any) -> Any:
    """Double every ``$``, which Grafana would take for a variable of its environment; pure."""
    if isinstance(value, dict):
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [literal(inner) for inner in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _readable(text: str, secret: bool = False) -> dict[str, Any]:
    return {"text": text, "group": "grafana", "mode": "0640", "secret": secret}


def _yaml(data: Any) -> str:
    return salt.utils.yaml.safe_dump(
        data, default_flow_style=False, sort_keys=False, allow_unicode=True, width=4096
    )


# -- dashboards ----------------------------------------------------------------------------------


def collect(
    own: dict[str, str],
    site: dict[str, Any],
    folders: dict[str, dict[str, str]],
    load: Callable[[str], str],
) -> dict[str, dict[str, Any]]:
    """All dashboards as an infra_files set, one directory per folder; pure but for `load`.

    own
        Path below our dashboards → text.
    site
        The value of ``grafana_dashboards``: name → the dashboard (a dictionary, JSON as text, or
        the ``salt://`` path of a file of it).
    folders
        Key path of a folder of the site's → path below it → text.
    load
        Returns the text of a ``salt://`` path, empty where there is none.

    Raises SaltInvocationError that names what is no dashboard, or two with one uid.
    """
    texts: dict[str, tuple[str, str]] = {}  # path → where it came from, text
    for rel, text in own.items():
        path = rel if "/" in rel else f"home/{rel}"
        texts[path] = (f"salt://{DASHBOARDS}/{rel}", text)
    for name, given in site.items():
        where = f"grafana_dashboards.{name}"
        if isinstance(given, str) and given.startswith("salt://"):
            text = load(given)
            if not text:
                raise InvalidInput(f"{where}: {given} is not served")
        else:
            text = given if isinstance(given, str) else json.dumps(given, indent=1)
        texts[f"{SITE}/{name}.json"] = (where, text)
    for key, found in folders.items():
        slug = uid_of(key.partition(".")[2])
        for rel, text in found.items():
            texts[f"{slug}/{rel}"] = (f"{key}: {rel}", text)
    out = {}
    owners: dict[str, str] = {}
    for path, (where, text) in texts.items():
        uid, text = _checked(where, text, Path(path).stem)
        _alone(owners, uid, where)
        out[path] = {"text": text, "group": "infra", "mode": "0640"}
    return out


def _alone(owners: dict[str, str], uid: str, where: str) -> None:
    if uid in owners:
        raise InvalidInput(f"{where}: expected a uid of its own; {uid} is that of {owners[uid]}")
    owners[uid] = where


def _checked(where: str, text: str, name: str) -> tuple[str, str]:
    """The uid of a dashboard, and its text with that uid in it."""
    try:
        found = json.loads(text)
    except ValueError as err:
        raise InvalidInput(f"{where}: expected the JSON of a dashboard: {err}") from err
    if not isinstance(found, dict):
        raise InvalidInput(f"{where}: expected the JSON of a dashboard, a dictionary")
    if "apiVersion" in found:  # as of Grafana 12: a resource with its name beside its content
        uid = str((found.get("metadata") or {}).get("name", ""))
        title = (found.get("spec") or {}).get("title")
    else:
        if "dashboard" in found and "panels" not in found:
            raise InvalidInput(
                f"{where}: expected a dashboard; this is an answer of the API, of which it is the "
                "part `dashboard`"
            )
        if found.get("__inputs"):
            raise InvalidInput(
                f"{where}: expected a dashboard whose data sources are filled in; this one was "
                "exported for sharing, export it without"
            )
        uid, title = str(found.get("uid") or ""), found.get("title")
        if not uid:
            uid = uid_of(name)
            text = json.dumps({**found, "uid": uid}, indent=1, ensure_ascii=False) + "\n"
    if not isinstance(title, str) or not title.strip():
        raise InvalidInput(f"{where}: expected a dashboard with a title")
    if not _UID.fullmatch(uid):
        raise InvalidInput(
            f"{where}: expected a uid of up to 40 letters, digits, - and _, got {uid!r}"
        )
    return uid, text


def providers(root: str, own: Iterable[str], site: bool, dirs: dict[str, str]) -> dict[str, Any]:
    """Grafana's provider file, one provider per folder, as an infra_files set; pure.

    root
        Directory of the dashboards.
    own
        Names of our folders: ``home`` is the general one.
    site
        Whether the site has dashboards by pillar.
    dirs
        The value of ``grafana_dashboard_dirs``: title of a folder → directory, ``salt://`` (whose
        files come to lie below root) or on the INFRA node itself.
    """
    wanted = [("", "", f"{root}/home")]
    wanted += [(name.upper(), name, f"{root}/{name}") for name in sorted(own) if name != "home"]
    if site:
        wanted.append(("Site", SITE, f"{root}/{SITE}"))
    for title, path in dirs.items():
        slug = uid_of(title)
        wanted.append((title, slug, f"{root}/{slug}" if path.startswith("salt://") else path))
    entries = [
        literal(
            {
                "name": uid or "home",
                "orgId": 1,
                "type": "file",
                "folder": folder,
                **({"folderUid": uid} if uid else {}),
                "disableDeletion": False,
                # What is changed in Grafana is kept as a copy of one's own (docs/grafana.md).
                "allowUiUpdates": False,
                "updateIntervalSeconds": _REFRESH,
                "options": {"path": path},
            }
        )
        for folder, uid, path in wanted
    ]
    return {PROVIDERS: _readable(_HEAD + _yaml({"apiVersion": 1, "providers": entries}))}


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the site's data sources and dashboards, without reading a file; pure.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    given = parameters.get("grafana_datasources") or {}
    for name, one in given.items():
        errors += _source_problems(f"grafana_datasources.{name}", str(name), one)
    defaults = [name for name, one in given.items() if one.get("isDefault")]
    if len(defaults) > 1:
        errors.append(
            f"grafana_datasources: expected one default, got {len(defaults)}: {', '.join(defaults)}"
        )
    owners: dict[str, str] = {}
    for name, one in (parameters.get("grafana_dashboards") or {}).items():
        where = f"grafana_dashboards.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name):
            errors.append(f"{where}: expected a name of up to 40 letters, digits, - and _")
        elif not (isinstance(one, str) and one.startswith("salt://")):
            try:
                uid, _ = _checked(where, one if isinstance(one, str) else json.dumps(one), name)
                _alone(owners, uid, where)
            except SaltInvocationError as err:
                errors.append(str(err))
    slugs: dict[str, str] = {}
    for title, path in (parameters.get("grafana_dashboard_dirs") or {}).items():
        where = f"grafana_dashboard_dirs.{title}"
        if not isinstance(title, str) or not _NAME.fullmatch(title):
            errors.append(f"{where}: expected a folder's title of letters, digits, blanks, . _ -")
            continue
        slug = uid_of(title)
        if slug in ("home", "infra", "node", SITE) or slug in slugs:
            other = slugs.get(slug, "this formula")
            errors.append(f"{where}: expected another title; {other} has one like it")
        slugs.setdefault(slug, title)
        if not re.fullmatch(r"(?:salt:/)?/[A-Za-z0-9/._-]+", path) or ".." in path:
            errors.append(f"{where}: expected salt://… or an absolute path, got {path!r}")
    return errors


def _source_problems(where: str, name: str, one: dict[str, Any]) -> list[str]:
    errors = []
    if not _NAME.fullmatch(name) or not uid_of(name):
        errors.append(f"{where}: expected a name of letters, digits, blanks, . _ -")
    if "uid" in one and not _UID.fullmatch(one["uid"]):
        errors.append(f"{where}.uid: expected up to 40 letters, digits, - and _")
    if not re.fullmatch(r"[a-z0-9-]{1,80}", one["type"]):
        errors.append(f"{where}.type: expected the name of a plugin, like prometheus")
    url = one.get("url", "")
    try:
        parts = urlsplit(url)
        bad = bool(re.search(r"\s", url)) or (
            "://" in url and (parts.scheme not in ("http", "https") or not parts.hostname)
        )
        if not bad and parts.password:
            errors.append(
                f"{where}.url: expected no password in it; it belongs to basicAuthUser and "
                "secureJsonData.basicAuthPassword"
            )
        _ = parts.port
    except ValueError:
        bad = True
    if bad:
        errors.append(f"{where}.url: expected http://…, https://… or host:port, got {url!r}")
    return errors


# -- what is served ------------------------------------------------------------------------------


def served(minion: Minion, prefix: str) -> dict[str, str]:
    """Files named ``*.json`` below a ``salt://`` directory: path below it → text.

    prefix
        Without ``salt://``.
    """
    base = prefix.strip("/") + "/"
    return {
        path.removeprefix(base): minion.call("cp.get_file_str", f"salt://{path}")
        for path in sorted(minion.call("cp.list_master", prefix=base))
        if path.startswith(base) and path.endswith(".json")
    }


def gathered(
    minion: Minion, site: dict[str, Any], dirs: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """As :func:`collect`, with what the master serves.

    site, dirs
        The values of ``grafana_dashboards`` and ``grafana_dashboard_dirs``.
    """
    folders = {}
    for title, path in dirs.items():
        if not path.startswith("salt://"):
            continue
        key = f"grafana_dashboard_dirs.{title}"
        folders[key] = served(minion, path.removeprefix("salt://"))
        if not folders[key]:
            raise InvalidInput(f"{key}: {path} holds no *.json")
    return collect(
        served(minion, DASHBOARDS),
        site,
        folders,
        lambda path: minion.call("cp.get_file_str", path) or "",
    )


def wanted(root: str) -> dict[str, set[str]]:
    """The uids that the files on this machine name: ``datasources`` and ``dashboards``.

    root
        Directory of the dashboards.

    Raises CommandExecutionError for a file that cannot be read.
    """
    try:
        found = []
        for path in (Path(ROOT, SOURCES), Path(ROOT, APART)):
            if path == Path(ROOT, SOURCES) or path.exists():
                text = path.read_text(encoding="utf-8")
                found += salt.utils.yaml.safe_load(text)["datasources"]
        boards = set()
        for path in Path(root).rglob("*.json"):
            board = json.loads(path.read_text(encoding="utf-8"))
            boards.add(str(board.get("uid") or board["metadata"]["name"]))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise CommandFailed(f"{root}: {err}") from err
    return {"datasources": {str(one["uid"]) for one in found}, "dashboards": boards}
