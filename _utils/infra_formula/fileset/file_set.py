"""File sets: the generated files of one state below one directory, with one owner.

A file set has a manifest of what it wrote, so that it can remove what is no longer asked for and
leave unmanaged files alone. The whole result is checked on a staged copy before anything changes,
and is then switched in at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra_formula import paths
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import (
    atomic,
    conflicts,
    contents,
    manifest,
    originals,
    staging,
    takeover,
)
from infra_formula.fileset.contents import File
from infra_formula.fileset.manifest import Manifest

_SUMMARY_LIMIT = 40


class FileSet:
    """Files below one directory that one state generates.

    name
        Name of the set, e.g. ``portal``; of its manifest too.
    root
        Absolute path of the directory.
    replace
        Relative paths that may be replaced although the set did not write them (a package's
        defaults). The originals are backed up.
    whole_tree
        Exchange the whole directory with ``renameat2(2)`` where the file system has that.
        Otherwise each file is renamed into place, for directories that a program watches by inode
        or whose other content is large.
    skip_unmanaged
        Leave out files in whose place an unmanaged file lies. Otherwise such a plan is refused.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        *,
        replace: Collection[str] = (),
        whole_tree: bool = False,
        skip_unmanaged: bool = False,
    ) -> None:
        self.name = name
        self.root = str(root)
        self.replace = replace
        self.whole_tree = whole_tree
        self.skip_unmanaged = skip_unmanaged

    def manifest(self) -> Manifest | None:
        """What is recorded of the set below this root; None if the manifest is corrupt."""
        recorded = manifest.read(self.name)
        return recorded if recorded is None or recorded.root == self.root else Manifest(self.root)

    def managed_files(self) -> dict[str, str]:
        """Files that the set wrote: path relative to root → SHA-256.

        If the manifest is corrupt, it is rebuilt from files with the managed-by header that belong
        to no other file set; a warning is logged.
        """
        recorded = self.manifest()
        if recorded is None:
            return dict.fromkeys(manifest.recover(self.name, Path(self.root)), "")
        return recorded.files

    def plan(self, files: Mapping[str, File]) -> FilePlan:
        """Compare what should be there with what is; changes nothing.

        files
            Path relative to root → file (see ``contents``).

        Raises InvalidInput for a path outside root.
        """
        base = Path(self.root)
        recorded = self.manifest()
        managed = self.managed_files()
        patterns = takeover.overwritable().get(self.name, [])
        plan = FilePlan(self, dict(files), damaged=recorded is None)
        plan.pending = recorded is not None and recorded.pending
        for rel in sorted(files):
            _check_relative(rel)
            file, path = files[rel], base / rel
            current = contents.current(path)
            if current is None:
                plan.create.append(rel)
                plan.diff[rel] = contents.difference(None, file)
            elif current == contents.desired(file):
                attributes = contents.attribute_difference(path, file)
                if attributes:
                    plan.change.append(rel)
                    plan.diff[rel] = attributes
                else:
                    plan.same.append(rel)
            elif (
                rel in managed
                or rel in self.replace
                or any(fnmatch.fnmatchcase(rel, pattern) for pattern in patterns)
                or (current[0] == "link" and "link" in file)
                or (recorded is None and contents.has_managed_header(path))
            ):
                plan.change.append(rel)
                plan.diff[rel] = contents.difference(current, file)
            else:
                plan.unmanaged.append(rel)
        plan.remove = sorted(
            rel for rel in managed if rel not in files and contents.current(base / rel) is not None
        )
        plan.diff.update(dict.fromkeys(plan.remove, "removed"))
        if recorded is None:
            plan.diff[str(manifest.manifest_path(self.name))] = "corrupt; rebuilt"
        elif plan.pending:
            plan.diff[str(manifest.manifest_path(self.name))] = "a previous run was interrupted"
        if self.skip_unmanaged:
            plan.files = {rel: f for rel, f in plan.files.items() if rel not in plan.unmanaged}
        if self.name not in conflicts.SHARED:
            conflicts.note_changed(base / rel for rel in plan.change if rel in managed)
            conflicts.note_written(base / rel for rel in plan.same)
        return plan

    def remove(self, test: bool = False) -> list[str]:
        """Remove all files of the set, restore the originals, and forget the set.

        test
            Only report.

        Returns the relative paths that are (or would be) removed or restored. Nothing is done if
        the manifest is corrupt and cannot be rebuilt.
        """
        base = Path(self.root)
        recorded = self.manifest()
        present = sorted(r for r in self.managed_files() if contents.current(base / r) is not None)
        if test or (not present and recorded is None):
            return present
        base = base.resolve()
        with _locked(base), _translate_os_error(base):
            for rel in present:
                if not originals.restore(str(base / rel)):
                    (base / rel).unlink()
            for folder in sorted(recorded.directories if recorded else (), reverse=True):
                with contextlib.suppress(OSError):  # it is not empty, or gone
                    os.rmdir(folder)
            manifest.manifest_path(self.name).unlink(missing_ok=True)
        conflicts.note_written(base / rel for rel in present)
        return present


