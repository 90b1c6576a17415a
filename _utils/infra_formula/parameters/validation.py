"""Pillar validation: one check for the state of an apply, and for a pillar in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from infra_formula import redaction
from infra_formula.daemon import parameters as daemon_parameters
from infra_formula.dns import dnsmasq, resolver
from infra_formula.errors import InvalidInput
from infra_formula.grafana import dashboards, data_sources
from infra_formula.grafana import settings as grafana_settings
from infra_formula.logs import vector
from infra_formula.minion import Minion
from infra_formula.monitoring import alertmanager, scraping, vmalert
from infra_formula.ntp import chrony
from infra_formula.parameters import locked, merging, schema
from infra_formula.parameters import secrets as secret_parameters
from infra_formula.parameters.site import Site
from infra_formula.pki import authority, certbot_requests
from infra_formula.portal import arguments as portal_arguments
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import named_certificates, pages, rendering
from infra_formula.registration import facts as own_facts
from infra_formula.registration import hosts as infra_hosts
from infra_formula.repository import catalogue

_IDENTITY = ("nodename", "node_cluster", "node_ip", "register")
_FOR_ALL_MINIONS = ("infra_hosts", "infra_secrets_strict")
"""Parameters by which a minion finds out whether it may have secrets."""

_KEY_OF_LINE = re.compile(r"\s*(?:- *)?([\w.-]+)\s*:(?:\s|$)")
_LINE = re.compile(r"(?:;|,? in \"[^\"]*\",)? line (\d+)(?:, column \d+)?")


class _NotRendered(InvalidInput):
    """A file of a pillar whose Jinja fails, or that is not YAML or JSON."""


class Findings(TypedDict):
    """What is wrong with a pillar, and what deserves attention."""

    errors: list[str]
    warnings: list[str]


def check(
    minion: Minion, parameters: Any, secrets: Any = None, all_minions: bool = False
) -> Findings:
    """Check a pillar.

    parameters
        The dictionary below ``infra:``.
    secrets
        The dictionary below ``infra_secrets:``. Of a minion that is no INFRA node, its names are
        enough.
    all_minions
        Check it as an INFRA node has it, and with the ``nodes`` of each minion. Otherwise it is
        checked as this minion has it.

    Returns messages that begin with the key path, which is ``infra_secrets:…`` for what comes from
    there. No message shows a secret.
    """
    family = minion.grains.get("os_family")
    if family not in merging.FAMILIES:
        error = f"os_family: expected a minion of {' or '.join(merging.FAMILIES)}, got {family}"
        return {"errors": [error], "warnings": []}
    if minion.grains.get("uid", 0) != 0 and not all_minions:
        error = (
            f"user: expected a salt-minion that runs as root, got {minion.grains.get('username')}; "
            "remove `user` from its configuration and restart it"
        )
        return {"errors": [error], "warnings": []}
    rules = merging.rules()
    infra_node = all_minions or merging.is_infra_node(minion.grains, parameters)
    if infra_node:
        warnings = secret_parameters.overridden(parameters, secrets)
        values = merging.with_secrets(parameters, secrets)
    else:
        warnings = secret_parameters.misplaced_on_client(rules, parameters, secrets)
        values, secrets = parameters, None
    overrides = {} if all_minions else merging.node_overrides(minion.grains, values)
    defaults = merging.defaults(minion.grains) if infra_node else None
    errors = _type_errors(rules, values, infra_node)
    if not errors:
        errors = _errors_of(minion, {**values, **overrides}, defaults, all_minions)
    if not errors and all_minions:
        errors = list(_errors_of_nodes(minion, values, defaults))
    secret_values = merging.mapping(secrets)
    errors = secret_parameters.redact(rules, errors, values, overrides, secret_values)
    errors = _misplaced_in_secrets(secrets) + errors
    if all_minions or (infra_node and minion.opts.get("file_client") != "local"):
        warnings = warnings + infra_hosts.hosts_warnings(merging.mapping(values))
    if not infra_node and merging.mapping(parameters).get("infra_secrets_strict") is True:
        errors, warnings = warnings + errors, []
    return {"errors": errors, "warnings": warnings}


def check_secrets(minion: Minion, secrets: Any) -> Findings:
    """Check names and types of ``infra_secrets`` by itself.

    secrets
        The dictionary below ``infra_secrets:``. The rest of an entry may stand below ``infra:``.
    """
    rules = {name: _partial(rule) for name, rule in merging.rules().items()}
    rule = {"type": "map", "keys": rules, "secret": True}
    values = merging.mapping(secrets)
    errors = locked.problems(values) or schema.check("", values, rule)
    errors = _misplaced_in_secrets(secrets) + [f"infra_secrets:{error}" for error in errors]
    return {"errors": errors, "warnings": []}


def check_files(minion: Minion, path: str, secrets_path: str | None = None) -> Findings:
    """Check the pillars in files.

    path
        File with the pillar ``infra``, ``infra_secrets`` or both, as it would stand in
        ``pillar_roots``.
    secrets_path
        File with the pillar ``infra_secrets``, to check with the other.

    A file that does not render is one error, with the line and the key.

    Raises InvalidInput for a file that is not there, or holds no such pillar.
    """
    try:
        pillar = _with_any_of(_render(minion, path), path, "infra", "infra_secrets")
        if secrets_path is not None:
            more = _with_any_of(_render(minion, secrets_path), secrets_path, "infra_secrets")
            pillar = {**pillar, **more}
    except _NotRendered as err:
        return {"errors": [str(err)], "warnings": []}
    return check_data(minion, pillar)


def check_data(minion: Minion, pillar: Any) -> Findings:
    """Check pillars that are given as data.

    pillar
        A dictionary with ``infra``, ``infra_secrets`` or both.
    """
    pillar = _with_any_of(pillar, "pillar", "infra", "infra_secrets")
    for name in ("infra", "infra_secrets"):
        redaction.add(list(secret_parameters.texts(merging.rules(), pillar.get(name))))
    if "infra" not in pillar:
        return check_secrets(minion, pillar["infra_secrets"])
    return check(minion, pillar["infra"], pillar.get("infra_secrets"), all_minions=True)


def split(minion: Minion, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide parameters into ``infra`` for all minions and ``infra_secrets`` for INFRA nodes."""
    public, secret, _ = secret_parameters.split(merging.rules(), parameters)
    return public, secret


