"""Settings and provisioning files as the stand-in for Grafana reads them: strictly.

The real program passes over a setting that it does not know, and takes its default in the place
of a value that it cannot read; the stand-in refuses both, so that a test finds what is misspelt.
Files that the real program refuses, it refuses, too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

KNOWN = {
    "paths": {"data", "logs", "plugins", "provisioning"},
    "server": {"http_addr", "http_port", "root_url", "serve_from_sub_path", "domain"},
    "database": {"type", "url", "wal", "host", "name", "user", "password", "max_open_conn"},
    "analytics": {"reporting_enabled", "check_for_updates", "check_for_plugin_updates"},
    "security": {"admin_user", "admin_password", "disable_gravatar", "csrf_trusted_origins",
                 "allow_embedding", "secret_key", "cookie_secure", "cookie_samesite"},
    "snapshots": {"external_enabled"},
    "dashboards": {"versions_to_keep", "min_refresh_interval", "default_home_dashboard_path"},
    "sql_datasources": {"max_open_conns_default"},
    "users": {"default_theme", "default_language", "allow_sign_up", "auto_assign_org_role",
              "viewers_can_edit"},
    "auth": {"disable_login_form", "login_maximum_lifetime_duration"},
    "auth.anonymous": {"enabled", "org_name", "org_role", "hide_version"},
    "auth.basic": {"enabled"},
    "auth.proxy": {"enabled", "header_name", "header_property", "auto_sign_up", "whitelist",
                   "enable_login_token", "headers", "sync_ttl"},
    "log": {"mode", "level", "filters"},
    "unified_alerting.prometheus_conversion": {"rule_query_offset", "default_datasource_uid"},
    "recording_rules": {"enabled", "timeout"},
    "plugins": {"plugin_admin_enabled", "public_key_retrieval_disabled",
                "allow_loading_unsigned_plugins"},
    "news": {"news_feed_enabled"},
    "smtp": {"enabled", "host", "user", "password", "from_address"},
}  # fmt: skip
# What a value may be, by the kind of setting; a section holds where names are not unique.
VALUES = {
    r"true|false": {
        "serve_from_sub_path", "wal", "reporting_enabled", "check_for_updates",
        "check_for_plugin_updates", "disable_gravatar", "allow_embedding", "cookie_secure",
        "external_enabled", "allow_sign_up", "viewers_can_edit", "disable_login_form", "enabled",
        "hide_version", "auto_sign_up", "enable_login_token", "plugin_admin_enabled",
        "public_key_retrieval_disabled", "news_feed_enabled",
    },
    r"\d+": {"http_port", "max_open_conn", "max_open_conns_default", "sync_ttl",
             "versions_to_keep"},
    r"(\d+(ms|[smhdwMy]))+": {"min_refresh_interval", "login_maximum_lifetime_duration",
                              "rule_query_offset", "timeout"},
    r"Viewer|Editor|Admin|None": {"auto_assign_org_role", "org_role"},
    r"dark|light|system": {"default_theme"},
    r"username|email": {"header_property"},
    r"lax|strict|none|disabled": {"cookie_samesite"},
    r"sqlite3|postgres|mysql": {"database.type"},
    r"(console|file|syslog)([ ,]+(console|file|syslog))*": {"log.mode"},
    r"trace|debug|info|warn|error|critical": {"log.level"},
}  # fmt: skip
SOURCE = {"name", "type", "access", "orgId", "uid", "url", "user", "database", "basicAuth",
          "basicAuthUser", "withCredentials", "isDefault", "jsonData", "secureJsonData",
          "correlations", "version", "editable"}  # fmt: skip
PROVIDER = {"name", "orgId", "folder", "folderUid", "type", "disableDeletion", "editable",
            "updateIntervalSeconds", "allowUiUpdates", "options"}  # fmt: skip


class Refused(Exception):
    """A file that Grafana does not start with."""


def expanded(text: str) -> str:
    """Replace `$__file{PATH}` by what the file holds, without blanks at its ends."""

    def read(match: re.Match[str]) -> str:
        try:
            return Path(match[1]).read_text().strip()
        except OSError as err:
            raise Refused(f"failed to expand $__file{{{match[1]}}}: {err}") from err

    return re.sub(r"\$__file\{([^}]*)\}", read, text)


def settings(path: str) -> dict[str, dict[str, str]]:
    """Read grafana.ini."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        header = re.fullmatch(r"\[([^\]]+)\]", line)
        if header:
            section = header[1]
            if section not in KNOWN:
                raise Refused(f"{path}:{number}: unknown section [{section}]")
            found.setdefault(section, {})
            continue
        key, sign, value = (part.strip() for part in line.partition("="))
        if not sign or key not in KNOWN.get(section, ()):
            raise Refused(f"{path}:{number}: unknown setting {key} in [{section}]")
        if value.startswith('"""'):
            value = value.removeprefix('"""').removesuffix('"""')
        else:
            value = re.split(r"\s[#;]", value)[0].strip("`\"' ")
        for pattern, names in VALUES.items():
            if names & {key, f"{section}.{key}"} and not re.fullmatch(pattern, value):
                raise Refused(f"{path}:{number}: {key}: expected {pattern}, got {value!r}")
        found[section][key] = expanded(value)
    return found


