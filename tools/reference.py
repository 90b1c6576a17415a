"""docs/reference.md: every name of the formula on one page, for a search in the browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tools import commands, formula, markdown, pages  # isort: skip - finds the library

from infra_formula.monitoring import vmalert
from infra_formula.parameters import site

ROOT = formula.ROOT
INFRA = ROOT / "infra"
RULES = INFRA / "vmalert" / "files" / "rules"
PAGE = ROOT / "docs" / "reference.md"

_HEAD = """\
<!-- Written by `make generate` from infra/, _modules and _runners; change those. -->
# Reference

For operators who look up a name. One page, so that the search of your browser finds it: every
component, port, file, parameter, function, alert, metric and state. The links lead to the page that
explains it.

"""
_SLS = {
    "infra": "everything that this minion is to have",
    "infra.clean": "[removal](removing.md) of all components",
    "infra.nginx.portal": "the portal's pages and configuration, without package and service",
    "infra.node.ca": "trust the CA of the site",
    "infra.node.hosts": "names that resolve without a name server",
    "infra.node.packages": "packages of every minion",
    "infra.node.repo": "package sources of a client",
    "infra.node.resolver": "name servers of a minion",
    "infra.node.timezone": "time zone",
    "infra.register": "targets, names and portal pages of the registered minions",
    "infra.register.inventory": "the list of registered minions",
    "infra.register.names": "DNS records of the registered minions",
    "infra.register.publish": "publish this minion's facts to the mine",
    "infra.register.targets": "scrape targets of the registered minions",
    "infra.orch.deploy": "orchestration: INFRA nodes, then clients, in order",
    "infra.orch.join": "orchestration: configure and register one minion",
    "infra.orch.leave": "orchestration: remove one minion from the site",
    "infra.orch.register": "orchestration: INFRA nodes read the mine again",
    "infra.orch.upgrade": "orchestration: packages and states of the INFRA nodes, one by one",
    "infra.upgrade": "the newest packages of the components that run here",
    "infra.orch.process_events": "orchestration: process waiting events of the reactor",
}
"""States that a person applies; components are added from components.yaml."""
_INCLUDED = {
    "infra.daemon.stable", "infra.nginx.home_states", "infra.orch.modules",
    "infra.orch.reactor.join",
    "infra.orch.reactor.leave", "infra.pillar", "infra.preflight", "infra.safeguard", "infra.sync",
    "infra.webroot",
}  # fmt: skip
"""States that others include; nobody applies them alone."""
_COMPONENTS = {
    "ca": "the CA of the site, and certificates for other services",
    "certbot": "public certificates",
    "daemon": "accounts and directories of the services",
    "dns": "dnsmasq: names of the site",
    "firewall": "direct access to the ports of the services",
    "legacy": "takeover of a Pigsty machine",
    "nginx": "nginx: the portal",
    "node": "what every minion has: CA, names, sources, packages",
    "ntp": "chrony: time",
    "register": "registration of minions",
    "repo": "the local package repository",
    "status": "what `infra_status` checks",
}
"""What a component is that has no daemons; of the others, the daemons' titles say it."""

