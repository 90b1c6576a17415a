"""Who may come in to a site: its users, addresses and client certificates."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, TypedDict

from infra_formula.parameters import schema
from infra_formula.portal import named_certificates, raw_config

CLIENT_CERTIFICATES = ("ssl_client_certificate", "ssl_verify_client")
ATTRIBUTES = ("users", "allow", "deny", "satisfy", *CLIENT_CERTIFICATES)

_BY_FORMULA = ("/etc/pki/ca.crt",)  # made in the first apply, after the pillar is checked


class Access(TypedDict):
    """What closes a site, as nginx's directives have it.

    rules
        ``allow …`` and ``deny …``, in the order in which nginx tries them.
    satisfy
        ``any``, ``all``, or empty.
    login_optional
        Whether a visitor may come in by address alone: who says a name is not known by it.
    user_file
        The basic-auth file, relative to ``/etc/nginx``.
    client_ca, verify_client
        CA of client certificates, and ``on`` or ``optional``; empty if none is asked for.
    """

    rules: list[str]
    satisfy: str
    login_optional: bool
    user_file: str
    client_ca: str
    verify_client: str


def of_entry(key: str, entry: Mapping[str, Any]) -> Access:
    """What closes a valid entry."""
    mode = entry.get("ssl_verify_client", "ssl_client_certificate" in entry)
    verify = {True: "on", False: "", "off": ""}.get(mode, str(mode))
    ca = str(entry.get("ssl_client_certificate", ""))
    if ca and named_certificates.is_name(ca):
        ca = named_certificates.paths(ca)[0]
    satisfy = str(entry.get("satisfy", ""))
    return {
        "rules": rules(_listed(entry.get("allow")), _listed(entry.get("deny"))),
        "satisfy": satisfy,
        "login_optional": satisfy == "any"
        or raw_config.is_login_optional(str(entry.get("config", ""))),
        "user_file": user_file(key) if entry.get("users") else ".htpasswd",
        "client_ca": ca if verify else "",
        "verify_client": verify,
    }


def user_file(key: str) -> str:
    """The basic-auth file of an entry with ``users``, relative to ``/etc/nginx``."""
    return f".htpasswd.{key}"


def rules(allow: list[str], deny: list[str]) -> list[str]:
    """Rules for nginx, which takes the first that fits: the smaller a network, the earlier.

    Where anything is allowed, the rest is denied.
    """
    directives = [("allow", network) for network in allow] + [("deny", network) for network in deny]
    directives.sort(key=lambda rule: -_length(rule[1]))
    lines = [f"{verb} {network}" for verb, network in directives]
    if allow and "all" not in (*allow, *deny):
        lines.append("deny all")
    return lines


def _length(network: str) -> int:
    """Bits that are fixed, of 128."""
    if network == "all":
        return -1
    parsed = ipaddress.ip_network(network)
    return parsed.prefixlen + 128 - parsed.max_prefixlen


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def asks_for_certificate(entry: Mapping[str, Any]) -> bool:
    """Whether a visitor shows a certificate, so that plain HTTP leads nowhere."""
    return bool(of_entry("", entry)["client_ca"])


def problems(
    path: str, entry: Mapping[str, Any], logins: set[str], settings: Mapping[str, Any]
) -> list[str]:
    """Errors in what closes an entry, of which each attribute has the right type.

    logins
        How visitors of the entry, its locations and its paths log in.
    """
    errors: list[str] = []
    names = [name for name in ATTRIBUTES if name in entry]
    if names and "conf" in entry:
        errors.append(f"{path}.{names[0]}: expected nothing beside conf, whose template decides")
    errors += _user_problems(f"{path}.users", entry.get("users"), logins, settings)
    twins = {*_listed(entry.get("allow"))} & {*_listed(entry.get("deny"))}
    errors += [f"{path}.deny: expected no {t}, which allow has, too" for t in sorted(twins)]
    if entry.get("satisfy") == "any" and not (
        logins and rules(_listed(entry.get("allow")), _listed(entry.get("deny")))
    ):
        errors.append(f"{path}.satisfy: expected a login and allow or deny beside any")
    block = raw_config.parse(str(entry.get("config", "")))
    for name in ATTRIBUTES:
        same = ("allow", "deny") if name in ("allow", "deny") else (name,)
        if name in entry and any(block.own(directive) for directive in same):
            errors.append(
                f"{path}.config: expected no {'/'.join(same)} beside the attribute {name}"
            )
    return errors + _certificate_problems(path, entry, settings)


def _user_problems(
    path: str, users: list[str] | None, logins: set[str], settings: Mapping[str, Any]
) -> list[str]:
    if users is None:
        return []
    if not users:
        return [f"{path}: expected at least one of nginx_users, got []"]
    errors = []
    if "basic" not in logins or "oidc" in logins:
        errors.append(f"{path}: expected auth: basic, whose users they are")
    known = settings.get("user_names")
    for index, user in enumerate(users):
        if known is not None and user not in known:
            expected = "a user of nginx_users"
            end = schema.nearest(user, known)
            errors.append(schema.problem(f"{path}[{index}]", expected, user) + end)
    return errors


def _certificate_problems(
    path: str, entry: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    errors = []
    ca, verify = (entry.get(name) for name in CLIENT_CERTIFICATES)
    if verify not in (None, False, "off") and not ca:
        errors.append(f"{path}.ssl_client_certificate: expected beside ssl_verify_client")
    if ca and named_certificates.is_name(ca):
        known = named_certificates.of_settings(settings)
        errors += named_certificates.reference_problem(f"{path}.ssl_client_certificate", ca, known)
    if not asks_for_certificate(entry):
        return errors
    if settings["nginx_sslmode"] == "disable":
        errors.append(
            f"{path}.ssl_client_certificate: expected nginx_sslmode enable or enforce; it is "
            "disable, and a certificate is shown over HTTPS only"
        )
    if entry.get("enforce_https") is False:
        errors.append(
            f"{path}.enforce_https: expected true, or nothing, beside ssl_client_certificate: "
            "plain HTTP would lead past it"
        )
    return errors


def is_checked_on_disk(ca: str) -> bool:
    """Whether a CA of client certificates is a file that has to be there before an apply."""
    return bool(ca) and ca.startswith("/") and ca not in _BY_FORMULA
