"""The portal: from ``infra_portal`` and its settings to nginx's files, and to what answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.minion import Minion
from infra_formula.portal import nginx

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def diff(
    portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, str]:
    """What applying a portal would change, file by file.

    portal, settings
        As for :func:`validate`.

    Returns path below ``/etc/nginx`` → unified difference; empty where nothing would change.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.diff
    """
    return nginx.diff(_minion(), portal, settings)


def entries() -> dict[str, Any]:
    """Entries of the portal that is applied on this minion, with their names and where they lead.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.entries
    """
    return nginx.entries()


def render(
    portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, str]:
    """Render a portal to text, without side effect.

    portal, settings
        As for :func:`validate`.

    Returns path below ``/etc/nginx`` → text (for a link: ``-> target``).

    Raises SaltInvocationError with every error in it.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.render
    """
    return nginx.render(_minion(), portal, settings)


def status(only: list[str] | None = None, timeout: float = 8.0) -> dict[str, Any]:
    """Ask every served name of the portal over HTTP and HTTPS, and its upstream for a connection.

    only
        Keys of the entries to ask for; all of them without it.
    timeout
        Seconds to wait for each; longer than nginx itself waits for an upstream that is silent
        (``nginx_proxy_connect_timeout``, 5 s), or its answer would be missed.

    Returns entry → ``domain``, ``http`` and ``https`` (status code, None where nothing answers),
    ``upstream`` (the endpoint), ``upstream_status`` (``ok``, ``refused``, ``timeout``, ``error``)
    and ``seconds`` that the asking took. ``home`` has ``cards`` besides, one row for each card of
    the home page: ``card``, ``url``, ``code`` (what the portal answers there, None for a link to
    another site, which is not asked), ``shown`` and ``reason`` (what its program answered when the
    pages were applied last).

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.status
        salt infra-1 infra_portal.status only='[home, wiki]'
    """
    return nginx.status(only, timeout)


def validate(
    portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Check a portal without changing anything.

    portal
        The value of ``infra_portal``; without it, that of this minion's pillar.
    settings
        The parameters that the portal depends on; without them, this minion's.

    Returns ``{"valid": bool, "errors": [message, …]}``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.validate
        salt infra-1 infra_portal.validate '{wiki: {domain: wiki.pigsty, endpoint: "10.0.0.1:80"}}'
    """
    return nginx.validate(_minion(), portal, settings)
