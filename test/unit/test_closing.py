"""No test, and nothing between two tests, waits for ever."""

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import closing
import pytest

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


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_thread_that_waits_on_a_socket_ends_before_its_number_is_free(kind):
    """A signal has its call begun anew, for whatever socket has the number then."""
    channel, stolen = socket.socket(socket.AF_INET, kind), []
    channel.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        channel.listen()

    def serve():
        while True:
            if kind == socket.SOCK_STREAM:
                stolen.append(channel.accept())
            else:
                data, sender = channel.recvfrom(10)
                if sender is None:
                    return
                stolen.append(data)

    threads = set(threading.enumerate())
    waiting = closing.Waiting(channel, serve)
    (thread,) = set(threading.enumerate()) - threads
    wait_until_in_a_call(thread)
    number = channel.fileno()
    waiting.end()
    has_ended = not thread.is_alive()
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert other.fileno() == number
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.siginterrupt(signal.SIGUSR1, False)
        try:
            if not has_ended:
                signal.pthread_kill(thread.ident, signal.SIGUSR1)
                time.sleep(0.2)
            with socket.create_connection(other.getsockname()):
                thread.join(0.5)
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert not stolen
    assert has_ended


def test_every_loop_that_waits_on_a_socket_is_ended_so():
    files = [path for path in SUPPORT.parent.rglob("*.py") if "standins" not in path.parts]
    loops = {
        path.name: path.read_text(encoding="utf-8")
        for path in files
        if re.search(r"\.(accept\(\)|recvfrom\()", path.read_text(encoding="utf-8"))
    }
    assert {name for name, text in loops.items() if "closing.Waiting(" not in text} == set()
    assert len(loops) > 3


def wait_until_in_a_call(thread):
    """Wait until a thread sleeps in the system call of its socket."""
    state = Path(f"/proc/self/task/{thread.native_id}/stat")
    for _ in range(1000):
        if state.read_text().rpartition(")")[2].split()[0] == "S":
            return
        time.sleep(0.01)
    raise AssertionError("the thread does not wait")


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
