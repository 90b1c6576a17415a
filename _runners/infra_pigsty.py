"""Conversion of a Pigsty inventory on the master."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import infra_formula
import salt.minion

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.pigsty import comparison, conversion

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def convert(path: str, out: str | None = None) -> conversion.Conversion:
    """Convert a Pigsty inventory to the pillars of this formula.

    path
        The inventory, ``pigsty.yml``, on the master.
    out
        File to write the pillar ``infra`` to. If there are secrets, the pillar ``infra_secrets`` is
        written to ``infra_secrets.sls`` beside it. Both have the mode 0600. Without ``out`` the
        pillar ``infra`` is returned, without the secrets: the master's job cache stores the result.

    Returns ``pillar`` (data), or ``out`` and ``secrets`` (the files that were written; ``secrets``
    is None if there are none), and ``report``: ``closed`` (``path`` and ``reason`` of what is
    closed until you set it), ``release`` (the release of Pigsty that the inventory was taken for,
    and why), ``variables`` (``name``, ``at``, ``line``, ``file``, ``became``, ``to``, ``note``),
    ``notes`` and ``defaults``.

    Raises SaltInvocationError that names the place of what cannot be converted.

    CLI Example:

    .. code-block:: bash

        salt-run saltutil.sync_all
        salt-run infra_pigsty.convert /root/pigsty/pigsty.yml out=/srv/pillar/infra.sls
    """
    with _master() as minion:
        return conversion.convert(minion, path, out)


def report(path: str) -> str:
    """Describe what :func:`convert` does with each variable of an inventory.

    path
        The inventory, on the master.

    CLI Example:

    .. code-block:: bash

        salt-run infra_pigsty.report /root/pigsty/pigsty.yml
    """
    with _master() as minion:
        return conversion.describe(minion, path)


def compare(path: str) -> list[str]:
    """Compare what Pigsty's templates serve with an inventory with what the formula serves.

    Names with their upstreams, logins and redirects, DNS records, lines of ``/etc/hosts`` and
    scrape targets are compared, and which programs run on the INFRA nodes.

    path
        The inventory, on the master.

    Returns one line for each difference; an empty list if both serve the same.

    Raises SaltInvocationError that names the place of what cannot be converted.

    CLI Example:

    .. code-block:: bash

        salt-run infra_pigsty.compare /root/pigsty/pigsty.yml
    """
    with _master() as minion:
        return comparison.compare(minion, path)


@contextmanager
def _master() -> Iterator[Minion]:
    """What the library needs of Salt, as the master has it: the files of the formula."""
    master = salt.minion.MasterMinion(__opts__, states=False, rend=False, matcher=False)
    try:
        yield Minion(master.functions, master.opts, master.opts["grains"])
    finally:
        if hasattr(master, "destroy"):  # since Salt 3007
            master.destroy()


redaction.guard(globals())
