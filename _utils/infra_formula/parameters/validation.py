"""The pillar of this formula: whether it is what it should be."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import salt.utils.dictupdate
import salt.utils.yaml

from infra_formula.daemon import daemons
from infra_formula.dns import dnsmasq, resolver
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.grafana import provisioning, server
from infra_formula.logs import vector
from infra_formula.minion import Minion
from infra_formula.monitoring import alertmanager, scraping, vmalert
from infra_formula.ntp import chrony
from infra_formula.parameters import schema
from infra_formula.pki import authority, certbot_requests
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import pages, rendering
from infra_formula.registration import facts
from infra_formula.registration import hosts as infra_hosts
from infra_formula.repository import catalogue

_SCHEMA = "salt://infra/schema.yaml"
_IDENTITY = ("nodename", "node_cluster", "node_ip", "register")
_DEFAULTS = "salt://infra/defaults.yaml"
_FOR_ALL = ("infra_hosts", "infra_secrets_strict")
"""Parameters by which a minion finds out whether it may have secrets."""


def validate(
    minion: Minion,
    path: str | None = None,
    pillar: dict[str, Any] | None = None,
    secrets: str | None = None,
) -> dict[str, Any]:
    """Say what is wrong with a pillar, without changing anything.

    path
        File with a pillar, as it would stand in ``pillar_roots``: YAML or JSON, Jinja works in it.
    pillar
        A pillar as data, in place of a file. Without either, that of this minion.
    secrets
        File with the pillar ``infra_secrets``, to check with the other. By itself, as ``path``, its
        names and types are checked.

    Returns ``{"valid": bool, "errors": [message, …], "warnings": [message, …]}``, each error
    beginning with the key path. The call ends with an error where the pillar is not valid.

    Raises SaltInvocationError for a file that cannot be read, or is no pillar.
    """
    if path is None and pillar is None:
        arguments = _applied_arguments(minion)
        given, apart, infra_node = (
            arguments[key] for key in ("parameters", "secrets", "infra_node")
        )
        told = secret_messages(minion, given, apart, infra_node, arguments.pop("strict"))
        errors = told["errors"] + check(minion, **arguments)
    else:
        data = pillar if path is None else _read(minion, path)
        given = _with_one_of(data, path or "pillar", "infra", "infra_secrets")
        if secrets is not None:
            given = {**given, **_with_one_of(_read(minion, secrets), secrets, "infra_secrets")}
        told = {"warnings": []}
        if "infra" not in given:
            errors = secret_problems(minion, given["infra_secrets"])
        else:
            errors = given_problems(minion, given["infra"], given.get("infra_secrets"))
            told = secret_messages(
                minion, given["infra"], given.get("infra_secrets"), infra_node=True
            )
    if errors:
        minion.context["retcode"] = 1
    return {"valid": not errors, "errors": errors, "warnings": told["warnings"]}


def check(
    minion: Minion,
    parameters: Any,
    own: dict[str, Any] | None = None,
    hosts: Any = None,
    admin_ip: str = "10.10.10.10",
    portal: Any = None,
    portal_settings: dict[str, Any] | None = None,
    secrets: Any = None,
    infra_node: bool = True,
) -> list[str]:
    """Check everything that one minion makes of the pillar.

    parameters
        The dictionary below ``infra:`` in pillar, as given (without defaults).
    own
        What its ``nodes`` have of this minion.
    hosts
        ``infra_hosts``; without it, it is not asked for.
    admin_ip
        The parameter, with its default.
    portal, portal_settings
        The portal and its settings, on a minion that serves one.
    secrets
        ``infra_secrets`` of an INFRA node, which is merged over ``parameters``.
    infra_node
        Whether this minion is an INFRA node. Another one has not the secrets, so that nothing is
        asked for that may be one of them.

    Returns one message per error, each beginning with the key path, which is ``infra_secrets:…``
    for what comes from there; empty for a good pillar.
    """
    secrets = secrets if infra_node else None
    parameters = _merged(parameters, secrets)
    errors = problems(minion, parameters, own, infra_node)
    if not errors and hosts is not None:
        errors = infra_hosts.hosts_problems(hosts, admin_ip)
    if not errors and portal is not None:
        errors = rendering.problems(portal, portal_settings or {})
    errors = _without_values(minion, errors, parameters, own, _mapping(secrets))
    return _misplaced(secrets) + errors


def secret_problems(minion: Minion, secrets: Any) -> list[str]:
    """What is wrong with ``infra_secrets`` by itself: names and types, and never a value.

    secrets
        The dictionary below ``infra_secrets:`` in pillar. An entry of it may be a part of one,
        whose rest stands below ``infra:``.

    Returns what :func:`check` does.
    """
    rules = {name: _partial(rule) for name, rule in _rules(minion).items()}
    rule = {"type": "map", "keys": rules, "secret": True}
    errors = schema.check("", _mapping(secrets), rule)
    return _misplaced(secrets) + [f"infra_secrets:{error}" for error in errors]


def secret_messages(
    minion: Minion,
    parameters: Any,
    secrets: Any = None,
    infra_node: bool = False,
    strict: bool = False,
) -> dict[str, list[str]]:
    """Which secrets are where they should not be, by their names.

    parameters
        The dictionary below ``infra:`` in pillar.
    secrets
        ``infra_secrets``; of a minion that is no INFRA node its names are enough.
    infra_node
        Whether this minion is an INFRA node.
    strict
        Whether a secret on another minion is an error and no warning (``infra_secrets_strict``).

    Returns ``{"errors": […], "warnings": […]}``, without any value.
    """
    if infra_node:
        return {"errors": [], "warnings": _overruled(_mapping(parameters), _mapping(secrets), "")}
    found = []
    _, _, paths = schema.split_secrets(_rules(minion), _mapping(parameters))
    if paths:
        found.append(
            f"This minion is no INFRA node, but its pillar holds secrets: {', '.join(paths)}. "
            "Move them from `infra` to `infra_secrets`, and assign that to INFRA nodes only, in "
            "the pillar's top.sls."
        )
    if secrets:
        names = ", ".join(map(str, secrets))
        found.append(
            f"This minion is no INFRA node, but its pillar holds infra_secrets ({names}). Assign "
            "`infra_secrets` to INFRA nodes only, in the pillar's top.sls."
        )
    return {"errors": found, "warnings": []} if strict else {"errors": [], "warnings": found}


def split(minion: Minion, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide parameters into those for all minions and the secrets of INFRA nodes.

    parameters
        The dictionary below ``infra:``.

    Returns what belongs below ``infra`` and what belongs below ``infra_secrets``.
    """
    public, secret, _ = schema.split_secrets(_rules(minion), parameters)
    return public, secret


