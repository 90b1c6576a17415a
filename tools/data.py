"""The YAML files below ``infra/`` as modules of the library: Salt syncs only Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tools import formula

DATA = formula.ROOT / "_utils" / "infra_formula" / "data"
INFRA = formula.ROOT / "infra"
_FOR_PEOPLE = ("about", "example", "since", "unit")


def _yaml(name: str) -> Any:
    return yaml.safe_load((INFRA / name).read_text(encoding="utf-8"))


def _rules() -> Any:
    """The schema without what is for people only."""
    return {
        title: {name: _without_texts(rule) for name, rule in section.items()}
        for title, section in _yaml("schema.yaml").items()
    }


def _without_texts(rule: Any) -> Any:
    out = {key: value for key, value in rule.items() if key not in _FOR_PEOPLE}
    for key in ("items", "entries"):
        if key in out:
            out[key] = _without_texts(out[key])
    if "keys" in out:
        out["keys"] = {key: _without_texts(inner) for key, inner in out["keys"].items()}
    if "either" in out:
        out["either"] = [_without_texts(choice) for choice in out["either"]]
    return out


_MODULES: dict[str, tuple[str, Callable[[], Any]]] = {
    "components": ("components.yaml", lambda: _yaml("components.yaml")),
    "grafana": (
        "grafana/plugins.yaml and datasources.yaml",
        lambda: {name: _yaml(f"grafana/{name}.yaml") for name in ("plugins", "datasources")},
    ),
    "legacy": ("legacy.yaml", lambda: _yaml("legacy.yaml")),
    "pigsty": ("pigsty.yaml", lambda: _yaml("pigsty.yaml")),
    "platforms": (
        "osfamily/",
        lambda: {name: _yaml(f"osfamily/{name}.yaml") for name in ("Debian", "RedHat")},
    ),
    "repository": (
        "repo/data/",
        lambda: {name: _yaml(f"repo/data/{name}.yaml") for name in ("packages", "upstream")},
    ),
    "schema": ("schema.yaml", _rules),
    "scrape_jobs": ("vmetrics/jobs.yaml", lambda: _yaml("vmetrics/jobs.yaml")),
}


def files() -> dict[Path, str]:
    """Return the text of each module."""
    return {
        DATA / f"{name}.py": f'"""infra/{source}; written by `make generate`."""\n\n'
        f"JSON = {json.dumps(read(), ensure_ascii=False)!r}\n"
        for name, (source, read) in _MODULES.items()
    }
