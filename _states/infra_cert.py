"""Certificates of this site: its CA, created once, and what the CA issues, renewed in time.

What is issued is recorded, so that it is renewed without a master too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import paths, redaction
from infra_formula.errors import InvalidInput
from infra_formula.pki import authority as pki_authority
from infra_formula.pki import plans
from infra_formula.state import Plan, converge
from salt.exceptions import SaltInvocationError

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def authority(
    name: str,
    private_key: str,
    common_name: str,
    days: int,
    create: bool = True,
    certificate: str | None = None,
    key: str | None = None,
    source: str = "",
    name_constraints: list[str] | None = None,
) -> dict[str, Any]:
    """A certificate authority exists; created if it is missing, never overwritten.

    name
        Absolute path of the CA certificate.
    private_key
        Absolute path of its key. An existing pair is left as it is, whoever created it.
    common_name
        CN of a CA that is created.
    days
        Its life in days.
    create
        False: a missing CA is an error.
    certificate, key
        The pair as PEM, from pillar, put in place if there is none; another CA there is an error.
        Neither is ever shown.
    source
        Directory of this machine with ``ca.crt`` and ``ca.key``, read if pillar has no pair and the
        key is missing. Pigsty keeps the CA of its controller like that.
    name_constraints
        Domains and networks for which alone the certificates of a CA that is created are valid.
    """
    pair = None if certificate is None or key is None else (certificate, key)
    return converge(
        name,
        __opts__["test"],
        lambda: plans.plan_ca(
            name,
            private_key,
            common_name,
            days,
            create,
            pair,
            certificate,
            source,
            name_constraints,
        ),
    )


def managed(
    name: str,
    private_key: str,
    signing_cert: str,
    signing_private_key: str,
    common_name: str,
    names: list[str],
    addresses: list[str],
    days: int,
    renew_days: int,
    organizational_unit: str = "infra",
    group: str = "root",
    usages: list[str] | None = None,
    reload: str = "",
    purpose: str = "",
    key_mode: str = "0640",
) -> dict[str, Any]:
    """A certificate of the site's CA exists, with just these names, and does not expire soon.

    name, private_key
        Absolute paths of the certificate (mode 0644) and its key.
    signing_cert, signing_private_key
        The CA.
    common_name, organizational_unit
        CN and OU of the subject.
    names, addresses
        DNS names and IP addresses it is for.
    days
        Its life in days.
    renew_days
        It is renewed when fewer days are left.
    group
        Group that may read the key.
    usages
        ``serverAuth``, ``clientAuth``; the former if not given.
    reload
        Service that the timer reloads after a renewal. In an apply, the service's own states do.
    purpose
        What it is for, in words.
    key_mode
        Mode of the key: 0640 for a service that reads it under its own account, 0600 for one that
        reads it as root.
    """
    spec = {
        "private_key": private_key,
        "signing_cert": signing_cert,
        "signing_private_key": signing_private_key,
        "common_name": common_name,
        "organization": "pigsty",
        "unit": organizational_unit,
        "names": names,
        "addresses": addresses,
        "usages": usages or ["serverAuth"],
        "days": days,
        "renew_days": renew_days,
        "group": group,
        "cert_mode": "0644",
        "key_mode": key_mode,
        "reload": reload,
        "purpose": purpose,
    }
    return converge(name, __opts__["test"], lambda: plans.plan_leaf(name, spec))


def issued(
    name: str, given: dict[str, Any], cert: str | None = None, key: str | None = None
) -> dict[str, Any]:
    """A certificate that the pillar's ``certs`` asks for exists, and is renewed in time.

    name
        Its name there; its common name if ``cn`` gives no other.
    given
        Any of ``cn``, ``san``, ``org``, ``unit``, ``expire``, ``group`` and ``reload``: see
        ``infra_cert.issue``.
    cert, key
        Absolute paths; ``/etc/pki/misc/<name>.crt`` and ``.key`` if not given.
    """
    folder = paths.PKI / "misc"

    def plan() -> Plan:
        element = {**pki_authority.with_defaults(name, given), "key": key or f"{folder}/{name}.key"}
        try:
            spec = pki_authority.specification(element, f"certs.{name}")
        except SaltInvocationError as err:
            raise InvalidInput(f"certs.{name}.{err}") from err
        return plans.plan_leaf(cert or f"{folder}/{name}.crt", spec)

    return converge(name, __opts__["test"], plan)


def trusted(name: str, bundle: str, command: str) -> dict[str, Any]:
    """This machine's programs trust a certificate: it is in the bundle that they read.

    name
        Absolute path of the certificate, linked to where the command finds it.
    bundle
        Absolute path of the bundle.
    command
        The program that makes the bundle.
    """
    return converge(name, __opts__["test"], lambda: plans.plan_trusted(name, bundle, command))


redaction.guard(globals())
