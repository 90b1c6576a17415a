"""Public certificates: what the portal wants of an ACME server, and certbot, which gets it."""

from __future__ import annotations

from typing import Any

from infra_formula.pki import certbot


def certificates() -> dict[str, dict[str, Any]]:
    """Certificates that certbot keeps on this machine.

    Returns name → ``names``, ``issuer``, ``not_after``, ``days`` (its whole life), ``days_left``,
    ``cert`` and ``key`` (paths) and ``renewal`` (how it is renewed), or ``fault``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.certificates
    """
    return certbot.certificates()


def replace(name: str, revoke: str = "") -> dict[str, Any]:
    """Get a certificate anew, with a new key, and let nginx serve it; then revoke the old one.

    name
        Its ``certbot`` name.
    revoke
        Why the old one is revoked, e.g. ``keycompromise``; without it, it is not.

    Returns what there is then (see :func:`certificates`).

    Raises SaltInvocationError for a name or a reason that is not known, CommandExecutionError where
    certbot or nginx fails; the old certificate then stays, and stays valid.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.replace pigsty.demo revoke=keycompromise
    """
    return certbot.replace(name, revoke)


def retry(name: str = "") -> list[str]:
    """Let the next apply ask again at once for what failed.

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
    """Public certificates of this minion: which there are, and what went wrong with which.

    Returns name → ``names``, ``days_left``, ``fault`` (all as in :func:`certificates`) and
    ``failure``: ``error``, ``count``, ``at`` and ``next``, the time before which an apply does not
    ask again (:func:`retry` lifts that).

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_certbot.status
    """
    return certbot.status()
