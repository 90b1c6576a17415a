"""HTTP connections that stay open, through proxies; temporary and final errors are distinct."""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import ipaddress
import random
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from infra_formula.errors import CommandFailed

REDIRECTS = 5
"""Redirections followed for one file."""

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_REDIRECT_STATUS = {301, 302, 303, 307, 308}


class FinalError(Exception):
    """Asking again will not help."""


class TemporaryError(Exception):
    """Asking again may help."""


class StaleError(TemporaryError):
    """What an earlier run had got of the file is of no use."""


def proxy_for(url: str, proxy_env: dict[str, str] | None) -> str:
    """The proxy that an address is to be fetched through.

    url
        Address of the file.
    proxy_env
        ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` (commas; a name stands for
        its sub-domains too; ``*`` patterns, networks like ``10.0.0.0/8``), as Pigsty has them.

    Returns the proxy's URL, empty for none.
    """
    env = {key.lower(): value for key, value in (proxy_env or {}).items() if value}
    parts = urlsplit(url)
    proxy = env.get(f"{parts.scheme}_proxy") or env.get("all_proxy") or ""
    host = (parts.hostname or "").lower()
    if not proxy or parts.scheme == "file":
        return ""
    for pattern in str(env.get("no_proxy", "")).lower().split(","):
        if pattern.strip() and _matches(host, pattern.strip()):
            return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def proxies_of(urls: Sequence[str], proxy_env: dict[str, str] | None) -> dict[str, str]:
    """What apt is told of proxies: scheme → proxy, and ``no_proxy``.

    urls
        Addresses of upstreams. Their hosts that ``no_proxy`` excludes by a pattern or a network are
        named, since apt knows neither.
    proxy_env
        See :func:`proxy_for`.
    """
    env = {key.lower(): str(value) for key, value in (proxy_env or {}).items() if value}
    proxies = {}
    for scheme in ("http", "https"):
        proxy = env.get(f"{scheme}_proxy") or env.get("all_proxy") or ""
        if proxy:
            proxies[scheme] = proxy if "://" in proxy else f"http://{proxy}"
    if not proxies:
        return {}
    direct = [word.strip() for word in env.get("no_proxy", "").split(",") if word.strip()]
    direct += [str(urlsplit(url).hostname) for url in urls if not proxy_for(url, proxy_env)]
    return {**proxies, "no_proxy": ",".join(dict.fromkeys(direct))}


