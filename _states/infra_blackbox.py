"""Probe modules of the blackbox exporter, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon.model import Daemon
from infra_formula.monitoring import blackbox
from infra_formula.state import converge

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def managed(
    name: str,
    daemon: Daemon,
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The exporter's modules follow the parameters; checked by the exporter, and reloaded.

    name
        ``/etc/blackbox.yml``.
    daemon
        The exporter, see the state module infra_daemon.
    settings
        ``ca_bundle`` (file of trusted CAs) and ``dns_name`` (a name that the site's name server
        answers).
    custom
        The value of ``blackbox_modules``.
    """
    return converge(name, __opts__["test"], lambda: blackbox.plan(daemon, settings, custom))


redaction.guard(globals())