def problems(
    minion: Minion, parameters: Any, own: dict[str, Any] | None = None, infra_node: bool = True
) -> list[str]:
    """Check parameters against ``infra/schema.yaml``, and for what they get wrong together.

    parameters
        The dictionary below ``infra:`` in pillar.
    own
        What its ``nodes`` have of one minion, for which the rest is checked together with it.
    infra_node
        As for :func:`check`.

    Returns one message per error, each beginning with the key path; empty for a good pillar.

    Raises CommandExecutionError where the schema is not served.
    """
    rules = _rules(minion)
    if not infra_node:
        rules = {name: _partial(rule) for name, rule in rules.items()}
    errors = schema.check("infra", parameters, {"type": "map", "keys": rules})
    if isinstance(parameters, dict):
        errors += _twin_sequences(parameters.get("infra_hosts"))
        errors = errors or _beyond_types(minion, {**parameters, **(own or {})}, infra_node)
    # Below `infra:` everything is a parameter: the messages name them as the documents do.
    return [error.removeprefix("infra.") for error in errors]


def given_problems(minion: Minion, parameters: Any, secrets: Any = None) -> list[str]:
    """What is wrong with a pillar by itself, whichever minion it is for.

    parameters
        The dictionary below ``infra:``.
    secrets
        The dictionary below ``infra_secrets:``, if there is one.

    Returns what :func:`check` does.
    """
    parameters = _merged(parameters, secrets)
    errors = _without_values(
        minion, _merged_problems(minion, parameters), parameters, None, _mapping(secrets)
    )
    return _misplaced(secrets) + errors


