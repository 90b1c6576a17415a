"""Grafana's settings: ``grafana.ini``, files of its secrets, and their parameters."""

from __future__ import annotations

import re
import socket
from typing import Any
from urllib.parse import urlsplit

from infra_formula import systemd, templates
from infra_formula.daemon import health
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.state import Plan

ROOT = "/etc/grafana"
SECRETS = "infra"
"""Directory below it that contains one file per secret."""

TEMPLATE = "salt://infra/grafana/files/grafana.ini.j2"
_SECRET_KEY = re.compile(r"(?:^|_)(?:password|passwd|secret|secret_key|token|private_key|license)$")
_SECTION = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_PLUGIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SHORTEST = 5  # characters: what every release of `grafana cli` accepts
_BY_PARAMETER = {
    ("server", "http_addr"): "infra_listen",
    ("server", "http_port"): "grafana_port",
    ("database", "type"): "grafana_pgurl",
    ("database", "url"): "grafana_pgurl",
    ("security", "admin_user"): "grafana_admin_username",
    ("security", "admin_password"): "grafana_admin_password",
    ("auth.anonymous", "enabled"): "grafana_anonymous",
    ("auth.proxy", "enabled"): "grafana_auth_proxy",
    ("plugins", "allow_loading_unsigned_plugins"): "grafana_plugins_unsigned",
}
_FIXED = {("server", "root_url"), ("server", "serve_from_sub_path"), ("auth.proxy", "whitelist"),
          ("auth.proxy", "header_name")}  # fmt: skip


# -- text ----------------------------------------------------------------------------------------


def plan(minion: Minion, daemon: Daemon, settings: dict[str, Any], config: dict[str, Any]) -> Plan:
    """Plan Grafana's settings; if Grafana runs and they differ, it is restarted.

    If it is unhealthy with them, the previous files are restored and it is restarted with those.

    settings, config
        See :func:`files`.

    Raises CommandFailed if its database does not answer.
    """
    rendered = files(settings, config, templates.read(minion, TEMPLATE))
    difference = FileSet("grafana", ROOT, replace=rendered).plan(rendered)
    changes = dict(difference.diff)
    restarts = difference.has_changes and systemd.unit_state(daemon["unit"])["active"]
    if difference.has_changes:
        problem = database_problem(settings["pgurl"])
        if problem:
            raise CommandFailed(problem)
    if restarts:
        changes[daemon["unit"]] = "restarted: its settings changed"

    def apply() -> None:
        problem = health.port_problem(daemon)
        if problem:
            raise CommandFailed(problem)
        difference.apply(reload=(lambda: health.restart(daemon)) if restarts else None)

    comment = "Grafana's settings are up to date."
    return Plan(changes, comment, "Grafana's settings would change.", apply)


def files(
    settings: dict[str, Any], config: dict[str, dict[str, Any]], template: str
) -> dict[str, File]:
    """Render ``grafana.ini`` and the files of its secrets, as a file set below ``/etc/grafana``.

    settings
        Values for the template, see :mod:`infra_formula.grafana.arguments`.
    config
        The value of ``grafana_config``: section → key → value; overrides the template's.
    template
        Text of the template. ``secret(name, value)`` in it makes a file that Grafana reads.

    Raises InvalidInput for a template that is broken.
    """
    out: dict[str, File] = {}

    def secret(name: str, value: str) -> str:
        rel = f"{SECRETS}/{name}"
        out[rel] = readable(value, secret=True)
        return f"$__file{{{ROOT}/{rel}}}"

    text = templates.render(TEMPLATE, template, {"settings": settings, "secret": secret})
    site = {
        section: {
            key: secret(f"{section}.{key}", str(value)) if is_secret(key, value) else ini(value)
            for key, value in keys.items()
        }
        for section, keys in config.items()
    }
    header = templates.HEADER.replace(".\n", "; set grafana_config.\n")
    out["grafana.ini"] = readable(header + overlaid(text, site))
    return out


def readable(text: str, secret: bool = False) -> File:
    """A file that only root and Grafana can read."""
    return {"text": text, "group": "grafana", "mode": "0640", "secret": secret}


def overlaid(text: str, config: dict[str, dict[str, str]]) -> str:
    """Override settings of an ini file; its comments and order stay.

    text
        The file.
    config
        Section → key → value, as :func:`ini` returned it.
    """
    left = {section: dict(keys) for section, keys in config.items()}
    lines: list[str] = []
    section = ""

    def close() -> None:
        rest = left.pop(section, {})
        at = len(lines)
        while rest and at and not lines[at - 1].strip():
            at -= 1
        lines[at:at] = [f"{key} = {value}" for key, value in rest.items()]

    for line in text.splitlines():
        header = re.fullmatch(r"\[([^\]]+)\]", line)
        if header:
            close()
            section = header[1]
        key = re.match(r"([A-Za-z0-9_.-]+)\s*=", line)
        if key and key[1] in left.get(section, {}):
            line = f"{key[1]} = {left[section].pop(key[1])}"
        lines.append(line)
    close()
    for name in list(left):
        lines += ["", f"[{name}]"]
        section = name
        close()
    return "\n".join(lines) + "\n"


