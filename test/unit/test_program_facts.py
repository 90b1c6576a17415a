"""What a program said of itself is remembered until its file changes."""

import os
import shutil
from unittest.mock import create_autospec

import pytest
from infra_formula import paths, process, program_facts
from infra_formula.daemon import flags
from infra_formula.monitoring import scraping
from infra_formula.portal import rendering


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A compiled program, and a machine on which the formula was applied."""
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setattr(paths, "STATE_DIR", state)
    path = tmp_path / "program"
    shutil.copy(shutil.which("true"), path)
    return path


def upgraded(path):
    fresh = path.with_name("fresh")
    shutil.copy(path, fresh)
    fresh.replace(path)


def written(path):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def removed(path):
    path.unlink()


def linked(path):
    upgraded(path)
    path.rename(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize("change", [upgraded, written, removed, linked])
def test_an_answer_is_used_until_the_file_changes(program, change):
    assert program_facts.recall(str(program), "-v") is None
    program_facts.remember(str(program), "-v", "1.0")
    program_facts.remember(str(program), "--help", "-x")
    assert program_facts.recall(str(program), "-v") == "1.0"
    assert program_facts.recall(str(program), "--help") == "-x"
    assert program_facts.recall(str(program), "-h") is None
    change(program)
    assert program_facts.recall(str(program), "-v") is None
    program_facts.remember(str(program), "-v", "2.0")
    assert program_facts.recall(str(program), "--help") is None


def test_the_record_is_root_s_alone(program):
    program_facts.remember(str(program), "-v", "1.0")
    assert program_facts.record_path().stat().st_mode & 0o777 == 0o600


def test_a_script_is_asked_each_time(program):
    program.write_text("#!/bin/sh\nexec other\n")
    program.chmod(0o755)
    program_facts.remember(str(program), "-v", "1.0")
    assert program_facts.recall(str(program), "-v") is None


def test_nothing_is_written_where_nothing_was_applied(program):
    paths.STATE_DIR.rmdir()
    program_facts.remember(str(program), "-v", "1.0")
    assert not paths.STATE_DIR.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', '{"x": {"file": 1}}', "\x00"])
def test_a_damaged_record_is_none(program, text):
    program_facts.record_path().write_text(text.replace("x", str(program)))
    assert program_facts.recall(str(program), "-v") is None
    program_facts.remember(str(program), "-v", "1.0")
    assert program_facts.recall(str(program), "-v") == "1.0"


def answering(monkeypatch, stdout="", stderr="", retcode=0):
    outcome = {"retcode": retcode, "stdout": stdout, "stderr": stderr}
    run = create_autospec(process.run, return_value=outcome)
    monkeypatch.setattr(process, "run", run)
    return run


def test_nginx_tells_its_version_once(program, monkeypatch):
    find = {"nginx": str(program), str(program): str(program)}
    monkeypatch.setattr(rendering.salt.utils.path, "which", find.get)
    run = answering(monkeypatch, stderr="nginx version: nginx/1.22.1")
    assert [rendering.version() for _ in range(2)] == [[1, 22, 1]] * 2
    assert run.call_count == 1


@pytest.mark.parametrize(("retcode", "runs"), [(0, 1), (2, 1), (124, 2)])
def test_a_daemon_shows_its_flags_once_if_it_does_in_time(program, monkeypatch, retcode, runs):
    run = answering(monkeypatch, stdout="--new", retcode=retcode)
    flag = {"text": "--new", "template": "--new", "help": "--new"}
    daemon = {"program": str(program), "flags": [flag]}
    for _ in range(2):
        assert [f["text"] for f in flags.with_supported_flags(daemon)["flags"]] == ["--new"]
    assert run.call_count == runs


@pytest.mark.parametrize(
    ("refusal", "keeps", "runs"),
    [
        ("", True, 1),
        ("fatal: cannot parse:\n  line 4: field label_limit not found", False, 1),
        ("no space left", False, 2),
    ],
)
def test_victoriametrics_is_asked_once_whether_it_knows_a_limit(
    program, monkeypatch, refusal, keeps, runs
):
    run = answering(monkeypatch, stderr=refusal, retcode=1 if refusal else 0)
    configuration = {"scrape_configs": [{"job_name": "a", "label_limit": 9}]}
    for _ in range(2):
        made = scraping.without_unknown_limits(configuration, str(program))
        assert ("label_limit" in made["scrape_configs"][0]) is keeps
    assert run.call_count == runs
