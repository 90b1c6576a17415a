"""Public certificates: what the portal wants of an ACME server, and certbot, which gets it.

All of ACME is certbot's: the account, the challenges, the renewal by its own timer. This module
groups the portal's names into certificates, tells which of them certbot has to be asked for, asks,
and remembers failures, so that an apply does not run into an ACME server's rate limits.

Entries of ``infra_portal`` that have the same ``certbot`` name share one certificate.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic, root_only
from infra_formula.pki import certificates as pki_certificates

log = logging.getLogger(__name__)

LETSENCRYPT = Path("/etc/letsencrypt")
RECORD = Path("/var/lib/infra/certbot.json")
CREDENTIALS = "/etc/letsencrypt/infra-dns.ini"
"""What a DNS plugin authenticates with; written by infra/certbot/config.sls."""

REASONS = ("unspecified", "keycompromise", "affiliationchanged", "superseded",
           "cessationofoperation")  # fmt: skip
"""Reasons for a revocation that certbot knows (``certbot --help revoke``)."""

_LATE = 0.25
"""Part of its life that a certificate has left when certbot's timer (a third, or 30 of 90 days) has
plainly not renewed it."""

_FIRST_WAIT = 3600
_LONGEST_WAIT = 86400
"""Seconds between two tries: doubled with each failure. Let's Encrypt takes 5 failed validations
per account, name and hour (https://letsencrypt.org/docs/rate-limits/), so the first is an hour."""

_RUN_SECONDS = 900
_BUSY = "Another instance of Certbot is already running"
_BUSY_SECONDS = 300


# -- what is wanted ------------------------------------------------------------------------------


def problems(parameters: dict[str, Any]) -> list[str]:
    """What the ``certbot_*`` parameters of a pillar, each good by itself, get wrong together.

    Returns one message per error, each beginning with the key path.
    """
    if not parameters.get("certbot_sign"):
        return []
    errors = []
    plugin = parameters.get("certbot_dns_plugin")
    if "@" not in parameters.get("certbot_email", ""):
        errors.append(
            "certbot_email: expected the address of the ACME account beside certbot_sign, "
            f"got {parameters.get('certbot_email', '')!r}"
        )
    if parameters.get("nginx_enabled") is False:
        errors.append("certbot_sign: expected nginx_enabled, whose certificates these are")
    if parameters.get("nginx_sslmode") == "disable":
        errors.append("certbot_sign: expected nginx_sslmode other than disable")
    if parameters.get("certbot_challenge") == "dns" and not plugin:
        errors.append("certbot_dns_plugin: expected a plugin beside certbot_challenge: dns")
    if parameters.get("certbot_dns_credentials") and not plugin:
        errors.append("certbot_dns_plugin: expected a plugin beside certbot_dns_credentials")
    try:
        shlex.split(parameters.get("certbot_options", ""))
    except ValueError as err:
        errors.append(f"certbot_options: expected words as in a shell: {err}")
    portal = parameters.get("infra_portal")
    for key, entry in portal.items() if isinstance(portal, dict) and not plugin else ():
        if isinstance(entry, dict) and entry.get("certbot"):
            names = [entry.get("domain"), *(entry.get("domains") or [])]
            if any(isinstance(n, str) and n.startswith("*.") for n in names):
                errors.append(
                    f"infra_portal.{key}.certbot: expected a certbot_dns_plugin for a wildcard, "
                    "which is only issued over DNS"
                )
    return errors


def wanted(views: dict[str, dict[str, Any]], request: dict[str, Any]) -> list[dict[str, Any]]:
    """Group the names of a portal into certificates; pure.

    views
        The portal's entries (``infra_portal.views``).
    request
        How to ask: ``email``, ``server`` (URL of the ACME directory), ``key_type`` (``ecdsa``,
        ``rsa``, empty for certbot's own), ``challenge`` (``http``, ``dns``), ``webroot`` (path),
        ``dns_plugin``,
        ``dns_credentials`` (bool: there is such a file), ``dns_propagation`` (seconds, or None for
        the plugin's own), ``options`` (further ones, as in a shell), ``environment`` (str → str).

    Returns a list of ``name``, ``domains`` and ``challenge``, in the portal's order. Names with a
    wildcard are validated over DNS, whatever ``challenge`` says.
    """
    groups: dict[str, dict[str, None]] = {}
    for view in views.values():
        if view["certbot"] and view["kind"] != "known":
            groups.setdefault(view["certbot"], {}).update(dict.fromkeys(view["names"]))
    return [
        {
            "name": name,
            "domains": list(domains),
            "challenge": "dns" if any("*" in d for d in domains) else request["challenge"],
        }
        for name, domains in groups.items()
    ]


def parameters(spec: dict[str, Any], request: dict[str, Any]) -> dict[str, str]:
    """What certbot has to remember of a certificate, in the words of its renewal file; pure."""
    found = {"server": request["server"]}
    if request["key_type"]:
        found["key_type"] = request["key_type"]
    if spec["challenge"] == "http":
        return {**found, "authenticator": "webroot", "webroot_path": request["webroot"]}
    plugin = request["dns_plugin"]
    found["authenticator"] = f"dns-{plugin}"
    if request["dns_propagation"] is not None:
        found[f"dns_{plugin}_propagation_seconds".replace("-", "_")] = str(
            request["dns_propagation"]
        )
    return found


def command(spec: dict[str, Any], request: dict[str, Any], force: bool = False) -> list[str]:
    """certbot's command line for a certificate; pure.

    spec, request
        As for :func:`wanted`, and an element of what it returns.
    force
        Have it issued although certbot holds the present one to be good.
    """
    argv = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email"]
    argv += ["--email", request["email"], "--server", request["server"]]
    argv += ["--cert-name", spec["name"], "--renew-with-new-domains"]
    if request["key_type"]:
        argv += ["--key-type", request["key_type"]]
    argv += ["--force-renewal" if force else "--keep-until-expiring"]
    if spec["challenge"] == "http":
        argv += ["--webroot", "--webroot-path", request["webroot"]]
    else:
        plugin = request["dns_plugin"]
        argv += [f"--dns-{plugin}"]
        if request["dns_credentials"]:
            argv += [f"--dns-{plugin}-credentials", CREDENTIALS]
        if request["dns_propagation"] is not None:
            argv += [f"--dns-{plugin}-propagation-seconds", str(request["dns_propagation"])]
    for domain in spec["domains"]:
        argv += ["--domain", domain]
    return [*argv, *shlex.split(request["options"])]


def rehearses(request: dict[str, Any]) -> bool:
    """Whether certbot is told to issue nothing, only to try."""
    return "--dry-run" in shlex.split(request["options"])


def due(
    spec: dict[str, Any], request: dict[str, Any], have: dict[str, Any] | None
) -> tuple[str, bool] | None:
    """Why a certificate has to be asked for, and whether certbot has to be forced; pure.

    have
        What there is of it (an element of :func:`certificates`), None for nothing.

    Returns None where it is as it should be.
    """
    if have is None:
        return "there is none yet", False
    if "fault" in have:
        return f"it cannot be used: {have['fault']}", True
    more = sorted(set(spec["domains"]) - set(have["names"]))
    fewer = sorted(set(have["names"]) - set(spec["domains"]))
    if more or fewer:
        told = [f"with {', '.join(more)}"] if more else []
        told += [f"without {', '.join(fewer)}"] if fewer else []
        return f"its names changed: {' and '.join(told)}", False
    for key, value in parameters(spec, request).items():
        if have["renewal"].get(key, value) != value:
            return f"{key} is now {value}, it was {have['renewal'][key]}", True
    if have["days_left"] < _LATE * have["days"]:
        return f"it ends in {have['days_left']} days, and was not renewed", True
    return None


def renewal_parameters(text: str) -> dict[str, str]:
    """The ``[renewalparams]`` of a renewal file of certbot's; pure.

    A list is written with commas; one of one element ends in a comma, which is taken off.
    """
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        header = re.fullmatch(r"\s*(\[+[^\]]*\]+)\s*", line)
        if header:
            section = header.group(1)
        elif section == "[renewalparams]" and "=" in line:
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip().removesuffix(",")
    return found


# -- what there is -------------------------------------------------------------------------------


def certificates() -> dict[str, dict[str, Any]]:
    """Certificates that certbot keeps on this machine.

    Returns name → ``names``, ``issuer``, ``not_after``, ``days`` (its whole life), ``days_left``,
    ``cert`` and ``key`` (paths) and ``renewal`` (how it is renewed), or ``fault``.
    """
    found = {}
    for conf in sorted((LETSENCRYPT / "renewal").glob("*.conf")):
        live = LETSENCRYPT / "live" / conf.stem
        cert, key = str(live / "fullchain.pem"), str(live / "privkey.pem")
        entry: dict[str, Any] = {"cert": cert, "key": key}
        fault = pki_certificates.pair_fault(cert, key)
        if fault:
            entry["fault"] = fault
        else:
            told = pki_certificates.describe(cert)
            for word in ("names", "issuer", "not_after", "days", "days_left"):
                entry[word] = told[word]
            entry["renewal"] = renewal_parameters(conf.read_text(encoding="utf-8"))
        found[conf.stem] = entry
    return found


def plan(views: dict[str, dict[str, Any]], request: dict[str, Any]) -> dict[str, list[Any]]:
    """Tell what has to be asked of certbot; changes nothing.

    views, request
        As for :func:`wanted`.

    Returns ``wanted``, as :func:`wanted` does, with ``reason`` (None: it is as it should be),
    ``force``, and ``wait`` (the last failure, None where nothing stands against asking now); and
    ``retired``, the names of certificates that this module got and that nobody asks for any more.
    """
    there, record = certificates(), _record()
    specs = wanted(views, request)
    for spec in specs:
        reason = due(spec, request, there.get(spec["name"]))
        spec["reason"], spec["force"] = reason or (None, False)
        spec["wait"] = _wait(record["failures"].get(spec["name"]), spec, request)
    names = {spec["name"] for spec in specs}
    ours = [name for name, asked in record["asked"].items() if asked["ours"]]
    retired = sorted(name for name in ours if name not in names and name in there)
    return {"wanted": specs, "retired": retired}


def status() -> dict[str, dict[str, Any]]:
    """Public certificates of this minion: which there are, and what went wrong with which.

    Returns name → ``names``, ``days_left``, ``fault`` (all as in :func:`certificates`) and
    ``failure``: ``error``, ``count``, ``at`` and ``next``, the time before which an apply does not
    ask again (:func:`retry` lifts that).
    """
    found: dict[str, dict[str, Any]] = {
        name: {word: have[word] for word in ("names", "days_left", "fault") if word in have}
        for name, have in certificates().items()
    }
    for name, failure in _record()["failures"].items():
        told = {word: failure[word] for word in ("error", "count", "at", "next")}
        found.setdefault(name, {})["failure"] = told
    return found


# -- asking --------------------------------------------------------------------------------------


def issue(spec: dict[str, Any], request: dict[str, Any], force: bool = False) -> dict[str, Any]:
    """Have certbot get a certificate, and remember how that went.

    spec, request, force
        As for :func:`command`.

    Returns what there is then (see :func:`certificates`); empty after a rehearsal.

    Raises CommandExecutionError with what the ACME server or certbot said.
    """
    name = spec["name"]
    try:
        _certbot(command(spec, request, force), request["environment"])
        if rehearses(request):
            return {}
        have = certificates().get(name)
        left = due(spec, request, have)
        if have is None or left:
            told = left[0] if left else "there is none"
            raise CommandFailed(f"it ended well, but with the certificate as before: {told}")
    except CommandExecutionError as err:
        _remember_failure(spec, request, str(err))
        raise
    record = _record()
    record["failures"].pop(name, None)
    record["asked"][name] = {**_bare(spec), "request": request, "ours": True}
    _save(record)
    return have


def replace(name: str, revoke: str = "") -> dict[str, Any]:
    """Get a certificate anew, with a new key, and let nginx serve it; then revoke the old one.

    name
        Its ``certbot`` name.
    revoke
        Why the old one is revoked, e.g. ``keycompromise``; without it, it is not.

    Returns what there is then (see :func:`certificates`).

    Raises SaltInvocationError for a name or a reason that is not known, CommandExecutionError where
    certbot or nginx fails; the old certificate then stays, and stays valid.
    """
    if revoke and revoke not in REASONS:
        raise InvalidInput(f"revoke: expected one of {', '.join(REASONS)}, got {revoke!r}")
    asked = _record()["asked"]
    if name not in asked:
        raise InvalidInput(
            f"{name}: expected a certificate that infra.certbot asked for on this minion; "
            f"there are: {', '.join(sorted(asked)) or 'none'}"
        )
    known, spec = asked[name], _bare(asked[name])
    # Where its live link led: certbot keeps every generation in its archive.
    old = (LETSENCRYPT / "live" / name / "cert.pem").resolve()
    have = issue(spec, known["request"], force=True)
    hook = LETSENCRYPT / "renewal-hooks/deploy/infra-nginx"
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
    """Let the next apply ask again at once for what failed.

    name
        Of one certificate; all of them without it.

    Returns the names.
    """
    record = _record()
    names = [n for n in sorted(record["failures"]) if name in ("", n)]
    for each in names:
        del record["failures"][each]
    if names:
        _save(record)
    return names


def retire(name: str) -> None:
    """Have certbot forget a certificate that this module got and nobody asks for any more.

    Raises CommandExecutionError where certbot fails.
    """
    _certbot(["certbot", "delete", "--non-interactive", "--cert-name", name], {})
    record = _record()
    record["asked"].pop(name, None)
    record["failures"].pop(name, None)
    _save(record)


def adopt(names: Iterable[str], specs: list[dict[str, Any]], request: dict[str, Any]) -> None:
    """Remember how certificates are asked for that are as they should be.

    Those that somebody else had certbot get are never removed by us.

    names
        Names of certificates that are as they should be.
    specs, request
        As for :func:`wanted`, and what it returned.
    """
    record = _record()
    before = json.dumps(record, sort_keys=True)
    for spec in specs:
        if spec["name"] in names:
            ours = record["asked"].get(spec["name"], {}).get("ours", False)
            record["asked"][spec["name"]] = {**_bare(spec), "request": request, "ours": ours}
            record["failures"].pop(spec["name"], None)
    if json.dumps(record, sort_keys=True) != before:
        _save(record)


def explain(output: str) -> str:
    """What certbot said of a failure, without what it always says; pure.

    Problems that the ACME server reports are told one by one: name, kind, detail.
    """
    reported = re.findall(
        r"^ *(?:Domain|Identifier): *(\S+)\n *Type: *(\S+)\n *Detail: *(.+)$", output, re.MULTILINE
    )
    if reported:
        return "; ".join(f"{name}: {kind}: {detail.strip()}" for name, kind, detail in reported)
    boring = ("Saving debug log", "Ask for help", "See the logfile", "Account registered",
              "Requesting a certificate", "Renewing an existing certificate", "- - -",
              "Plugins selected", "Please see the logfile")  # fmt: skip
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(boring)]
    return " ".join(told or lines)[:2000]


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
            raise CommandFailed(explain(output))
        time.sleep(2)


