"""The vendor's own repository of packages: where it is, and whether it answers."""

from __future__ import annotations

import http.client
import urllib.request
from dataclasses import dataclass

import yaml

from .paths import CHECKOUT

ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Archive:
    """The vendor's repository of packages for Debian: what apt is told of it, and its key."""

    uri: str
    suite: str
    components: str
    key: str


def archive() -> Archive:
    """Return the vendor's repository, as the formula's own list of upstreams has it."""
    path = CHECKOUT / "infra" / "repo" / "data" / "upstream.yaml"
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    (entry,) = (one for one in listed if one["name"] == "pigsty-infra" and 12 in one["releases"])
    uri, suite, components = entry["baseurl"]["default"].split(" ", 2)
    return Archive(uri.rstrip("/"), suite, components, entry["gpgkey"])


def fetch(url: str, timeout: float = 30) -> bytes:
    """Read a file of the vendor's.

    Args:
        url: of it.
        timeout: seconds to wait for each answer.

    Raises:
        OSError: the message says what did not answer, and why.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - of our own list
            body: bytes = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise OSError(f"{url} cannot be read: {reason}") from error
    return body


def unreachable(repository: Archive, timeout: float = ANSWER_SECONDS) -> str | None:
    """Return why packages cannot be installed from a repository, None if they can.

    A proxy or a sign-in page may answer in its place: its signed index and its key are looked at.

    Args:
        repository: the repository.
        timeout: seconds to wait for each answer.
    """
    index = f"{repository.uri}/dists/{repository.suite}/InRelease"
    expected = ((index, b"BEGIN PGP SIGNED MESSAGE"), (repository.key, b"BEGIN PGP PUBLIC KEY"))
    for url, beginning in expected:
        try:
            body = fetch(url, timeout)
        except OSError as error:
            return str(error)
        if beginning not in body:
            return f"{url} answers with something else than the repository"
    return None