def _merged_problems(minion: Minion, parameters: Any) -> list[str]:
    errors = problems(minion, parameters)
    if errors:
        return errors
    merged = {**_served(minion, _DEFAULTS), **parameters}
    if "infra_hosts" in parameters:
        errors = infra_hosts.hosts_problems(merged["infra_hosts"], merged["admin_ip"])
    errors += _portal_problems(merged)
    if errors:
        return errors
    seen: set[str] = set()
    for key, own in merged["nodes"].items():
        found = facts.pillar_problems(own)
        # Of hundreds of minions most differ in nothing but what they are and run.
        rest = {name: value for name, value in own.items() if name not in _IDENTITY}
        if rest and repr(rest) not in seen:
            seen.add(repr(rest))
            found += _beyond_types(minion, {**parameters, **rest}) + _portal_problems(
                {**merged, **rest}
            )
        errors += [f"nodes[{key!r}].{error}" for error in found]
    return errors


def _rules(minion: Minion) -> dict[str, Any]:
    """The rule of each parameter, ``nodes`` with those that a node may have."""
    rules = schema.parameters(_served(minion, _SCHEMA))
    each = {name: rule for name, rule in rules.items() if name not in ("infra_hosts", "nodes")}
    return {**rules, "nodes": {"type": "map", "items": {"type": "map", "keys": each}}}