FILES = [
    ("/etc/nginx/nginx.conf", "configuration of nginx"),
    ("/etc/nginx/conf.d/<entry>.conf", "one entry of `infra_portal`"),
    ("/etc/nginx/conf.d/cert", "certificates of the portal (`nginx_cert_validity`)"),
    ("/etc/nginx/conf.d/haproxy", "pages of HAProxy below the home page"),
    ("/etc/nginx/.htpasswd", "`nginx_users`, hashed"),
    ("/etc/nginx/infra-<name>-headers.conf", "headers that the entries share"),
    ("/etc/nginx/infra-after-stop", "what systemd runs when nginx does not start"),
    ("/var/lib/infra/nginx-taken-out", "with what nginx did not start, as it was applied"),
    ("/etc/logrotate.d/infra-nginx", "rotation of nginx's error log"),
    ("/var/log/nginx-error.log", "error log of nginx: a 502, a refused login"),
    ("/var/log/nginx/<entry>.log", "access log of an entry, as its `log` says; else `access.log`"),
    ("/www", "web root (`nginx_home`), a link to `nginx_data`"),
    ("/data/nginx", "content of the web root: home page, `/ca.crt`, reports"),
    ("/www/pigsty", "the local package repository (`repo_home`, `repo_name`)"),
    ("/etc/pki/ca", "key of the CA; [back it up](certificates.md#back-up-the-ca)"),
    ("/etc/pki/ca.crt", "certificate of the CA, public"),
    ("/etc/pki/infra.crt", "the machine's own certificate, for its exporters"),
    ("/etc/pki/infra.key", "its key"),
    ("/usr/local/share/ca-certificates/ca.crt", "trust of the CA (EL: /etc/pki/ca-trust)"),
    ("/etc/dnsmasq.conf", "configuration of dnsmasq"),
    ("/etc/dnsmasq.names", "names that are answered here alone"),
    ("/etc/dnsmasq.d", "further files of the site for dnsmasq"),
    ("/etc/hosts.d", "DNS records, one file for each registrant"),
    ("/etc/hosts", "names that resolve without a name server"),
    ("/etc/resolv.conf", "name servers of this machine"),
    ("/etc/chrony/chrony.conf", "configuration of chrony (EL: /etc/chrony.conf)"),
    ("/infra", "link to `infra_data`"),
    ("/data/infra", "data of the services (`infra_data`)"),
    ("/data/infra/prometheus.yml", "scrape jobs"),
    ("/data/infra/targets/<job>", "scrape targets"),
    ("/data/infra/rules", "alerting and recording rules"),
    ("/etc/alertmanager.yml", "receivers and routes of alerts"),
    ("/etc/blackbox.yml", "probe modules"),
    ("/etc/vector", "configuration of Vector; further files of the site"),
    ("/etc/grafana", "settings, data sources and dashboards of Grafana"),
    ("/etc/default/<unit>", "flags of a service"),
    ("/etc/systemd/system", "units of the services, drop-ins, timers"),
    ("/etc/infra-firewall.nft", "table `inet infra` of nftables"),
    ("/etc/apt/sources.list.d, /etc/yum.repos.d", "the repository as a source of clients"),
    ("/var/lib/infra", "state of the formula: manifests, install record"),
    ("/var/lib/infra/replaced", "originals of files that were replaced; removal restores them"),
    ("/var/lib/infra/textfile", "metrics in text files, for the node exporter"),
]
"""Path, where ``<…>`` stands for any name, and what it is."""
_HELP = re.compile(r"# HELP (infra_\w+|\{name\}) ([^\n\"]+)")
_PORTS_INTRO = (
    "[Who reaches which port](security.md#who-reaches-which-port) explains the firewall.\n"
)


def document(schema: dict[str, dict[str, Any]]) -> str:
    """Return the page.

    schema
        As ``parameters.read`` returns it.
    """
    sections = {
        "Components": _components(),
        "Ports": _PORTS_INTRO + "\n" + _ports(schema),
        "Files": _files(),
        "States to apply": _states(),
        "Functions": _functions(),
        "Alerts": _alerts(),
        "Metrics": _metrics(),
        "Parameters": _parameters(schema),
        "State IDs": _state_ids(),
    }
    links = " · ".join(f"[{title}](#{markdown.anchor(title)})" for title in sections)
    body = "\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{_HEAD}{links}\n\n{body}"


def _components() -> str:
    daemons: dict[str, list[dict[str, Any]]] = {}
    rows = []
    known = _yaml("components.yaml")
    for name, row, component in site.daemon_rows():
        daemons.setdefault(component["name"], []).append({"service": name, **row})
    for component in known:
        own = daemons.get(component["name"], [])
        units = [row["unit"] for row in own] or [
            unit for unit in (component.get("unit"),) if unit and "{" not in unit
        ]
        packages = [name for row in own for name in _packages(row.get("packages", {}))]
        rows.append(
            [
                f"`{component['name']}`",
                _what(component),
                pages.place(component),
                ", ".join(f"`{unit}`" for unit in dict.fromkeys(units)),
                ", ".join(dict.fromkeys(packages)),
                f"`{component['switch']}`" if "switch" in component else "",
            ]
        )
    return markdown.table(["component", "what it is", "on", "unit", "packages", "switch"], rows)


