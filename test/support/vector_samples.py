"""Configurations of Vector as the formula renders them, from samples of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from infra_formula.logs import vector as infra_vector

REPO = Path(__file__).resolve().parents[2]
SOURCES = ["node", "nginx", "grafana"]
SETTINGS: dict[str, Any] = {
    "data": "/data/vector",
    "port": 9598,
    "receivers": ["http://10.10.10.10:9428/insert/jsonline", "http://u:p@h/insert/jsonline"],
    "buffer_bytes": 2**30,
    "read_from": "beginning",
    "ip": "10.10.10.10",
    "ins": 'a"b',
    "cls": "nodes",
    "seq": 1,
}
SAMPLES: dict[str, dict[str, Any]] = {
    "two receivers": {},
    "one receiver": {"receivers": SETTINGS["receivers"][:1]},
    "no receiver": {"receivers": []},
    "a password of signs": {"receivers": ["https://u:$HOME${x}'\"%7B@logs:9428/insert?a=b&c=#d"]},
    "from the end": {"read_from": "end"},
    "least buffer": {"buffer_bytes": infra_vector.size("257MiB")},
    "names of signs": {"ins": "ä'\\\" {{ x }} $HOME \\n", "cls": "c#: d{"},
    "a client": {"sources": ["node"], "seq": 0, "ip": "fd00::10"},
}


def texts(sources: list[str]) -> dict[str, str]:
    """Texts of the templates by their paths."""
    return {
        path: (REPO / path.removeprefix("salt://")).read_text(encoding="utf-8")
        for path in infra_vector.template_paths(sources).values()
    }


def files(sources: list[str] | None = None, **changes: Any) -> dict[str, dict[str, Any]]:
    """The rendered file set."""
    sources = SOURCES if sources is None else sources
    return infra_vector.files({**SETTINGS, **changes}, sources, texts(sources))


def whole(sources: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """All files as one configuration."""
    return merged(files(sources, **changes))


def of_state(chunk: dict[str, Any]) -> dict[str, Any]:
    """The configuration that a compiled state infra_vector.managed writes."""
    receivers = infra_vector.receivers(chunk["endpoints"], chunk["nodes"], chunk["admin_ip"])
    settings = {
        **chunk["settings"],
        "ip": chunk["settings"]["ip"] or "10.10.10.10",
        "receivers": receivers,
        "buffer_bytes": infra_vector.size(chunk["buffer"]),
    }
    return merged(infra_vector.files(settings, chunk["sources"], texts(chunk["sources"])))


def merged(rendered: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A file set as one configuration, as Vector merges the files."""
    out: dict[str, Any] = {}
    for spec in rendered.values():
        for key, value in yaml.safe_load(spec["text"]).items():
            if key in ("sources", "transforms", "sinks"):
                out.setdefault(key, {}).update(value)
            else:
                out[key] = value
    return out
