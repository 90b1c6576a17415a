"""File sets: compared, staged, checked, switched, and put back."""

import json
import os
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from _modules import infra_files

MODES = ["tree", "files"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setattr(infra_files, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(infra_files, "LOCK_DIR", tmp_path / "lock")


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "etc" / "nginx"
    path.mkdir(parents=True)
    (path / "foreign.conf").write_text("theirs")
    (path / "sub").mkdir(mode=0o750)
    return path


def text(content, **more):
    return {"text": content, **more}


def put(root, files, **kwargs):
    found = infra_files.compare("set", str(root), files, replace=kwargs.pop("replace", ()))
    infra_files.publish("set", str(root), files, found, **kwargs)
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
    assert (found["create"], found["change"], found["remove"]) == ([], ["l"], ["sub/b"])
    assert tree(root) == {"a.conf": "1", "l": "foreign.conf", "foreign.conf": "theirs"}
    assert infra_files.owned("set", str(root)).keys() == {"a.conf", "l"}


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
    found = infra_files.compare("set", str(root), files)
    assert not infra_files.differs(found)
    assert found["same"] == ["a", "l"]


def test_a_mode_that_changed_is_a_change(root):
    put(root, {"a": text("1", mode="0640")})
    (root / "a").chmod(0o644)
    found = put(root, {"a": text("1", mode="0640")})
    assert found["change"] == ["a"]
    assert (root / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("switch", MODES)
def test_a_refused_stage_changes_nothing(root, switch):
    put(root, {"a": text("1")}, switch=switch)
    before = tree(root)

    def refuse(stage):
        assert tree(Path(stage)) == {"a": "2", "foreign.conf": "theirs"}
        raise CommandExecutionError("line 3")

    with pytest.raises(CommandExecutionError, match="line 3"):
        put(root, {"a": text("2")}, check=refuse, switch=switch)
    assert tree(root) == before
    assert list(root.parent.glob(".*")) == []
    assert infra_files.owned("set", str(root)) == {"a": infra_files.digest(text("1"))}


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
        put(root, {"a": text("2"), "new": text("n")}, confirm=confirm, switch=switch)
    assert seen == [{"a": "2", "new": "n", "foreign.conf": "theirs"}, before]
    assert tree(root) == before
    assert infra_files.owned("set", str(root)).keys() == {"a", "gone"}


def test_a_file_of_somebody_elses_is_told_not_replaced(root):
    found = infra_files.compare("set", str(root), {"foreign.conf": text("ours")})
    assert found["foreign"] == ["foreign.conf"]
    assert not infra_files.differs(found)


def test_a_foreign_file_equal_to_ours_is_adopted(root):
    assert put(root, {"foreign.conf": text("theirs")})["same"] == ["foreign.conf"]


def test_a_replaced_file_is_kept_and_comes_back_on_removal(root):
    put(root, {"foreign.conf": text("ours")}, replace=("foreign.conf",))
    assert (root / "foreign.conf").read_text() == "ours"
    assert infra_files.remove("set", str(root), test=True) == ["foreign.conf"]
    assert infra_files.remove("set", str(root)) == ["foreign.conf"]
    assert tree(root) == {"foreign.conf": "theirs"}
    assert infra_files.owned("set", str(root)) == {}


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"files": 3, "root": "x"}', '{"root": 1}'])
def test_a_damaged_manifest_is_made_up_from_the_files_themselves(root, broken):
    put(root, {"a": text(f"# {infra_files.MARK}\n"), "b": text(f"# {infra_files.MARK}\n")})
    infra_files.manifest_path("set").write_text(broken)
    found = put(root, {"a": text(f"# {infra_files.MARK}\n")})
    assert found["remove"] == ["b"]
    assert tree(root) == {"a": f"# {infra_files.MARK}\n", "foreign.conf": "theirs"}


def test_a_file_that_appears_while_the_stage_is_checked_survives(root):
    def late(_stage):
        (root / "late.conf").write_text("late")
        (root / "new").write_text("renamed")
        (root / "new").rename(root / "foreign.conf")

    put(root, {"a": text("1")}, check=late)
    assert tree(root) == {"a": "1", "foreign.conf": "renamed", "late.conf": "late"}


def test_leftovers_of_a_killed_run_are_cleared_and_its_files_are_ours(root):
    put(root, {"a": text("1")})
    (root.parent / ".nginx.infra-dead").mkdir()
    # Killed between the first write of the manifest and the last: both generations are listed.
    path = infra_files.manifest_path("set")
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
        infra_files.compare("set", str(root), {rel: text("x")})


def test_an_owner_that_does_not_exist_changes_nothing(root):
    before = tree(root)
    with pytest.raises(CommandExecutionError, match="nobody-here:root does not exist"):
        put(root, {"a": text("1", user="nobody-here")})
    assert tree(root) == before


def test_no_root_yet_is_all_to_create(tmp_path):
    found = infra_files.compare("set", str(tmp_path / "none"), {"a": text("1", user="nobody-here")})
    assert found["create"] == ["a"]


def test_secrets_stay_out_of_the_difference(root):
    put(root, {"s": text("hunter1", secret=True)})
    found = infra_files.compare("set", str(root), {"s": text("hunter2", secret=True)})
    assert found["change"] == ["s"]
    assert "hunter" not in str(found["diff"])


def test_a_directory_in_the_way_is_told(root):
    assert infra_files.compare("set", str(root), {"sub": text("x")})["foreign"] == ["sub"]


def test_a_failing_exchange_falls_back_to_renames(root, monkeypatch):
    monkeypatch.setattr(infra_files, "_exchange", lambda one, other: False)
    put(root, {"a": text("1"), "b/c": text("2")})
    put(root, {"a": text("3")})
    assert tree(root) == {"a": "3", "foreign.conf": "theirs"}