def _merged(parameters: Any, secrets: Any) -> Any:
    """What an INFRA node goes by; infra/map/parameters.jinja merges in the same way."""
    if not isinstance(parameters, dict) or not _mapping(secrets):
        return parameters
    return salt.utils.dictupdate.merge(parameters, secrets, strategy="recurse")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _partial(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule that an entry fulfils of which a part stands elsewhere; lists are always whole."""
    out = {key: part for key, part in rule.items() if key != "required"}
    if "items" in out and out.get("type") == "map":
        out["items"] = _partial(out["items"])
    if "keys" in out:
        out["keys"] = {key: _partial(inner) for key, inner in out["keys"].items()}
    return out


def _misplaced(secrets: Any) -> list[str]:
    if secrets is not None and not isinstance(secrets, dict):
        return ["infra_secrets: expected a dictionary"]
    return [
        f"infra_secrets:{name}: expected below `infra`, where every minion finds it"
        for name in _FOR_ALL
        if name in _mapping(secrets)
    ]


def _overruled(parameters: dict[str, Any], secrets: dict[str, Any], path: str) -> list[str]:
    """Key paths that both pillars set, to different values."""
    found = []
    for key, value in secrets.items():
        here = schema.join(path, key)
        below = parameters.get(key, value)
        if isinstance(value, dict) and isinstance(below, dict):
            found += _overruled(below, value, here)
        elif below != value:
            found.append(
                f"infra_secrets:{here} replaces another value of infra:{here} on this INFRA node; "
                "all other minions have that one. Remove one of the two."
            )
    return found


def _without_values(
    minion: Minion,
    errors: list[str],
    parameters: Any,
    own: dict[str, Any] | None,
    secrets: dict[str, Any],
) -> list[str]:
    """Errors without the values of secrets; ``infra_secrets:`` before what comes from there."""
    rules = _rules(minion) if errors else {}
    whole = {**_mapping(parameters), **(own or {})}
    locate = schema.locate
    out = []
    for error in errors:
        keys = locate(error, whole)
        apart = locate(error, secrets)
        prefix = "infra_secrets:" if _is_from(secrets, apart, whole) else ""
        if keys and own and keys[0] in own:
            for node, values in _mapping(secrets.get("nodes")).items():
                inner = locate(error, _mapping(values))
                if _is_from(_mapping(values), inner, own):
                    prefix = f"infra_secrets:{schema.join('nodes', node)}."
        hidden = prefix or apart or schema.is_secret(rules, keys)
        out.append(prefix + (error.split(", got ", 1)[0] if hidden else error))
    return list(dict.fromkeys(out))


def _is_from(secrets: Any, found: list[Any], whole: Any) -> bool:
    """Whether what a message is about stands in these secrets, and not only a part of it."""
    try:
        for key in found:
            secrets, whole = secrets[key], whole[key]
    except (KeyError, IndexError, TypeError):
        return False  # a minion's `nodes` put something else in its place
    return bool(found) and (not isinstance(secrets, dict) or secrets == whole)


def _portal_problems(merged: dict[str, Any]) -> list[str]:
    return portal_entries.problems(merged["infra_portal"], merged)


def _beyond_types(minion: Minion, parameters: dict[str, Any], infra_node: bool = True) -> list[str]:
    """What is wrong with parameters of which each has the right type."""
    errors = []
    for parameter in ("infra_services", "infra_extra_services"):
        if parameters.get(parameter) is not None:
            errors += pages.card_problems(parameter, parameters[parameter])
    errors += daemons.problems(minion, parameters, minion.grains["os_family"])
    errors += authority.problems(parameters)
    errors += catalogue.upstream_problems(parameters.get("repo_upstream"))
    errors += dnsmasq.problems(parameters)
    errors += chrony.problems(parameters)
    errors += resolver.problems(parameters)
    errors += facts.pillar_problems(parameters)
    errors += vmalert.problems(parameters)
    errors += vector.problems(parameters)
    if infra_node:
        # Of these, one parameter refers to another that may be among the secrets.
        errors += certbot_requests.problems(parameters)
        errors += scraping.problems(parameters)
        errors += alertmanager.problems(parameters)
        errors += server.problems(parameters)
        errors += provisioning.problems(parameters)
    return errors


def _served(minion: Minion, path: str) -> dict[str, Any]:
    text = minion.call("cp.get_file_str", path)
    if not text:
        raise CommandFailed(f"{path} is not served; is the formula in file_roots?")
    return _parsed(text)


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> dict[str, Any]:
    return salt.utils.yaml.safe_load(text)


def _read(minion: Minion, path: str) -> Any:
    if not Path(path).is_file():
        raise InvalidInput(f"{path}: expected a file")
    try:
        return minion.call("slsutil.renderer", path=path, default_renderer="jinja|yaml")
    except Exception as err:  # Salt's renderers raise whatever their libraries do
        raise InvalidInput(f"{path}: {err}") from err


def _with_one_of(data: Any, name: str, *keys: str) -> dict[str, Any]:
    if not isinstance(data, dict) or not set(data) & set(keys):
        raise InvalidInput(f"{name}: expected a dictionary with the key {keys[0]}")
    return data


def _applied_arguments(minion: Minion) -> dict[str, Any]:
    """Arguments that ``infra.pillar`` would give to ``infra_pillar.valid`` on this minion."""
    for chunk in minion.call("state.show_low_sls", "infra.pillar"):
        if not isinstance(chunk, dict):
            raise CommandFailed(str(chunk))
        if chunk.get("state") == "infra_pillar":
            return {
                "parameters": json.loads(chunk["parameters"]),
                "own": json.loads(chunk["own"]) if "own" in chunk else None,
                "hosts": chunk["hosts"],
                "admin_ip": chunk["admin_ip"],
                "portal": json.loads(chunk["portal"]) if "portal" in chunk else None,
                "portal_settings": chunk.get("portal_settings"),
                "secrets": json.loads(chunk["secrets"]) if "secrets" in chunk else None,
                "infra_node": chunk["infra_node"],
                "strict": chunk["strict"],
            }
    raise CommandFailed("infra.pillar does not check a pillar on this minion")


def _twin_sequences(hosts: Any) -> list[str]:
    owners: dict[int, str] = {}
    errors = []
    for host, given in hosts.items() if isinstance(hosts, dict) else ():
        seq = given.get("infra_seq") if isinstance(given, dict) else None
        if isinstance(seq, int):
            owner = owners.setdefault(seq, host)
            if owner != host:
                path = f"infra_hosts[{host!r}].infra_seq"
                errors.append(f"{path}: expected another number than that of {owner}, got {seq}")
    return errors
