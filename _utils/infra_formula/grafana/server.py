"""Grafana: its settings as files, its administrator, and what it answers over its HTTP API.

What it shows (data sources, dashboards) is in ``infra_grafana_content``. An *administrator* here is
a mapping of ``port``, ``username`` and ``password``, with which the API is asked.
"""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.daemon import checks, local_ports, systemd
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion

ROOT = "/etc/grafana"
SECRETS = "infra"
"""Directory below it that holds one file per secret."""

PREFIX = "/ui"
"""Where Grafana is served, on every name."""

TEMPLATE = "salt://infra/grafana/files/grafana.ini.j2"
KNOWN = Path("/var/lib/infra/grafana.json")
_HOME = "/usr/share/grafana"
_SECRET_KEY = re.compile(r"(?:^|_)(?:password|passwd|secret|secret_key|token|private_key|license)$")
_SECTION = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_PLUGIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SHORTEST = 5  # characters: what every release of `grafana cli` takes
_OURS = {
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


# -- settings as text ----------------------------------------------------------------------------


def files(
    settings: dict[str, Any], config: dict[str, dict[str, Any]], template: str
) -> dict[str, dict[str, Any]]:
    """Render ``grafana.ini`` and the files of its secrets to an infra_files set; pure.

    settings
        What the template names, see infra/grafana/settings.jinja.
    config
        The value of ``grafana_config``: section → key → value, over ours.
    template
        Text of the template. ``secret(name, value)`` in it makes a file that Grafana reads.

    Returns path below ``/etc/grafana`` → file, readable by Grafana's group only.

    Raises SaltInvocationError for a template that is broken.
    """
    out: dict[str, dict[str, Any]] = {}

    def secret(name: str, value: str) -> str:
        rel = f"{SECRETS}/{name}"
        out[rel] = readable(value, secret=True)
        return f"$__file{{{ROOT}/{rel}}}"

    environment = jinja2.Environment(  # noqa: S701 (a configuration, not a page)
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    try:
        text = environment.from_string(template).render(settings=settings, secret=secret)
    except jinja2.TemplateError as err:
        raise InvalidInput(f"{TEMPLATE}: {err}") from err
    site = {
        section: {
            key: secret(f"{section}.{key}", str(value)) if is_secret(key, value) else ini(value)
            for key, value in keys.items()
        }
        for section, keys in config.items()
    }
    head = "# Managed by Salt (infra formula). Changes here are overwritten; set grafana_config.\n"
    out["grafana.ini"] = readable(head + overlaid(text, site))
    return out


def readable(text: str, secret: bool = False) -> dict[str, Any]:
    """A file of a set that Grafana may read and nobody else."""
    return {"text": text, "group": "grafana", "mode": "0640", "secret": secret}


def overlaid(text: str, config: dict[str, dict[str, str]]) -> str:
    """Put settings over those of an ini file, whose comments and order stay; pure.

    text
        The file.
    config
        Section → key → value as it is to be written.
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
    """A value as it stands in Grafana's ini file; pure.

    Grafana reads ``#`` and ``;`` as the beginning of a comment, and takes quotes off, unless the
    value stands in three double quotes.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text or (text == text.strip() and not set(text) & set("#;`\"'\\")):
        return text
    return f'"""{text}"""'


def is_secret(key: str, value: Any) -> bool:
    """Whether a setting holds a secret: by its name, or as a URL with a password in it; pure."""
    if not isinstance(value, str) or not value or value.startswith("$__"):
        return False
    return bool(_SECRET_KEY.search(key) or re.search(r"://[^/@\s]*:[^/@\s]+@", value))


def rendered(
    minion: Minion, settings: dict[str, Any], config: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """As :func:`files`, with the template of this formula."""
    text = minion.call("cp.get_file_str", TEMPLATE)
    if not text:
        raise CommandFailed(f"{TEMPLATE} is not served; is the formula in file_roots?")
    return files(settings, config, text)


# -- the parameters ------------------------------------------------------------------------------


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of Grafana, beyond the type of each; pure.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per error, each beginning with the key path. Secrets are not quoted.
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
        return ["grafana_auth_proxy: expected false where nginx_enabled is: it is the portal that "
                "authenticates"]  # fmt: skip
    given = home.get("auth") if isinstance(home, dict) else None
    if not (given or (given is None and parameters.get("portal_auth"))):
        return ["grafana_auth_proxy: expected portal_auth, or infra_portal.home.auth: true, for it "
                "is the portal that authenticates"]  # fmt: skip
    return []


def meta(text: str) -> dict[str, str] | None:
    """Endpoint and database of the CMDB, out of ``host:port/database``; None for another form."""
    found = re.fullmatch(r"((?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5})/([A-Za-z0-9_-]+)", text)
    return {"endpoint": found[1], "database": found[2]} if found else None


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
                errors.append(f"{where}: expected no such key; it is this formula's")
            elif (section, key) in _OURS:
                errors.append(f"{where}: expected it to be set by {_OURS[section, key]}")
            elif not isinstance(value, str | int | float | bool):
                errors.append(f"{where}: expected a string, a number, true or false")
            elif isinstance(value, str) and re.search(r'[\x00-\x1f\x7f]|"""', value):
                errors.append(f'{where}: expected one line, without """')
    return errors


def database_fault(url: str, connect: Callable[..., Any] = socket.create_connection) -> str:
    """Why Grafana's PostgreSQL cannot be reached; empty where it can, or where none is asked for.

    url
        The value of ``grafana_pgurl``.
    connect
        Opens a connection.
    """
    if not url:
        return ""
    parts = urlsplit(url)
    port = parts.port or 5432
    try:
        connect((parts.hostname, port), timeout=3).close()
    except OSError as err:
        return (
            f"grafana_pgurl: {parts.hostname}:{port} does not answer ({err}). Grafana was left as "
            "it is. Where the database is one that is deployed after the INFRA nodes, leave "
            "grafana_pgurl empty until it is there"
        )
    return ""


# -- the API -------------------------------------------------------------------------------------


def call(
    administrator: dict[str, Any], path: str, method: str = "GET", body: Any = None
) -> tuple[int | None, Any]:
    """One request to the API of this machine's Grafana.

    administrator
        See the module's own description.
    path
        Below the prefix, like ``/api/org``.
    body
        Sent as JSON.

    Returns the status code (None where nothing answers) and the answer: what its JSON says, or a
    text.
    """
    text = f"{administrator['username']}:{administrator['password']}"
    headers = {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
    data = None
    if body is not None:
        data = json.dumps(body)
        headers["Content-Type"] = "application/json"
    code, answer = local_ports.request(
        administrator["port"], PREFIX + path, 60.0, method, data, headers
    )
    try:
        return code, json.loads(answer)
    except ValueError:
        return code, answer


def asked(administrator: dict[str, Any], path: str, method: str = "GET", body: Any = None) -> Any:
    """As :func:`call`, for a request that has to go well; returns the answer.

    Raises CommandExecutionError that quotes Grafana.
    """
    code, answer = call(administrator, path, method, body)
    if code == 200:
        return answer
    said = answer.get("message") or "" if isinstance(answer, dict) else str(answer)[:200]
    raise CommandFailed(f"{method} {PREFIX}{path}: {code or 'no answer'} {said}".rstrip())


def accepts(administrator: dict[str, Any]) -> bool:
    """Whether Grafana takes this name and password, as one who administers it.

    Raises CommandExecutionError where it does not say.
    """
    code, answer = call(administrator, "/api/user")
    if code == 401:
        return False
    if code != 200 or not isinstance(answer, dict):
        raise CommandFailed(f"GET {PREFIX}/api/user: {code or 'no answer'} {answer}")
    if not answer.get("isGrafanaAdmin"):
        raise CommandFailed(
            f"grafana_admin_username: {administrator['username']} is a user of Grafana, but no "
            "server administrator"
        )
    return True


def reset_password(program: str, password: str) -> None:
    """Set the password of Grafana's first user, whatever it was, with `grafana cli`.

    program
        Path of ``grafana``.
    password
        Given to it over its standard input, so that no list of processes shows it.

    Raises CommandExecutionError that quotes it.
    """
    # As Grafana's own user: files of its database stay readable to it.
    command = ["runuser", "-u", "grafana", "--", program, "cli", "--homepath", _HOME,
               "--config", f"{ROOT}/grafana.ini", "admin", "reset-admin-password",
               "--password-from-stdin"]  # fmt: skip
    outcome = process.run(
        command, cwd="/", stdin=password + "\n", timeout=120,
    )  # fmt: skip
    if outcome["retcode"]:
        said = checks.extract_error_lines(f"{outcome['stderr']}\n{outcome['stdout']}")
        raise CommandFailed(
            f"grafana_admin_password: `grafana cli admin reset-admin-password` refuses it: "
            f"{said.replace(password, '<secret>')}"
        )


def known() -> str:
    """Name under which the administrator was known last; empty where none was."""
    try:
        return str(json.loads(KNOWN.read_text(encoding="utf-8"))["administrator"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def remember(username: str) -> None:
    """Remember the name of the administrator."""
    KNOWN.parent.mkdir(parents=True, exist_ok=True)
    KNOWN.write_text(json.dumps({"administrator": username}), encoding="utf-8")


def rename(administrator: dict[str, Any], username: str) -> None:
    """Give the administrator another name.

    administrator
        With the name that it has.

    Raises CommandExecutionError that quotes Grafana.
    """
    user = asked(administrator, "/api/user")
    wanted = {"login": username, "email": user.get("email"), "name": user.get("name")}
    asked(administrator, f"/api/users/{int(user['id'])}", "PUT", wanted)


def reload(administrator: dict[str, Any], what: str, unit: str, since: str) -> None:
    """Have Grafana read its provisioning files again.

    what
        ``datasources`` or ``dashboards``.
    unit, since
        Its unit, and from when on its journal is quoted where it refuses.

    Raises CommandExecutionError that quotes Grafana.
    """
    try:
        asked(administrator, f"/api/admin/provisioning/{what}/reload", "POST")
    except CommandExecutionError as err:
        lines = systemd.journal(unit, since)
        said = checks.extract_error_lines(lines) if lines.strip() else ""
        raise CommandFailed(f"{err}; it says: {said}" if said else str(err)) from err


def uids(administrator: dict[str, Any]) -> dict[str, set[str]]:
    """The uids that Grafana knows: ``datasources`` and ``dashboards``."""
    sources = asked(administrator, "/api/datasources")
    found = asked(administrator, "/api/search?type=dash-db&limit=5000")
    return {
        "datasources": {str(one["uid"]) for one in sources},
        "dashboards": {str(one["uid"]) for one in found},
    }


def dashboard(administrator: dict[str, Any], uid: str) -> dict[str, Any] | None:
    """A dashboard as Grafana keeps it (``dashboard`` and ``meta``); None where there is none."""
    code, answer = call(administrator, f"/api/dashboards/uid/{quote(uid, safe='')}")
    return answer if code == 200 and isinstance(answer, dict) else None
