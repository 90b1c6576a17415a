"""The pillar of this formula: whether it is what it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.minion import Minion
from infra_formula.parameters import validation

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def validate(
    path: str | None = None, pillar: dict[str, Any] | None = None, secrets: str | None = None
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

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_pillar.validate
        salt-call --local infra_pillar.validate /srv/pillar/infra.sls
        salt-call --local infra_pillar.validate /srv/infra.sls secrets=/srv/infra_secrets.sls
        salt-call --local infra_pillar.validate pillar='{infra: {nginx_port: 80}}'
    """
    return validation.validate(_minion(), path, pillar, secrets)
