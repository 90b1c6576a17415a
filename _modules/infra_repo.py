"""The local software repository: built, verified, rolled back, packed, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.repository import offline_package, published

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def pack(
    name: str = "pigsty",
    home: str = "/www",
    version: str = "v4.5.0",
    archive: str = "",
    folder: str = "/root",
    compression: str = "gzip",
) -> dict[str, Any]:
    """Pack what is published into one archive.

    name, home
        As for :func:`status`.
    version
        For the archive's name: ``pigsty-pkg-<version>.<os>.<arch>.tgz``.
    archive
        Path of the archive; folder and that name if empty.
    folder
        Where to put it.
    compression
        ``gzip`` (as Pigsty's) or ``zstd``.

    Returns ``archive``, ``files``, ``bytes`` and ``sha256``.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.pack version=v4.5.0 folder=/srv
    """
    return offline_package.pack(_minion(), name, home, version, archive, folder, compression)


def rollback(name: str = "pigsty", home: str = "/www") -> dict[str, str]:
    """Publish the previous repository; a second call undoes the first.

    name, home
        As for :func:`status`.

    Returns ``old`` and ``new`` (paths).

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.rollback
    """
    return published.rollback(name, home)


def sign(
    name: str = "pigsty", home: str = "/www", key: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Sign a published repository that has no signature with the key of this node.

    name, home
        ``repo_name`` and ``repo_home``.
    key
        ``home`` (gpg's directory), ``uid``, ``secret_file``, ``passphrase_file``; all optional.

    Returns ``changed``, ``path`` and ``key`` (fingerprint).

    Raises CommandExecutionError; what was published is then unchanged.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.sign
    """
    return offline_package.sign(_minion(), name, home, key)


def status(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """Report what is published, as data.

    name, home
        ``repo_name`` and ``repo_home``.

    Returns ``published``, ``path``, ``kind``, ``complete``, ``problems``, ``packages``, ``bytes``,
    ``built`` and ``age`` (seconds), ``targets``, ``upstreams``, ``signature`` (``key`` and
    ``problems``), ``previous``, ``archive`` (that it was unpacked from, with its ``sha256``; empty
    for none) and ``busy`` (which process is changing it).

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.status
    """
    return published.status(name, home)


def summary(name: str = "pigsty", home: str = "/www") -> str:
    """Report what is published, as text.

    name, home
        As for :func:`status`.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.summary --out=newline_values_only
    """
    return published.summary(name, home)


def unpack(
    archive: str,
    name: str = "pigsty",
    home: str = "/www",
    checksum: str = "",
    fingerprint: str = "",
    unsigned: bool = False,
    key: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Check an archive, and publish the repository in it.

    archive
        File made by :func:`pack`, or one of Pigsty's. Only root may be able to write it.
    name, home
        As for :func:`status`.
    checksum
        Checksum that the archive must have, e.g. ``sha256:…``; empty for any.
    fingerprint
        Fingerprint of the key that must have signed it; empty for the key that signed what is
        published or, if that is not signed, for the key in the archive.
    unsigned
        Whether an archive that is not signed may replace a repository that is.
    key
        Key of this node, see :func:`sign`. An archive that is not signed is signed with it if the
        tools are installed; otherwise call :func:`sign` later.

    Returns ``path``, ``files``, ``bytes``, ``key`` (that the archive was signed with; empty if it
    is not signed) and ``signed_here`` (the key that it was signed with here, or empty).

    Raises CommandExecutionError; what was published is then unchanged.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.unpack /root/pkg.tgz
    """
    return offline_package.unpack(
        _minion(), archive, name, home, checksum, fingerprint, unsigned, key
    )


def verify(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """Read everything that is published, and check every checksum and signature.

    name, home
        As for :func:`status`.

    Changed files are removed from the store; the next build (``infra_repo.built``) fetches them
    again.

    Returns ``complete``, ``files``, ``bytes`` (read) and ``problems``, each naming its file.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.verify
    """
    return published.verify(name, home)


redaction.guard(globals())
