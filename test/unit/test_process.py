"""Programs: how the library runs them, compared with Salt's own ``cmd.run_all``."""

import logging
import os
import time
from unittest.mock import patch

import pytest
import salt.modules.cmdmod as cmdmod
from infra_formula import process
from infra_formula.errors import CommandFailed
from salt.exceptions import CommandExecutionError


@pytest.fixture
def configure_loader_modules():
    return {
        cmdmod: {
            "__opts__": {},
            "__grains__": {"os": "Debian", "os_family": "Debian", "kernel": "Linux"},
            "__salt__": {},
            "__context__": {},
            "__pillar__": {},
        }
    }


def sh(script, *arguments):
    return ["sh", "-c", script, *arguments]


SAME = {
    "a success with both outputs": (sh("echo out; echo err >&2"), {}),
    "a failure": (sh("echo no >&2; exit 3"), {}),
    "death by a signal": (sh("kill -9 $$"), {}),
    "white space at both ends": (sh("printf ' a\\n\\n \\n'"), {}),
    "output that is not UTF-8": (sh("printf 'a\\377b'"), {}),
    "output of many bytes": (sh("head -c 3000000 /dev/zero | tr '\\0' x; echo y >&2"), {}),
    "standard input": (["cat"], {"stdin": "secret: ä\n$HOME\n"}),
    "standard input of many bytes": (["wc", "-c"], {"stdin": "x" * 3_000_000}),
    "standard input that is not read": (["true"], {"stdin": "x" * 3_000_000}),
    "no standard input": (["cat"], {}),
    "a variable": (sh('echo "$A"'), {"env": {"A": "b c"}}),
    "the C locale": (sh("locale charmap; printf 'b\\nA\\na\\nB\\n' | sort; ls /no/such"), {}),
    "another locale": (sh('echo "$LC_ALL"'), {"env": {"LC_ALL": "C.UTF-8"}}),
    "a directory": (["pwd"], {"cwd": "/usr"}),
    "signs of a shell": (["printf", "%s|", "$HOME", "a b", "*", "`id`", ";"], {}),
    "a timeout that is not reached": (["echo", "a"], {"timeout": 30}),
}


@pytest.mark.parametrize("case", SAME)
def test_the_outcome_is_that_of_salts_own_function(case):
    command, options = SAME[case]
    outcome = process.run(command, **options)
    theirs = cmdmod.run_all(
        command, python_shell=False, output_loglevel="quiet", **{"cwd": "/", **options}
    )
    assert outcome == {key: theirs[key] for key in ("retcode", "stdout", "stderr")}


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (["/no/such/program"], {}, "/no/such/program: No such file or directory"),
        (["no-such-program-at-all"], {}, "no-such-program-at-all: No such file or directory"),
        (["/etc/passwd"], {}, "/etc/passwd: Permission denied"),
        (["true"], {"cwd": "/no/such/folder"}, "/no/such/folder: No such file or directory"),
    ],
)
def test_a_program_that_cannot_be_started_is_an_error_as_in_salt(command, options, message):
    with pytest.raises(CommandFailed) as caught:
        process.run(command, **options)
    assert str(caught.value) == message
    with pytest.raises(CommandExecutionError):
        cmdmod.run_all(command, python_shell=False, **options)


def test_a_timeout_kills_the_program_and_has_the_return_code_of_timeout_1():
    """Salt returns 1, and puts the message on standard output."""
    start = time.monotonic()
    outcome = process.run(sh("echo begun; exec sleep 60"), timeout=0.5)
    assert time.monotonic() - start < 10
    message = "sh did not end within 0.5 s"
    assert outcome == {"retcode": 124, "stdout": "begun", "stderr": message}


def test_a_timeout_holds_for_a_program_whose_child_keeps_the_pipe():
    start = time.monotonic()
    outcome = process.run(sh("sleep 30; echo never"), timeout=0.5)
    assert time.monotonic() - start < 10
    assert outcome["retcode"] == 124


@pytest.mark.parametrize("timeout", [None, 20])
def test_a_background_process_that_keeps_the_pipe_is_not_waited_for(timeout):
    """Salt waits until it closes the pipe."""
    start = time.monotonic()
    outcome = process.run(sh("sleep 30 & echo out; echo err >&2; exit 3"), timeout=timeout)
    assert time.monotonic() - start < 10
    assert outcome == {"retcode": 3, "stdout": "out", "stderr": "err"}


def test_a_program_may_close_its_outputs_and_go_on():
    outcome = process.run(sh("exec >&- 2>&-; sleep 1.5; exit 4"))
    assert outcome["retcode"] == 4


def test_a_program_that_takes_longer_than_one_look_is_waited_for():
    outcome = process.run(sh("cat; sleep 1.2; echo b; sleep 1.2; echo c"), stdin="a\n")
    assert outcome == {"retcode": 0, "stdout": "a\nb\nc", "stderr": ""}


def test_input_that_is_read_late_arrives_whole():
    assert process.run(sh("sleep 1.2; wc -c"), stdin="x" * 3_000_000)["stdout"] == "3000000"


def test_the_programs_of_administrators_are_found_under_cron():
    with patch.dict(os.environ, {"PATH": "/usr/bin:/bin"}):
        assert ":/usr/sbin:" in process.run(sh('echo "$PATH"'))["stdout"]


def test_a_path_of_the_caller_comes_first(tmp_path):
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    outcome = process.run(["nginx"], env={"PATH": str(tmp_path)})
    assert outcome["stdout"] == "mine"


def test_the_command_is_logged_but_neither_its_input_nor_its_output(caplog):
    caplog.set_level(logging.DEBUG)
    assert process.run(["rev"], stdin="hushhush")["stdout"] == "hsuhhsuh"
    assert "rev" in caplog.text
    assert "hushhush" not in caplog.text
    assert "hsuhhsuh" not in caplog.text


def test_no_file_descriptor_and_no_process_is_left():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        process.run(["true"], stdin="a")
    with pytest.raises(CommandFailed):
        process.run(["/no/such/program"])
    process.run(["sleep", "60"], timeout=0.05)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_program_is_waited_for_without_sleeping(monkeypatch, timeout):
    """A clock that is faked for this process refuses to sleep (Python 3.11 and later)."""

    def refuse(_seconds):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(time, "sleep", refuse)
    assert process.run(sh("cat; sleep 0.1"), stdin="x", timeout=timeout)["stdout"] == "x"
    assert process.run(sh("exec >&- 2>&-; sleep 0.1; exit 3"), timeout=timeout)["retcode"] == 3
