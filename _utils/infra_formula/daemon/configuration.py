"""Files that a daemon reads: compared, tested by its program, switched in, and taken up by it.

What ``infra_files`` does for any set of files, in the one way in which the configuration of every
daemon is put in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra_formula.daemon import health
from infra_formula.fileset.file_set import FileSet


def apply(
    owned: str,
    root: str,
    files: dict[str, dict[str, Any]],
    daemons: list[dict[str, Any]],
    test: bool,
    replace: tuple[str, ...] = (),
    read_at_start: tuple[str, ...] | None = None,
    check: Callable[[dict[str, dict[str, Any]]], None] | None = None,
    check_staged: Callable[[str], None] | None = None,
) -> dict[str, str]:
    """Have a set of files in place, and the daemons that read them go by them.

    owned, root, files, replace
        Name, directory and content of the set, and what may be replaced; see ``infra_files``.
    daemons
        Who reads them, each as in the execution module infra_daemon; those that run are reloaded.
    test
        Only check, and tell.
    read_at_start
        Paths below root that a daemon does not look at again by itself: only where one of them
        is not what the daemon was started with is it reloaded. None for all.
    check
        Called with the files that differ, before anything is changed; raises to refuse them.
    check_staged
        Called with a staged copy of the directory, which is not made for a test; raises to refuse.

    Returns what changes: path below root → difference, without secrets; empty for nothing.

    Raises CommandExecutionError with the reason; files and daemons are then as they were.
    """
    plan = FileSet(owned, root, replace=replace).plan(files)
    plan.refuse_unmanaged()
    if not plan.has_changes:
        return {}
    if check is not None:
        check({rel: files[rel] for rel in plan.create + plan.change})
    if not test:
        changed = set(plan.change)
        read = plan.pending or read_at_start is None or changed.intersection(read_at_start)

        def reload() -> None:
            for daemon in daemons if read else ():
                health.reload(daemon)

        plan.apply(check_staged=check_staged, reload=reload)
    return dict(plan.diff)
