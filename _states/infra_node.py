"""A client of the INFRA nodes: it trusts their CA, and installs from their repositories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.pki import authority as pki_authority
from infra_formula.repository import client_plans
from infra_formula.state import Plan, converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def authority(
    name: str,
    nodes: list[dict[str, Any]],
    given: str | None,
    wait: int,
    fingerprints: str | list[str] | None = None,
) -> dict[str, Any]:
    """The certificate of the site's CA is here, as the INFRA nodes publish it in the mine.

    name
        Absolute path of the certificate.
    nodes
        The INFRA nodes in their order, each ``key``, ``ip`` and ``seq``.
    given
        The certificate from pillar (``ca_crt``), which takes precedence.
    wait
        Seconds to wait for the first INFRA node, if there is no certificate here yet.
    fingerprints
        SHA-256 fingerprints (``ca_fingerprint``), of which the certificate has one. Without any,
        the certificate of an INFRA node is trusted that ``infra_hosts`` names by its minion id.

    A certificate that is here already stays, if no other is trusted.
    """
    test = __opts__["test"]

    def plan() -> Plan:
        expected = pki_authority.expected_fingerprints(fingerprints)
        return client_plans.plan_ca(_minion(), name, nodes, given, expected, wait, test)

    return converge(name, test, plan)


def repository(
    name: str,
    nodes: list[dict[str, Any]],
    ports: dict[str, Any],
    exclusive: bool,
    wait: int,
    request: dict[str, Any] | None = None,
    needs: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """This client installs from the repositories of the INFRA nodes, any of which is enough.

    name
        Any name for the state.
    nodes
        The INFRA nodes in their order; none if their repository is not used.
    ports
        ``repo`` (name of the repository), ``http``, ``https`` (ports), ``ca`` (path, or None
        without TLS).
    exclusive
        Whether other sources are disabled in place; otherwise those that were are enabled.
    wait
        Seconds to wait for the first INFRA node, if there is no definition here yet.
    request
        What other upstreams are used, as for ``infra_repo.built``; None for none.
    needs
        Packages without which other sources stay enabled, see ``infra_repo.used``.

    The definition of an INFRA node that does not answer stays as it is.
    """
    test = __opts__["test"]
    return converge(
        name,
        test,
        lambda: client_plans.plan_repository(
            _minion(), name, nodes, ports, exclusive, wait, request, test, needs
        ),
    )


def linked(name: str, target: str) -> dict[str, Any]:
    """A link leads to a file, if there is that file.

    name
        Absolute path of the link.
    target
        Absolute path of the file.
    """
    if not Path(target).is_file():
        comment = f"{target} does not exist; nothing to link."
        return {"name": name, "changes": {}, "result": True, "comment": comment}
    return __states__["file.symlink"](name, target=target, makedirs=True)


redaction.guard(globals())
