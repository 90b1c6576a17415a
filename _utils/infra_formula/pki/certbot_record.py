"""What is recorded of certbot: requests, failures, and when the next try is due."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from infra_formula import paths, redaction
from infra_formula.fileset import atomic
from infra_formula.pki import certbot_requests

log = redaction.logger(__name__)

_FIRST_WAIT = 3600
_LONGEST_WAIT = 86400
"""Seconds between two tries: doubled with each failure. Let's Encrypt takes 5 failed validations
per account, name and hour (https://letsencrypt.org/docs/rate-limits/), so the first is an hour."""


def wait_seconds(failures: int) -> int:
    """Seconds that pass after so many failures in a row before an apply asks again; pure."""
    return int(min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT))


def _identity(spec: dict[str, Any]) -> dict[str, Any]:
    return {word: spec[word] for word in ("name", "domains", "challenge")}


def _digest(spec: dict[str, Any], request: dict[str, Any]) -> str:
    """Identity of a request: a failure of another request is no reason to wait."""
    request_text = json.dumps(
        [certbot_requests.command(spec, request), request["environment"]], sort_keys=True
    )
    whole = hashlib.sha256(request_text.encode())
    if spec["challenge"] == "dns" and request["dns_credentials"]:
        credentials = certbot_requests.credentials_path()
        whole.update(credentials.read_bytes() if credentials.exists() else b"")
    return whole.hexdigest()


def active_failure(
    failure: dict[str, Any] | None, spec: dict[str, Any], request: dict[str, Any]
) -> dict[str, Any] | None:
    if failure is None or failure["digest"] != _digest(spec, request):
        return None
    return failure if failure["next"] > _text(_now()) else None


def add_failure(spec: dict[str, Any], request: dict[str, Any], error: str) -> None:
    record = read()
    digest = _digest(spec, request)
    before = record["failures"].get(spec["name"], {})
    count = before.get("count", 0) + 1 if before.get("digest") == digest else 1
    now = _now()
    record["failures"][spec["name"]] = {
        "digest": digest,
        "error": error,
        "count": count,
        "at": _text(now),
        "next": _text(now + datetime.timedelta(seconds=wait_seconds(count))),
    }
    write(record)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _text(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def read() -> dict[str, Any]:
    try:
        data = json.loads(record_path().read_text(encoding="utf-8"))
        return {"asked": dict(data["asked"]), "failures": dict(data["failures"])}
    except FileNotFoundError:
        return {"asked": {}, "failures": {}}
    except (ValueError, KeyError, TypeError) as err:
        # Requests and waiting times are lost; certbot has the rest.
        log.warning("%s is damaged (%s) and written anew", record_path(), err)
        return {"asked": {}, "failures": {}}


def write(record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    atomic.write(str(record_path()), text, 0o600)


def record_path() -> Path:
    """Where requests and failures are recorded."""
    return paths.STATE_DIR / "certbot.json"
