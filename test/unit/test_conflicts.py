"""Files of the formula that something else writes in the same run are named at its end."""

import os
import time

import pytest
from infra_formula import paths
from infra_formula.daemon import started_files
from infra_formula.errors import CommandFailed
from infra_formula.fileset import conflicts
from infra_formula.fileset.file_set import FileSet

FILES = {"a.conf": {"text": "# Managed by Salt (infra formula)\na\n"}, "b.conf": {"text": "b\n"}}


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")


@pytest.fixture
def root(tmp_path):
    """A directory in which the set was applied by an earlier run."""
    folder = tmp_path / "etc"
    folder.mkdir()
    FileSet("set", folder).plan(FILES).apply()
    past = time.time() - 60
    for path in folder.iterdir():
        os.utime(path, (past, past))
    conflicts.begin()
    return folder


def applied(root, name="set", files=FILES):
    plan = FileSet(name, root).plan(files)
    if plan.has_changes:
        plan.apply()


def test_a_run_of_its_own_has_no_conflict(root):
    applied(root)
    applied(root, files={**FILES, "c.conf": {"text": "c\n"}})
    applied(root, files={**FILES, "b.conf": {"text": "other\n"}})
    assert conflicts.end() == []


def test_a_file_that_something_else_writes_afterwards_is_named(root):
    applied(root)
    (root / "a.conf").write_text("theirs\n")
    assert conflicts.end() == [f"{root}/a.conf"]


@pytest.mark.parametrize("how", ["removed", "replaced by the same content"])
def test_every_way_to_write_it_counts(root, how):
    applied(root)
    (root / "a.conf").unlink()
    if how != "removed":
        (root / "a.conf").write_text(FILES["a.conf"]["text"])
    assert conflicts.end() == [f"{root}/a.conf"]


def test_a_file_that_something_else_writes_in_the_run_before_it_is_the_formulas_turn(root):
    time.sleep(0.1)
    (root / "a.conf").write_text("theirs\n")
    applied(root)
    assert (root / "a.conf").read_text() == FILES["a.conf"]["text"]
    assert conflicts.end() == [f"{root}/a.conf"]


def test_a_file_that_somebody_changed_between_two_runs_is_only_put_right(root):
    (root / "a.conf").write_text("edited by hand\n")
    past = time.time() - 30
    os.utime(root / "a.conf", (past, past))
    applied(root)
    assert conflicts.end() == []


def test_a_set_that_fails_and_is_restored_is_no_conflict(root):
    def refuse():
        raise CommandFailed("the reload failed")

    with pytest.raises(CommandFailed):
        FileSet("set", root).plan({**FILES, "b.conf": {"text": "bad\n"}}).apply(reload=refuse)
    assert (root / "b.conf").read_text() == "b\n"
    assert conflicts.end() == []


def test_what_programs_of_the_system_write_too_is_left_out(tmp_path):
    conflicts.begin()
    applied(tmp_path, name="resolver")
    (tmp_path / "a.conf").write_text("a DHCP client's\n")
    assert conflicts.end() == []


def test_a_file_that_a_service_was_started_with_is_watched_too(tmp_path, monkeypatch):
    conflicts.begin()
    path = tmp_path / "chrony.conf"
    path.write_text("ours\n")
    started_files.plan("chrony", [str(path), str(tmp_path / "none")])
    path.write_text("theirs\n")
    assert conflicts.end() == [str(path)]


def test_without_a_run_nothing_is_noted_and_a_run_ends_once(root):
    applied(root)
    (root / "a.conf").write_text("theirs\n")
    assert conflicts.end() == [f"{root}/a.conf"]
    applied(root)
    (root / "a.conf").write_text("theirs\n")
    assert conflicts.end() == []


def test_what_a_package_brought_is_no_conflict(root):
    time.sleep(0.1)
    (root / "a.conf").write_text("the package's\n")
    conflicts.packages_changed()
    applied(root)
    assert conflicts.end() == []


def test_a_clock_that_was_set_back_makes_no_conflict(root):
    (root / "a.conf").write_text("edited by hand\n")
    future = time.time() + 86400
    os.utime(root / "a.conf", (future, future))
    applied(root)
    assert conflicts.end() == []
