"""Health checks of the components, as the state tree describes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra_formula.daemon import local_ports
from infra_formula.dns import client, records
from infra_formula.errors import CommandFailed
from infra_formula.ntp import chrony


def check(request: Mapping[str, Any]) -> str:
    """Check the health of a component.

    request
        ``kind`` and its arguments: ``http`` (``port``, ``path``), ``dns`` (``port``), ``ntp``
        (``serves``, ``sourced``), ``files`` (``paths`` that have to exist).

    Returns what it answered.

    Raises CommandFailed if it is unhealthy.
    """
    kind = request["kind"]
    if kind == "http":
        return _check_http(request["port"], request["path"])
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
    raise CommandFailed(f"check.kind: expected http, dns, ntp or files, got {kind!r}")


def _check_dns(port: int) -> str:
    served = records.served("default").get("default", {})
    address, names = next(iter(served.items()), ("", ["localhost"]))
    kind = "AAAA" if ":" in address else "A"
    for tcp in (False, True):
        answer = client.query(names[0], kind, port=port, tcp=tcp)
        if address and address not in answer["values"]:
            raise CommandFailed(f"{names[0]}: answers {answer['rcode']}")
    return f"answers for {names[0]} over UDP and TCP"


def _check_http(port: int, path: str) -> str:
    # The portal leaves requests with this name out of its access log.
    headers = {"User-Agent": "infra-formula"}
    status, answer = local_ports.request(port, path, headers=headers)
    if status is None:
        raise CommandFailed(f"port {port}: {answer}")
    if status not in (200, 204, 301, 302, 401):
        raise CommandFailed(f"port {port}: {path} answers {status}")
    return f"{path} answers {status}"
