"""Certificates of this site: issued, renewed, listed, and backed up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.pki import authority, ca_backup, certificates, inventory, issuing

__func_alias__ = {"list_": "list"}

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def backup(path: str, passphrase_file: str) -> list[str]:
    """Back up the CA, and what was issued by hand, in one encrypted file.

    path
        The file; a new one, absolute. It gets the mode 0600.
    passphrase_file
        File with the passphrase, for root alone (0600); gpg reads it.

    Returns the paths of what is in it. The file was read back as a check.

    Raises SaltInvocationError for wrong arguments, CommandExecutionError if there is no CA or gpg
    fails.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.backup /root/ca.backup passphrase_file=/root/ca.passphrase
    """
    return ca_backup.write(path, passphrase_file)


def describe(path: str) -> dict[str, Any]:
    """Describe a PEM certificate (the first of a chain).

    path
        Absolute path of the file.

    Returns ``subject``, ``issuer`` (RFC 4514), ``names`` (DNS), ``addresses``, ``not_after`` (ISO
    8601, UTC), ``days`` (its whole life) and ``days_left`` (floats, days), and ``usages``, those
    of serverAuth and clientAuth that it is for (empty: any).

    Raises ValueError for a file that is no certificate, OSError for an unreadable one.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.describe /etc/nginx/conf.d/cert/pigsty.crt
    """
    return certificates.describe(path)


def issue(
    cn: str,
    san: str | list[str] = "DNS:localhost,IP:127.0.0.1",
    org: str = "pigsty",
    unit: str = "pigsty",
    expire: str = "7300d",
    crt: str = "",
    key: str = "",
) -> dict[str, Any]:
    """Issue a certificate by hand, for a server or a client that this formula does not manage.

    cn
        Its common name; for the login to a database, the name of the role.
    san
        DNS names and IP addresses it is for: a list, or separated by commas; ``DNS:`` and ``IP:``
        may stand before each.
    org, unit
        O and OU of its subject.
    expire
        Its life, like ``7300d``.
    crt, key
        Where to put it and its key, absolute paths; ``/etc/pki/misc/<cn>.crt`` and ``.key`` if not
        given. Both get the mode 0600. An existing key is used again.

    Returns what :func:`describe` does, and ``crt`` and ``key``.

    Raises SaltInvocationError for wrong arguments, and if a certificate of another CA is at that
    path; CommandExecutionError if the CA is missing.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.issue dbuser_monitor
        salt infra-1 infra_cert.issue etcd-1 san=etcd-1,10.10.10.21 expire=365d
    """
    return issuing.issue(cn, san, org, unit, expire, crt, key)


def list_() -> dict[str, dict[str, Any]]:
    """List the certificates of this machine: the CA, what it issued, public ones, and your own.

    Returns path → ``kind`` (``ca``, ``issued``, ``public``, ``own``), ``names`` (and addresses),
    ``issuer``, ``not_after``, ``days_left``, ``used_by`` (words) and ``renewed_by``; or ``fault``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.list
    """
    return inventory.list_certificates()


def renew(name: str = "", force: bool = False) -> dict[str, str]:
    """Renew what this machine's CA issued and what expires soon; reload its services.

    name
        Path of one certificate; all of them without it.
    force
        Renew it although it does not expire soon.

    Returns path → what was done, or how long it is valid. A certificate that was removed is no
    longer recorded. Needs no pillar and no master; the timer ``infra-cert-renew`` runs it daily.

    Raises SaltInvocationError for an unknown certificate, CommandExecutionError with every failure;
    the others are renewed.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.renew
        salt infra-1 infra_cert.renew /etc/pki/infra.crt force=True
    """
    return issuing.renew(_minion(), name, force)


def renew_ca(days: int = 7300) -> dict[str, Any]:
    """Renew this machine's CA with the same key and name: what it issued stays valid.

    days
        Its life from now on.

    Returns what :func:`describe` does, with ``fingerprint`` (SHA-256) and ``before``, the file with
    the former certificate. Apply all minions afterwards, so that they trust the new one.

    Raises SaltInvocationError for wrong arguments, CommandExecutionError without a usable CA.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.renew_ca
    """
    return authority.renew_ca(days)


def restore(path: str, passphrase_file: str, force: bool = False) -> dict[str, str]:
    """Restore what :func:`backup` wrote. Apply the formula afterwards.

    path, passphrase_file
        As for :func:`backup`.
    force
        Whether other files at these paths are moved aside; otherwise they are an error.

    Returns path → ``restored``, ``up to date``, or where the previous file is.

    Raises CommandExecutionError for a wrong passphrase, for a file that was changed or is no
    backup, and for other files at these paths; nothing is changed then.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.restore /root/ca.backup passphrase_file=/root/ca.passphrase
    """
    return ca_backup.restore(path, passphrase_file, force)


redaction.guard(globals())
