"""Own certificates of entries that are for other names than those of the entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cryptography import x509

from infra_formula.pki import certificates
from infra_formula.portal.entries import Settings
from infra_formula.portal.views import served


def warnings(
    portal: dict[str, dict[str, object]],
    settings: Settings,
    given: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """One line for each entry whose own certificate lacks a name of it.

    given
        The value of ``nginx_certificates``.
    """
    for key, view in served(portal, settings).items():
        if not view["own_cert"] or not view["tls"]:
            continue
        try:
            cert = (
                certificates.load_text(given[str(portal[key]["cert"])]["crt"])
                if view["named_cert"]
                else certificates.load(view["cert"])
            )
        except (KeyError, OSError, ValueError):  # an error of its own
            continue
        lacks = uncovered(cert, view["names"])
        if lacks:
            yield (
                f"infra_portal.{key}.cert: the certificate is not for {', '.join(lacks)}; browsers "
                "refuse it there"
            )


def uncovered(cert: x509.Certificate, names: list[str]) -> list[str]:
    """Names that a certificate is not for, as browsers judge (RFC 6125: by its DNS names alone)."""
    try:
        extension = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return names
    covered = {name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}
    addresses = {str(a) for a in extension.value.get_values_for_type(x509.IPAddress)}
    return [
        name
        for name in names
        if name.lower() not in covered | addresses
        and f"*.{name.lower().partition('.')[2]}" not in covered
    ]
