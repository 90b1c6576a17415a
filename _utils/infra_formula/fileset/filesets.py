"""Sets of generated files: one owner, one manifest, one difference, one switch.

A *set* is all the files that one state generates below one root directory: the portal below
``/etc/nginx``, the records below ``/etc/hosts.d``. This module keeps a manifest of what a set
wrote, so that it can remove what is no longer asked for and leave foreign files alone; has the
whole result checked on a staged copy before anything is changed; and switches it in at once.

A file of a set is a mapping:

``text``
    content (str, written as UTF-8), or
``link``
    target of a symbolic link.
``mode``, ``user``, ``group``
    permissions as an octal string (default ``"0644"``), owner and group (default ``root``);
    not for links.
``secret``
    True keeps the content out of every difference.

The switch is ``renameat2(2)`` with ``RENAME_EXCHANGE`` where the file system has it: the staged
tree takes the place of the live one in one step. Elsewhere (a mount point, the lower layer of an
overlay), or when asked for with ``switch="files"``, each file is renamed into place by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import errno
import fcntl
import fnmatch
import grp
import hashlib
import json
import logging
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from infra_formula.errors import CommandFailed, InvalidInput

log = logging.getLogger(__name__)

STATE_DIR = Path("/var/lib/infra")
LOCK_DIR = Path("/run/infra-formula")
MARK = "Managed by Salt (infra formula)"
"""Stands in the first lines of each generated file; tells ours when a manifest is lost."""
NO_SETS = ("portal-entries", "portal-cards")
CLEANED = "cleaned-"
"""What else lies among the manifests (see infra_portal, infra_cards and infra_daemon)."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = {errno.EXDEV, errno.EINVAL, errno.EBUSY, errno.ENOSYS, errno.EPERM}
_DIFF_LINES = 60
_FEW = 16  # files that are flushed one by one


def digest(spec: dict[str, Any]) -> str:
    """SHA-256 of what a file should hold, as a hexadecimal string; a link is told from a text."""
    kind, content = ("link", spec["link"]) if "link" in spec else ("text", spec["text"])
    return hashlib.sha256(f"{kind}\0{content}".encode()).hexdigest()


def owned(name: str, root: str) -> dict[str, str]:
    """Files that the set wrote.

    name
        Name of the set, e.g. ``portal``.
    root
        Directory below which the set lies; used to find its files again if the manifest is damaged.

    Returns a mapping of path (relative to root) to SHA-256. Empty where the set was never written.
    Where its manifest is damaged, it is made up from the files that bear our mark and that no other
    set has, and the log says so; where other manifests are damaged too, nobody can tell whose such
    a file is, and none is in it.
    """
    manifest = _manifest(name)
    if manifest is None:
        return {rel: "" for rel in _recovered(name, Path(root)) or ()}
    return manifest["files"] if manifest["root"] == root else {}


def _manifest(name: str) -> dict[str, Any] | None:
    """What is remembered of a set; None for a manifest that is damaged."""
    path = manifest_path(name)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {
            "root": str(data["root"]),
            "files": {str(rel): str(sha) for rel, sha in data["files"].items()},
            "pending": bool(data.get("pending")),
            "made": [str(folder) for folder in data.get("made", [])],
        }
    except FileNotFoundError:
        return {"root": "", "files": {}, "pending": False, "made": []}
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None


def _recovered(name: str, root: Path) -> list[str] | None:
    """Files below root that bear our mark and are of no other set; None where nobody can tell."""
    if _everybodys(root):
        told = "%s is damaged: which files below %s are of it cannot be told, none is removed"
        log.warning(told, manifest_path(name), root)
        return None
    others: set[str] = set()
    for path in sorted(manifest_path(name).parent.glob("*.json")):
        if path.stem == name or path.stem in NO_SETS or path.stem.startswith(CLEANED):
            continue
        manifest = _manifest(path.stem)
        if manifest is None:
            told = "%s and %s are damaged: whose files lie below %s cannot be told, none is removed"
            log.warning(told, manifest_path(name), path, root)
            return None
        others.update(str(Path(manifest["root"], rel).resolve()) for rel in manifest["files"])
    log.warning("%s is damaged: it is made up from the files below %s", manifest_path(name), root)
    return [rel for rel in _marked(root) if str((root / rel).resolve()) not in others]