def _what(component: dict[str, Any]) -> str:
    titles = [daemon["title"] for daemon in component.get("daemons", {}).values()]
    return "; ".join(titles) or _COMPONENTS[component["name"]]


def _packages(value: Any) -> list[str]:
    """Names of packages in a row of components.yaml, however they are nested."""
    if isinstance(value, dict):
        return [name for inner in value.values() for name in _packages(inner)]
    return list(value)


def _ports(schema: dict[str, dict[str, Any]]) -> str:
    rows = [[port, service, where, who] for who, service, port, where, _ in pages.reached(schema)]
    rows.sort(key=lambda row: int((re.findall(r"\d+", row[0]) or ["99999"])[0]))
    return markdown.table(["port", "service", "on", "who reaches it"], rows)


def _files() -> str:
    return markdown.table(["path", "what it is"], [[f"`{path}`", text] for path, text in FILES])


def _states() -> str:
    names = {**_SLS, **{f"infra.{row['name']}": _what(row) for row in _yaml("components.yaml")}}
    rows = []
    for name, text in sorted(names.items()):
        path = INFRA.joinpath(*name.split(".")[1:])
        clean = "" if name == "infra" or not (path / "clean.sls").exists() else f"`{name}.clean`"
        rows.append([f"`{name}`", text, clean])
    return markdown.table(["SLS", "what it applies", "removal"], rows)


def state_files() -> set[str]:
    """Names of all SLS of the formula that are no removal of a component."""
    found = set()
    for path in INFRA.rglob("*.sls"):
        words = [*path.relative_to(INFRA).with_suffix("").parts]
        words = words[:-1] if words[-1] == "init" else words
        found.add(".".join(["infra", *words]))
    return {name for name in found if not re.fullmatch(r"infra\.\w+\.clean", name)} - _INCLUDED


def named_states() -> set[str]:
    """Names of SLS that the page has."""
    return set(_SLS) | {f"infra.{row['name']}" for row in _yaml("components.yaml")}


def _functions() -> str:
    rows = []
    for folder in ("_modules", "_runners"):
        for module, (_, found) in commands.modules(ROOT, folder).items():
            for command in found:
                link = f"[`{command.name}`](commands.md#{markdown.anchor(module)})"
                rows.append([link, command.summary])
    return markdown.table(["function", "what it does"], rows)


def rules() -> list[dict[str, Any]]:
    """Return the rules of the formula, alerts and records, as the defaults render them."""
    texts = {str(p.relative_to(RULES)): p.read_text(encoding="utf-8") for p in RULES.rglob("*.j2")}
    ports = {"node_exporter_port": 9100, "vector_port": 9598, "alertmanager_cluster_port": 9094}
    settings = {**ports, "portal_url": "", "nodes": 2, "timeout_seconds": 8, "logs": True}
    settings["dashboards"] = True
    found = []
    for spec in vmalert.files(settings, texts).values():
        for group in yaml.safe_load(spec["text"])["groups"]:
            found += group["rules"]
    return found


def _alerts() -> str:
    rows = []
    for rule in rules():
        if "alert" in rule:
            labels, notes = rule["labels"], rule["annotations"]
            board = re.match(r"/ui/d/([\w-]+)", notes.get("dashboard", ""))
            seen = f"[{board[1]}](dashboards.md)" if board else ""
            action = re.sub(r"\{\{ ?\$labels\.(\w+) ?\}\}", r"<\1>", notes["action"])
            rows.append(
                [
                    f"`{rule['alert']}`",
                    labels["severity"],
                    labels["category"],
                    rule.get("for", "0s"),
                    action.replace("<", "&lt;"),
                    seen,
                ]
            )
    rows.sort(key=lambda row: row[0])
    head = ["alert", "severity", "category", "fires after", "what to do", "dashboard"]
    intro = (
        "[Add rules](monitoring.md#add-rules) explains how to change one and how to add your own.\n"
    )
    return f"{intro}\n{markdown.table(head, rows)}"