# -- steps ---------------------------------------------------------------------------------------


def _type_errors(rules: dict[str, Any], values: Any, infra_node: bool) -> list[str]:
    """Errors by ``infra/schema.yaml``; a locked value is of no type."""
    placeholders = locked.problems(values)
    if placeholders:
        return placeholders
    if not infra_node:
        # What every minion needs is whole below `infra`; of the rest, a part may be among secrets.
        rules = {n: r if n in _FOR_ALL_MINIONS else _partial(r) for n, r in rules.items()}
    errors = schema.check("infra", values, {"type": "map", "keys": rules})
    errors += _twin_sequences(merging.mapping(values).get("infra_hosts"))
    # Below `infra:` everything is a parameter: the messages name them as the documents do.
    return [error.removeprefix("infra.") for error in errors]


def _errors_of(
    minion: Minion, values: dict[str, Any], defaults: dict[str, Any] | None, all_minions: bool
) -> list[str]:
    """Errors of parameters of which each has the right type.

    values
        The pillar, with the ``nodes`` of one minion merged over it.
    defaults
        For the other parameters; None on a minion that is no INFRA node.
    """
    errors = _errors_of_components(minion, values, defaults is not None)
    # A pillar in a file may be a part of the minion's.
    if not errors and (not all_minions or "infra_hosts" in values):
        hosts, admin_ip = values.get("infra_hosts", {}), values.get("admin_ip", "10.10.10.10")
        errors += infra_hosts.hosts_problems(hosts, admin_ip)
    if defaults is not None and (all_minions or not errors):
        merged = {**defaults, **values}
        if merged["nginx_enabled"]:
            settings = portal_arguments.portal(_seen_from_infra_node(minion, merged))
            check_portal = portal_entries.problems if all_minions else rendering.problems
            errors += check_portal(merged["infra_portal"], settings)
    return errors


def _errors_of_nodes(
    minion: Minion, values: dict[str, Any], defaults: dict[str, Any] | None
) -> Iterator[str]:
    """Errors in the ``nodes`` of each minion."""
    seen: set[str] = set()
    for key, overrides in values.get("nodes", {}).items():
        errors = own_facts.pillar_problems(overrides)
        # Of hundreds of minions most differ in nothing but what they are and run.
        rest = {name: value for name, value in overrides.items() if name not in _IDENTITY}
        if rest and repr(rest) not in seen:
            seen.add(repr(rest))
            errors += _errors_of(minion, {**values, **rest}, defaults, all_minions=True)
        yield from (f"nodes[{key!r}].{error}" for error in errors)


