"""Health checks of the components, as the state tree describes them."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra_formula.daemon import local_ports
from infra_formula.dns import client, records
from infra_formula.errors import CommandFailed
from infra_formula.ntp import chrony
from infra_formula.pki import certificates

_SECONDS = 3  # for an answer of another machine


def check(request: Mapping[str, Any]) -> str:
    """Check the health of a component.

    request
        ``kind`` and its arguments: ``http`` (``port``, ``path``; of the portal, ``certificates``:
        key path → the files of its own certificate), ``dns`` (``port``), ``ntp``
        (``serves``, ``sourced``), ``urls`` (``urls``, of other machines), ``files`` (``paths``
        that have to exist).

    Returns what it answered.

    Raises CommandFailed if it is unhealthy.
    """
    kind = request["kind"]
    if kind == "http":
        answer = _check_http(request["port"], request["path"])
        _check_certificates(request.get("certificates", {}))
        return answer
    if kind == "urls":
        return _check_urls(request["urls"])
    if kind == "dns":
        return _check_dns(request["port"])
    if kind == "ntp":
        status = chrony.status()
        problem = chrony.health_problem(status, request["serves"], request["sourced"])
        if problem:
            raise CommandFailed(problem)
        return f"stratum {status['tracking']['stratum']}"
    if kind == "files":
        missing = [path for path in request["paths"] if not Path(path).exists()]
        if missing:
            raise CommandFailed(f"missing: {', '.join(missing)}")
        return "is there"
    raise CommandFailed(f"check.kind: expected http, urls, dns, ntp or files, got {kind!r}")


def _check_certificates(pairs: Mapping[str, list[str]]) -> None:
    faults = [
        f"{path}.{fault}"
        for path, (cert, private) in pairs.items()
        if (fault := certificates.pair_fault(cert, private))
    ]
    if faults:
        raise CommandFailed(f"{'; '.join(faults)}; the portal's own is served there")


def _check_dns(port: int) -> str:
    served = records.served("default").get("default", {})
    address, names = next(iter(served.items()), ("", ["localhost"]))
    kind = "AAAA" if ":" in address else "A"
    for tcp in (False, True):
        answer = client.query(names[0], kind, port=port, tcp=tcp)
        if address and address not in answer["values"]:
            raise CommandFailed(f"{names[0]}: answers {answer['rcode']}")
    return f"answers for {names[0]} over UDP and TCP"


def _check_urls(urls: list[str]) -> str:
    for url in urls:
        request = urllib.request.Request(url, headers={"User-Agent": "infra-formula"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310 - http(s), by the schema
                continue
        except urllib.error.HTTPError as err:
            if err.code != 401:  # it asks for a login, and so answers
                raise CommandFailed(f"{url} answers {err.code}") from err
        except (OSError, http.client.HTTPException) as err:
            raise CommandFailed(f"{url}: {getattr(err, 'reason', err)}") from err
    return f"{len(urls)} elsewhere answer" if len(urls) > 1 else f"{urls[0]} answers"


def _check_http(port: int, path: str) -> str:
    # The portal leaves requests with this name out of its access log.
    headers = {"User-Agent": "infra-formula"}
    status, answer = local_ports.request(port, path, headers=headers)
    if status is None:
        raise CommandFailed(f"port {port}: {answer}")
    if status not in (200, 204, 301, 302, 401):
        raise CommandFailed(f"port {port}: {path} answers {status}")
    return f"{path} answers {status}"
