"""Backup of an INFRA node in one archive, and its restoration on an empty machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.backup import node
from infra_formula.minion import Minion

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def create(path: str, recipient: str = "", metrics: bool = True) -> dict[str, Any]:
    """Back up this INFRA node while it runs, in one file with mode 0600.

    path
        Absolute path of the file, at which nothing is.
    recipient
        Whom to encrypt it for: a key of age (``age1…``) or of SSH, the absolute path of a file with
        a public key of gpg, or the name of a key in root's keyring. Empty: the file is not
        encrypted, and holds the key of the CA in plain.
    metrics
        Whether it holds a snapshot of VictoriaMetrics.

    The file holds the CA and what was issued by hand, the signing key and the list of the
    repository, Grafana's database as of one moment, and Alertmanager's silences.

    Returns ``path``, ``bytes``, ``encrypted``, ``holds`` (what it holds) and ``skipped``
    (component → why it is not in it).

    Raises CommandExecutionError if a part cannot be copied; nothing is at the path then.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_backup.create /root/infra-1.backup recipient=/root/backup.pub
    """
    return node.create(_minion(), path, recipient, metrics)


def inspect(path: str, identity: str = "") -> dict[str, Any]:
    """Read a backup whole, check each file against its digest, and say what it holds.

    path, identity
        As for :func:`restore`.

    Returns ``minion``, ``created`` (time in UTC) and ``holds``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_backup.inspect /root/infra-1.backup identity=/root/backup.key
    """
    return node.inspect(path, identity)


def restore(
    path: str, identity: str = "", force: bool = False, apply: bool = True
) -> dict[str, Any]:
    """Restore an INFRA node from what :func:`create` wrote, on an empty machine with its pillar.

    path
        The backup.
    identity
        File with mode 0600 that holds the key to decrypt: an identity of age, or a secret key of
        gpg without a passphrase. Empty: root's keyring of gpg, or no encryption.
    force
        Whether other files of the CA and the signing key are moved aside (``….before-<time>``).
    apply
        Whether ``state.apply infra`` is run once the CA and the keys are there, before the data of
        services is restored. False if the formula is applied here already.

    The backup is read whole and checked before anything changes. Each service is stopped only while
    its data is put in place; the former data is moved aside (``….before-<time>``).

    Returns ``minion`` (that was backed up), ``files`` (path → what was done), ``grafana``,
    ``vmetrics``, ``silences`` and ``repository``.

    Raises CommandExecutionError for a damaged or foreign backup, for other files in the place of
    the CA, and if the apply fails; it can be repeated.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_backup.restore /root/infra-1.backup identity=/root/backup.key
    """
    return node.restore(_minion(), path, identity, force, apply)


redaction.guard(globals())
