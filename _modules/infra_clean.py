"""Removal of the formula from this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.uninstall import removal

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def left() -> list[str]:
    """List what is still on this machine of all that the install record has as installed.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_clean.left
    """
    return removal.left(_minion())


redaction.guard(globals())
