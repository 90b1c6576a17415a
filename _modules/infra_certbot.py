"""Public certificates of the portal, which certbot gets from an ACME server."""

from __future__ import annotations

from typing import Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.pki import certbot


def certificates() -> dict[str, dict[str, Any]]:
    """List the certificates that certbot manages on this machine.

    Returns name → ``names``, ``issuer``, ``not_after``, ``days`` (its whole life), ``days_left``,
    ``cert`` and ``key`` (paths) and ``renewal`` (how it is renewed), or ``fault``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.certificates
    """
    return certbot.certificates()


def replace(name: str, revoke: str = "") -> dict[str, Any]:
    """Replace a certificate and its key, reload nginx, and revoke the old certificate.

    name
        Its ``certbot`` name.
    revoke
        Reason for which the old one is revoked, e.g. ``keycompromise``; empty: it is not.

    Returns the new certificate (see :func:`certificates`).

    Raises SaltInvocationError for an unknown name or reason, CommandExecutionError if certbot or
    nginx fails; the old certificate then stays in use and valid.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.replace pigsty.demo revoke=keycompromise
    """
    return certbot.replace(name, revoke)


def retry(name: str = "") -> list[str]:
    """Let the next apply request again at once what failed.

    name
        Of one certificate; all of them without it.

    Returns the names.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.retry
        salt infra-1 state.apply infra.certbot
    """
    return certbot.retry(name)


def status() -> dict[str, dict[str, Any]]:
    """Report the public certificates of this minion, and the failures.

    Returns name → ``names``, ``days_left``, ``fault`` (all as in :func:`certificates`) and
    ``failure``: ``error``, ``count``, ``at`` and ``next``, the time before which an apply does not
    request it again (unless :func:`retry` is called).

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.status
    """
    return certbot.status()


redaction.guard(globals())
