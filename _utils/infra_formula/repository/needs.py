"""Packages that a machine has to get from a repository before its other sources are disabled."""

from __future__ import annotations

from infra_formula.parameters import site
from infra_formula.parameters.site import Site
from infra_formula.repository import arguments

SECURITY = ("bash", "ca-certificates", "openssh-server", "openssl", "sudo", "util-linux")
"""Packages of a whole system whose updates a machine must not lose; the default lists have them."""


def needs(here: Site) -> dict[str, list[str]]:
    """What this machine needs of a repository that it installs from alone.

    ``required``
        Packages that the components of this machine install.
    ``secured``
        Packages that must get updates if they are installed: programs that others can reach, and
        the base of the system.
    """
    reachable = _reachable(here)
    required = [*reachable, here["ca_trust_package"], *_names(here["node_default_packages"])]
    required += _names(here["node_packages"])
    if here.is_infra_node and here["repo_enabled"]:
        required += arguments.tools(here)
    if (arguments.client(here)["request"]) is not None:
        required.append(here["gpg_package"])
    if here.is_infra_node and here["grafana_enabled"]:
        required += _names(here["grafana_plugins"])
    selinux = here.grains.get("selinux") or {}
    if here.is_infra_node and here["nginx_enabled"] and selinux.get("enabled"):
        required.append("policycoreutils-python-utils")
    return {
        "required": list(dict.fromkeys(required)),
        "secured": list(dict.fromkeys([*reachable, *SECURITY])),
    }


def _reachable(here: Site) -> list[str]:
    names = []
    for _, row, component in site.daemon_rows():
        is_here = component["role"] == "every" or here.is_infra_node
        if is_here and here[component["switch"]] and ("needs" not in row or here[row["needs"]]):
            names += here.of_packaging(row["packages"])
    return names + service_packages(here)


def service_packages(here: Site) -> list[str]:
    """Packages of the components of this minion that are no daemons of the formula's own units."""
    names: list[str] = []
    if here["node_ntp_enabled"]:
        names.append(here["ntp_package"])
    if here.is_infra_node:
        for name in ("nginx", "certbot"):
            row = site.component(name)
            if here[row["switch"]]:
                names += here.of_packaging(row["packages"])
        if here["certbot_sign"] and here["certbot_dns_plugin"]:
            names.append(f"python3-certbot-dns-{here['certbot_dns_plugin']}")
        if here["dns_enabled"]:
            names.append(here["dns_package"])
    return names


def _names(packages: list[str] | None) -> list[str]:
    return [str(package).partition("=")[0] for package in packages or []]