# -- what is remembered --------------------------------------------------------------------------


def wait_seconds(failures: int) -> int:
    """Seconds that pass after so many failures in a row before an apply asks again; pure."""
    return int(min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT))


def _bare(spec: dict[str, Any]) -> dict[str, Any]:
    return {word: spec[word] for word in ("name", "domains", "challenge")}


def _digest(spec: dict[str, Any], request: dict[str, Any]) -> str:
    """Of what is asked and how; a failure of another question is no reason to wait."""
    asked = json.dumps([command(spec, request), request["environment"]], sort_keys=True)
    whole = hashlib.sha256(asked.encode())
    if spec["challenge"] == "dns" and request["dns_credentials"]:
        credentials = Path(CREDENTIALS)
        whole.update(credentials.read_bytes() if credentials.exists() else b"")
    return whole.hexdigest()


def _wait(
    failure: dict[str, Any] | None, spec: dict[str, Any], request: dict[str, Any]
) -> dict[str, Any] | None:
    if failure is None or failure["digest"] != _digest(spec, request):
        return None
    return failure if failure["next"] > _text(_now()) else None


def _remember_failure(spec: dict[str, Any], request: dict[str, Any], error: str) -> None:
    record = _record()
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
    _save(record)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _text(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _record() -> dict[str, Any]:
    try:
        data = json.loads(RECORD.read_text(encoding="utf-8"))
        return {"asked": dict(data["asked"]), "failures": dict(data["failures"])}
    except FileNotFoundError:
        return {"asked": {}, "failures": {}}
    except (ValueError, KeyError, TypeError) as err:
        # What is lost is who asked for what, and how long to wait; certbot has the rest.
        log.warning("%s is damaged (%s) and written anew", RECORD, err)
        return {"asked": {}, "failures": {}}


def _save(record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    atomic.write(str(RECORD), text, 0o600)
