"""``infra_pigsty`` on the master: an inventory there becomes a pillar there, without any minion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import salt.minion

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def convert(path: str, out: str | None = None) -> dict[str, Any]:
    """Turn a Pigsty inventory into the pillars of this formula.

    path
        The inventory, ``pigsty.yml``, on the master.
    out
        File to write the pillar ``infra`` to; its secrets go to ``infra_secrets.sls`` beside it.
        Both have the mode 0600. Without it the pillar ``infra`` is in the answer, without its
        secrets.

    Returns what the execution module's function of this name does.

    Raises SaltInvocationError that names the place of what no pillar can be made from.

    CLI Example:

    .. code-block:: bash

        salt-run saltutil.sync_modules
        salt-run infra_pigsty.convert /root/pigsty/pigsty.yml out=/srv/pillar/infra.sls
    """
    return _called("convert", path, out)


def report(path: str) -> str:
    """What :func:`convert` does with an inventory, for people to read.

    path
        The inventory, on the master.

    CLI Example:

    .. code-block:: bash

        salt-run infra_pigsty.report /root/pigsty/pigsty.yml
    """
    return _called("report", path)


def _called(name: str, *arguments: Any) -> Any:
    minion = salt.minion.MasterMinion(__opts__, states=False, rend=True, matcher=False)
    try:
        return minion.functions[f"infra_pigsty.{name}"](*arguments)
    finally:
        if hasattr(minion, "destroy"):  # newer releases of Salt ask for it
            minion.destroy()
