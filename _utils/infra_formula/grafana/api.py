"""Grafana's HTTP API on this machine."""

from __future__ import annotations

import base64
import json
from typing import Any, TypedDict
from urllib.parse import quote

from infra_formula import json_text, redaction
from infra_formula.daemon import health, local_ports
from infra_formula.errors import CommandFailed

PREFIX = "/ui"
"""Path below which Grafana is served, on every name."""

_TIMEOUT = 60.0  # seconds


class Administrator(TypedDict):
    """Account that the API is called with."""

    port: int
    username: str
    password: str


def call(
    administrator: Administrator, path: str, method: str = "GET", body: object = None
) -> tuple[int | None, Any]:
    """Send one request.

    path
        Below the prefix, like ``/api/org``.
    body
        Sent as JSON.

    Returns the status code (None if there is no HTTP response) and the answer: its JSON, or a text.
    """
    text = f"{administrator['username']}:{administrator['password']}"
    headers = {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
    data = None
    if body is not None:
        data = json.dumps(body)
        headers["Content-Type"] = "application/json"
    port = administrator["port"]
    code, answer = local_ports.request(port, PREFIX + path, _TIMEOUT, method, data, headers)
    try:
        return code, json_text.parse(answer)
    except ValueError:
        return code, answer


def require(
    administrator: Administrator, path: str, method: str = "GET", body: object = None
) -> Any:
    """As :func:`call`, for a request that has to succeed; returns the answer.

    Raises CommandFailed that quotes Grafana.
    """
    code, answer = call(administrator, path, method, body)
    if code == 200:
        return answer
    if isinstance(answer, dict):
        message = answer.get("message") or ""
    else:
        message = redaction.scrub(str(answer))[:200]
    raise CommandFailed(f"{method} {PREFIX}{path}: {code or 'no answer'} {message}".rstrip())


def accepts(administrator: Administrator) -> bool:
    """Whether Grafana accepts this name and password as those of a server administrator.

    Raises CommandFailed if Grafana does not answer, or if the user is no server administrator.
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


def rename(administrator: Administrator, username: str) -> None:
    """Rename the administrator.

    administrator
        With the current name.

    Raises CommandFailed that quotes Grafana.
    """
    user = require(administrator, "/api/user")
    changed = {"login": username, "email": user.get("email"), "name": user.get("name")}
    require(administrator, f"/api/users/{int(user['id'])}", "PUT", changed)


def reload(administrator: Administrator, what: str, unit: str, since: str) -> None:
    """Reload Grafana's provisioning files.

    what
        ``datasources`` or ``dashboards``.
    unit, since
        Its unit, and the start of the period from which its journal is quoted.

    Raises CommandFailed that quotes Grafana.
    """
    try:
        require(administrator, f"/api/admin/provisioning/{what}/reload", "POST")
    except CommandFailed as err:
        raise CommandFailed(f"{err}{health.journal_quote(unit, since)}") from err


def uids(administrator: Administrator) -> dict[str, set[str]]:
    """The uids in Grafana: ``datasources`` and ``dashboards``."""
    sources = require(administrator, "/api/datasources")
    boards = require(administrator, "/api/search?type=dash-db&limit=5000")
    return {
        "datasources": {str(source["uid"]) for source in sources},
        "dashboards": {str(board["uid"]) for board in boards},
    }


def dashboard(administrator: Administrator, uid: str) -> dict[str, Any] | None:
    """A dashboard in Grafana (``dashboard`` and ``meta``); None if there is none of that uid."""
    code, answer = call(administrator, f"/api/dashboards/uid/{quote(uid, safe='')}")
    return answer if code == 200 and isinstance(answer, dict) else None
