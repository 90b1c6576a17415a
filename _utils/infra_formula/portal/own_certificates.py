"""Own certificates of entries, as files: broken ones, and those for other names than the entry's.

One that was served and is gone, or broken, costs its own entry only: that gets the portal's own
certificate at the next apply. If nginx is started before that, ``after-stop`` does the same. So it
is with those of streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cryptography import x509

from infra_formula.pki import certificates
from infra_formula.portal import record, streams
from infra_formula.portal.entries import Settings
from infra_formula.portal.views import View, served

LIST = "infra-own-certificates"
"""Below ``/etc/nginx``: entries with an own certificate, for :data:`AFTER_STOP`."""
AFTER_STOP = "infra-after-stop"
PORTALS_OWN = ("conf.d/cert/pigsty.crt", "conf.d/cert/pigsty.key")


def is_file(view: View) -> bool:
    """Whether an entry has an own certificate in files of its own."""
    return bool(view["own_cert"] and view["tls"] and not view["named_cert"])


def fault(view: View) -> str | None:
    """Why the own certificate of an entry cannot be served; None where it can, or there is none.

    It begins with the attribute that is at fault.
    """
    return certificates.pair_fault(view["cert"], view["cert_key"]) if is_file(view) else None


def was_applied(key: str, view: View) -> bool:
    """Whether an entry had its certificate at the last apply, so that it is no new mistake."""
    applied = record.entry(key)
    return (applied.get("cert"), applied.get("key")) == (view["cert"], view["cert_key"])


def broken(portal: dict[str, dict[str, object]], settings: Settings) -> dict[str, str]:
    """Entries whose own certificate was served and cannot be any more → why."""
    return {
        key: problem
        for key, view in served(portal, settings).items()
        if (problem := fault(view)) and was_applied(key, view)
    }


def stream_faults(settings: Settings) -> dict[str, str]:
    """Streams whose own certificate cannot be served → why, as :func:`fault` says it."""
    return {
        name: problem
        for name, pair in streams.own_certificates(settings).items()
        if (problem := certificates.pair_fault(*pair))
    }


def stream_was_applied(name: str, settings: Settings) -> bool:
    """Whether a stream had its certificate at the last apply."""
    applied = record.stream(name)
    pair = streams.own_certificates(settings)[name]
    return (applied.get("cert"), applied.get("key")) == pair


def broken_streams(settings: Settings) -> dict[str, str]:
    """Streams whose own certificate was served and cannot be any more → why."""
    return {
        name: problem
        for name, problem in stream_faults(settings).items()
        if stream_was_applied(name, settings)
    }


def broken_warnings(portal: dict[str, dict[str, object]], settings: Settings) -> Iterator[str]:
    """One line for each entry and each stream with a certificate that broke."""
    faults = {f"infra_portal.{key}": why for key, why in broken(portal, settings).items()}
    faults |= {f"infra_streams.{name}": why for name, why in broken_streams(settings).items()}
    for path, problem in faults.items():
        yield f"{path}.{problem}; the portal's own certificate is served in its place"


def listing(all_views: Mapping[str, View]) -> str:
    """The text of :data:`LIST`; empty if no entry has an own certificate."""
    return "".join(
        f"{key}\t{view['cert']}\t{view['cert_key']}\n"
        for key, view in all_views.items()
        if view["kind"] not in ("unserved", "custom") and is_file(view)
    )


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
