"""File sets: compared, staged, checked, switched, and put back."""

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from infra_formula import paths
from infra_formula.fileset import atomic, contents, manifest, originals, renameat2, staging
from infra_formula.fileset.file_set import FileSet
from salt.exceptions import CommandExecutionError, SaltInvocationError

MODES = ["tree", "files"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "etc" / "nginx"
    path.mkdir(parents=True)
    (path / "foreign.conf").write_text("theirs")
    (path / "sub").mkdir(mode=0o750)
    return path


def text(content, **more):
    return {"text": content, **more}


def plan(name, root, files, **options):
    return FileSet(name, root, **options).plan(files)


def put(root, files, replace=(), switch="tree", **callbacks):
    found = plan("set", root, files, replace=replace, whole_tree=switch == "tree")
    found.apply(**callbacks)
    return found


def tree(root):
    return {
        str(p.relative_to(root)): (os.readlink(p) if p.is_symlink() else p.read_text())
        for p in sorted(root.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


@pytest.mark.parametrize("switch", MODES)
def test_creates_changes_and_removes_only_its_own(root, switch):
    put(root, {"a.conf": text("1"), "sub/b": text("2"), "l": {"link": "a.conf"}}, switch=switch)
    assert tree(root) == {"a.conf": "1", "sub/b": "2", "l": "a.conf", "foreign.conf": "theirs"}
    found = put(root, {"a.conf": text("1"), "l": {"link": "foreign.conf"}}, switch=switch)
    assert (found.create, found.change, found.remove) == ([], ["l"], ["sub/b"])
    assert tree(root) == {"a.conf": "1", "l": "foreign.conf", "foreign.conf": "theirs"}
    assert FileSet("set", root).managed_files().keys() == {"a.conf", "l"}


@pytest.mark.parametrize("switch", MODES)
def test_unchanged_files_keep_their_inode(root, switch):
    files = {"a": text("1"), "b": text("2")}
    put(root, files, switch=switch)
    before = {n: (root / n).stat().st_ino for n in ("a", "foreign.conf")}
    put(root, {**files, "b": text("3")}, switch=switch)
    assert {n: (root / n).stat().st_ino for n in before} == before


def test_second_comparison_finds_nothing(root):
    files = {"a": text("1", mode="0640"), "l": {"link": "a"}}
    put(root, files)
    found = plan("set", root, files)
    assert not found.has_changes
    assert found.same == ["a", "l"]


def test_a_mode_that_changed_is_a_change(root):
    put(root, {"a": text("1", mode="0640")})
    (root / "a").chmod(0o644)
    found = put(root, {"a": text("1", mode="0640")})
    assert found.change == ["a"]
    assert (root / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("switch", MODES)
def test_a_refused_stage_changes_nothing(root, switch):
    put(root, {"a": text("1")}, switch=switch)
    before = tree(root)

    def refuse(stage):
        assert tree(Path(stage)) == {"a": "2", "foreign.conf": "theirs"}
        raise CommandExecutionError("line 3")

    with pytest.raises(CommandExecutionError, match="line 3"):
        put(root, {"a": text("2")}, check_staged=refuse, switch=switch)
    assert tree(root) == before
    assert list(root.parent.glob(".*")) == []
    assert FileSet("set", root).managed_files() == {"a": contents.digest(text("1"))}


@pytest.mark.parametrize("switch", MODES)
def test_what_is_not_confirmed_is_put_back(root, switch):
    put(root, {"a": text("1"), "gone": text("g")}, switch=switch)
    before = tree(root)
    seen = []

    def confirm():
        seen.append(tree(root))
        if len(seen) == 1:
            raise CommandExecutionError("not served")

    with pytest.raises(CommandExecutionError, match="not served"):
        put(root, {"a": text("2"), "new": text("n")}, reload=confirm, switch=switch)
    assert seen == [{"a": "2", "new": "n", "foreign.conf": "theirs"}, before]
    assert tree(root) == before
    assert FileSet("set", root).managed_files().keys() == {"a", "gone"}


def test_a_file_of_somebody_elses_is_told_not_replaced(root):
    found = plan("set", root, {"foreign.conf": text("ours")})
    assert found.unmanaged == ["foreign.conf"]
    assert not found.has_changes


def test_an_unmanaged_file_is_refused_when_the_plan_is_applied(root):
    found = plan("set", root, {"foreign.conf": text("ours"), "a": text("1")})
    with pytest.raises(CommandExecutionError, match=r"foreign\.conf: expected no unmanaged file"):
        found.apply()
    assert tree(root) == {"foreign.conf": "theirs"}


def test_a_file_in_the_place_of_an_unmanaged_one_can_be_left_out(root):
    files = {"foreign.conf": text("ours"), "a": text("1")}
    found = plan("set", root, files, skip_unmanaged=True)
    assert found.unmanaged_paths() == [f"{root}/foreign.conf"]
    found.apply()
    assert tree(root) == {"foreign.conf": "theirs", "a": "1"}
    # It is not in the manifest, so that the next run does not overwrite it either.
    assert FileSet("set", root).managed_files().keys() == {"a"}


@pytest.mark.parametrize("switch", MODES)
def test_directories_can_be_read_by_others_under_any_umask(tmp_path, switch):
    base = tmp_path / "new" / "root"
    before = os.umask(0o077)
    try:
        plan("set", base, {"sub/dir/a": text("1")}, whole_tree=switch == "tree").apply()
    finally:
        os.umask(before)
    for folder in (base.parent, base, base / "sub", base / "sub/dir"):
        assert folder.stat().st_mode & 0o777 == 0o755


def test_the_state_directory_can_be_read_by_others_and_backups_of_a_directory_cannot(root):
    before = os.umask(0o077)
    try:
        put(root, {"foreign.conf": text("ours")}, replace=("foreign.conf",))
    finally:
        os.umask(before)
    saved = originals.backup_path(str(root / "foreign.conf"))
    assert paths.STATE_DIR.stat().st_mode & 0o777 == 0o755
    assert saved.parent.stat().st_mode & 0o777 == 0o700


def test_a_long_list_of_changes_is_counted(root):
    few = {"a": text("1")}
    assert plan("set", root, few).summary() == {"create": ["a"]}
    many = {f"f{n}": text("1") for n in range(41)}
    assert plan("set", root, many).summary() == {"create": "41 files"}


def test_a_foreign_file_equal_to_ours_is_adopted(root):
    assert put(root, {"foreign.conf": text("theirs")}).same == ["foreign.conf"]


def test_a_replaced_file_is_kept_and_comes_back_on_removal(root):
    put(root, {"foreign.conf": text("ours")}, replace=("foreign.conf",))
    assert (root / "foreign.conf").read_text() == "ours"
    assert FileSet("set", root).remove(test=True) == ["foreign.conf"]
    assert FileSet("set", root).remove() == ["foreign.conf"]
    assert tree(root) == {"foreign.conf": "theirs"}
    assert FileSet("set", root).managed_files() == {}


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"files": 3, "root": "x"}', '{"root": 1}'])
def test_a_damaged_manifest_is_made_up_from_the_files_themselves(root, broken):
    put(root, {"a": text(f"# {contents.MANAGED_BY}\n"), "b": text(f"# {contents.MANAGED_BY}\n")})
    manifest.manifest_path("set").write_text(broken)
    found = put(root, {"a": text(f"# {contents.MANAGED_BY}\n")})
    assert found.remove == ["b"]
    assert tree(root) == {"a": f"# {contents.MANAGED_BY}\n", "foreign.conf": "theirs"}


def test_a_file_that_appears_while_the_stage_is_checked_survives(root):
    def late(_stage):
        (root / "late.conf").write_text("late")
        (root / "new").write_text("renamed")
        (root / "new").rename(root / "foreign.conf")

    put(root, {"a": text("1")}, check_staged=late)
    assert tree(root) == {"a": "1", "foreign.conf": "renamed", "late.conf": "late"}


def test_leftovers_of_a_killed_run_are_cleared_and_its_files_are_ours(root):
    put(root, {"a": text("1")})
    (root.parent / ".nginx.infra-dead").mkdir()
    # Killed between the first write of the manifest and the last: both generations are listed.
    path = manifest.manifest_path("set")
    data = json.loads(path.read_text())
    data["files"]["half"] = "0"
    path.write_text(json.dumps(data))
    (root / "half").write_text("x")
    put(root, {"a": text("2")})
    assert tree(root) == {"a": "2", "foreign.conf": "theirs"}
    assert list(root.parent.glob(".*")) == []


@pytest.mark.parametrize("rel", ["../x", "/etc/x", "a/../../x", ""])
def test_a_path_outside_is_refused(root, rel):
    with pytest.raises(SaltInvocationError, match="below the root"):
        plan("set", root, {rel: text("x")})


def test_an_owner_that_does_not_exist_changes_nothing(root):
    before = tree(root)
    with pytest.raises(CommandExecutionError, match="nobody-here:root does not exist"):
        put(root, {"a": text("1", user="nobody-here")})
    assert tree(root) == before


def test_no_root_yet_is_all_to_create(tmp_path):
    found = plan("set", tmp_path / "none", {"a": text("1", user="nobody-here")})
    assert found.create == ["a"]


def test_secrets_stay_out_of_the_difference(root):
    put(root, {"s": text("hunter1", secret=True)})
    found = plan("set", root, {"s": text("hunter2", secret=True)})
    assert found.change == ["s"]
    assert "hunter" not in str(found.diff)


def test_a_directory_in_the_way_is_told(root):
    assert plan("set", root, {"sub": text("x")}).unmanaged == ["sub"]


def test_a_failing_exchange_falls_back_to_renames(root, monkeypatch):
    monkeypatch.setattr(renameat2, "exchange", lambda one, other: False)
    put(root, {"a": text("1"), "b/c": text("2")})
    put(root, {"a": text("3")})
    assert tree(root) == {"a": "3", "foreign.conf": "theirs"}


OURS = f"# {contents.MANAGED_BY}\n"


def publish(name, root, files, **callbacks):
    plan(name, root, files).apply(**callbacks)


def test_a_damaged_manifest_takes_nothing_of_other_sets_below_the_same_root(root):
    publish("one", root, {"a": text(OURS), "b": text(OURS)})
    publish("two", root, {"c": text(OURS), "sub/d": text(OURS)})
    publish("three", root / "sub", {"e": text(OURS)})
    before = tree(root)
    manifest.manifest_path("one").write_text("")
    # No set, though it lies among them; damaged, too.
    manifest.manifest_path("portal-entries").write_text("{")
    found = plan("one", root, {"a": text(OURS)})
    assert found.damaged
    assert found.remove == ["b"]
    publish("one", root, {"a": text(OURS)})
    before.pop("b")
    assert tree(root) == before
    assert FileSet("one", root).managed_files().keys() == {"a"}
    assert not plan("one", root, {"a": text(OURS)}).has_changes


def test_a_damaged_manifest_takes_nothing_where_others_write_too(root, monkeypatch):
    assert manifest.is_shared_directory(Path("/etc"))
    assert not manifest.is_shared_directory(Path("/etc/nginx"))
    publish("one", root, {"a": text(OURS), "b": text(OURS)})
    (root / "chrony.conf").write_text(OURS)  # of a state that is no set
    manifest.manifest_path("one").write_text("{")
    monkeypatch.setattr(manifest, "is_shared_directory", lambda path: path == root)
    found = plan("one", root, {"a": text(OURS + "new")})
    assert (found.change, found.remove) == (["a"], [])
    publish("one", root, {"a": text(OURS + "new")})
    assert (root / "chrony.conf").exists()


def test_where_two_manifests_are_damaged_nothing_is_removed_and_what_is_wanted_is_mended(
    root, caplog
):
    publish("one", root, {"a": text(OURS), "b": text(OURS)})
    publish("two", root, {"c": text(OURS), "d": text(OURS)})
    for name in ("one", "two"):
        manifest.manifest_path(name).write_bytes(b"\xff\x00")
    assert FileSet("one", root).remove() == []
    publish("two", root, {"c": text(OURS + "new")})
    assert "none is removed" in caplog.text
    assert tree(root) == {
        "a": OURS, "b": OURS, "c": OURS + "new", "d": OURS, "foreign.conf": "theirs"
    }  # fmt: skip


def test_leftovers_that_cannot_be_cleared_are_named(root, monkeypatch):
    left = root.parent / f".{root.name}.infra-123456"
    left.mkdir()

    def refuse(path, **_):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(CommandExecutionError, match=f"{left.name}.*Read-only"):
        staging.discard(root)


def test_a_run_killed_before_its_files_were_taken_up_is_gone_on_with(root):
    class Killed(BaseException):
        """What no handler of the module sees."""

    def die():
        raise Killed

    publish("set", root, {"a": text("1")})
    with pytest.raises(Killed):
        publish("set", root, {"a": text("2")}, reload=die)
    files = {"a": text("2")}
    found = plan("set", root, files)
    assert (found.change, found.pending) == ([], True)
    assert found.has_changes
    assert "interrupted" in str(found.diff)
    taken = []
    publish("set", root, files, reload=lambda: taken.append(1))
    assert taken == [1]
    assert not plan("set", root, files).has_changes


def full(*_arguments, **_named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/etc/nginx/x")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_disk_that_fills_up_between_two_renames_leaves_neither_half(root, monkeypatch, number):
    publish("set", root, {"a": text("1"), "b": text("1"), "gone": text("1")})
    before = tree(root)
    calls = []
    for function in ("replace", "unlink"):
        real = getattr(os, function)

        def counted(*arguments, real=real, **named):
            if "stage" not in str(arguments[0]) and str(root) in str(arguments[-1]):
                calls.append(arguments)
                if len(calls) == number:
                    full()
            return real(*arguments, **named)

        monkeypatch.setattr(os, function, counted)
    with pytest.raises(CommandExecutionError, match="No space left on device"):
        publish("set", root, {"a": text("2"), "b": text("2"), "new": text("2")})
    monkeypatch.undo()
    assert tree(root) == before
    assert not list(root.parent.glob(".*"))


@pytest.mark.parametrize(
    ("module", "what"),
    [(staging, "_write"), (manifest, "write"), (originals, "backup"), (staging, "clone")],
)
def test_a_full_disk_is_said_and_changes_nothing(root, monkeypatch, module, what):
    put(root, {"a": text("1")})
    before = tree(root)
    monkeypatch.setattr(module, what, full)
    with pytest.raises(CommandExecutionError, match=r"No space left on device.*unchanged"):
        put(root, {"a": text("2")})
    monkeypatch.undo()
    assert tree(root) == before
    assert not list(root.parent.glob(".*"))


def test_what_it_keeps_of_a_replaced_file_is_whole_or_not_there(root, monkeypatch):
    def half(_source, target, **_named):
        target.write_text("thei")
        full()

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", half)
        with pytest.raises(CommandExecutionError, match="No space"):
            put(root, {"foreign.conf": text("ours")}, replace=("foreign.conf",))
    put(root, {"foreign.conf": text("ours")}, replace=("foreign.conf",))
    FileSet("set", root).remove()
    assert tree(root) == {"foreign.conf": "theirs"}


def test_two_sets_below_one_root_do_not_take_each_others_stages(root):
    inside, go = threading.Event(), threading.Event()

    def check(_stage):
        inside.set()
        go.wait(10)

    def first():
        publish("one", root, {"a": text("1")}, check_staged=check)

    def second():
        publish("two", root, {"b": text("1")})

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert inside.wait(10)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()  # it waits for the other
    go.set()
    for thread in threads:
        thread.join(10)
    assert tree(root) == {"a": "1", "b": "1", "foreign.conf": "theirs"}


def test_a_small_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "state.json"
    atomic.write(path, "one", 0o640)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one", 0o640)
    inode = path.stat().st_ino
    atomic.write(path, "one")
    assert path.stat().st_ino == inode
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(path, "two")
    monkeypatch.undo()
    assert path.read_text() == "one"
    assert os.listdir(path.parent) == ["state.json"]
