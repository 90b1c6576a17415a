"""Which cards of the home page lead to a page, by a query of the program behind each of them.

Packages of the same program differ: Debian builds VictoriaMetrics and Alertmanager without their
web applications. A card is shown only if the installed program serves its page. For a program that
is down, starting or overloaded its last answer counts, which the state ``infra_portal.pages``
records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from infra_formula import redaction
from infra_formula.fileset import manifest
from infra_formula.portal import http_client

log = redaction.logger(__name__)


TOOLS = {
    "grafana": ("/ui/", "/ui/"),
    "vmetrics": ("/vmetrics/", "/"),
    "vlogs": ("/vlogs/", "/"),
    "vtraces": ("/vtraces/", "/"),
    "vmagent": ("/vmagent/", "/"),
    "vmalert": ("/vmalert/", "/"),
    "alertmanager": ("/alertmgr/", "/"),
    "blackbox": ("/blackbox/", "/"),
}
"""Path of each program at the portal, and what it becomes at the program (``home.conf.j2``)."""

_CLUSTER = ("vmselect", "/select/0/prometheus/")
"""The same of a cluster's vmselect, in the place of VictoriaMetrics."""

ALERTMANAGER_PAGE = "/alertmgr/#/alerts"
ALERTS_PAGE = "/vmalert/vmalert/alerts"
"""Shows the alerts if Alertmanager has no page, to which its messages lead."""

ALERT_PAGES = (ALERTMANAGER_PAGE, ALERTS_PAGE)
"""Queried even if the home page has no card of them."""

