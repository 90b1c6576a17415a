"""Registration as states: what a minion publishes, and what the INFRA nodes make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, state
from infra_formula.minion import Minion
from infra_formula.registration import plans

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def published(
    name: str,
    data: dict[str, Any],
    dns_names: list[str] | None = None,
    further: dict[str, dict[str, Any]] | None = None,
    towards: list[str] | None = None,
    ca: str | None = None,
) -> dict[str, Any]:
    """This minion's facts are in the mine, for the INFRA nodes to scrape, show and name it.

    name
        The publisher: ``infra`` is this formula; another formula takes its own name.
    data
        Facts as in docs/fleet.md, e.g. ``{targets: [{job: pgsql, port: 9630}]}``.
    dns_names
        DNS names of this minion's own address; invalid ones are left out.
    further
        Facts of other publishers, by name, from pillar.
    towards
        Addresses of the INFRA nodes. Without ``ip`` in data, the address on the route to them is
        published.
    ca
        Absolute path of the site's CA certificate, if this minion has to publish it.
    """
    return state.converge(
        name,
        __opts__["test"],
        lambda: plans.publish(_minion(), name, data, dns_names or [], further or {}, towards, ca),
    )


def withdrawn(name: str) -> dict[str, Any]:
    """A publisher of this minion publishes no facts.

    name
        The publisher.
    """
    return state.converge(name, __opts__["test"], lambda: plans.withdraw(_minion(), name))


def inventory(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """This INFRA node has an inventory of the site's minions; refused facts are reported.

    name
        Any name for the state.
    settings
        Which facts are accepted (infra_formula.registration.arguments).
    """
    return state.converge(name, __opts__["test"], lambda: plans.accept(_minion(), settings))


def targets(name: str, settings: dict[str, Any], group: str = "infra") -> dict[str, Any]:
    """Every registered exporter is scraped, and no other.

    name
        The directory that holds ``targets``, e.g. ``/data/infra``.
    settings
        As for :func:`inventory`.
    group
        Group that may read the files.
    """
    return state.converge(
        name, __opts__["test"], lambda: plans.targets(_minion(), name, settings, group)
    )


def named(name: str, settings: dict[str, Any], port: int) -> dict[str, Any]:
    """This node's name server answers every registered name, and no other.

    name
        Name of the file set.
    settings
        As for :func:`inventory`.
    port
        Port of the name server.
    """
    return state.converge(
        name, __opts__["test"], lambda: plans.names(_minion(), name, settings, port)
    )


redaction.guard(globals())
