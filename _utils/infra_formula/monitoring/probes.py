"""Targets of the blackbox exporter: which modules there are, and what their probers can ask."""

from __future__ import annotations

import re
from typing import Any

from infra_formula.monitoring import blackbox
from infra_formula.parameters import schema

_PORT = r":\d{1,5}"
_TARGETS = {
    "http": (r"https?://[^/\s].*", "an http:// or https:// URL"),
    "tcp": (rf".+{_PORT}", "host:port"),
    "dns": (r"[^/]+", "a name server: host or host:port"),
    "grpc": (rf"(https?://)?[^/]+{_PORT}", "host:port"),
    # Of what has one colon, the end is a port; an IPv6 address has more.
    "icmp": (r"[^/:]+|[^/\[\]]*:[^/\[\]]*:[^/\[\]]*", "a host or an address, without a port"),
}
"""Prober → form of its targets, as the exporter reads them, and its description."""


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the targets of probes.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    A module's prober, not its name, says what its targets look like. A prober that is not among
    those that are known here gets any target.

    Returns one message per problem, each beginning with the key path.
    """
    probers = _probers(parameters.get("blackbox_modules") or {})
    errors = []
    for module, items in (parameters.get("blackbox_targets") or {}).items():
        path = f"blackbox_targets.{module}"
        if module not in probers:
            errors.append(_unknown(path, module, probers))
            continue
        for index, item in enumerate(items):
            target = item.get("target") if isinstance(item, dict) else item
            errors += _target_problems(f"{path}[{index}]", target, probers[module])
    # A job of the site's own may read these files in its own way.
    jobs = parameters.get("vmetrics_scrape_jobs") or []
    own = any("probe" in (job.get("job_name"), job.get("targets")) for job in jobs)
    probes = [] if own else (parameters.get("vmetrics_targets") or {}).get("probe") or []
    for index, entry in enumerate(probes):
        path = f"vmetrics_targets.probe[{index}]"
        module = str((entry.get("labels") or {}).get("module"))
        if module not in probers:
            errors.append(_unknown(f"{path}.labels.module", module, probers))
            continue
        for number, target in enumerate(entry.get("targets") or []):
            errors += _target_problems(f"{path}.targets[{number}]", target, probers[module])
    return errors


def _probers(custom: dict[str, Any]) -> dict[str, Any]:
    """Module → its prober."""
    modules = blackbox.modules({"ca_bundle": "", "dns_name": ""}, custom)["modules"]
    return {name: module.get("prober") for name, module in modules.items()}


def _unknown(path: str, module: str, known: dict[str, Any]) -> str:
    problem = schema.problem(path, "a module of the blackbox exporter", module)
    return problem + (schema.nearest(module, known) or f"; there are {', '.join(known)}")


def _target_problems(path: str, target: Any, prober: Any) -> list[str]:
    form, expected = _TARGETS.get(str(prober), (r".*", ""))
    if not isinstance(target, str) or not re.fullmatch(r"\S+", target):
        return [schema.problem(path, "a target without blanks", target)]
    return [] if re.fullmatch(form, target) else [schema.problem(path, expected, target)]
