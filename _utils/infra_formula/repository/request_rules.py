"""What the parameters of a request may be, for the pillar validation."""

from __future__ import annotations

from typing import Any

from infra_formula.repository import systems

_OPTION: dict[str, Any] = {"either": [{"type": "line"}, {"type": "int"}, {"type": "bool"}]}
META = tuple(
    # dnf.conf(5), "Repo Options" and "Options for both [main] and Repo".
    """
    cost enabled enabled_metadata enablegroups excludepkgs exclude failovermethod fastestmirror
    gpgcheck repo_gpgcheck localpkg_gpgcheck includepkgs ip_resolve keepcache
    max_parallel_downloads mediaid metadata_expire minrate mirrorlist mirrorlist_expire
    module_hotfixes name priority retries skip_if_unavailable timeout throttle bandwidth type
    user_agent countme deltarpm strict sslverify sslverifystatus sslcacert sslclientcert
    sslclientkey proxy proxy_username proxy_password proxy_auth_method proxy_sslcacert
    proxy_sslverify proxy_sslclientcert proxy_sslclientkey username password metalink gpgkey
    """.split()  # noqa: SIM905 - one line an option hides the list
)
"""Options of a yum source."""

REGIONS = ("default", "china", "europe")
UPSTREAM_RULE: dict[str, Any] = {
    "type": "map",
    "required": ["name", "module", "releases", "arch", "baseurl"],
    "keys": {
        "name": {"type": "line"},
        "description": {"type": "line"},
        "module": {"type": "line"},
        "releases": {"type": "list", "items": {"type": "int"}},
        "arch": {"type": "list", "items": {"type": "line", "enum": list(systems.ARCHES)}},
        "baseurl": {"either": [{"type": "line"}, {"type": "map", "items": {"type": "line"}}]},
        "meta": {
            "type": "map",
            "keys": dict.fromkeys(META, _OPTION),
        },
        "minor": {"type": "bool"},
        "gpgkey": {
            "either": [{"type": "string"}, {"type": "list", "items": {"type": "string"}}],
        },
        "signed_by": {"type": "path"},
        "fingerprint": {
            "either": [
                {"type": "fingerprint"},
                {"type": "list", "items": {"type": "fingerprint"}},
            ],
        },
        "fingerprint_since": {"type": "line"},
        "trusted": {"type": "bool"},
        "ca": {"type": "path"},
        "check_valid_until": {"type": "bool"},
        "priority": {"type": "int", "min": -1000, "max": 1000},
    },
}
_NAMES_RULE: dict[str, Any] = {
    "either": [{"type": "line"}, {"type": "list", "items": {"type": "line"}}]
}
REQUEST_RULES: dict[str, dict[str, Any]] = {
    "name": {"type": "line"},
    "home": {"type": "path"},
    "targets": {"type": "list", "items": {"type": "line"}},
    "modules": _NAMES_RULE,
    "region": {"type": "line", "enum": list(REGIONS)},
    "upstream": {"type": "list", "items": UPSTREAM_RULE},
    "packages": _NAMES_RULE,
    "extra_packages": _NAMES_RULE,
    "url_packages": {
        "type": "list",
        "items": {
            "either": [
                {"type": "line"},
                {
                    "type": "map",
                    "required": ["url"],
                    "keys": {
                        "url": {"type": "line"},
                        "name": {"type": "line"},
                        "checksum": {"type": "line"},
                    },
                },
            ]
        },
    },
    "aliases": {"type": "map"},
    "variables": {"type": "map", "items": {"type": "any"}},
    "keep": {"type": "int", "min": 1},
    "key_file": {"type": "string"},
}