_MAX_REDIRECTS = 3
_URL_CHARACTERS = "%/:?&=+,;@!$'()*~#[]-._"
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_SCRIPT_SOURCE = re.compile(r"""<script\b[^>]*?\ssrc\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)

_EMPTY: dict[str, Any] = {"asked": {}, "cards": [], "alerts_page": ""}

Answer = dict[str, Any]


def asked(
    urls: Iterable[str], settings: dict[str, Any], timeout: float = 3.0
) -> dict[str, dict[str, Any]]:
    """Query the programs of this machine for pages of the portal.

    urls
        Links of cards: paths at the portal, or URLs.
    settings
        The portal's settings; of them ``components`` (name → ``port`` and ``health``, the path that
        answers 200 when it is healthy), ``nginx_home``, ``repo_home`` and ``repo_name``.
    timeout
        Seconds to wait for each answer.

    Returns url → ``served`` (None: no healthy program has answered yet), ``code`` (the program's
    HTTP status, None without one) and ``reason``. A link that leads to no program of this formula
    counts as served.
    """
    last = recorded()["asked"]
    links = list(dict.fromkeys(urls))
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = pool.map(lambda url: _ask(url, settings, timeout), links)
        return {
            url: _or_last(answer, last.get(url)) for url, answer in zip(links, answers, strict=True)
        }


def record(cards: Iterable[Mapping[str, str]], settings: dict[str, Any]) -> dict[str, Any]:
    """Query the pages of cards, and those to which alerts lead.

    cards
        Cards, each with ``name`` and ``url``.
    settings
        As for :func:`asked`.

    Returns what the state records: see :func:`recorded`.
    """
    named = [{"name": card["name"], "url": card["url"]} for card in cards]
    wanted = [card["url"] for card in named]
    wanted += [u for u in ALERT_PAGES if target(u, settings)[0] == "program"]
    answers = asked(wanted, settings)
    return {"asked": answers, "cards": named, "alerts_page": _alerts_page(answers)}


def alerts_page(settings: dict[str, Any]) -> str:
    """Path of the page that replaces Alertmanager's; empty if Alertmanager has its own.

    settings
        As for :func:`asked`.
    """
    if not {"alertmanager", "vmalert"} <= set(settings["components"]):
        return ""
    return _alerts_page(asked(ALERT_PAGES, settings))


def _alerts_page(answers: Mapping[str, Mapping[str, Any]]) -> str:
    if not set(ALERT_PAGES) <= set(answers):
        return ""
    # Only after an answer: before the first one, Alertmanager's page is assumed.
    missing = answers[ALERTMANAGER_PAGE]["served"] is False
    return ALERTS_PAGE if missing and answers[ALERTS_PAGE]["served"] else ""


def record_path() -> Path:
    """Where the last answers of the programs are recorded."""
    return manifest.manifest_path("portal-cards")


def recorded() -> dict[str, Any]:
    """The last record: ``asked`` (see :func:`asked`), ``cards`` (``name`` and ``url``) and
    ``alerts_page`` (see :func:`alerts_page`). A missing or corrupt one is empty.
    """
    path = record_path()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = {str(url): dict(row) for url, row in data["asked"].items()}
        cards = [{"name": str(c["name"]), "url": str(c["url"])} for c in data["cards"]]
        page = str(data["alerts_page"])
    except FileNotFoundError:
        return dict(_EMPTY)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        log.warning("%s is corrupt (%s); the programs are queried again", path, err)
        return dict(_EMPTY)
    return {"asked": rows, "cards": cards, "alerts_page": page}


def target(url: str, settings: dict[str, Any]) -> tuple[str, Any]:
    """Where a link of the portal leads.

    Returns ``("program", (component, path at the program))``, ``("off", component)`` for a
    component that is switched off, ``("file", path)`` for what nginx serves from disk, and
    ``("site", None)`` for everything else.
    """
    if not url.startswith("/"):
        return "site", None
    parts = urlsplit(url)
    components = settings["components"]
    for name, (prefix, below) in TOOLS.items():
        if parts.path.startswith(prefix) or parts.path + "/" == prefix:
            is_cluster = name == "vmetrics" and name not in components and "vmselect" in components
            component, replacement = _CLUSTER if is_cluster else (name, below)
            if component not in components:
                return "off", component
            query = f"?{parts.query}" if parts.query else ""
            return "program", (component, replacement + parts.path[len(prefix) :] + query)
    if parts.path == "/ca.crt":
        return "file", Path(settings["nginx_home"], "ca.crt")
    if parts.path == "/pev":
        return "file", Path(settings["nginx_home"], "pev.html")
    if parts.path.split("/")[1] == settings["repo_name"]:
        return "file", Path(settings["repo_home"], parts.path.lstrip("/"))
    return "site", None


def _ask(url: str, settings: dict[str, Any], timeout: float) -> Answer:
    kind, where = target(url, settings)
    if kind == "site":
        return _answer(True, None, "a link of the site's own")
    if kind == "off":
        return _answer(False, None, f"{where} is switched off")
    if kind == "file":
        exists = where.exists()
        return _answer(exists, None, "nginx serves it" if exists else f"{where} does not exist")
    component, path = where
    return _ask_program(component, settings["components"][component], path, _is_app(url), timeout)


def _answer(served: bool | None, code: int | None, reason: str) -> Answer:
    return {"served": served, "code": code, "reason": reason}


def _or_last(answer: Answer, last: Mapping[str, Any] | None) -> Answer:
    if answer["served"] is not None or last is None or last.get("served") is None:
        return answer
    page = "served this page" if last["served"] else "did not serve this page"
    return {
        **answer,
        "served": bool(last["served"]),
        "reason": f"{answer['reason']}; it {page} at the last query",
    }


def _is_app(url: str) -> bool:
    """Whether a page is an application that runs in the browser."""
    parts = urlsplit(url)
    return parts.fragment.startswith("/") or "/vmui" in parts.path


def _ask_program(
    name: str, component: Mapping[str, Any], path: str, app: bool, timeout: float
) -> Answer:
    port = component["port"]
    if port is None:
        return _answer(False, None, f"{name} has no web interface")
    try:
        if component.get("health"):
            code, _, _ = _get(port, component["health"], timeout)
            if code != 200:
                return _answer(None, None, f"{name} is not healthy: HTTP {code}")
        code, headers, body = _get(port, path, timeout)
        for _ in range(_MAX_REDIRECTS):
            if not 300 <= code < 400:
                break
            path, inside = _resolved(port, path, headers.get("Location", ""))
            if not inside:
                return _answer(False, code, f"leads away to {path[:200]}")
            code, headers, body = _get(port, path, timeout)
        script = _script_of(body) if app and code == 200 else None
        if script:
            source, inside = _resolved(port, path, script)
            script_code = _get(port, source, timeout)[0] if inside else 200
            if script_code != 200:
                return _answer(
                    None if script_code >= 500 else False,
                    code,
                    f"the page's script {source[:200]} answers HTTP {script_code}",
                )
    except OSError as err:
        return _answer(None, None, f"{name} does not answer on port {port}: {err}")
    except ValueError as err:
        return _answer(False, None, f"leads to what is no URL: {err}")
    return _evaluate(name, code, headers.get("Content-Type", ""), body, app)


def _evaluate(name: str, code: int, kind: str, body: str, app: bool) -> Answer:
    """Whether an answer is a page."""
    if code >= 500 or code == 429:
        return _answer(None, code, f"{name} answers HTTP {code}")
    if code == 401:
        return _answer(True, code, "asks for a login")
    if code != 200:
        return _answer(False, code, f"HTTP {code}")
    if not kind.lower().startswith("text/html"):
        return _answer(False, code, f"no page, but {kind[:60] or 'content without a type'}")
    if app and not _SCRIPT.search(body):
        return _answer(False, code, "a page without the application: it was built without one")
    return _answer(True, code, "HTTP 200")


def _script_of(body: str) -> str | None:
    match = _SCRIPT_SOURCE.search(body)
    return match[1] if match else None


def _resolved(port: int, path: str, link: str) -> tuple[str, bool]:
    """A link on a page of a program: its path, and whether it leads to the same program."""
    base = f"http://127.0.0.1:{port}"
    url = urljoin(base + path, link)
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" != base:
        return url, False
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), True


def _get(port: int, path: str, timeout: float) -> tuple[int, HTTPMessage, str]:
    url = quote(path, safe=_URL_CHARACTERS)
    return http_client.get(port, url, f"127.0.0.1:{port}", timeout=timeout, accept="text/html")
