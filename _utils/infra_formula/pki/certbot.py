"""Public certificates of the portal, which certbot gets from an ACME server.

All of ACME is certbot's: the account, the challenges, the renewal by its own timer. This module
runs certbot for what is missing or changed, and records failures, so that an apply respects the
rate limits of an ACME server.

Entries of ``infra_portal`` that have the same ``certbot`` name share one certificate.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula import paths, process, redaction
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import root_only
from infra_formula.pki import certbot_record, certbot_requests
from infra_formula.pki import certificates as pki_certificates

log = redaction.logger(__name__)
REASONS = ("unspecified", "keycompromise", "affiliationchanged", "superseded",
           "cessationofoperation")  # fmt: skip
"""Reasons for a revocation that certbot knows (``certbot --help revoke``)."""

_RUN_SECONDS = 900
_BUSY = "Another instance of Certbot is already running"
_BUSY_SECONDS = 300


# -- what there is -------------------------------------------------------------------------------
def certificates() -> dict[str, dict[str, Any]]:
    """Certificates that certbot keeps on this machine; see ``infra_certbot.certificates``."""
    result = {}
    for conf in sorted((paths.LETSENCRYPT / "renewal").glob("*.conf")):
        live = paths.LETSENCRYPT / "live" / conf.stem
        cert, key = str(live / "fullchain.pem"), str(live / "privkey.pem")
        entry: dict[str, Any] = {"cert": cert, "key": key}
        fault = pki_certificates.pair_fault(cert, key)
        if fault:
            entry["fault"] = fault
        else:
            description = pki_certificates.describe(cert)
            for word in ("names", "issuer", "not_after", "days", "days_left"):
                entry[word] = description[word]
            entry["renewal"] = certbot_requests.renewal_parameters(conf.read_text(encoding="utf-8"))
        result[conf.stem] = entry
    return result


def plan(views: dict[str, dict[str, Any]], request: dict[str, Any]) -> dict[str, list[Any]]:
    """Plan what certbot has to issue; changes nothing.

    views, request
        As for :func:`certbot_requests.group_names`.

    Returns ``wanted``, as :func:`certbot_requests.group_names` does, with ``reason`` (None: it is
    up to date), ``force`` and ``wait`` (the last failure, if the next try is not due yet); and
    ``retired``, names of certificates of this formula that no entry asks for any more.
    """
    there, record = certificates(), certbot_record.read()
    specs = certbot_requests.group_names(views, request)
    for spec in specs:
        reason = certbot_requests.issue_reason(spec, request, there.get(spec["name"]))
        spec["reason"], spec["force"] = reason or (None, False)
        spec["wait"] = certbot_record.active_failure(
            record["failures"].get(spec["name"]), spec, request
        )
    names = {spec["name"] for spec in specs}
    ours = [name for name, item in record["asked"].items() if item["ours"]]
    retired = sorted(name for name in ours if name not in names and name in there)
    return {"wanted": specs, "retired": retired}


def status() -> dict[str, dict[str, Any]]:
    """Public certificates of this minion: which there are, and what went wrong with which.

    See ``infra_certbot.status``.
    """
    rows: dict[str, dict[str, Any]] = {
        name: {word: have[word] for word in ("names", "days_left", "fault") if word in have}
        for name, have in certificates().items()
    }
    for name, failure in certbot_record.read()["failures"].items():
        entry = {word: failure[word] for word in ("error", "count", "at", "next")}
        rows.setdefault(name, {})["failure"] = entry
    return rows


# -- asking --------------------------------------------------------------------------------------
def issue(spec: dict[str, Any], request: dict[str, Any], force: bool = False) -> dict[str, Any]:
    """Have certbot get a certificate, and remember how that went.

    spec, request, force
        As for :func:`certbot_requests.command`.

    Returns what there is then (see :func:`certificates`); empty after a rehearsal.

    Raises CommandExecutionError with the message of the ACME server or certbot.
    """
    name = spec["name"]
    try:
        _certbot(certbot_requests.command(spec, request, force), request["environment"])
        if certbot_requests.is_dry_run(request):
            return {}
        have = certificates().get(name)
        left = certbot_requests.issue_reason(spec, request, have)
        if have is None or left:
            reason = left[0] if left else "there is none"
            raise CommandFailed(f"certbot succeeded, but the certificate is unchanged: {reason}")
    except CommandExecutionError as err:
        certbot_record.add_failure(spec, request, str(err))
        raise
    record = certbot_record.read()
    record["failures"].pop(name, None)
    record["asked"][name] = {**certbot_record._identity(spec), "request": request, "ours": True}
    certbot_record.write(record)
    return have


def replace(name: str, revoke: str = "") -> dict[str, Any]:
    """Get a certificate anew, with a new key, and let nginx serve it; then revoke the old one.

    See ``infra_certbot.replace``.
    """
    if revoke and revoke not in REASONS:
        raise InvalidInput(f"revoke: expected one of {', '.join(REASONS)}, got {revoke!r}")
    requests = certbot_record.read()["asked"]
    if name not in requests:
        raise InvalidInput(
            f"{name}: expected a certificate that infra.certbot requested on this minion; "
            f"there are: {', '.join(sorted(requests)) or 'none'}"
        )
    known, spec = requests[name], certbot_record._identity(requests[name])
    # Where its live link led: certbot keeps every generation in its archive.
    old = (paths.LETSENCRYPT / "live" / name / "cert.pem").resolve()
    have = issue(spec, known["request"], force=True)
    hook = paths.LETSENCRYPT / "renewal-hooks/deploy/infra-nginx"
    answer = process.run([str(hook)])
    if answer["retcode"]:
        raise CommandFailed(f"{hook} failed: {answer['stderr'] or answer['stdout']}")
    if revoke and old.exists():
        argv = ["certbot", "revoke", "--non-interactive", "--no-delete-after-revoke"]
        argv += ["--cert-path", str(old), "--reason", revoke]
        argv += ["--server", known["request"]["server"]]
        _certbot(argv, known["request"]["environment"])
    return have


def retry(name: str = "") -> list[str]:
    """Let the next apply ask again at once for what failed; see ``infra_certbot.retry``."""
    record = certbot_record.read()
    names = [n for n in sorted(record["failures"]) if name in ("", n)]
    for each in names:
        del record["failures"][each]
    if names:
        certbot_record.write(record)
    return names


def remove(name: str) -> None:
    """Have certbot delete a certificate of this formula that no entry requests any more.

    Raises CommandExecutionError where certbot fails.
    """
    _certbot(["certbot", "delete", "--non-interactive", "--cert-name", name], {})
    record = certbot_record.read()
    record["asked"].pop(name, None)
    record["failures"].pop(name, None)
    certbot_record.write(record)


def record_current(
    names: Iterable[str], specs: list[dict[str, Any]], request: dict[str, Any]
) -> None:
    """Record how certificates are requested that are up to date.

    Those that this formula did not request are never removed.

    names
        Names of certificates that are up to date.
    specs, request
        As for :func:`certbot_requests.group_names`, and what it returned.
    """
    record = certbot_record.read()
    before = json.dumps(record, sort_keys=True)
    for spec in specs:
        if spec["name"] in names:
            ours = record["asked"].get(spec["name"], {}).get("ours", False)
            record["asked"][spec["name"]] = {
                **certbot_record._identity(spec),
                "request": request,
                "ours": ours,
            }
            record["failures"].pop(spec["name"], None)
    if json.dumps(record, sort_keys=True) != before:
        certbot_record.write(record)


def _certbot(argv: list[str], environment: dict[str, str]) -> None:
    """Run certbot; wait for another one, as its timer or an operator may run it, to end."""
    bundle = environment.get("REQUESTS_CA_BUNDLE", "")
    fault = root_only.fault(bundle) if bundle else ""
    if fault:
        raise CommandFailed(f"certbot_ca: {fault}")
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            answer = process.run(
                argv,
                env={"LC_ALL": "C.UTF-8", **environment},
                timeout=_RUN_SECONDS,
            )
        except CommandExecutionError as err:
            raise CommandFailed(f"certbot cannot run: {err}") from err
        output = f"{answer['stdout']}\n{answer['stderr']}"
        if not answer["retcode"]:
            return
        if _BUSY not in output or time.monotonic() > deadline:
            raise CommandFailed(certbot_requests.extract_error(output))
        time.sleep(2)
