"""Certificates that the pillar gives by name (``nginx_certificates``), as files of the portal.

``cert`` of an entry, and ``ssl`` of a stream, refer to them. The keys are on the disk in these
files alone: neither the record of the portal nor what is rendered for people holds one.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from infra_formula.fileset.contents import File
from infra_formula.parameters import schema
from infra_formula.pki import certificates

FOLDER = "certificates"
"""Where they are, below ``/etc/nginx``."""

_NAME = {"type": "name"}


def is_name(cert: str) -> bool:
    """Whether ``cert`` of an entry is a name, and not a path."""
    return not cert.startswith("/")


def paths(name: str) -> tuple[str, str]:
    """The files of a certificate and of its key, relative to ``/etc/nginx``."""
    return f"{FOLDER}/{name}.crt", f"{FOLDER}/{name}.key"


def problems(given: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with ``nginx_certificates`` whose types are valid.

    Each message begins with the key path, and quotes nothing of a key.
    """
    errors = []
    for name, pair in given.items():
        path = schema.join("nginx_certificates", name)
        errors += schema.check(f"{path} as a name", name, _NAME)
        fault = certificates.chain_fault(pair["crt"], pair["key"])
        errors += [f"{path}.{fault}"] if fault else []
    return errors


def reference_problem(path: str, name: str, known: Iterable[str]) -> list[str]:
    """Why a name leads to no certificate.

    path
        Key path of what refers to it.
    known
        The names of ``nginx_certificates``.
    """
    known = list(known)
    if name in known:
        return []
    expected = f"an absolute path, or one of {', '.join(known)}" if known else "an absolute path"
    end = schema.nearest(name, known) or ("" if known else "; nginx_certificates is empty")
    return [schema.problem(path, f"{expected} (the names of nginx_certificates)", name) + end]


def digests(given: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What may be known of the certificates outside of their files: name → digest of its chain."""
    return {name: hashlib.sha256(_text(p["crt"]).encode()).hexdigest() for name, p in given.items()}


def files(given: Mapping[str, Mapping[str, str]]) -> dict[str, File]:
    """The files of all certificates, by their path below ``/etc/nginx``. Only root reads them."""
    result: dict[str, File] = {}
    for name, pair in given.items():
        for path, part in zip(paths(name), ("crt", "key"), strict=True):
            result[path] = {"text": _text(pair[part]), "mode": "0600", "secret": True}
    return result


def keys(given: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The texts of them that are secret."""
    return [pair["key"] for pair in given.values()]


def warnings(given: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """What deserves attention: a certificate that is not valid now."""
    for name, pair in given.items():
        cert = certificates.load_text(pair["crt"])
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = certificates.not_before(cert), certificates.not_after(cert)
        path = schema.join("nginx_certificates", name)
        if now > end:
            yield f"{path}.crt: the certificate ended at {end.isoformat()}; browsers refuse it"
        elif now < start:
            yield f"{path}.crt: the certificate is valid only from {start.isoformat()}"


def _text(pem: str) -> str:
    return re.sub(r"[ \t]*(\r\n|\n)", "\n", pem.strip()) + "\n"


def of_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """:func:`digests` among the settings of a portal; those of an older release have none."""
    return dict(settings.get("nginx_certificates", {}))
