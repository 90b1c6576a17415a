"""The state of this machine before installation is recorded; see the library's install_record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, state
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def recorded(
    name: str,
    paths: list[str] | None = None,
    accounts: list[str] | None = None,
    groups: list[str] | None = None,
    units: list[str] | None = None,
    booleans: list[str] | None = None,
    contexts: list[str] | None = None,
    timezones: list[str] | None = None,
) -> dict[str, Any]:
    """What a component is about to change is recorded as it is now, so that it can be removed.

    name
        The component; the state has to run before all that change something.
    paths
        Absolute paths that it writes outside of its file sets; of files, a backup is made.
    accounts, groups, units
        Names that it creates, starts or enables.
    booleans, contexts
        SELinux booleans and file contexts that it sets.
    timezones
        The time zone that it sets.
    """
    kinds = {
        "paths": paths,
        "accounts": accounts,
        "groups": groups,
        "units": units,
        "booleans": booleans,
        "contexts": contexts,
        "timezones": timezones,
    }
    names = {kind: some for kind, some in kinds.items() if some}
    minion = Minion(__salt__, __opts__, __grains__, __context__, __env__)
    return state.converge(name, __opts__["test"], lambda: install_record.plan(minion, name, names))


redaction.guard(globals())
