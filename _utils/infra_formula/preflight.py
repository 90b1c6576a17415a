"""What installed programs would refuse, found before the first change of an apply.

Each part of a configuration is checked by its own state, too, before that part is put in place. By
then, other components have been changed already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import salt.utils.path

from infra_formula import paths, release
from infra_formula.daemon import health, installation, local_ports
from infra_formula.daemon.model import Daemon
from infra_formula.dns import dnsmasq
from infra_formula.errors import InfraError, Refused
from infra_formula.fileset import atomic
from infra_formula.logs import vector
from infra_formula.minion import Minion
from infra_formula.monitoring import alertmanager, blackbox, scraping, vmalert
from infra_formula.ntp import chrony
from infra_formula.parameters import site
from infra_formula.portal import configuration, streams, trusted_proxies


@dataclass(frozen=True)
class Outcome:
    """What was checked: ``refused`` (messages), and names of parts.

    unchecked
        Parts of which nobody can say yet: the program is not installed, or what its configuration
        names is made by this very apply.
    """

    refused: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def check(minion: Minion, given: Mapping[str, Any]) -> Outcome:
    """Ask the installed programs of all components of this minion; changes nothing.

    given
        What :func:`infra_formula.state_tree.values` returned, of a valid pillar.
    """
    outcome = Outcome()
    for name, program, part in _parts(minion, given):
        if not salt.utils.path.which(program):
            outcome.unchecked.append(name)
            continue
        try:
            part()
        except Refused as err:
            outcome.refused.append(str(err))
        except (InfraError, OSError):
            # What is wrong there is not the program's refusal; the state of that part reports it,
            # unless an earlier one puts it right.
            outcome.unchecked.append(name)
        else:
            outcome.accepted.append(name)
    outcome.refused.extend(_taken_ports(given))
    return outcome


def digest(given: Mapping[str, Any]) -> str:
    """Digest of all that is checked, but the programs: their states look at those."""
    parts = [given["parameters"], given["daemons"], given["addresses"], release.DIGEST]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def passed_before(given: Mapping[str, Any]) -> bool:
    """Whether all of this passed in the last apply."""
    try:
        return _record().read_text(encoding="ascii").strip() == digest(given)
    except (OSError, ValueError):
        return False


def record(given: Mapping[str, Any]) -> None:
    """Record that all of this passed."""
    atomic.write(_record(), f"{digest(given)}\n", 0o600)


def _record() -> Path:
    return paths.STATE_DIR / "preflight"


def _applied(given: Mapping[str, Any]) -> set[str]:
    return {row["name"] for row in given["components"] if row["applied"]}


def _daemons(given: Mapping[str, Any]) -> Iterator[tuple[str, Daemon]]:
    """The daemons that this apply runs here."""
    applied = _applied(given)
    disabled = {row["name"] for row in given["arguments"]["daemons"]["disabled"]}
    for name, row in given["arguments"]["daemons"]["installations"].items():
        if row["component"] in applied and name not in disabled:
            yield name, given["daemons"][name]


def _parts(
    minion: Minion, given: Mapping[str, Any]
) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Each part: its name, its program, and what raises Refused for it."""
    infra, arguments, daemons = given["parameters"], given["arguments"], given["daemons"]
    applied = _applied(given)
    for name, daemon in _daemons(given):
        yield f"{name} (flags)", daemon["program"], partial(installation.plan, minion, name, daemon)
    if "alertmanager" in applied:
        yield (
            "alertmanager",
            "amtool",
            partial(
                alertmanager.plan,
                minion,
                daemons["alertmanager"],
                arguments["alertmanager"],
            ),
        )
    if "blackbox" in applied:
        daemon = daemons["blackbox"]
        yield (
            "blackbox",
            daemon["program"],
            partial(blackbox.plan, daemon, arguments["blackbox"], infra["blackbox_modules"]),
        )
    if "vmalert" in applied:
        yield (
            "vmalert (rules)",
            daemons["vmalert"]["program"],
            partial(
                vmalert.plan,
                minion,
                f"{infra['infra_data']}/rules",
                [daemons["vmalert"]],
                arguments["rules"],
                infra["vmalert_rules"],
                infra["vmalert_logs_rules"],
                infra["vmalert_rule_overrides"],
            ),
        )
    scraper = arguments["scraper"]
    if scraper in applied:
        daemon = daemons[scraper]
        yield (
            f"{scraper} (scrape jobs)",
            daemon["program"],
            partial(scraping.plan_of, infra["infra_data"], daemon, **arguments["scraping"]),
        )
    if "vector" in applied:
        daemon = daemons["vector"]
        yield (
            "vector",
            daemon["program"],
            partial(vector.check, minion, "/etc/vector", daemon, **arguments["vector"]),
        )
    if "dns" in applied:
        yield (
            "dnsmasq",
            "dnsmasq",
            partial(
                dnsmasq.check,
                minion,
                arguments["dns"],
                infra["dns_upstream"],
                arguments["own_addresses"],
            ),
        )
    if "ntp" in applied:
        yield "chrony", "chronyd", partial(chrony.check, minion, arguments["ntp"])
    if "nginx" in applied:
        yield (
            "nginx",
            "nginx",
            partial(
                configuration.check,
                minion,
                infra["infra_portal"],
                arguments["portal"],
                infra["nginx_users"],
                infra["nginx_certificates"],
                arguments["nginx"]["packages"],
            ),
        )


def _taken_ports(given: Mapping[str, Any]) -> Iterator[str]:
    """Ports of daemons and of the portal that a program of somebody else's holds."""
    ours = {row["unit"] for row in site.components() if "unit" in row}
    for _name, row, _component in site.daemon_rows():
        # Units of packages are masked, and daemons that are switched off stop, before ours start.
        ours |= {row["unit"], *row.get("package_units", [])}
    ports = {daemon["port_parameter"]: daemon["port"] for _name, daemon in _daemons(given)}
    if "nginx" in _applied(given):
        infra = given["parameters"]
        names = ["nginx_port", *(["nginx_ssl_port"] if infra["nginx_sslmode"] != "disable" else [])]
        ports |= {name: infra[name] for name in names}
        ports |= trusted_proxies.ports(infra)
        ports |= {
            f"infra_streams.{name}.listen": stream["listen"]
            for name, stream in infra["infra_streams"].items()
            if streams.protocol(stream) == "tcp"
        }
    owners = local_ports.listeners_by_port(ports.values())
    for parameter, port in ports.items():
        problem = health.taken_port(parameter, port, owners[port], ours)
        if problem:
            yield problem
