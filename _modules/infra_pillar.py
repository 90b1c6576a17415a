"""The pillar of this formula: whether it is what it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.utils.yaml
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

_SCHEMA = "salt://infra/schema.yaml"
_IDENTITY = ("nodename", "node_cluster", "node_ip", "register")
_DEFAULTS = "salt://infra/defaults.yaml"


def validate(path: str | None = None, pillar: dict[str, Any] | None = None) -> dict[str, Any]:
    """Say what is wrong with a pillar, without changing anything.

    path
        File with a pillar, as it would stand in ``pillar_roots``: YAML or JSON, Jinja works in it.
    pillar
        A pillar as data, in place of a file. Without either, that of this minion.

    Returns ``{"valid": bool, "errors": [message, …]}``, each message beginning with the key path.
    The call ends with an error where the pillar is not valid.

    Raises SaltInvocationError for a file that cannot be read, or is no pillar.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_pillar.validate
        salt-call --local infra_pillar.validate /srv/pillar/infra.sls
        salt-call --local infra_pillar.validate pillar='{infra: {nginx_port: 80}}'
    """
    if path is None and pillar is None:
        errors = check(**_applied_arguments())
    else:
        given = pillar if path is None else _read(path)
        if not isinstance(given, dict) or "infra" not in given:
            raise SaltInvocationError(
                f"{path or 'pillar'}: expected a dictionary with the key infra"
            )
        errors = given_problems(given["infra"])
    if errors:
        __context__["retcode"] = 1
    return {"valid": not errors, "errors": errors}


def check(
    parameters: Any,
    own: dict[str, Any] | None = None,
    hosts: Any = None,
    admin_ip: str = "10.10.10.10",
    portal: Any = None,
    portal_settings: dict[str, Any] | None = None,
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

    Returns one message per error, each beginning with the key path; empty for a good pillar.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_pillar.check '{nginx_port: 80}'
    """
    errors = problems(parameters, own)
    if not errors and hosts is not None:
        errors = __salt__["infra_register.hosts_problems"](hosts, admin_ip)
    if not errors and portal is not None:
        errors = __salt__["infra_portal.validate"](portal, portal_settings)["errors"]
    return errors


def problems(parameters: Any, own: dict[str, Any] | None = None) -> list[str]:
    """Check parameters against ``infra/schema.yaml``, and for what they get wrong together.

    parameters
        The dictionary below ``infra:`` in pillar.
    own
        What its ``nodes`` have of one minion, for which the rest is checked together with it.

    Returns one message per error, each beginning with the key path; empty for a good pillar.

    Raises CommandExecutionError where the schema is not served.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_pillar.problems '{nginx_port: 80}'
    """
    rules = __salt__["infra_schema.parameters"](_served(_SCHEMA))
    each = {name: rule for name, rule in rules.items() if name not in ("infra_hosts", "nodes")}
    rules = {**rules, "nodes": {"type": "map", "items": {"type": "map", "keys": each}}}
    errors = __salt__["infra_schema.check"]("infra", parameters, {"type": "map", "keys": rules})
    if isinstance(parameters, dict):
        errors += _twin_sequences(parameters.get("infra_hosts"))
        errors = errors or _beyond_types({**parameters, **(own or {})})
    # Below `infra:` everything is a parameter: the messages name them as the documents do.
    return [error.removeprefix("infra.") for error in errors]


def given_problems(parameters: Any) -> list[str]:
    """What is wrong with a pillar by itself, whichever minion it is for.

    parameters
        The dictionary below ``infra:``.

    Returns what :func:`check` does.

    CLI Example:

    .. code-block:: bash

        salt-call --local infra_pillar.given_problems '{nginx_port: 80}'
    """
    errors = problems(parameters)
    if errors:
        return errors
    merged = {**_served(_DEFAULTS), **parameters}
    if "infra_hosts" in parameters:
        errors = __salt__["infra_register.hosts_problems"](
            merged["infra_hosts"], merged["admin_ip"]
        )
    errors += _portal_problems(merged)
    if errors:
        return errors
    seen: set[str] = set()
    for key, own in merged["nodes"].items():
        found = __salt__["infra_register.pillar_problems"](own)
        # Of hundreds of minions most differ in nothing but what they are and run.
        rest = {name: value for name, value in own.items() if name not in _IDENTITY}
        if rest and repr(rest) not in seen:
            seen.add(repr(rest))
            found += _beyond_types({**parameters, **rest}) + _portal_problems({**merged, **rest})
        errors += [f"nodes[{key!r}].{error}" for error in found]
    return errors


def _portal_problems(merged: dict[str, Any]) -> list[str]:
    return __salt__["infra_portal.problems"](
        merged["infra_portal"], merged, __salt__["infra_schema.check"]
    )


def _beyond_types(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with parameters of which each has the right type."""
    errors = []
    for parameter in ("infra_services", "infra_extra_services"):
        if parameters.get(parameter) is not None:
            errors += __salt__["infra_pages.card_problems"](parameter, parameters[parameter])
    errors += __salt__["infra_daemon.problems"](parameters, __grains__["os_family"])
    errors += __salt__["infra_certbot.problems"](parameters)
    errors += __salt__["infra_cert_sign.problems"](parameters)
    errors += __salt__["infra_repo_catalogue.upstream_problems"](parameters.get("repo_upstream"))
    errors += __salt__["infra_scrape.problems"](parameters)
    errors += __salt__["infra_dns.setting_problems"](parameters)
    errors += __salt__["infra_ntp.problems"](parameters)
    errors += __salt__["infra_resolver.option_problems"](parameters.get("node_dns_options"))
    errors += __salt__["infra_resolver.host_problems"](parameters)
    errors += __salt__["infra_register.pillar_problems"](parameters)
    errors += __salt__["infra_alert.problems"](parameters)
    errors += __salt__["infra_rules.problems"](parameters)
    errors += __salt__["infra_vector.problems"](parameters)
    errors += __salt__["infra_grafana.problems"](parameters)
    errors += __salt__["infra_grafana_content.problems"](parameters)
    return errors


def _served(path: str) -> dict[str, Any]:
    text = __salt__["cp.get_file_str"](path)
    if not text:
        raise CommandExecutionError(f"{path} is not served; is the formula in file_roots?")
    return salt.utils.yaml.safe_load(text)


def _read(path: str) -> Any:
    if not Path(path).is_file():
        raise SaltInvocationError(f"{path}: expected a file")
    try:
        return __salt__["slsutil.renderer"](path=path, default_renderer="jinja|yaml")
    except Exception as err:  # Salt's renderers raise whatever their libraries do
        raise SaltInvocationError(f"{path}: {err}") from err


def _applied_arguments() -> dict[str, Any]:
    """Arguments that ``infra.pillar`` would give to ``infra_pillar.valid`` on this minion."""
    for chunk in __salt__["state.show_low_sls"]("infra.pillar"):
        if not isinstance(chunk, dict):
            raise CommandExecutionError(str(chunk))
        if chunk.get("state") == "infra_pillar":
            return {
                "parameters": json.loads(chunk["parameters"]),
                "own": json.loads(chunk["own"]) if "own" in chunk else None,
                "hosts": chunk["hosts"],
                "admin_ip": chunk["admin_ip"],
                "portal": json.loads(chunk["portal"]) if "portal" in chunk else None,
                "portal_settings": chunk.get("portal_settings"),
            }
    raise CommandExecutionError("infra.pillar does not check a pillar on this minion")


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
