"""Grafana's data sources, as provisioning files.

Those of the formula are data (infra/grafana/datasources.yaml); a site adds its own in pillar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from infra_formula import templates
from infra_formula.errors import InvalidInput
from infra_formula.fileset.contents import File
from infra_formula.grafana.settings import readable

SOURCES = "provisioning/datasources/pigsty.yml"
SECRET_SOURCES = "provisioning/datasources/pigsty-secret.yml"  # noqa: S105 (a path)
"""Those with a secret: no difference of it is shown. Pigsty's name: its file is replaced."""

HEADER = templates.HEADER.replace(".\n", "; see docs/grafana.md.\n")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def sources(
    rows: list[dict[str, Any]],
    values: Mapping[str, Any],
    enabled: Iterable[str],
    nodes: list[dict[str, Any]],
    site: dict[str, dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """All data sources, as Grafana's provisioning files describe them.

    rows
        infra/grafana/datasources.yaml.
    values
        Values for the names in the rows.
    enabled
        Enabled components.
    nodes
        The INFRA nodes, each ``ip`` and ``seq``.
    site
        The value of ``grafana_datasources``: name → data source. If one is the default, none of the
        formula's is.

    Raises InvalidInput for a row that names an unknown parameter, and for a name or uid that is
    used twice.
    """
    conditions = {*enabled, *(key for key, value in values.items() if value)}
    out = []
    for row in rows:
        if row.get("when", "") and row["when"] not in conditions:
            continue
        source = {key: value for key, value in row.items() if key not in ("when", "each")}
        for node in nodes if row.get("each") == "nodes" else [{}]:
            out.append(expand(source, {**values, **node}))
    if any(source.get("isDefault") for source in (site or {}).values()):
        out = [{**source, "isDefault": False} for source in out]
    owners: dict[str, str] = {}
    for source in out:
        owners.update({source["name"]: source["name"], source["uid"]: source["name"]})
    for name, value in (site or {}).items():
        source = {"name": name, "uid": uid_of(name), **value}
        for key in {source["name"], source["uid"]}:
            if key in owners:
                raise InvalidInput(
                    f"grafana_datasources.{name}: expected a name and uid of its own; {key} is "
                    f"taken by {owners[key]}"
                )
        owners.update({source["name"]: name, source["uid"]: name})
        out.append(source)
    known = {source["uid"] for source in out}
    common = {"orgId": 1, "access": "proxy", "editable": False}
    return [{**common, **without_dangling_links(source, known)} for source in out]


def expand(value: Any, values: Mapping[str, Any]) -> Any:
    """Replace ``${name}`` in every string of a value.

    Raises InvalidInput for a name that is not among the values.
    """
    if isinstance(value, dict):
        return {key: expand(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, values) for inner in value]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise InvalidInput(f"a data source names ${{{match[1]}}}, which is no parameter")
        return str(values[match[1]])

    # ${__value} and the like are Grafana's.
    return re.sub(r"\$\{([a-z]\w*)\}", replacement, value)


def without_dangling_links(value: Any, known: set[str]) -> Any:
    """Leave out links to a data source that does not exist.

    value
        A data source, or part of one.
    known
        The uids that exist.
    """

    def is_dangling(inner: Any) -> bool:
        return isinstance(inner, dict) and inner.get("datasourceUid", "") not in {"", *known}

    if isinstance(value, dict):
        return {
            key: without_dangling_links(inner, known)
            for key, inner in value.items()
            if not is_dangling(inner)
        }
    if isinstance(value, list):
        return [without_dangling_links(inner, known) for inner in value if not is_dangling(inner)]
    return value


def uid_of(name: str) -> str:
    """The uid of a data source or a folder that has none in pillar."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40].lower()


def files(found: list[dict[str, Any]]) -> dict[str, File]:
    """Data sources as a file set below ``/etc/grafana``; those with secrets in a file of their own.

    Grafana removes those that are in no file any more (``prune``).
    """
    # Secrets are in the file itself: in a file that it reads by $__file{} Grafana expands every $.
    out = {}
    for path, secret in ((SOURCES, False), (SECRET_SOURCES, True)):
        listed = [escape(one) for one in found if bool(one.get("secureJsonData")) is secret]
        if listed or not secret:
            content = {"apiVersion": 1, "prune": True, "datasources": listed}
            out[path] = readable(HEADER + templates.to_yaml(content), secret)
    return out


def escape(value: Any) -> Any:
    """Double every ``$``, which Grafana would read as a variable of its environment."""
    if isinstance(value, dict):
        return {key: escape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [escape(inner) for inner in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the site's data sources.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per problem, each beginning with the key path.
    """
    errors = []
    site = parameters.get("grafana_datasources") or {}
    for name, source in site.items():
        errors += _source_problems(f"grafana_datasources.{name}", str(name), source)
    defaults = [name for name, source in site.items() if source.get("isDefault")]
    if len(defaults) > 1:
        errors.append(
            f"grafana_datasources: expected one default, got {len(defaults)}: {', '.join(defaults)}"
        )
    return errors


def _source_problems(where: str, name: str, source: dict[str, Any]) -> list[str]:
    errors = []
    if not NAME.fullmatch(name) or not uid_of(name):
        errors.append(f"{where}: expected a name of letters, digits, blanks, . _ -")
    if "uid" in source and not UID.fullmatch(source["uid"]):
        errors.append(f"{where}.uid: expected up to 40 letters, digits, - and _")
    if not re.fullmatch(r"[a-z0-9-]{1,80}", source["type"]):
        errors.append(f"{where}.type: expected the name of a plugin, like prometheus")
    url = source.get("url", "")
    try:
        parts = urlsplit(url)
        bad = bool(re.search(r"\s", url)) or (
            "://" in url and (parts.scheme not in ("http", "https") or not parts.hostname)
        )
        if not bad and parts.password:
            errors.append(
                f"{where}.url: expected no password; it belongs into basicAuthUser and "
                "secureJsonData.basicAuthPassword"
            )
        _ = parts.port
    except ValueError:
        bad = True
    if bad:
        errors.append(f"{where}.url: expected http://…, https://… or host:port, got {url!r}")
    return errors
