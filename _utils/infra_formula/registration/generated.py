"""What the inventory becomes: scrape targets, DNS records, consoles, nodes of the home page."""

from __future__ import annotations

import json
from typing import Any

from infra_formula.dns.records import Record
from infra_formula.fileset.contents import MANAGED_BY, File
from infra_formula.registration import canonical
from infra_formula.registration.facts import Facts

_HEADER = f"# {MANAGED_BY}. Changes here are overwritten.\n"


def target_files(nodes: dict[str, Facts], group: str = "infra") -> dict[str, File]:
    """Scrape targets as files: one per job and minion, ``targets/<job>/<ip>.yml``, and no other.

    nodes
        The inventory: minion id → accepted facts.
    group
        Group that may read the files.
    """
    out: dict[str, File] = {}
    for facts in nodes.values():
        ip = facts["ip"]
        entries: dict[str, dict[str, tuple[dict[str, str], list[str]]]] = {}
        host = f"[{ip}]" if ":" in ip else ip
        for target in facts["targets"]:
            labels = {
                "ip": ip,
                "ins": target.get("ins") or facts["ins"],
                "cls": target.get("cls") or facts["cls"],
                **dict(sorted(target.get("labels", {}).items())),
            }
            if target.get("scheme"):
                labels["__scheme__"] = target["scheme"]
            port = target.get("port")
            address = ip if port is None else f"{host}:{port}"
            group_of = entries.setdefault(target["job"], {})
            _labels, targets = group_of.setdefault(json.dumps(labels), (labels, []))
            if address not in targets:
                targets.append(address)
        for job, groups in entries.items():
            text = _HEADER + "".join(_entry(labels, targets) for labels, targets in groups.values())
            rel = f"targets/{job}/{ip.replace(':', '-')}.yml"
            out[rel] = {"text": text, "mode": "0640", "group": group}
    return out


def _entry(labels: dict[str, str], targets: list[str]) -> str:
    # A JSON string is a YAML string, whatever is in it.
    lines = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in labels.items())
    return f"- labels:\n{lines}  targets: {json.dumps(targets)}\n"


def records(nodes: dict[str, Facts]) -> dict[str, list[Record]]:
    """DNS records of the inventory, by minion id."""
    return {ident: facts["dns"] for ident, facts in nodes.items() if facts["dns"]}


def haproxy(nodes: dict[str, Facts]) -> dict[str, str]:
    """HAProxy consoles of the inventory: instance name → ``address:port``."""
    out = {}
    for facts in nodes.values():
        if facts["haproxy"] is not None:
            host = f"[{facts['ip']}]" if ":" in facts["ip"] else facts["ip"]
            out[facts["ins"]] = f"{host}:{facts['haproxy']}"
    return dict(sorted(out.items()))


def page_nodes(nodes: dict[str, Facts], admin_ip: str) -> list[dict[str, Any]]:
    """The inventory as the home page shows it."""
    return [
        {
            "name": facts["ins"],
            "address": facts["ip"],
            "cluster": facts["cls"],
            "admin": facts["ip"] == (canonical.host_address(admin_ip) or admin_ip),
            "links": [
                {"name": "HAProxy", "url": f"/haproxy/{facts['ins']}/"}
                for _ in range(facts["haproxy"] is not None)
            ],
        }
        for facts in nodes.values()
    ]