def _metrics() -> str:
    jobs = [
        [f"`{job['job_name']}`", f"`/infra/targets/{job['targets']}`" if "targets" in job else "",
         f"`{job['when']}`" if "when" in job else ""]
        for job in _yaml("vmetrics/jobs.yaml")
    ]  # fmt: skip
    records: dict[str, list[str]] = {}
    for name in sorted({rule["record"] for rule in rules() if "record" in rule}):
        family, _, _ = name.rpartition(":")
        records.setdefault(family.replace(":", ", "), []).append(f"`{name}`")
    recorded = [[family or "up", ", ".join(names)] for family, names in records.items()]
    return "\n".join(
        [
            "Every series has the labels `job`, `cls`, `ins`, `ip` and `instance`; the"
            " [glossary](glossary.md#words-of-pigsty) explains them.\n",
            "Scrape jobs:\n",
            markdown.table(["job", "its targets", "only with"], jobs),
            "Metrics that the formula itself writes:\n",
            markdown.table(["metric", "what it is"], own_metrics()),
            "Series that recording rules compute:\n",
            markdown.table(["about, per", "series"], recorded),
        ]
    )


def own_metrics() -> list[list[str]]:
    """Return the metrics that the formula writes to text files, and their help."""
    rows = []
    for path in sorted(
        [*(ROOT / "_utils" / "infra_formula").rglob("*.py"), *INFRA.glob("*/files/*")]
    ):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for name, about in _HELP.findall(text) if path.parent.name != "data" else []:
            if name == "{name}":
                # The f-string's name is a constant in the lines above it.
                name = re.findall(r"name = \"(infra_\w+)\"", text)[0]
            rows.append([f"`{name}`", about.rstrip(".")])
    return sorted(rows)


def _parameters(schema: dict[str, dict[str, Any]]) -> str:
    rows = []
    for title, section in schema.items():
        link = f"[{title}](parameters.md#{markdown.anchor(title)})"
        for name, rule in section.items():
            text = re.split(r"(?<=[.;:])\s", rule["about"], maxsplit=1)[0].rstrip(".;:")
            default = markdown.flow(rule["default"])
            default = f"`{default}`" if len(default) <= 40 else "see there"
            rows.append([f"`{name}`", text, default, link])
    rows.sort(key=lambda row: row[0])
    return markdown.table(["parameter", "what it does", "default", "explained in"], rows)


def _state_ids() -> str:
    found: dict[str, list[str]] = {}
    for path in sorted([*INFRA.rglob("*.sls"), *INFRA.rglob("*.jinja")]):
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"^ *((?:\{\{.*)?\binfra-.*?):$", text, re.MULTILINE):
            found.setdefault(str(path.relative_to(ROOT)), []).append(_state_id(line))
    # What that file hands to the SLS of daemons.
    code = (ROOT / "_utils/infra_formula/sls.py").read_text(encoding="utf-8")
    ids = [re.sub(r"\{(\w+)\}", r"<\1>", name) for name in re.findall(r'f"(infra-[^"]+)"', code)]
    found["infra/daemon/states.jinja"] = ids
    rows = [
        [f"`{path}`", ", ".join(f"`{name}`" for name in dict.fromkeys(ids))]
        for path, ids in sorted(found.items())
    ]
    intro = (
        "Use them in `require`, `watch` and `listen`. `<…>` is a name of the pillar or of a"
        " component.\n"
    )
    return f"{intro}\n{markdown.table(['file', 'state IDs'], rows)}"


def _state_id(line: str) -> str:
    """Return the state ID of a line of an SLS, with ``<name>`` for what Jinja puts there."""
    inner = re.search(r"'(infra-.*)'", line) if "~" in line else None
    text = inner[1] if inner else line
    text = re.sub(r"' ~ ([\w.]+) ~ '", r"<\1>", text)
    text = re.sub(r"\{\{ ?([\w.]+) ?\}\}", r"<\1>", text)
    return re.sub(r"<\w+\.(\w+)>", r"<\1>", text)


def _yaml(name: str) -> Any:
    return yaml.safe_load(Path(INFRA, name).read_text(encoding="utf-8"))