def _everybodys(root: Path) -> bool:
    """Whether a directory is one like /etc, where states that are no sets write files, too."""
    return len(root.resolve().parts) <= 2


def manifest_path(name: str) -> Path:
    """Where the manifest of a set lies."""
    return STATE_DIR / "manifest" / f"{name}.json"


def compare(
    name: str, root: str, files: dict[str, dict[str, Any]], replace: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Tell what would change if the set were published; changes nothing.

    name
        Name of the set.
    root
        Directory below which the files lie.
    files
        Path relative to root → file (see the module's own description).
    replace
        Relative paths that may be replaced although somebody else wrote them (a package's default
        configuration); others of that kind are in ``foreign``.

    Returns ``create``, ``change``, ``remove`` and ``same`` (sorted lists of relative paths),
    ``foreign`` (wanted paths at which a file lies that is neither ours nor equal to ours),
    ``pending`` (an interrupted run put files in place and did not see them taken up), ``damaged``
    (the manifest is, and has to be made anew) and ``diff`` (relative path → unified difference,
    secrets left out, long ones cut).

    Raises SaltInvocationError for a path that leaves root.
    """
    base = Path(root)
    mine = owned(name, root)
    manifest = _manifest(name)
    result: dict[str, Any] = {"create": [], "change": [], "remove": [], "same": [], "foreign": []}
    result["damaged"] = manifest is None
    result["pending"] = bool(manifest and manifest["pending"] and manifest["root"] == root)
    diffs: dict[str, str] = {}
    heirs = inherited().get(name, [])
    for rel in sorted(files):
        _check_relative(rel)
        spec = files[rel]
        path = base / rel
        current = _read(path)
        if current is None:
            result["create"].append(rel)
            diffs[rel] = _diff(None, spec)
        elif current == _wanted(spec) and _attributes_match(path, spec):
            result["same"].append(rel)
        elif current == _wanted(spec):
            result["change"].append(rel)
            diffs[rel] = _attribute_diff(path, spec)
        elif (
            rel in mine
            or rel in replace
            or any(fnmatch.fnmatchcase(rel, pattern) for pattern in heirs)
            or (current[0] == "link" and "link" in spec)
            or (manifest is None and _bears_mark(path))
        ):
            result["change"].append(rel)
            diffs[rel] = _diff(current, spec)
        else:
            result["foreign"].append(rel)
    result["remove"] = sorted(r for r in mine if r not in files and _read(base / r) is not None)
    for rel in result["remove"]:
        diffs[rel] = "removed"
    if manifest is None:
        diffs[str(manifest_path(name))] = "was damaged, and is made anew"
    elif result["pending"]:
        diffs[str(manifest_path(name))] = "what an interrupted run put in place is taken up"
    result["diff"] = diffs
    return result


def differs(comparison: dict[str, Any]) -> bool:
    """Whether a comparison found anything to do."""
    return bool(
        comparison["create"]
        or comparison["change"]
        or comparison["remove"]
        or comparison["pending"]
        or comparison["damaged"]
    )


def publish(
    name: str,
    root: str,
    files: dict[str, dict[str, Any]],
    comparison: dict[str, Any],
    check: Callable[[str], None] | None = None,
    confirm: Callable[[], None] | None = None,
    switch: str = "tree",
) -> None:
    """Put a set in place: stage, check, switch, confirm; all of it or none.

    name, root, files
        As for :func:`compare`.
    comparison
        What :func:`compare` returned for the same arguments.
    check
        Called with the directory of the staged copy (root as it will be), before anything is
        changed; raises to refuse it.
    confirm
        Called after the switch (reload, ask for health); raises to have the old files put back, and
        is then called once more for the old ones, so that what ran goes on.
    switch
        ``tree`` exchanges the whole directory; ``files`` renames file by file, for directories that
        a program watches by inode, or whose other content is large.

    Raises CommandExecutionError with the reason; the live files are then what they were.
    """
    if switch not in ("tree", "files"):
        raise InvalidInput(f"switch: expected 'tree' or 'files', got {switch!r}")
    base = Path(root).resolve()
    with _locked(base), _told(base):
        discard_stages(root)
        if comparison["pending"]:
            for rel in files:
                _beside(base / rel).unlink(missing_ok=True)
        made = _missing_folders(base, [*comparison["create"], *comparison["change"]])
        base.mkdir(parents=True, exist_ok=True, mode=0o755)
        stage = Path(tempfile.mkdtemp(prefix=f".{base.name}.infra-", dir=base.parent))
        try:
            changed = {r: files[r] for r in comparison["create"] + comparison["change"]}
            gone = set(comparison["remove"])
            if switch == "tree" or check is not None:
                _clone(base, stage, skip=set(changed) | gone)
            owners: dict[tuple[str, str], tuple[int, int] | None] = {}
            for parent in {(stage / rel).parent for rel in changed}:
                _make_parents(parent)
            for rel, spec in changed.items():
                _write(stage / rel, base / rel, spec, owners)
            _flush([stage / rel for rel, spec in changed.items() if "link" not in spec], stage)
            if check is not None:
                check(str(stage))
            # Until the switch is done both generations are ours: an interrupted run leaves nothing
            # behind that the next one would take for somebody else's, and what it did not see
            # taken up is seen to by the next one.
            before = owned(name, root)
            after = {rel: digest(spec) for rel, spec in files.items()}
            keep([str(base / r) for r in [*changed, *gone] if r not in before])
            _write_manifest(name, root, {**before, **after}, made, pending=True)
            undo = _switch(base, stage, changed, gone, whole=switch == "tree")
            try:
                if confirm is not None:
                    confirm()
                _write_manifest(name, root, after)
            except (CommandExecutionError, OSError):
                undo()
                # On a full disk the manifest stays as it is: the next run sees to the set again.
                with contextlib.suppress(CommandExecutionError, OSError):
                    if confirm is not None:
                        confirm()
                    _write_manifest(name, root, before)
                raise
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def discard_stages(root: str) -> None:
    """Remove staged copies that a killed run left beside root.

    Raises CommandExecutionError for one that cannot be removed.
    """
    base = Path(root).resolve()
    for path in sorted(base.parent.glob(f".{base.name}.infra-*")):
        try:
            shutil.rmtree(path)
        except OSError as err:
            raise CommandFailed(f"{path}: what a killed run left stays: {err}") from err


def remove(name: str, root: str, test: bool = False) -> list[str]:
    """Remove all files of a set, put back what it once replaced, and forget the set.

    test
        Only tell.

    Returns the relative paths that are (or would be) removed or put back. None is, and the set is
    not forgotten, where its manifest and another one are damaged (see :func:`owned`).
    """
    base = Path(root)
    present = sorted(r for r in owned(name, root) if _read(base / r) is not None)
    if test or (not present and _manifest(name) is None):
        return present
    base = base.resolve()
    with _locked(base), _told(base):
        for rel in present:
            if not restore(str(base / rel)):
                (base / rel).unlink()
        for folder in sorted(map(Path, _made(name, root)), reverse=True):
            with contextlib.suppress(OSError):  # others have something in it, or it is gone
                folder.rmdir()
        manifest_path(name).unlink(missing_ok=True)
    return present


def sets() -> dict[str, str]:
    """Every set that was published on this machine → its directory, empty for one that is damaged."""
    found = {}
    for path in sorted(manifest_path("any").parent.glob("*.json")):
        if path.stem not in NO_SETS and not path.stem.startswith(CLEANED):
            manifest = _manifest(path.stem)
            found[path.stem] = manifest["root"] if manifest else ""
    return found


def is_marked(path: str) -> bool:
    """Whether a file says of itself, in its first lines, that this formula generated it."""
    try:
        with open(path, "rb") as stream:
            return MARK.encode() in stream.read(512)
    except OSError:
        return False


# -- what was there before -----------------------------------------------------------------------


def keep(paths: list[str]) -> None:
    """Keep a copy of what others wrote at paths that are about to be replaced or removed.

    paths
        Absolute paths of files or symbolic links. Only the first version is kept; what this formula
        wrote itself is not.
    """
    for path in map(Path, paths):
        saved = saved_path(str(path))
        if os.path.lexists(saved) or not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_symlink() and is_marked(str(path)):
            continue
        saved.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Whole or not at all: half of it would come back as the original one day.
        beside = _beside(saved)
        beside.unlink(missing_ok=True)
        shutil.copy2(path, beside, follow_symlinks=False)
        st = path.lstat()
        os.chown(beside, st.st_uid, st.st_gid, follow_symlinks=False)
        os.replace(beside, saved)


def restore(path: str) -> bool:
    """Put back what :func:`keep` kept of a path; False where it kept nothing."""
    saved, live = saved_path(path), Path(path)
    if not os.path.lexists(saved):
        return False
    live.parent.mkdir(parents=True, exist_ok=True)
    os.replace(_copy_beside(saved, live), live)
    saved.unlink()
    folder = saved.parent
    while folder != STATE_DIR and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
    return True


def inherited() -> dict[str, list[str]]:
    """Which files of another product's a set may replace: set → patterns; see infra_legacy."""
    assumed = _context().get(_ASSUMED)
    if assumed:
        return dict(assumed)
    try:
        data = json.loads(inherited_path().read_text(encoding="utf-8"))["replaced"]
        return {str(name): [str(one) for one in patterns] for name, patterns in data.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # where it is lost, such files are foreign, and a state says so


_ASSUMED = "infra_files.assumed"


def _context() -> Any:
    """What Salt keeps of a run, whatever modules it loads anew meanwhile; without Salt, nothing."""
    return globals().setdefault("__context__", {})


def assume(patterns: dict[str, list[str]]) -> None:
    """With ``test=True``: take what :func:`inherited` would say as said, until told otherwise.

    patterns
        Set → patterns; empty to assume nothing.
    """
    _context()[_ASSUMED] = patterns


def inherited_path() -> Path:
    """Where that is remembered."""
    return STATE_DIR / "legacy.json"


def saved_path(path: str) -> Path:
    """Where the copy of what was at a path lies."""
    return STATE_DIR / "replaced" / path.lstrip("/")


# -- what root may trust -------------------------------------------------------------------------


def open_root_only(path: str, links: bool = False) -> int:
    """Open a file for reading that nobody but root can have changed.

    path
        Absolute path of a regular file.
    links
        Whether the path, or its last part, may be a symbolic link of root's, and the file may have
        several names (keys and certificates); otherwise neither is accepted (archives).

    Each folder on the way is opened below the one before it, and is judged by its descriptor: it
    has to belong to root, and nobody else may write to it. A sticky folder such as ``/tmp`` is
    accepted for a file of root's, since others can neither rename nor remove it there. The file
    itself is judged by the descriptor that is returned: owner, permissions (the mask of a POSIX
    ACL is the group's part of them), kind, number of names, and whether somebody has it open for
    writing. What is read from the descriptor is therefore what was judged, whatever happens to
    the path. Where Salt does not run as root, its own user counts as root.

    Returns the descriptor, which the caller closes.

    Raises FileNotFoundError, CommandExecutionError with the path and the reason, and
    SaltInvocationError for a path that is not absolute.
    """
    if not os.path.isabs(path):
        raise InvalidInput(f"{path!r}: expected an absolute path")
    rest = [part for part in path.split("/") if part not in ("", ".")]
    here, where, followed, shared = _root_folder(), "/", 0, False
    try:
        while rest:
            part = rest.pop(0)
            where = os.path.join(where, part)
            try:
                fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except NotADirectoryError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
            try:
                kind = os.fstat(fd)
                if stat.S_ISLNK(kind.st_mode):
                    _check_link(path, where, kind, allowed=bool(rest) or links, shared=shared)
                    followed += 1
                    target = os.readlink("", dir_fd=fd)
                    rest = [p for p in target.split("/") if p not in ("", ".")] + rest
                    where = "/" if os.path.isabs(target) else os.path.dirname(where)
                    if os.path.isabs(target):
                        os.close(here)
                        here, shared = _root_folder(), False
                    if followed > _LINKS:
                        raise _untrusted(path, "it has too many symbolic links on its way")
                    continue
                if not rest:
                    _check_file(path, kind, single=not links or shared)
                    return _opened_same(path, part, here, kind, single=not links or shared)
                shared = _check_folder(path, where, fd, kind)
                os.close(here)
                here, fd = fd, -1
            finally:
                if fd >= 0:
                    os.close(fd)
    finally:
        os.close(here)
    raise _untrusted(path, "it is a folder; expected a file")


_LINKS = 40
"""As many symbolic links as the kernel follows."""


def root_only_fault(path: str, links: bool = True) -> str:
    """Why root may not trust the content of a file; empty where it may.

    path, links
        As for :func:`open_root_only`.
    """
    try:
        os.close(open_root_only(path, links))
    except (CommandExecutionError, SaltInvocationError) as exc:
        return str(exc)
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    return ""


def _untrusted(path: str, reason: str) -> CommandExecutionError:
    return CommandFailed(
        f"{path} is not trusted: {reason}. Root reads it, so nobody else may be able to change it. "
        "See where it comes from, then copy it as root into a folder that only root can write to, "
        "such as /root"
    )


def _root_folder() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _is_root(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _check_link(path: str, where: str, kind: os.stat_result, allowed: bool, shared: bool) -> None:
    if not allowed:
        raise _untrusted(path, "it is a symbolic link; name the file itself")
    if shared or not _is_root(kind.st_uid):
        raise _untrusted(
            path,
            f"{where} is a symbolic link of {_account(kind.st_uid)} in a folder that others can "
            "write to" if shared else f"{where} is a symbolic link of {_account(kind.st_uid)}",
        )  # fmt: skip


def _check_folder(path: str, where: str, fd: int, kind: os.stat_result) -> bool:
    """Judge a folder on the way; whether others may put files of their own into it."""
    if not stat.S_ISDIR(kind.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not _is_root(kind.st_uid):
        raise _untrusted(path, f"the folder {where} belongs to {_account(kind.st_uid)}")
    others = bool(kind.st_mode & 0o022)
    if others and not kind.st_mode & stat.S_ISVTX:
        raise _untrusted(
            path, f"others can write to the folder {where} (mode {stat.S_IMODE(kind.st_mode):04o})"
        )
    _check_mount(path, where, fd)
    return others


def _check_file(path: str, kind: os.stat_result, single: bool) -> None:
    if not stat.S_ISREG(kind.st_mode):
        word = "a folder" if stat.S_ISDIR(kind.st_mode) else "a device, a socket or a named pipe"
        raise _untrusted(path, f"it is {word}; expected a file")
    if not _is_root(kind.st_uid):
        raise _untrusted(path, f"it belongs to {_account(kind.st_uid)}")
    if kind.st_mode & 0o022:
        mode = f"mode {stat.S_IMODE(kind.st_mode):04o}, of which an ACL may be a part"
        raise _untrusted(path, f"others can write to it ({mode})")
    if single and kind.st_nlink != 1:
        raise _untrusted(path, f"it has {kind.st_nlink} names (hard links)")


def _opened_same(path: str, part: str, here: int, kind: os.stat_result, single: bool) -> int:
    """Open for reading what was judged, and judge again what was opened."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(part, flags, dir_fd=here)
    except OSError as exc:
        raise _untrusted(path, f"it cannot be opened ({exc.strerror})") from exc
    try:
        now = os.fstat(fd)
        if (now.st_dev, now.st_ino) != (kind.st_dev, kind.st_ino):
            raise _untrusted(path, "it was replaced while it was opened")
        _check_file(path, now, single)
        _check_mount(path, path, fd)
        if _has_writer(fd):
            raise CommandFailed(
                f"{path} is open for writing in another process: a copy that has not ended yet, or "
                "somebody who could write to it earlier. Try again when it is closed"
            )
    except BaseException:
        os.close(fd)
        raise
    os.set_blocking(fd, True)
    return fd


def _check_mount(path: str, where: str, fd: int) -> None:
    """A file system that a user mounted himself (FUSE) says of owners what that user likes."""
    owner = _mount_owner(
        Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii"),
        Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"),
    )
    if not _is_root(owner):
        raise _untrusted(path, f"{where} lies on a file system that {_account(owner)} mounted")


def _mount_owner(fdinfo: str, mountinfo: str) -> int:
    """The user who mounted what a descriptor lies on; 0 for root, as for all but FUSE."""
    mount = next((line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id")), "")
    for line in mountinfo.splitlines():
        if mount and line.split(" ", 1)[0] == mount:
            options = line.rpartition(" ")[2].split(",")
            owners = [o.partition("=")[2] for o in options if o.startswith("user_id=")]
            return int(owners[-1]) if owners and owners[-1].isdigit() else 0
    return 0


def _has_writer(fd: int) -> bool:
    """Whether anybody has a file open for writing; False where the file system cannot tell.

    Who opened a file while it was his can write to it after it was given to root. The kernel grants
    a lease for reading only on a file that nobody has open for writing.
    """
    try:
        # For the moment that the lease is held, a signal that is ignored by default tells of a
        # writer, in place of one that would end this process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as exc:
        return exc.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


# -- what lies on disk ---------------------------------------------------------------------------


def _check_relative(rel: str) -> None:
    parts = Path(rel).parts
    if not parts or os.path.isabs(rel) or ".." in parts:
        raise InvalidInput(f"{rel!r}: expected a path below the root of its set")


def _wanted(spec: dict[str, Any]) -> tuple[str, bytes]:
    if "link" in spec:
        return ("link", spec["link"].encode())
    return ("text", spec["text"].encode())


def _read(path: Path) -> tuple[str, bytes] | None:
    """Kind and content of what lies at path; None for nothing."""
    try:
        if path.is_symlink():
            return ("link", os.readlink(path).encode())
        return ("text", path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        return ("directory", b"")


def _ids(spec: dict[str, Any]) -> tuple[int, int] | None:
    """uid and gid that a file should have; None while they do not exist on this machine yet."""
    try:
        return (
            pwd.getpwnam(spec.get("user", "root")).pw_uid,
            grp.getgrnam(spec.get("group", "root")).gr_gid,
        )
    except KeyError:
        return None


def _attributes_match(path: Path, spec: dict[str, Any]) -> bool:
    if "link" in spec:
        return True
    st = path.stat()
    return (
        stat.S_IMODE(st.st_mode) == int(spec.get("mode", "0644"), 8)
        and (st.st_uid, st.st_gid) == _ids(spec)
    )  # fmt: skip


def _attribute_diff(path: Path, spec: dict[str, Any]) -> str:
    st = path.stat()
    wanted = f"{spec.get('mode', '0644')} {spec.get('user', 'root')}:{spec.get('group', 'root')}"
    return f"{stat.S_IMODE(st.st_mode):04o} {st.st_uid}:{st.st_gid} → {wanted}"


def _diff(current: tuple[str, bytes] | None, spec: dict[str, Any]) -> str:
    if spec.get("secret"):
        return "<secret>"
    if "link" in spec:
        return f"→ {spec['link']}"
    if current is None:
        return "created"
    old = current[1].decode("utf-8", "replace").splitlines()
    new = spec["text"].splitlines()
    lines = list(difflib.unified_diff(old, new, "before", "after", lineterm=""))
    if len(lines) > _DIFF_LINES:
        lines = [*lines[:_DIFF_LINES], f"… {len(lines) - _DIFF_LINES} more lines"]
    return "\n".join(lines)


def _marked(root: Path) -> Iterator[str]:
    for folder, _dirs, names in os.walk(root):
        for file in names:
            if _bears_mark(Path(folder, file)):
                yield str(Path(folder, file).relative_to(root))


def _bears_mark(path: Path) -> bool:
    """Whether a file says in its first lines that it is ours."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as stream:
            return MARK.encode() in stream.read(512)
    except OSError:
        return False


# -- staging and switching -----------------------------------------------------------------------


def _clone(source: Path, target: Path, skip: set[str]) -> None:
    """Copy a tree: directories made anew with their attributes, files as hard links.

    Hard links keep owner, mode and security label, and cost nothing for a thousand files.
    """
    shutil.copystat(source, target)
    st = source.stat()
    os.chown(target, st.st_uid, st.st_gid)
    for folder, dirs, names in os.walk(source):
        here = Path(folder)
        rel = here.relative_to(source)
        for entry in list(dirs):
            if (here / entry).is_symlink():
                dirs.remove(entry)
                names.append(entry)
                continue
            made = target / rel / entry
            made.mkdir()
            shutil.copystat(here / entry, made)
            st = (here / entry).stat()
            os.chown(made, st.st_uid, st.st_gid)
        for entry in names:
            if str(rel / entry) not in skip:
                _link(here / entry, target / rel / entry)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the two lie on different file systems."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target, follow_symlinks=False)
        if not target.is_symlink():
            st = source.stat()
            os.chown(target, st.st_uid, st.st_gid)


def _make_parents(folder: Path) -> None:
    for parent in [p for p in (*reversed(folder.parents), folder) if not p.exists()]:
        parent.mkdir(mode=0o755)


def _write(
    path: Path,
    live: Path,
    spec: dict[str, Any],
    owners: dict[tuple[str, str], tuple[int, int] | None],
) -> None:
    """Write one file of a set, whole; owners remembers the ids that were looked up before."""
    if "link" in spec:
        os.symlink(spec["link"], path)
        return
    mode = int(spec.get("mode", "0644"), 8)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(spec["text"].encode())
        names = (spec.get("user", "root"), spec.get("group", "root"))
        if names not in owners:
            owners[names] = _ids(spec)
        ids = owners[names]
        if ids is None:
            owner = f"{spec.get('user', 'root')}:{spec.get('group', 'root')}"
            raise CommandFailed(f"{live}: its owner {owner} does not exist on this machine")
        os.fchown(fd, *ids)
        os.fchmod(fd, mode)


def _flush(paths: list[Path], stage: Path) -> None:
    """Have what was written reach the disk, before it takes the place of what is there.

    A disk takes some milliseconds for each file that is waited for, so many are waited for at once:
    all of their file system.
    """
    if len(paths) > _FEW:
        fd = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(fd) == 0:
                return
        finally:
            os.close(fd)
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _switch(
    base: Path, stage: Path, changed: dict[str, Any], gone: set[str], whole: bool
) -> Callable[[], None]:
    """Make the staged files the live ones; returns what undoes it."""
    if whole:
        late = _appeared_since(base, stage, skip=set(changed) | gone)
        for rel in late:
            (stage / rel).parent.mkdir(parents=True, exist_ok=True)
            (stage / rel).unlink(missing_ok=True)
            _link(base / rel, stage / rel)
        if exchange(stage, base):
            _sync_dir(base.parent)
            return lambda: _exchange_or_fail(stage, base)
    old = Path(tempfile.mkdtemp(prefix="old-", dir=stage))
    done: list[str] = []

    def undo() -> None:
        for rel in done:
            if (old / rel).is_symlink() or (old / rel).exists():
                os.replace(_move_beside(old / rel, base / rel), base / rel)
            else:
                (base / rel).unlink(missing_ok=True)

    here = stage.stat().st_dev
    devices: dict[Path, int] = {}
    try:
        for rel in [*changed, *sorted(gone)]:
            live = base / rel
            if os.path.lexists(live):
                (old / rel).parent.mkdir(parents=True, exist_ok=True)
                _link(live, old / rel)
            done.append(rel)
            if rel in gone:
                live.unlink(missing_ok=True)
                continue
            if live.parent not in devices:
                live.parent.mkdir(parents=True, exist_ok=True)
                devices[live.parent] = live.parent.stat().st_dev
            source = stage / rel
            os.replace(source if devices[live.parent] == here else _copy_beside(source, live), live)
        for folder in {base, *((base / rel).parent for rel in done)}:
            if folder.is_dir():
                _sync_dir(folder)
    except OSError:
        undo()
        raise
    return undo


def _move_beside(source: Path, live: Path) -> Path:
    """Where source can be renamed to live from: itself on one file system, a hidden copy else."""
    if source.lstat().st_dev == live.parent.stat().st_dev:
        return source
    return _copy_beside(source, live)


def _beside(live: Path) -> Path:
    # A dot in front: include globs, dnsmasq and file_sd all pass such names over. One name for
    # each: what a killed run left is overwritten and does not pile up.
    return live.with_name(f".{live.name}.infra-new")


def _copy_beside(source: Path, live: Path) -> Path:
    beside = _beside(live)
    beside.unlink(missing_ok=True)
    try:
        _link(source, beside)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _appeared_since(base: Path, stage: Path, skip: set[str]) -> list[str]:
    """Files that others put or replaced in the live tree while the staged one was checked."""
    late = []
    for folder, _dirs, names in os.walk(base):
        for file in names:
            rel = str(Path(folder, file).relative_to(base))
            if rel not in skip and not _same_inode(base / rel, stage / rel):
                late.append(rel)
    return late


def _same_inode(one: Path, other: Path) -> bool:
    try:
        a, b = one.lstat(), other.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(a.st_mode) and stat.S_ISLNK(b.st_mode):
        return os.readlink(one) == os.readlink(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def exchange(one: str | Path, other: str | Path) -> bool:
    """Exchange two paths of one file system in one step, so that neither is ever missing.

    one, other
        Absolute paths, of any kind.

    Returns False, with nothing done, where the file system cannot.

    Raises CommandExecutionError where it could, but failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    args = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if libc.renameat2(*args) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise CommandFailed(f"{other}: cannot be switched: {os.strerror(code)}")


def _exchange_or_fail(one: Path, other: Path) -> None:
    if not exchange(one, other):
        raise CommandFailed(f"{other}: cannot be switched back; the old files are in {one}")


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# -- what is remembered --------------------------------------------------------------------------


def _missing_folders(base: Path, rels: list[str]) -> list[str]:
    """Directories that have to be made for files to lie in."""
    missing = {
        str(folder)
        for rel in rels
        for folder in (base / rel).parents
        if folder == base or base in folder.parents or folder in base.parents
        if not folder.exists()
    }
    return sorted(missing)


def _write_manifest(
    name: str, root: str, files: dict[str, str], made: Iterable[str] = (), pending: bool = False
) -> None:
    data = {"version": 1, "root": root, "files": files, **({"pending": True} if pending else {})}
    folders = sorted({*_made(name, root), *made})
    if folders:
        data["made"] = folders
    write(manifest_path(name), json.dumps(data, indent=1, sort_keys=True))


def _made(name: str, root: str) -> list[str]:
    """Directories that publishing a set made."""
    manifest = _manifest(name)
    return manifest["made"] if manifest is not None and manifest["root"] == root else []


def write(path: str | Path, text: str, mode: int = 0o600) -> None:
    """Have a small file of ours hold a text: whole and on disk, or as it was.

    path
        Absolute path; its folder is made where it is missing.
    text
        The whole content.
    mode
        Its permissions.

    A file that holds the text already is not touched. Raises OSError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    beside = _beside(path)
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as stream:
            os.fchmod(fd, mode)
            stream.write(text.encode())
            stream.flush()
            os.fsync(fd)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _sync_dir(path.parent)


@contextlib.contextmanager
def _told(base: Path) -> Iterator[None]:
    """What the system refuses (a full disk, one that is read-only) is said with the path."""
    try:
        yield
    except OSError as err:
        where = err.filename2 or err.filename or base
        raise CommandFailed(
            f"{base}: {err.strerror or err} ({where}); what was there is unchanged"
        ) from err


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Keep two runs from publishing below the same root at once: they would share its stages."""
    LOCK_DIR.mkdir(parents=True, exist_ok=True)
    name = str(base).strip("/").replace("/", "-") or "root"
    with (LOCK_DIR / f"infra-{name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
