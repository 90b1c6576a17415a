"""What the states of the repository are given."""

from __future__ import annotations

from typing import Any

from infra_formula import addresses
from infra_formula.data import load
from infra_formula.parameters.site import Site

REQUESTED = (
    *("targets", "modules", "region", "upstream"),
    *("packages", "extra_packages", "url_packages", "aliases"),
)
"""Parts of a request that an operator sets, ``repo_<name>`` but for ``region``."""


def target(here: Site) -> str:
    """This machine's own target, e.g. ``d12.x86_64``."""
    debian = "u" if here.grains.get("os") == "Ubuntu" else "d"
    letter = debian if here.os_family == "Debian" else "el"
    return f"{letter}{here.grains.get('osmajorrelease')}.{here.grains.get('cpuarch')}"


def repository(here: Site) -> dict[str, Any]:
    """The repository: ``name``, ``home``, what is built (``request``), ``key`` and ``endpoints``.

    Other endpoints than the first are fall-backs: every INFRA node whose address is known publishes
    the same.
    """
    catalogue = load("repository")
    lists = catalogue["packages"]
    chosen = lists["default_lists"][here["infra_packaging"]]

    def given(name: str, default: Any) -> Any:
        return default if here[name] is None else here[name]

    first = here["repo_endpoint"].replace("${admin_ip}", here["admin_ip"])
    return {
        "name": here["repo_name"],
        "home": here["repo_home"],
        "request": {
            "targets": here["repo_targets"] or [target(here)],
            "modules": given("repo_modules", chosen["modules"]),
            "region": here["region"],
            "upstream": given("repo_upstream", catalogue["upstream"]),
            "packages": given("repo_packages", chosen["packages"]),
            "extra_packages": given("repo_extra_packages", chosen["extra_packages"]),
            "url_packages": here["repo_url_packages"],
            "aliases": {**lists["aliases"], **here["repo_aliases"]},
            "variables": {
                "admin_ip": here["admin_ip"],
                "version": here["version"],
                "pg_version": here["pg_version"],
                "minor_release": here.grains.get("osrelease"),
            },
            "keep": here["repo_keep"],
            "key_file": here["repo_key_file"],
            "pillar": {
                name: here["region" if name == "region" else f"repo_{name}"] for name in REQUESTED
            },
        },
        "key": {
            "secret_file": here["repo_key_file"],
            "passphrase_file": here["repo_key_passphrase_file"],
        },
        "transfer": {"connections": here["repo_connections"], "proxy_env": here["proxy_env"]},
        "endpoints": [
            first or f"http://{addresses.in_url(here['admin_ip'])}:{here['nginx_port']}",
            *here["repo_endpoints"],
        ],
    }


def tools(here: Site) -> list[str]:
    """Packages of the tools that build it."""
    if here.os_family == "RedHat":
        return ["createrepo_c", "gnupg2", "rpm-sign", "zstd"]
    packages = ["apt-utils", "gnupg", "gpgv", "zstd"]
    targets = here["repo_targets"] or [target(here)]
    if any(name.startswith("el") for name in targets):
        packages += ["createrepo-c", "dnf", "rpm"]
    return packages


def client(here: Site) -> dict[str, Any]:
    """Where a client's packages are from.

    ``modules``
        Modules of ``node_repo_modules``; nothing is defined without any.
    ``nodes``
        INFRA nodes whose repository is used.
    ``request``
        What upstreams are used, or None.
    """
    modules = [name for name in here["node_repo_modules"].replace(" ", "").split(",") if name]
    others = [name for name in modules if name != "local"]
    local = "local" in modules and here["repo_enabled"]
    request = None
    if others:
        repo = repository(here)
        request = {
            **repo["request"],
            "name": repo["name"],
            "home": repo["home"],
            "modules": ",".join(others),
            "targets": [target(here)],
            "packages": [],
            "extra_packages": [],
            "url_packages": [],
        }
    ports = {
        "repo": here["repo_name"],
        "http": here["nginx_port"],
        "https": here["nginx_ssl_port"],
        "ca": "/etc/pki/ca.crt" if here.tls else None,
    }
    return {
        "modules": modules,
        "nodes": here.infra_nodes if local else [],
        "ports": ports,
        "request": request,
    }
