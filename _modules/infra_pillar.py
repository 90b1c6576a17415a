"""The pillar of this formula: whether it is what it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import salt.utils.yaml
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __grains__: dict[str, Any]

_SCHEMA = "salt://infra/schema.yaml"


def problems(parameters: Any) -> list[str]:
    """Check parameters against ``infra/schema.yaml``.

    parameters
        The dictionary below ``infra:`` in pillar.

    Returns one message per error, each beginning with the key path; empty for a good pillar.

    Raises CommandExecutionError where the schema is not served.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_pillar.problems '{nginx_port: 80}'
    """
    text = __salt__["cp.get_file_str"](_SCHEMA)
    if not text:
        raise CommandExecutionError(f"{_SCHEMA} is not served; is the formula in file_roots?")
    rule = {"type": "map", "keys": salt.utils.yaml.safe_load(text)}
    errors = __salt__["infra_schema.check"]("infra", parameters, rule)
    if isinstance(parameters, dict):
        errors += _twin_sequences(parameters.get("infra_hosts"))
        for parameter in ("infra_services", "infra_extra_services"):
            if parameters.get(parameter) is not None:
                errors += __salt__["infra_pages.card_problems"](parameter, parameters[parameter])
        if not errors:
            # What is wrong beyond the type of each value.
            errors += __salt__["infra_daemon.problems"](parameters, __grains__["os_family"])
            errors += __salt__["infra_certbot.problems"](parameters)
            errors += __salt__["infra_scrape.problems"](parameters)
            errors += __salt__["infra_dns.setting_problems"](parameters)
            errors += __salt__["infra_ntp.problems"](parameters)
            errors += __salt__["infra_resolver.option_problems"](parameters.get("node_dns_options"))
            errors += __salt__["infra_resolver.host_problems"](parameters)
            errors += __salt__["infra_register.pillar_problems"](parameters)
            errors += __salt__["infra_alert.problems"](parameters)
            errors += __salt__["infra_rules.problems"](parameters)
            errors += __salt__["infra_vector.problems"](parameters)
    # Below `infra:` everything is a parameter: the messages name them as the documents do.
    return [error.removeprefix("infra.") for error in errors]


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