@dataclass
class FilePlan:
    """What publishing a file set would change.

    file_set, files
        What was compared.
    create, change, remove, same
        Sorted relative paths.
    unmanaged
        Paths at which an unmanaged file lies that differs from the desired one.
    pending
        A previous run was interrupted after it put files in place: they have to be reloaded.
    damaged
        The manifest is corrupt and has to be rebuilt.
    diff
        Relative path → unified difference; secrets are left out, long ones cut.
    """

    file_set: FileSet
    files: dict[str, File]
    create: list[str] = field(default_factory=list)
    change: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    unmanaged: list[str] = field(default_factory=list)
    pending: bool = False
    damaged: bool = False
    diff: dict[str, str] = field(default_factory=dict)

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.create or self.change or self.remove or self.pending or self.damaged)

    def summary(self) -> dict[str, list[str] | str]:
        """``create``, ``change`` and ``remove``, if not empty; a long list is only counted.

        Without any of them, a manifest that is corrupt or of an interrupted run is a change.
        """
        kinds = {"create": self.create, "change": self.change, "remove": self.remove}
        changes: dict[str, list[str] | str] = {
            kind: rels if len(rels) <= _SUMMARY_LIMIT else f"{len(rels)} files"
            for kind, rels in kinds.items()
            if rels
        }
        return changes or ({**self.diff} if self.has_changes else {})

    def unmanaged_paths(self) -> list[str]:
        """Absolute paths of the unmanaged files."""
        return [f"{self.file_set.root}/{rel}" for rel in self.unmanaged]

    def refuse_unmanaged(self) -> None:
        """Raise CommandFailed if an unmanaged file lies in the place of one of the set."""
        if self.unmanaged:
            raise CommandFailed(
                f"{', '.join(self.unmanaged_paths())}: expected no unmanaged file; move it away"
            )

    def apply(
        self,
        *,
        check_staged: Callable[[str], None] | None = None,
        reload: Callable[[], None] | None = None,
    ) -> None:
        """Publish the set: stage, check, switch, reload; all of it or nothing.

        check_staged
            Called with the directory of a staged copy of root before anything is changed; raises
            to refuse it.
        reload
            Called after the switch; raises to have the old files restored, and is then called once
            more for those.

        Raises CommandFailed; the live files are then as before.
        """
        if not self.file_set.skip_unmanaged:
            self.refuse_unmanaged()
        base = Path(self.file_set.root).resolve()
        changed = {rel: self.files[rel] for rel in [*self.create, *self.change]}
        with _locked(base), _translate_os_error(base):
            staging.discard(base)
            if self.pending:
                for rel in self.files:
                    atomic.temporary_path(base / rel).unlink(missing_ok=True)
            created = _missing_directories(base, changed)
            atomic.make_directories(base)
            stage = staging.create(base)
            try:
                if self.file_set.whole_tree or check_staged is not None:
                    staging.clone(base, stage, {*changed, *self.remove})
                staging.write_files(stage, base, changed)
                if check_staged is not None:
                    check_staged(str(stage))
                self._switch(base, stage, changed, created, reload)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
                if self.file_set.name not in conflicts.SHARED:
                    conflicts.note_written(base / rel for rel in [*self.files, *self.remove])

    def check(self, check_staged: Callable[[str], None]) -> None:
        """Have a staged copy checked as :meth:`apply` does it, and change nothing.

        check_staged
            See :meth:`apply`.

        Raises what that raises, and CommandFailed if no copy can be made.
        """
        base = Path(self.file_set.root).resolve()
        changed = {rel: self.files[rel] for rel in [*self.create, *self.change]}
        with _locked(base), _translate_os_error(base), self._staged(base, changed) as stage:
            check_staged(str(stage))

    @contextlib.contextmanager
    def _staged(self, base: Path, changed: Mapping[str, File]) -> Iterator[Path]:
        """A staged copy of the whole of root, which is deleted afterwards."""
        stage = staging.create(base)
        try:
            staging.clone(base, stage, {*changed, *self.remove})
            staging.write_files(stage, base, changed)
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _switch(
        self,
        base: Path,
        stage: Path,
        changed: Mapping[str, File],
        created: Collection[str],
        reload: Callable[[], None] | None,
    ) -> None:
        """Put a staged copy in place and have it reloaded, or restore what was there."""
        name, root = self.file_set.name, self.file_set.root
        before = self.file_set.managed_files()
        after = {rel: contents.digest(file) for rel, file in self.files.items()}
        recorded = self.file_set.manifest()
        directories = sorted({*(recorded.directories if recorded else ()), *created})
        originals.backup(str(base / rel) for rel in [*changed, *self.remove] if rel not in before)
        # Until the reload has succeeded, both versions are in the manifest: the next run treats
        # no file of an interrupted one as unmanaged, and reloads again.
        manifest.write(name, Manifest(root, {**before, **after}, True, directories))
        undo = None
        if self.file_set.whole_tree:
            undo = staging.switch_tree(base, stage, {*changed, *self.remove})
        if undo is None:
            undo = staging.switch_files(base, stage, changed, self.remove)
        try:
            if reload is not None:
                reload()
            manifest.write(name, Manifest(root, after, False, directories))
        except Exception:
            undo()
            # On a full disk the manifest stays pending: the next run reloads again.
            with contextlib.suppress(Exception):
                if reload is not None:
                    reload()
                manifest.write(name, Manifest(root, before, False, directories))
            raise


def _check_relative(rel: str) -> None:
    parts = Path(rel).parts
    if not parts or os.path.isabs(rel) or ".." in parts:
        raise InvalidInput(f"{rel!r}: expected a path below the root of its file set")


def _missing_directories(base: Path, rels: Collection[str]) -> set[str]:
    """Directories that have to be created for files to lie in."""
    return {
        str(folder)
        for rel in rels
        for folder in (base / rel).parents
        if folder == base or base in folder.parents or folder in base.parents
        if not folder.exists()
    }


@contextlib.contextmanager
def _translate_os_error(base: Path) -> Iterator[None]:
    """Report what the system refuses (a full disk, a read-only one) with the path."""
    try:
        yield
    except OSError as err:
        where = err.filename2 or err.filename or base
        raise CommandFailed(
            f"{base}: {err.strerror or err} ({where}); the files in it are unchanged"
        ) from err


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Let one run at a time publish below a root: two would share its staging directories."""
    paths.LOCK_DIR.mkdir(parents=True, exist_ok=True)
    name = str(base).strip("/").replace("/", "-") or "root"
    with (paths.LOCK_DIR / f"infra-{name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