def interpolated(value: Any) -> Any:
    """Expand variables as in provisioning files: `$$` is a `$`, others are of the environment."""
    if isinstance(value, dict):
        return {key: interpolated(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner) for inner in value]
    if not isinstance(value, str):
        return value
    parts = [re.sub(r"\$(\{\w*\}|\w+)", "", expanded(part)) for part in value.split("$$")]
    return "$".join(parts)


def _documents(folder: Path, keys: set[str]) -> list[tuple[Path, dict[str, Any]]]:
    out = []
    for path in sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")]):
        try:
            found = yaml.safe_load(path.read_text())
        except yaml.YAMLError as err:
            raise Refused(f"{path}: {err}") from err
        if not isinstance(found, dict) or found.get("apiVersion") != 1 or set(found) - keys:
            raise Refused(f"{path}: expected apiVersion: 1 and {sorted(keys)}")
        out.append((path, found))
    return out


def _check_types(path: Path, entry: dict[str, Any], types: dict[str, type]) -> None:
    for key, kind in types.items():
        if key in entry and type(entry[key]) is not kind:
            raise Refused(f"{path}: {key}: cannot unmarshal {entry[key]!r} into {kind.__name__}")


def sources(provisioning: str) -> list[dict[str, Any]]:
    """Data sources of all files, each with `prunable`."""
    keys = {"apiVersion", "prune", "datasources", "deleteDatasources"}
    out = []
    for path, found in _documents(Path(provisioning, "datasources"), keys):
        for raw in found.get("datasources") or []:
            if set(raw) - SOURCE:
                raise Refused(f"{path}: unknown field {sorted(set(raw) - SOURCE)[0]}")
            one = interpolated(raw)
            _check_types(path, one, {"isDefault": bool, "editable": bool, "basicAuth": bool,
                                     "withCredentials": bool, "orgId": int, "version": int,
                                     "jsonData": dict, "secureJsonData": dict})  # fmt: skip
            if (
                not one.get("name")
                or not one.get("type")
                or one.get("access") not in ("proxy", "direct")
            ):
                raise Refused(f"{path}: name, type and access are required: {raw}")
            out.append({**one, "prunable": bool(found.get("prune"))})
    for field, what in (("name", "name"), ("uid", "uid")):
        seen = [one[field] for one in out if one.get(field)]
        if len(seen) != len(set(seen)):
            raise Refused(f"Datasource provisioning error: a {what} is there twice")
    if sum(bool(one.get("isDefault")) for one in out) > 1:
        raise Refused(
            "Datasource provisioning error: datasource.yaml config is invalid. Only one datasource "
            "per organization can be marked as default"
        )
    return out


def providers(provisioning: str) -> list[dict[str, Any]]:
    """Dashboard providers of all files."""
    out = []
    for path, found in _documents(Path(provisioning, "dashboards"), {"apiVersion", "providers"}):
        for raw in found.get("providers") or []:
            if set(raw) - PROVIDER:
                raise Refused(f"{path}: unknown field {sorted(set(raw) - PROVIDER)[0]}")
            one = interpolated(raw)
            _check_types(path, one, {"disableDeletion": bool, "editable": bool, "orgId": int,
                                     "allowUiUpdates": bool, "updateIntervalSeconds": int,
                                     "options": dict})  # fmt: skip
            if one.get("type") != "file" or not isinstance(one["options"].get("path"), str):
                raise Refused(f"{path}: Failed to load dashboards. path param is not a string")
            out.append(one)
    if len({one["name"] for one in out}) != len(out):
        raise Refused("dashboard provisioning error: a provider's name is there twice")
    return out
