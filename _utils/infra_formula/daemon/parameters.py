"""Problems of the parameters that concern the daemons."""

from __future__ import annotations

import ipaddress

from infra_formula.daemon import flags
from infra_formula.firewall import arguments as firewall_arguments
from infra_formula.firewall import entitlements
from infra_formula.monitoring import cluster, remote_write, storage_nodes
from infra_formula.parameters import elsewhere, site
from infra_formula.parameters.site import Site


def problems(here: Site) -> list[str]:
    """Problems of packages, options, ports and networks.

    Returns one message per problem, each beginning with the key path.
    """
    errors = package_problems(here) + elsewhere.problems(here)
    errors += remote_write.problems(here) + cluster.problems(here)
    errors += storage_nodes.problems(here)
    for _name, row, _component in site.daemon_rows():
        problem = flags.options_problem(here[row["options"]]) if "options" in row else None
        if problem:
            errors.append(f"{row['options']}: {problem}")
    if here["infra_listen"] == "127.0.0.1" and len(here["infra_hosts"]) > 1:
        errors.append("infra_listen: expected auto or 0.0.0.0 with several INFRA nodes")
    errors += entitlements.problems(here.parameters, firewall_arguments.services())
    for index, network in enumerate(here["node_firewall_intranet"]):
        try:
            ipaddress.ip_network(network)
        except ValueError as err:
            errors.append(
                f"node_firewall_intranet[{index}]: expected a network like 10.0.0.0/8 ({err})"
            )
    return errors


def package_problems(here: Site) -> list[str]:
    """Enabled components for which the packaging has no package.

    Returns one message per component, each beginning with the parameter that turns it off.
    """
    return [
        f"{component['switch']}: expected false with infra_packaging: {here['infra_packaging']}, "
        f"which has no package of {name} ({row['title'].split(',')[0]})"
        for name, row, component in site.daemon_rows()
        if name == component["name"]
        and here[component["switch"]] is True
        and not here.of_packaging(row["packages"])
    ]
