"""The portal that was applied on this machine: its record, and what answers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra_formula import credentials, redaction
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.portal import (
    cards,
    explanation,
    http_client,
    http_config,
    named_certificates,
    own_certificates,
    rendering,
    streams,
)
from infra_formula.portal import record as portal_record
from infra_formula.portal.entries import Settings
from infra_formula.portal.views import View, served, views
from infra_formula.registration import inventory

log = redaction.logger(__name__)

_SHOWN = ("kind", "domain", "names", "endpoints", "scheme", "path", "tls", "redirect")


def record_path() -> Path:
    """Where the portal that was applied last is recorded."""
    return portal_record.path()


def record(portal: dict[str, Any], settings: Settings) -> None:
    """Record the portal that was applied.

    Only root may read it: ``config`` of an entry may hold a secret. Users are not in it.
    """
    text = json.dumps({"portal": portal, "settings": settings}, indent=1)
    atomic.write(record_path(), text, 0o600)


def recorded() -> tuple[dict[str, Any], Settings]:
    """The portal that was applied last, and its settings.

    Raises CommandFailed if none was applied, or the record is corrupt.
    """
    path = record_path()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        redaction.add(list(credentials.recognized(data["portal"])))
        redaction.add(list(credentials.recognized(http_config.text(data["settings"]))))
        return dict(data["portal"]), dict(data["settings"])
    except FileNotFoundError:
        raise CommandFailed(
            "no portal was applied on this minion; apply infra.nginx first"
        ) from None
    except (ValueError, KeyError, TypeError) as err:
        raise CommandFailed(
            f"{path} is corrupt, or from another release ({err!r}); apply infra.nginx"
        ) from None


def entries() -> dict[str, dict[str, Any]]:
    """Entries of the applied portal, with their names and endpoints."""
    return {
        key: {name: view[name] for name in _SHOWN} | {"auth": bool(view["auth"])}
        for key, view in views(*recorded()).items()
    }


def validate(portal: Any = None, settings: Settings | None = None) -> dict[str, Any]:
    """Validate a portal, by default the applied one: ``{"valid": bool, "errors": [message, …]}``.

    portal, settings
        In place of those that were applied last.
    """
    errors = rendering.problems(*_or_recorded(portal, settings))
    return {"valid": not errors, "errors": errors}


def render(
    minion: Minion, portal: dict[str, Any] | None = None, settings: Settings | None = None
) -> dict[str, str]:
    """Render a portal: path below ``/etc/nginx`` → text, or ``-> target`` of a link.

    portal, settings
        As for :func:`validate`.

    Raises InvalidInput with every error in the portal.
    """
    portal, settings = _or_recorded(portal, settings)
    files = rendering.rendered(minion, portal, settings, inventory.recorded(minion))
    return {rel: file.get("text", f"-> {file.get('link')}") for rel, file in files.items()}


def diff(
    minion: Minion, portal: dict[str, Any] | None = None, settings: Settings | None = None
) -> dict[str, str]:
    """Compare a portal with the files on disk: path below ``/etc/nginx`` → unified difference.

    portal, settings
        As for :func:`validate`. The files of users and of named certificates are not
        compared: no password and no key is recorded.
    """
    portal, settings = _or_recorded(portal, settings)
    files = rendering.rendered(minion, portal, settings, inventory.recorded(minion))
    difference = FileSet("portal", rendering.ROOT).plan(files).diff
    return {
        rel: text
        for rel, text in difference.items()
        if not rel.startswith(".htpasswd") and not rel.startswith(f"{named_certificates.FOLDER}/")
    }


def explain(name: str, path: str, scheme: str) -> dict[str, Any]:
    """What answers a URL of the applied portal (see ``infra_portal.explain``)."""
    return explanation.explain(name, path, scheme, *recorded())


def _or_recorded(portal: Any, settings: Settings | None) -> tuple[Any, Settings]:
    if portal is None or settings is None:
        recorded_portal, recorded_settings = recorded()
        portal = recorded_portal if portal is None else portal
        settings = recorded_settings if settings is None else settings
    return portal, settings


# -- what answers --------------------------------------------------------------------------------


def status(only: Iterable[str] | None = None, timeout: float = 8.0) -> dict[str, dict[str, Any]]:
    """Query every served name over HTTP and HTTPS, and connect to its upstream.

    See ``infra_portal.status`` for the parameters and the result.
    """
    portal, settings = recorded()
    wanted = None if only is None else set(only)
    answer = {
        key: view
        for key, view in served(portal, settings).items()
        if wanted is None or key in wanted
    }
    with ThreadPoolExecutor(max_workers=16) as pool:
        rows = pool.map(lambda view: _entry_status(view, settings, timeout), answer.values())
        result = dict(zip(answer, rows, strict=True))
        result.update(_stream_rows(settings, wanted, timeout, pool))
        if "home" in result:
            recorded_cards = cards.recorded()
            codes = pool.map(
                lambda card: _card_code(card["url"], answer["home"], settings, timeout),
                recorded_cards["cards"],
            )
            result["home"]["cards"] = [
                _card_status(card, code, recorded_cards["asked"].get(card["url"], {}))
                for card, code in zip(recorded_cards["cards"], codes, strict=True)
            ]
        return result


def _stream_rows(
    settings: Settings, wanted: set[str] | None, timeout: float, pool: ThreadPoolExecutor
) -> dict[str, dict[str, Any]]:
    """A row for each stream: whether its port takes connections, and its endpoint does."""
    chosen = {
        name: stream
        for name, stream in streams.of_settings(settings).items()
        if wanted is None or name in wanted
    }

    faults = own_certificates.stream_faults(settings)

    def row(name: str, stream: streams.Stream) -> dict[str, Any]:
        start = time.monotonic()
        upstream = streams.listed(stream["endpoint"])[0]
        is_tcp = streams.protocol(stream) == "tcp"
        port = stream["listen"]
        return {
            "listen": f"{port}/{streams.protocol(stream)}",
            "listen_status": _upstream_status(f"127.0.0.1:{port}", timeout) if is_tcp else None,
            "upstream": upstream,
            "upstream_status": _upstream_status(upstream, timeout) if is_tcp else None,
            **({"certificate": faults[name]} if name in faults else {}),
            "seconds": round(time.monotonic() - start, 3),
        }

    return dict(zip(chosen, pool.map(row, chosen, chosen.values()), strict=True))


def _code(host: str, path: str, scheme: str, settings: Settings, timeout: float) -> int | None:
    """HTTP status of a page of the portal; None without an answer."""
    tls = scheme == "https"
    port = settings["nginx_ssl_port" if tls else "nginx_port"]
    try:
        code, _headers, _body = http_client.get(port, path, host, tls, timeout)
    except OSError as err:
        log.debug("%s%s over %s: %s", host, path, scheme, err)
        return None
    return code


def _entry_status(view: View, settings: Settings, timeout: float) -> dict[str, Any]:
    start = time.monotonic()
    host = view["domain"].replace("*", "any")
    codes: dict[str, int | None] = {"http": None, "https": None}
    for scheme in ("http", "https") if view["tls"] else ("http",):
        codes[scheme] = _code(host, "/", scheme, settings, timeout)
    is_proxied = view["kind"] == "proxy" and view["endpoints"]
    upstream = view["endpoints"][0] if is_proxied else None
    row = {
        "domain": view["domain"],
        **codes,
        "upstream": upstream,
        "upstream_status": _upstream_status(upstream, timeout) if upstream else None,
    }
    fault = own_certificates.fault(view)
    if fault:
        row["certificate"] = fault
    below = {
        group["key_path"]: {
            "upstream": group["endpoints"][0],
            "upstream_status": _upstream_status(group["endpoints"][0], timeout),
        }
        for group in view["upstreams"]
        if group["key_path"]
    }
    if below:
        row["locations"] = below
    return {**row, "seconds": round(time.monotonic() - start, 3)}


def _card_code(url: str, home: View, settings: Settings, timeout: float) -> int | None:
    """HTTP status of a card's page; None for another site, and without an answer."""
    if not url.startswith("/"):
        return None
    path = quote(url.partition("#")[0], safe="%/:?&=+,;@!$'()*~-._")
    return _code(home["domain"], path, "https" if home["tls"] else "http", settings, timeout)


def _card_status(card: dict[str, str], code: int | None, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "card": card["name"],
        "url": card["url"],
        "code": code,
        "shown": answer.get("served") is True,
        "reason": str(answer.get("reason", "")),
    }


def _upstream_status(endpoint: str, timeout: float) -> str:
    try:
        if endpoint.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(timeout)
                channel.connect(endpoint[5:])
        else:
            host, _, port = endpoint.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError:
        return "error"
    return "ok"
