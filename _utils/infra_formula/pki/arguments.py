"""What the states of certbot are given."""

from __future__ import annotations

from typing import Any

from infra_formula.parameters import site
from infra_formula.parameters.site import Site

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def certbot_environment(here: Site) -> dict[str, str]:
    """Environment of certbot, in this formula's runs and in those of its timer."""
    proxies = {name: here["proxy_env"][name] for name in _PROXIES if here["proxy_env"].get(name)}
    if list(proxies) == ["no_proxy"]:
        proxies = {}
    bundle = {"REQUESTS_CA_BUNDLE": here["certbot_ca"]} if here["certbot_ca"] else {}
    return {**proxies, **bundle}


def certbot(here: Site) -> dict[str, Any]:
    """How certbot requests certificates."""
    return {
        "email": here["certbot_email"],
        "server": here["certbot_server"],
        "key_type": here["certbot_key_type"],
        "challenge": here["certbot_challenge"],
        "webroot": f"{here['nginx_home']}/acme",
        "dns_plugin": here["certbot_dns_plugin"],
        "dns_credentials": here["certbot_dns_credentials"] != "",
        "dns_propagation": here["certbot_dns_propagation"],
        "options": here["certbot_options"],
        "environment": certbot_environment(here),
    }


def certbot_packages(here: Site) -> list[str]:
    """Packages of certbot, and of its plugin for the DNS challenge."""
    plugin = here["certbot_dns_plugin"]
    packages = here.of_packaging(site.component("certbot")["packages"])
    return [*packages, *([f"python3-certbot-dns-{plugin}"] if plugin else [])]
