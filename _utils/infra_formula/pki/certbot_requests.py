"""Requests to certbot: certificates, command lines, and the reasons for them. Pure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from infra_formula import paths, redaction

_LATE = 0.25
"""Part of its life that a certificate has left when certbot's timer (a third, or 30 of 90 days) has
plainly not renewed it."""


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


def group_names(views: dict[str, dict[str, Any]], request: dict[str, Any]) -> list[dict[str, Any]]:
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
        if view["certbot"] and view["kind"] != "unserved":
            groups.setdefault(view["certbot"], {}).update(dict.fromkeys(view["names"]))
    return [
        {
            "name": name,
            "domains": list(domains),
            "challenge": "dns" if any("*" in d for d in domains) else request["challenge"],
        }
        for name, domains in groups.items()
    ]


def renewal_settings(spec: dict[str, Any], request: dict[str, Any]) -> dict[str, str]:
    """What certbot has to remember of a certificate, in the words of its renewal file; pure."""
    values = {"server": request["server"]}
    if request["key_type"]:
        values["key_type"] = request["key_type"]
    if spec["challenge"] == "http":
        return {**values, "authenticator": "webroot", "webroot_path": request["webroot"]}
    plugin = request["dns_plugin"]
    values["authenticator"] = f"dns-{plugin}"
    if request["dns_propagation"] is not None:
        values[f"dns_{plugin}_propagation_seconds".replace("-", "_")] = str(
            request["dns_propagation"]
        )
    return values


def command(spec: dict[str, Any], request: dict[str, Any], force: bool = False) -> list[str]:
    """certbot's command line for a certificate; pure.

    spec, request
        As for :func:`group_names`, and an element of what it returns.
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
            argv += [f"--dns-{plugin}-credentials", str(credentials_path())]
        if request["dns_propagation"] is not None:
            argv += [f"--dns-{plugin}-propagation-seconds", str(request["dns_propagation"])]
    for domain in spec["domains"]:
        argv += ["--domain", domain]
    return [*argv, *shlex.split(request["options"])]


def is_dry_run(request: dict[str, Any]) -> bool:
    """Whether certbot only tries and issues nothing."""
    return "--dry-run" in shlex.split(request["options"])


def issue_reason(
    spec: dict[str, Any], request: dict[str, Any], have: dict[str, Any] | None
) -> tuple[str, bool] | None:
    """Why a certificate has to be issued, and whether certbot has to be forced; pure.

    have
        What there is of it (an element of :func:`certbot.certificates`), None for nothing.

    Returns None if it is up to date.
    """
    if have is None:
        return "there is none yet", False
    if "fault" in have:
        return f"it cannot be used: {have['fault']}", True
    more = sorted(set(spec["domains"]) - set(have["names"]))
    fewer = sorted(set(have["names"]) - set(spec["domains"]))
    if more or fewer:
        changes = [f"with {', '.join(more)}"] if more else []
        changes += [f"without {', '.join(fewer)}"] if fewer else []
        return f"its names changed: {' and '.join(changes)}", False
    for key, value in renewal_settings(spec, request).items():
        if have["renewal"].get(key, value) != value:
            return f"{key} is now {value}, it was {have['renewal'][key]}", True
    if have["days_left"] < _LATE * have["days"]:
        return f"it ends in {have['days_left']} days, and was not renewed", True
    return None


def renewal_parameters(text: str) -> dict[str, str]:
    """The ``[renewalparams]`` of a renewal file of certbot's; pure.

    A list is written with commas; one of one element ends in a comma, which is taken off.
    """
    values: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        header = re.fullmatch(r"\s*(\[+[^\]]*\]+)\s*", line)
        if header:
            section = header.group(1)
        elif section == "[renewalparams]" and "=" in line:
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip().removesuffix(",")
    return values


def extract_error(output: str) -> str:
    """The message of a failed run of certbot, without its usual lines; pure.

    Problems that the ACME server reports are listed: name, kind, detail.
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
    message = [line for line in lines if not line.startswith(boring)]
    return redaction.scrub(" ".join(message or lines))[:2000]


def credentials_path() -> Path:
    """What a DNS plugin authenticates with; written by infra/certbot/init.sls."""
    return paths.LETSENCRYPT / "infra-dns.ini"