def _matches(host: str, pattern: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    if "*" in pattern:
        return fnmatch.fnmatch(host, pattern)
    bare = pattern.lstrip(".")
    return host == bare or host.endswith(f".{bare}")


def read(
    url: str,
    proxy_env: dict[str, str] | None = None,
    limit: int = 2**20,
    login: Sequence[str] | None = None,
    tls: Tls | None = None,
    attempts: int = 3,
) -> bytes:
    """A small file as bytes, such as a public key.

    url
        http, https or file.
    proxy_env
        See :func:`proxy_for`.
    limit
        Bytes it may have.
    login, tls
        As for ``Session.get``.
    attempts
        How often it is asked for.

    Raises CommandExecutionError with the reason.
    """
    session = Session(proxy_env, 30)
    reason = ""
    try:
        for attempt in range(attempts):
            try:
                with session.get(url, 0, login, None, tls) as (stream, _status):
                    data: bytes = stream.read(limit + 1)
                    if len(data) > limit:
                        raise FinalError(f"longer than {limit} bytes")
                return data
            except FinalError as exc:
                raise CommandFailed(f"{url}: {exc}") from exc
            except (TemporaryError, OSError, http.client.HTTPException) as exc:
                reason = error_text(exc)
                if attempt + 1 < attempts:
                    time.sleep(pause(attempt))
    finally:
        session.close()
    raise CommandFailed(f"{url}: {reason}")


def error_text(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.strerror}" + (f": {exc.filename}" if exc.filename else "")
    return str(exc) or type(exc).__name__


def pause(attempt: int) -> float:
    # Jitter, so that all connections do not come back to a struggling upstream at once.
    return min(8.0, 0.25 * (1 << attempt)) * (0.5 + random.random() / 2)  # noqa: S311


class Session:
    """Connections of one worker, open from file to file."""

    def __init__(self, proxy_env: dict[str, str] | None, timeout: int) -> None:
        self.proxy_env = proxy_env
        self.timeout = timeout
        self.answer: dict[str, str] = {}
        self.open: dict[tuple[str, str, str, Tls], http.client.HTTPConnection] = {}

    def close(self) -> None:
        for connection in self.open.values():
            connection.close()
        self.open.clear()

    @contextlib.contextmanager
    def get(
        self,
        url: str,
        offset: int,
        login: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        tls: Tls | None = None,
    ) -> Any:
        """Ask for a file from an offset on: a stream, and the status of the answer.

        With further ``headers`` the status may be 304: the file is the one that is known. The
        headers of the answer are in ``answer``, those of a file its time.

        A login is sent to the host of the URL, and to none that it redirects to.
        """
        owner = _host(url)
        if urlsplit(url).scheme == "file":
            self.answer = {}
            try:
                with Path(unquote(urlsplit(url).path)).open("rb") as stream:
                    stream.seek(offset)
                    yield stream, 206
            except FileNotFoundError as exc:
                raise FinalError("there is no such file") from exc
            return
        for _hop in range(REDIRECTS + 1):
            own_login = login if _host(url) == owner else None
            own_tls = tls if tls and (_host(url) == owner or not tls.one_host) else Tls()
            response = self._ask(url, offset, own_login, headers, own_tls)
            if response.status in _REDIRECT_STATUS:
                response.read()
                target = urljoin(url, response.headers.get("Location", ""))
                if urlsplit(target).scheme not in ("http", "https"):
                    raise FinalError(f"it redirects to {target!r}, which is not followed")
                if urlsplit(url).scheme == "https" != urlsplit(target).scheme:
                    raise FinalError(
                        f"it redirects from https to {target!r}, which is not followed"
                    )
                url = target
                continue
            self.answer = {name.lower(): value for name, value in response.headers.items()}
            if response.status == 304 and headers:
                response.read()
                yield response, 304
                return
            yield _checked(response, offset), response.status
            if response.length:
                raise TemporaryError(f"the connection broke off {response.length} bytes too early")
            response.read()  # nothing is left, but this is what frees the connection for the next
            return
        raise FinalError(f"more than {REDIRECTS} redirections, the last one to {url}")

    def _ask(
        self,
        url: str,
        offset: int,
        login: Sequence[str] | None = None,
        extra: Mapping[str, str] | None = None,
        tls: Tls | None = None,
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        proxy = proxy_for(url, self.proxy_env)
        tls = tls or Tls()
        key = (parts.scheme, parts.netloc, proxy, tls)
        fresh = key not in self.open
        if fresh:
            self.open[key] = _connect(parts, proxy, self.timeout, tls)
        path = quote(parts.path or "/", safe="/%:=&?~#+!$,;'@()*[]") + (
            f"?{parts.query}" if parts.query else ""
        )
        if proxy and parts.scheme == "http":
            path = f"http://{parts.netloc.rpartition('@')[2]}{path}"
        headers = {"User-Agent": "infra-formula", "Accept-Encoding": "identity", **(extra or {})}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        headers.update(_credentials(parts, proxy if parts.scheme == "http" else ""))
        if login:
            headers["Authorization"] = _basic(*login)
        try:
            self.open[key].request("GET", path, headers=headers)
            return self.open[key].getresponse()
        except (http.client.HTTPException, OSError):
            self.open.pop(key).close()
            if fresh:
                raise
            # The server had closed an idle connection: that is no failure.
            return self._ask(url, offset, login, extra, tls)


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _credentials(parts: Any, proxy: str) -> dict[str, str]:
    logins = {}
    for header, where in (("Authorization", parts), ("Proxy-Authorization", urlsplit(proxy))):
        if where.username:
            logins[header] = _basic(unquote(where.username), unquote(where.password or ""))
    return logins


class Tls(NamedTuple):
    """How the certificate of an upstream is verified.

    ca
        File with its CA; empty for those of the system.
    verify
        Whether it is verified.
    certificate, key
        Files with this node's own certificate and key for the upstream; empty for none.
    one_host
        Whether it holds for the host of the URL alone, as apt's options do. Those of dnf hold for
        the hosts that it redirects to, too.
    """

    ca: str = ""
    verify: bool = True
    certificate: str = ""
    key: str = ""
    one_host: bool = False


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca or None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None)
    return context


def _connect(parts: Any, proxy: str, timeout: int, tls: Tls) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        if proxy:
            through = urlsplit(proxy)
            return http.client.HTTPConnection(
                through.hostname or "", through.port or 3128, timeout=timeout
            )
        # Without a port, http.client takes the end of an IPv6 address for one.
        return http.client.HTTPConnection(host, port or 80, timeout=timeout)
    context = _context(tls)
    if not proxy:
        return http.client.HTTPSConnection(host, port or 443, timeout=timeout, context=context)
    through = urlsplit(proxy)
    connection = http.client.HTTPSConnection(
        through.hostname or "", through.port or 3128, timeout=timeout, context=context
    )
    connection.set_tunnel(host, port or 443, headers=_credentials(urlsplit(""), proxy))
    return connection


def _checked(response: http.client.HTTPResponse, offset: int) -> http.client.HTTPResponse:
    status = response.status
    if status == 200 or (status == 206 and offset):
        start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if status == 206 and start != str(offset):
            raise StaleError(f"expected the part from byte {offset} on, got another")
        return response
    response.read()
    if status in _RETRY_STATUS:
        raise TemporaryError(f"it answered {status} {response.reason}")
    if offset:
        # A server, or a proxy before it, may refuse a part (416, 403, 501) of what it has.
        raise StaleError(f"it answered {status} {response.reason} to a request for a part")
    raise FinalError(f"it answered {status} {response.reason}")