def ini(value: Any) -> str:
    """Write a value as in Grafana's ini file.

    Grafana reads ``#`` and ``;`` as the start of a comment, and removes quotes, unless the value is
    in three double quotes.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text or (text == text.strip() and not set(text) & set("#;`\"'\\")):
        return text
    return f'"""{text}"""'


def is_secret(key: str, value: Any) -> bool:
    """Whether a setting contains a secret: by its name, or as a URL with a password."""
    if not isinstance(value, str) or not value or value.startswith("$__"):
        return False
    return bool(_SECRET_KEY.search(key) or re.search(r"://[^/@\s]*:[^/@\s]+@", value))


# -- parameters ----------------------------------------------------------------------------------


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the parameters of Grafana.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per problem, each beginning with the key path. Secrets are not quoted.
    """
    errors = []
    password = parameters.get("grafana_admin_password", "pigsty")
    if len(password) < _SHORTEST or password != password.strip() or "%(" in password:
        errors.append(
            f"grafana_admin_password: expected at least {_SHORTEST} characters, without blanks at "
            "either end and without %("
        )
    name = parameters.get("grafana_admin_username", "admin")
    if not _LOGIN.fullmatch(name):
        errors.append(
            f"grafana_admin_username: expected letters, digits and . _ @ + -, got {name!r}"
        )
    if parameters.get("grafana_pgurl"):
        errors += _database_problems(parameters["grafana_pgurl"])
    if parameters.get("grafana_auth_proxy"):
        errors += _proxy_problems(parameters)
    if parameters.get("grafana_meta") and meta(parameters["grafana_meta"]) is None:
        errors.append(
            "grafana_meta: expected host:port/database, like 10.10.10.10:5432/meta, got "
            f"{parameters['grafana_meta']!r}"
        )
    for index, plugin in enumerate(parameters.get("grafana_plugins_unsigned") or []):
        if not _PLUGIN.fullmatch(plugin):
            errors.append(
                f"grafana_plugins_unsigned[{index}]: expected the name of a plugin, got {plugin!r}"
            )
    return errors + _config_problems(parameters.get("grafana_config") or {})


def _database_problems(url: str) -> list[str]:
    expected = (
        "grafana_pgurl: expected postgres://user:password@host:port/database, the password "
        "with %XX for its special characters"
    )
    try:
        parts = urlsplit(url)
        known = (parts.hostname, parts.username, parts.port)
    except ValueError:
        return [expected]
    path = parts.path.strip("/")
    good = parts.scheme in ("postgres", "postgresql") and known[0] and known[1] and path
    return [] if good and not re.search(r"\s", url) else [expected]


def _proxy_problems(parameters: dict[str, Any]) -> list[str]:
    portal = parameters.get("infra_portal")
    home = portal.get("home") if isinstance(portal, dict) else None
    if parameters.get("nginx_enabled") is False:
        return ["grafana_auth_proxy: expected false, because nginx_enabled is false and the portal "
                "authenticates"]  # fmt: skip
    auth = home.get("auth") if isinstance(home, dict) else None
    if not (auth or (auth is None and parameters.get("portal_auth"))):
        return ["grafana_auth_proxy: expected portal_auth, or infra_portal.home.auth: true, "
                "because the portal authenticates"]  # fmt: skip
    return []


def meta(text: str) -> dict[str, str] | None:
    """Endpoint and database of the CMDB from ``host:port/database``; None for another form."""
    match = re.fullmatch(r"((?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5})/([A-Za-z0-9_-]+)", text)
    return {"endpoint": match[1], "database": match[2]} if match else None


def _config_problems(config: dict[str, Any]) -> list[str]:
    errors = []
    for section, keys in config.items():
        path = f"grafana_config[{section!r}]"
        if not isinstance(section, str) or not _SECTION.fullmatch(section):
            errors.append(f"{path}: expected the name of a section of grafana.ini")
            continue
        for key, value in keys.items():
            where = f"{path}.{key}"
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                errors.append(f"{where}: expected the name of a setting")
            elif section == "paths" or (section, key) in _FIXED:
                errors.append(f"{where}: expected no such key; the formula sets it")
            elif (section, key) in _BY_PARAMETER:
                errors.append(f"{where}: expected it to be set by {_BY_PARAMETER[section, key]}")
            elif not isinstance(value, str | int | float | bool):
                errors.append(f"{where}: expected a string, a number, true or false")
            elif isinstance(value, str) and re.search(r'[\x00-\x1f\x7f]|"""', value):
                errors.append(f'{where}: expected one line, without """')
    return errors


def database_problem(url: str) -> str:
    """Why Grafana's PostgreSQL does not answer; empty if it does, or if none is configured.

    url
        The value of ``grafana_pgurl``.
    """
    if not url:
        return ""
    parts = urlsplit(url)
    port = parts.port or 5432
    try:
        socket.create_connection((parts.hostname or "", port), timeout=3).close()
    except OSError as err:
        return (
            f"grafana_pgurl: {parts.hostname}:{port} does not answer ({err}). Grafana is "
            "unchanged. If the database is deployed after the INFRA nodes, leave grafana_pgurl "
            "empty until then"
        )
    return ""
