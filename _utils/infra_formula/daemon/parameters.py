"""Problems of the parameters that concern the daemons."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

import salt.utils.yaml

from infra_formula import templates
from infra_formula.daemon import flags
from infra_formula.firewall import entitlements
from infra_formula.minion import Minion


def problems(minion: Minion, parameters: dict[str, Any], family: str) -> list[str]:
    """Problems of packages, options, ports and networks.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.
    family
        ``Debian`` or ``RedHat``.

    Returns one message per problem, each beginning with the key path.
    """
    effective = {**_data(minion, "defaults.yaml"), **parameters}
    rows = _data(minion, "daemons.yaml")
    components = [row["name"] for row in _data(minion, "components.yaml")]
    packages = _data(minion, f"packages/{effective['infra_packaging']}.yaml")[family]
    errors = package_problems(effective, packages, rows, components)
    for row in rows.values():
        problem = flags.options_problem(effective[row["options"]]) if "options" in row else None
        if problem:
            errors.append(f"{row['options']}: {problem}")
    if effective["infra_listen"] == "127.0.0.1" and len(effective["infra_hosts"]) > 1:
        errors.append("infra_listen: expected auto or 0.0.0.0 with several INFRA nodes")
    reach = _data(minion, "reach.yaml")
    services = [*rows, *(row["service"] for row in reach if row["reached_by"] != "all")]
    errors += entitlements.problems(effective, services)
    for index, network in enumerate(effective["node_firewall_intranet"]):
        try:
            ipaddress.ip_network(network)
        except ValueError as err:
            errors.append(
                f"node_firewall_intranet[{index}]: expected a network like 10.0.0.0/8 ({err})"
            )
    return errors


def package_problems(
    parameters: dict[str, Any],
    packages: dict[str, Any],
    rows: dict[str, Any],
    components: Iterable[str],
) -> list[str]:
    """Enabled daemons for which the packaging has no package.

    parameters
        All parameters, defaults included.
    packages
        The family's part of ``infra/packages/<infra_packaging>.yaml``.
    rows
        ``infra/daemons.yaml``.
    components
        Names of all components.

    Returns one message per daemon, each beginning with the parameter that turns it off.
    """
    return [
        f"{row['switch']}: expected false with infra_packaging: {parameters['infra_packaging']}, "
        f"which has no package of {name} ({row['title'].split(',')[0]})"
        for name, row in rows.items()
        if name in components and parameters[row["switch"]] is True and not packages.get(name)
    ]


def _data(minion: Minion, name: str) -> Any:
    return salt.utils.yaml.safe_load(templates.read(minion, f"salt://infra/{name}"))
