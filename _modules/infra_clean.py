"""The way back: takes from this machine what this formula brought, and puts back what was there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """What is still on this machine of all that is on record as ours, in words.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_clean.left
    """
    return removal.left(_minion())
