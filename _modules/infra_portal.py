"""The portal on the command line: its entries, what it serves, and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.portal import applied

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
    """Compare the portal that was applied last, or a given one, with the files on disk.

    portal, settings
        As for :func:`validate`. The files of users and of ``nginx_certificates`` are not compared.

    Returns path below ``/etc/nginx`` → unified difference. What a changed pillar would do is shown
    by ``state.apply infra.nginx test=True``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.diff
    """
    return applied.diff(_minion(), portal, settings)


def entries() -> dict[str, Any]:
    """Entries of the portal that was applied last on this minion, with names and endpoints.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.entries
    """
    return applied.entries()


def explain(name: str, path: str = "/", scheme: str = "") -> dict[str, Any]:
    """Explain what answers a URL: which entry, attribute and line, and what happens on the way.

    name
        A name or address that a visitor uses, known or not; the key of an entry; a whole URL; or
        the name of a stream. With ``scheme`` ``tcp`` or ``udp``, a port or ``NAME:PORT``.
    path
        As a visitor sends it, with its query; it starts with ``/``.
    scheme
        ``http``, ``https``, ``tcp`` or ``udp``; by default ``https`` if the portal has it.

    The files in ``/etc/nginx`` are read, those that are not of the formula too. The visitor has no
    cookie and no login, and an address that is in no list.

    Returns ``url``; ``entry`` and ``attribute`` (key paths of the pillar; empty for a file that
    is not of the formula); ``matched_by`` (how the name was found); ``file`` (path and line of what
    answers) and ``location``; ``answer``, in words; ``status`` and ``redirect`` if nginx itself
    answers; ``upstream`` (addresses), ``upstream_path`` and ``scheme`` if a server behind the
    portal does; ``path`` of a file on disk; ``login`` (``basic``, ``oidc`` or empty), ``addresses``
    (the rules), ``satisfy`` and ``client_certificate``; ``certificate``; ``request_headers`` to the
    upstream and ``answer_headers`` to the visitor, with nginx's variables; ``undecided``, lines
    whose condition depends on more than the URL; and ``active``: whether nginx runs with these
    files.

    Raises SaltInvocationError for a name, a path or a scheme that no request can have.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.explain wiki.pigsty /edit
        salt infra-1 infra_portal.explain https://10.10.10.10/ui/
        salt infra-1 infra_portal.explain wiki scheme=http
    """
    return applied.explain(name, path, scheme)


def render(
    portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, str]:
    """Render the portal that was applied last, or a given one, without writing a file.

    portal, settings
        As for :func:`validate`.

    Returns path below ``/etc/nginx`` → text (for a link: ``-> target``).

    Raises SaltInvocationError with every error in the portal.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.render
    """
    return applied.render(_minion(), portal, settings)


def status(only: list[str] | None = None, timeout: float = 8.0) -> dict[str, Any]:
    """Query every served name of the portal over HTTP and HTTPS, and connect to its upstream.

    only
        Keys of the entries to query, default all.
    timeout
        Seconds to wait for each answer. It has to be longer than nginx waits for a silent upstream
        (``nginx_proxy_connect_timeout``, 5 s).

    Returns entry → ``domain``, ``http`` and ``https`` (status code, None without an answer),
    ``upstream`` (the endpoint), ``upstream_status`` (``ok``, ``refused``, ``timeout``, ``error``)
    and ``seconds`` that the queries took. An entry whose locations have endpoints of their own
    also has ``locations``: location → ``upstream`` and ``upstream_status``. ``home`` also has
    ``cards``, one row per card of the home page: ``card``, ``url``, ``code`` (the portal's status
    code; None for a link to another site, which is not queried), ``shown`` and ``reason`` (the
    answer of its program when the pages were applied last). A stream has ``listen`` (port and
    protocol), ``listen_status``, ``upstream``, ``upstream_status`` and ``seconds``; of UDP, no
    state is known.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.status
        salt infra-1 infra_portal.status only='[home, wiki]'
    """
    return applied.status(only, timeout)


def validate(
    portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Validate a portal, without changing anything.

    portal
        A value of ``infra_portal``, in place of the one that was applied last. The pillar is
        validated by ``infra_pillar.validate``.
    settings
        The portal's settings, in place of those that were applied last.

    Returns ``{"valid": bool, "errors": [message, …]}``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_portal.validate
        salt infra-1 infra_portal.validate '{wiki: {domain: wiki.pigsty, endpoint: "10.0.0.1:80"}}'
    """
    return applied.validate(portal, settings)


redaction.guard(globals())
