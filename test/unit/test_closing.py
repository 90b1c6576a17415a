"""No test, and nothing between two tests, waits for ever."""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import closing

SUPPORT = Path(__file__).resolve().parents[1] / "support"
HANGS = """
import threading
import pytest

@pytest.fixture(scope="session")
def server():
    yield
    threading.Event().wait()

def test_one(server):
    pass
"""


def made():
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)


def test_a_server_is_stopped_and_may_be_stopped_again():
    server = made()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    closing.stop(server)
    thread.join(closing.SECONDS)
    assert not thread.is_alive()
    closing.stop(server)


def test_a_server_whose_loop_never_ran_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(closing, "SECONDS", 0.1)
    server = made()
    closing.stop(server)  # `shutdown` itself never returns here
    assert server.socket.fileno() == -1


def test_a_run_that_hangs_after_its_tests_ends_with_the_stacks(tmp_path):
    (tmp_path / "test_it.py").write_text(HANGS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "watchdog", "-p", "no:cacheprovider",
         "--rootdir", str(tmp_path), str(tmp_path / "test_it.py")],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "INFRA_WATCHDOG": "2"},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode not in (0, 5)
    assert "Timeout (0:00:02)!" in done.stderr
    assert 'test_it.py", line 8 in server' in done.stderr
