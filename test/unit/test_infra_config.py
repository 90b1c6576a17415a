"""A daemon's files: told of, tested, put in place, taken up; or as they were."""

from pathlib import Path

import pytest
from infra_formula import paths
from infra_formula.daemon import configuration as infra_config
from infra_formula.daemon import health
from infra_formula.state import converge
from salt.exceptions import CommandExecutionError
from support.doubles import double

FILES = {"a.yml": {"text": "a: 1\n"}, "b.yml": {"text": "b: 1\n"}}
DAEMON = {"unit": "daemon"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


@pytest.fixture
def reloads(monkeypatch):
    """Content of the folder at each reload; ``refused`` makes the daemon refuse to."""
    told = []

    def reload(daemon):
        told.append(daemon["unit"])
        if daemon.get("refused"):
            raise CommandExecutionError("it does not take that")

    double(monkeypatch, health, "reload", side_effect=reload)
    return told


def apply(name, root, files, daemons, test, replace=(), check=None, **plan):
    """Compare, check what differs, and converge, as the states do; returns the changes."""

    def compare():
        difference = infra_config.compare(name, root, files, replace)
        if check and difference.has_changes:
            check({*difference.create, *difference.change})
        return infra_config.plan(difference, daemons, comment="done", would="would", **plan)

    ret = converge("set", test, compare)
    if ret["result"] is False:
        raise CommandExecutionError(ret["comment"])
    assert (ret["result"] is None) is bool(test and ret["changes"])
    assert ret["comment"] == ("would" if ret["result"] is None else "done")
    return ret["changes"]


def content(root):
    return {path.name: path.read_text() for path in root.iterdir()}


def test_it_is_told_then_done_then_left_alone(root, reloads):
    told = apply("set", str(root), FILES, [DAEMON], True)
    assert sorted(told) == sorted(FILES)
    assert (content(root), reloads) == ({}, [])
    assert apply("set", str(root), FILES, [DAEMON], False) == told
    assert content(root) == {"a.yml": "a: 1\n", "b.yml": "b: 1\n"}
    assert reloads == ["daemon"]
    assert apply("set", str(root), FILES, [DAEMON], False) == {}
    assert reloads == ["daemon"]


@pytest.mark.parametrize("test", [True, False])
def test_a_file_of_somebody_elses_is_named_and_kept(root, reloads, test):
    (root / "b.yml").write_text("mine\n")
    with pytest.raises(CommandExecutionError, match=f"{root}/b.yml: expected no unmanaged file"):
        apply("set", str(root), FILES, [DAEMON], test)
    assert (content(root), reloads) == ({"b.yml": "mine\n"}, [])


def test_one_that_may_be_replaced_is(root, reloads):
    (root / "b.yml").write_text("the package's\n")
    apply("set", str(root), FILES, [DAEMON], False, replace=("b.yml",))
    assert content(root)["b.yml"] == "b: 1\n"


@pytest.mark.parametrize("test", [True, False])
def test_what_its_program_refuses_is_not_put_in_place(root, reloads, test):
    seen = []

    def check(changed):
        seen.extend(changed)
        raise CommandExecutionError("line 1")

    (root / "a.yml").write_text("a: 1\n")
    with pytest.raises(CommandExecutionError, match="line 1"):
        apply("set", str(root), FILES, [DAEMON], test, check=check)
    assert seen == ["b.yml"]
    assert (content(root), reloads) == ({"a.yml": "a: 1\n"}, [])


def test_a_staged_copy_is_tested_whole(root, reloads):
    (root / "own.yml").write_text("own\n")
    staged = []

    def check(stage):
        staged.extend(path.name for path in Path(stage).iterdir())
        raise CommandExecutionError("line 1")

    with pytest.raises(CommandExecutionError, match="line 1"):
        apply("set", str(root), FILES, [DAEMON], False, check_staged=check)
    assert sorted(staged) == ["a.yml", "b.yml", "own.yml"]
    assert content(root) == {"own.yml": "own\n"}


def test_what_the_daemon_does_not_take_is_taken_back(root, reloads):
    apply("set", str(root), FILES, [DAEMON], False)
    other = {"a.yml": {"text": "a: 2\n"}}
    with pytest.raises(CommandExecutionError, match="does not take that"):
        apply("set", str(root), other, [{**DAEMON, "refused": True}], False)
    assert content(root) == {"a.yml": "a: 1\n", "b.yml": "b: 1\n"}
    # Once for the new files and once more for the old ones.
    assert reloads == ["daemon"] * 3


def test_files_that_a_daemon_looks_at_by_itself_are_no_reason_to_reload_it(root, reloads):
    def applied(**texts):
        files = {f"{name}.yml": {"text": text} for name, text in texts.items()}
        apply("set", str(root), files, [DAEMON], False, read_at_start=("a.yml",))
        return len(reloads)

    assert applied(a="1", b="1") == 0
    assert applied(a="1", b="2", c="1") == 0
    assert applied(a="2", b="2") == 1
