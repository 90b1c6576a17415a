"""dpkg's lock, and what it left unfinished."""

import fcntl
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from infra_formula import process as runner
from infra_formula.repository import dpkg as infra_dpkg
from salt.exceptions import CommandExecutionError

from _states import infra_dpkg as states

HOLD = """
import fcntl, sys
stream = open(sys.argv[1], "w")
fcntl.lockf(stream, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def admin(tmp_path, monkeypatch):
    (tmp_path / "updates").mkdir()
    for name in ("lock-frontend", "lock"):
        (tmp_path / name).touch()
    monkeypatch.setattr(infra_dpkg, "ADMIN", tmp_path)
    return tmp_path


@pytest.fixture
def held(admin):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(admin / "lock-frontend")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.stdin.close()


def test_nobody_has_the_lock(admin):
    assert infra_dpkg.holder() is None
    assert infra_dpkg.wait() < 1


def test_who_has_the_lock_is_named_and_waited_for(held, caplog, monkeypatch):
    assert infra_dpkg.holder() == held.pid
    with pytest.raises(CommandExecutionError, match=rf"process {held.pid} \(python.*\) has held"):
        infra_dpkg.wait(0.1, 0.05)
    assert f"Waiting for process {held.pid} (python" in caplog.text
    monkeypatch.setattr(infra_dpkg.time, "sleep", lambda _: (held.stdin.close(), held.wait()))
    assert infra_dpkg.wait(60) < 60


def test_our_own_look_does_not_take_a_lock_away(admin):
    with (admin / "lock").open("w") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        infra_dpkg.holder()
        asked = subprocess.run(
            [sys.executable, "-c", HOLD, str(admin / "lock-frontend")],
            input=b"",
            capture_output=True,
            check=True,
        )
    assert asked.stdout == b"held\n"


def answers(monkeypatch, audits):
    told, ran = iter(audits), []

    def run(command, **_):
        if command[0] == "dpkg-query":
            return {"retcode": 0, "stdout": next(told), "stderr": ""}
        ran.append(command[0])
        return {"retcode": 0, "stdout": "", "stderr": f"{command[0]} says why"}

    monkeypatch.setattr(runner, "run", create_autospec(runner.run, side_effect=run))
    monkeypatch.setattr(infra_dpkg.salt.utils.path, "which", lambda name: name)
    return ran


def test_what_is_unfinished_is_told(admin, monkeypatch):
    rows = (
        "a installed ok\nnginx half-configured ok\nb config-files ok\nc half-installed reinstreq\n"
    )
    answers(monkeypatch, [rows, "d installed reinstreq\n", ""])
    assert infra_dpkg.unfinished() == ["nginx is half-configured", "c is half-installed"]
    assert infra_dpkg.unfinished() == ["d is reinstreq"]
    Path(admin, "updates", "0001").touch()
    assert infra_dpkg.unfinished() == ["not yet recorded: 0001"]


RECORD = """Package: a
Status: install ok installed
Description: x
 Status: nothing of the record

Package: b
Status: deinstall ok config-files
"""


@pytest.mark.parametrize(
    ("record", "asks"),
    [
        (RECORD, False),
        ("", False),
        (RECORD + "\nPackage: c\nStatus: install ok half-configured\n", True),
        (RECORD + "\nPackage: c\nStatus: install ok triggers-pending\n", True),
        (RECORD + "\nPackage: c\nStatus: install reinstreq installed\n", True),
        (RECORD + "\nPackage: c\nStatus: install ok installed-not\n", True),
        (RECORD + "\nPackage: c\nStatus:\n", True),
        (None, True),
    ],
)
def test_dpkg_is_asked_only_if_its_record_has_something_to_do(admin, monkeypatch, record, asks):
    if record is not None:
        (admin / "status").write_text(record)
    answer = {"retcode": 0, "stdout": "", "stderr": ""}
    monkeypatch.setattr(infra_dpkg.salt.utils.path, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(runner, "run", create_autospec(runner.run, return_value=answer))
    assert infra_dpkg.unfinished() == []
    assert runner.run.called is asks
    runner.run.reset_mock()
    (admin / "updates").mkdir(exist_ok=True)
    (admin / "updates/0001").write_text("")
    assert infra_dpkg.unfinished() == ["not yet recorded: 0001"]
    assert runner.run.called


@pytest.mark.parametrize(
    ("audits", "ran"), [([""] * 2, ["dpkg"]), (["x unpacked ok", ""], ["dpkg", "apt-get"])]
)
def test_it_is_finished_with_as_little_as_it_takes(admin, monkeypatch, audits, ran):
    done = answers(monkeypatch, audits)
    infra_dpkg.finish()
    assert done == ran


def test_what_cannot_be_finished_is_quoted(admin, monkeypatch):
    answers(monkeypatch, ["x unpacked ok", "x unpacked ok"])
    with pytest.raises(CommandExecutionError, match=r"x is unpacked\napt-get.*apt-get says why"):
        infra_dpkg.finish()


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("left", [[], ["nginx"]])
def test_the_state_finishes_once_and_tells_beforehand(monkeypatch, test, left):
    values = {"holder": None, "wait": 6.2, "unfinished": left, "finish": None}
    doubles = {
        name: create_autospec(getattr(infra_dpkg, name), return_value=value)
        for name, value in values.items()
    }
    for name, double in doubles.items():
        monkeypatch.setattr(infra_dpkg, name, double)
    monkeypatch.setattr(states, "__opts__", {"test": test}, raising=False)
    ret = states.finished("x")
    assert ret["result"] is (None if test and left else True)
    assert ret["changes"] == ({"finished": left} if left else {})
    assert doubles["finish"].called is (bool(left) and not test)
    assert ("Waited 6 s" in ret["comment"]) is not test


def test_a_lock_that_does_not_end_is_an_error(monkeypatch):
    error = CommandExecutionError("process 7 (apt-get) has had it")
    refused = create_autospec(infra_dpkg.wait, side_effect=error)
    monkeypatch.setattr(infra_dpkg, "wait", refused)
    monkeypatch.setattr(states, "__opts__", {"test": False}, raising=False)
    assert states.finished("x")["result"] is False
