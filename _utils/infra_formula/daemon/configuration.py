"""Configuration of a daemon: compared, checked by its program, published, and reloaded.

A module that makes a configuration compares it (:func:`compare`), has its program check what
differs, and returns the plan of a state (:func:`plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from infra_formula.daemon import health
from infra_formula.daemon.model import Daemon
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.state import Plan


def compare(
    name: str, root: str, files: Mapping[str, File], replace: Collection[str] = ()
) -> FilePlan:
    """Compare a daemon's configuration with what is there.

    name, root, replace
        See :class:`infra_formula.fileset.file_set.FileSet`.
    files
        Path below root → file.

    Raises CommandFailed if an unmanaged file lies in the place of one of them.
    """
    difference = FileSet(name, root, replace=replace).plan(files)
    difference.refuse_unmanaged()
    return difference


def plan(
    difference: FilePlan,
    daemons: Sequence[Daemon],
    *,
    comment: str,
    would: str,
    read_at_start: Collection[str] | None = None,
    check_staged: Callable[[str], None] | None = None,
) -> Plan:
    """Plan to publish a configuration and to reload the daemons that run.

    difference
        What :func:`compare` returned.
    daemons
        Daemons that read it.
    comment, would
        See :class:`infra_formula.state.Plan`.
    read_at_start
        Paths that a daemon reads only when it starts or is reloaded; it is reloaded only if one of
        them changed. None for all.
    check_staged
        See :meth:`infra_formula.fileset.file_set.FilePlan.apply`.
    """
    changed = {*difference.change}
    reads = difference.pending or read_at_start is None or bool(changed & {*read_at_start})

    def reload() -> None:
        for daemon in daemons if reads else ():
            health.reload(daemon)

    def apply() -> None:
        difference.apply(check_staged=check_staged, reload=reload)

    return Plan(dict(difference.diff), comment, would, apply)