def _errors_of_components(
    minion: Minion, parameters: dict[str, Any], infra_node: bool
) -> list[str]:
    """Errors that the components find in their parameters."""
    errors = []
    for parameter in ("infra_services", "infra_extra_services"):
        if parameters.get(parameter) is not None:
            errors += pages.card_problems(parameter, parameters[parameter])
    errors += daemon_parameters.problems(
        Site({**merging.defaults(minion.grains), **parameters}, minion.grains)
    )
    errors += authority.problems(parameters)
    errors += catalogue.problems(parameters)
    errors += dnsmasq.problems(parameters)
    errors += chrony.problems(parameters)
    errors += resolver.problems(parameters)
    errors += own_facts.pillar_problems(parameters)
    errors += vmalert.problems(parameters)
    errors += vector.problems(parameters)
    if infra_node:
        # Of these, one parameter refers to another that may be among the secrets.
        errors += certbot_requests.problems(parameters)
        errors += named_certificates.problems(parameters.get("nginx_certificates", {}))
        errors += scraping.problems(parameters)
        errors += alertmanager.problems(parameters)
        errors += grafana_settings.problems(parameters)
        errors += data_sources.problems(parameters)
        errors += dashboards.problems(parameters)
    return errors


def _seen_from_infra_node(minion: Minion, parameters: dict[str, Any]) -> Site:
    """The site as an INFRA node has it, even if this minion is none."""
    here = Site(parameters, minion.grains)
    if here.is_infra_node or not here.infra_nodes:
        return here
    return Site(parameters, {**minion.grains, "id": here.infra_nodes[0]["key"]})


# -- helpers -------------------------------------------------------------------------------------


def _partial(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule for an entry of which a part stands in the other pillar; lists are always whole."""
    out = {key: part for key, part in rule.items() if key != "required"}
    if "items" in out and out.get("type") == "map":
        out["items"] = _partial(out["items"])
    if "keys" in out:
        out["keys"] = {key: _partial(inner) for key, inner in out["keys"].items()}
    return out


def _misplaced_in_secrets(secrets: Any) -> list[str]:
    if secrets is not None and not isinstance(secrets, dict):
        return ["infra_secrets: expected a dictionary"]
    return [
        f"infra_secrets:{name}: expected below `infra`, where every minion finds it"
        for name in _FOR_ALL_MINIONS
        if name in merging.mapping(secrets)
    ] + [
        f"infra_secrets:{key!r}: expected a parameter, got {key!r}"
        for key in merging.mapping(secrets)
        if not isinstance(key, str)
    ]


def _twin_sequences(hosts: Any) -> list[str]:
    owners: dict[int, str] = {}
    errors = []
    for host, entry in merging.mapping(hosts).items():
        seq = entry.get("infra_seq") if isinstance(entry, dict) else None
        if isinstance(seq, int):
            owner = owners.setdefault(seq, host)
            if owner != host:
                path = f"infra_hosts[{host!r}].infra_seq"
                errors.append(f"{path}: expected another number than that of {owner}, got {seq}")
    return errors


def _render(minion: Minion, path: str) -> Any:
    if not Path(path).is_file():
        raise InvalidInput(f"{path}: expected a file")
    try:
        return minion.call("slsutil.renderer", path=path, default_renderer="jinja|yaml")
    except Exception as err:  # Salt's renderers raise whatever their libraries do
        # Behind the reason, Salt quotes the lines around it: they may be secrets.
        reason = " ".join(str(err).partition("\n\n---")[0].split())
        line = _LINE.search(reason)
        number = getattr(err, "line_num", None) or (int(line[1]) if line else 0)
        reason = _LINE.sub("", reason)
        where = _place(path, int(number))
    # Not within the block: the exception there holds the text of the file.
    raise _NotRendered(f"{path}{where}: {reason}")


def _place(path: str, number: int) -> str:
    """Where a file does not render: its line, if known, and the key there or next above it."""
    if not number:
        return ""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()[:number]
    key = next((found[1] for line in lines[::-1] if (found := _KEY_OF_LINE.match(line))), "")
    return f", line {number}" + (f", key {key}" if key else "")


def _with_any_of(data: Any, name: str, *keys: str) -> dict[str, Any]:
    if not isinstance(data, dict) or not set(data) & set(keys):
        raise InvalidInput(f"{name}: expected a dictionary with the key {keys[0]}")
    return data
