"""The library, modules and states of this formula on a target of salt-ssh.

Imports nothing of the library, which is not there before this state has run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __salt__: dict[str, Any]


def synced(name: str, environment: str, files: str = "") -> dict[str, Any]:
    """The library, modules and states are those of the run's environment.

    name
        Of the state only.
    environment
        The salt environment that the run takes its files from.
    files
        Directory of the formula's templates, which the library reads on the target. salt-ssh sends
        a target those files only that the arguments of its states name.

    Under ``test=True`` too they are synced: this fills a cache only.
    """
    changed: list[str] = []
    for kind in ("utils", "modules", "states"):
        changed += __salt__[f"saltutil.sync_{kind}"](saltenv=environment, refresh=False)
    changes = {"synced": changed} if changed else {}
    comment = f"{len(changed)} files synced." if changed else "The library is up to date."
    return {"name": name, "changes": changes, "result": True, "comment": comment}
