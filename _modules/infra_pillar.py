"""The pillar of this formula: validation."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, release, served, state_tree
from infra_formula.minion import Minion
from infra_formula.parameters import validation

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def validate(
    path: str | None = None, pillar: dict[str, Any] | None = None, secrets: str | None = None
) -> dict[str, Any]:
    """Validate a pillar, without changing anything.

    path
        File with a pillar, as it would stand in ``pillar_roots``: YAML or JSON, rendered with
        Jinja. It is checked for all minions.
    pillar
        A pillar as data, in place of a file. Without either, the pillar of this minion is checked
        as an apply checks it.
    secrets
        File with the pillar ``infra_secrets``, to check with ``path``. By itself, as ``path``, its
        names and types are checked.

    Returns ``{"valid": bool, "errors": [message, …], "warnings": [message, …]}``, each error
    beginning with the key path. A file that does not render is one error, with the file, the line
    and the key there. The return code is 1 if the pillar is not valid.

    Raises SaltInvocationError for a file that is not there, or is no pillar.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_pillar.validate
        salt-call --local infra_pillar.validate /srv/pillar/infra.sls
        salt-call --local infra_pillar.validate /srv/infra.sls secrets=/srv/infra_secrets.sls
        salt-call --local infra_pillar.validate pillar='{infra: {nginx_port: 80}}'
    """
    minion = Minion(__salt__, __opts__, __grains__, __context__)
    if path is not None:
        problems = validation.check_files(minion, path, secrets)
    elif pillar is not None:
        problems = validation.check_data(minion, pillar)
    else:
        # Compiled anew, as by an apply. Salt 3008 masks it unless told otherwise.
        options = {"unmask": True} if find_spec("salt.utils.secret") else {}
        own = __salt__["pillar.items"](**options)
        problems = validation.check(minion, own.get("infra", {}), own.get("infra_secrets"))
    if problems["errors"]:
        __context__["retcode"] = 1
    return {"valid": not problems["errors"], **problems}


def site(
    parameters: dict[str, Any],
    secrets: dict[str, Any] | None = None,
    digest: str = "",
    environment: str = "",
) -> Any:
    """Report what the state tree makes of a pillar on this minion; nothing is changed.

    parameters
        The pillar ``infra``.
    secrets
        The pillar ``infra_secrets``.
    digest
        For the state tree (infra/map.jinja): digest of its release. The same is returned as an
        object that neither prints nor leaves the process; None if this minion has another release.
    environment
        The saltenv that ``salt://`` files of the pillar are looked for in; where it is empty, that
        of the minion's configuration.

    Returns all parameters as they are merged for this minion (``parameters``), what the states of
    each subject are given (``arguments``), and who is who. If the pillar is not valid, its
    ``errors`` are in it, and all else is by the defaults. Secrets are not shown.

    CLI Example:

    .. code-block:: bash

        salt-call --local infra_pillar.site '{infra_hosts: {10.10.10.10: {infra_seq: 1}}}'
    """
    minion = Minion(__salt__, __opts__, __grains__, __context__, environment)
    if not digest:
        return state_tree.values(minion, parameters, secrets or {})
    if digest != release.DIGEST:
        return None
    served.ask_once(minion)
    return state_tree.Given(minion, parameters, secrets or {})


redaction.guard(globals())
