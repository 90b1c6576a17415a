"""What the parameters of a request may be, for the pillar validation."""

from __future__ import annotations

from typing import Any

from infra_formula.repository import systems

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
            "items": {"either": [{"type": "line"}, {"type": "int"}, {"type": "bool"}]},
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
