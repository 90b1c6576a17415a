"""Which checksums verify a package: without one that does, nothing is signed by this node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from infra_formula.errors import CommandFailed
from infra_formula.repository import logins

STRONG = ("sha256", "sha384", "sha512")
"""Checksums that nobody can make another file for; MD5 and SHA-1 are none (RFC 6151, RFC 6194)."""

_LISTED = 10


def is_strong(checksum: str) -> bool:
    """Whether a checksum, written as ``sha256:…``, verifies a file."""
    return checksum.partition(":")[0] in STRONG


def refuse_unverified(targets: Iterable[dict[str, Any]]) -> None:
    """Raise CommandFailed if an upstream's index verifies a package by no strong checksum.

    targets
        Each ``id``, ``family``, ``upstreams`` and ``packages``.

    An upstream that is ``trusted`` promises nothing. An rpm is verified by its own signature as
    well: ``weak`` is set, and ``rpm_signatures.verify`` requires one.
    """
    lines = []
    for target in targets:
        weak: dict[str, list[dict[str, Any]]] = {}
        for package in target["packages"]:
            # One of repo_url_packages, without a version, has its own checksum, or TLS.
            if not package["version"] or is_strong(package["checksum"]):
                continue
            if target["family"] == "rpm":
                package["weak"] = True
                continue
            sources = _upstreams_of(package, target["upstreams"])
            if any(not upstream["trusted"] for upstream in sources):
                weak.setdefault(" or ".join(u["name"] for u in sources), []).append(package)
        lines += [_fault(target["id"], names, packages) for names, packages in weak.items()]
    if lines:
        raise CommandFailed("\n".join(lines))


def _upstreams_of(package: dict[str, Any], upstreams: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Upstreams that a package may be of: apt tells its address alone."""
    matches = [
        upstream for upstream in upstreams if logins.is_below(package["url"], upstream["url"])
    ]
    return matches or upstreams


def _fault(target: str, upstream: str, packages: list[dict[str, Any]]) -> str:
    names = [
        f"{package['file']} ({package['checksum'].partition(':')[0] or 'none'})"
        for package in packages[:_LISTED]
    ]
    more = f" and {len(packages) - _LISTED} more" if len(packages) > _LISTED else ""
    return (
        f"{target}: upstream {upstream}: its index has no strong checksum (SHA-256 or SHA-512) of"
        f" {', '.join(names)}{more}, so nothing verifies these packages. Use another mirror, or"
        " say trusted: true (without a key) to use it all the same"
    )
