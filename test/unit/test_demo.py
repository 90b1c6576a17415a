"""Where the demo's packages come from, what it offers to try, and how errors of a pillar read."""

import socket
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from lab import LabError, demo, tour, vendor
from lab import pillar as pillars
from lab.machine import Machine
from lab.paths import CHECKOUT
from support import closing

INDEX = b"-----BEGIN PGP SIGNED MESSAGE-----\n\nSuite: generic\n"
KEY = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
WHOLE = {"/dists/generic/InRelease": (200, INDEX), "/key": (200, KEY)}
PILLAR = Path("my.yml")


@contextmanager
def repository(answers):
    """A server that answers what a test says, as the vendor's repository."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield at(server.server_port)
    finally:
        closing.stop(server)


def at(port):
    url = f"http://127.0.0.1:{port}"
    return vendor.Archive(url, "generic", "main", f"{url}/key")


@contextmanager
def silence():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield at(server.getsockname()[1])


def test_the_vendors_packages_are_taken_where_their_repository_answers():
    with repository(WHOLE) as place:
        assert vendor.unreachable(place) is None
        chosen, why = demo.choose(None, None, place)
        assert chosen == "upstream"
        assert place.uri in why
        assert "which answers" in why


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "Not Found"),
        ({**WHOLE, "/dists/generic/InRelease": (200, b"")}, "InRelease answers with something"),
        ({**WHOLE, "/dists/generic/InRelease": (200, b"<html>Sign in</html>")}, "something else"),
        ({**WHOLE, "/dists/generic/InRelease": (503, INDEX)}, "Service Unavailable"),
        ({**WHOLE, "/key": (404, b"")}, "/key cannot be read"),
        ({**WHOLE, "/key": (200, b"<html>")}, "/key answers with something else"),
    ],
)
def test_debians_packages_are_taken_otherwise_and_the_reason_is_said(answers, said):
    with repository(answers) as place:
        chosen, why = demo.choose(None, None, place)
        assert chosen == "distro"
        assert "Grafana, logs and traces are off" in why
        with pytest.raises(LabError, match=said):
            demo.choose(None, "upstream", place)


def test_a_repository_that_is_not_there_or_does_not_answer_in_time_is_not_reachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = at(server.getsockname()[1])
    assert "Connection refused" in vendor.unreachable(gone)
    with silence() as place:
        assert "timed out" in vendor.unreachable(place, timeout=0.2)
    nowhere = vendor.Archive("http://no-such-host.invalid", "generic", "main", "")
    assert "no-such-host.invalid" in vendor.unreachable(nowhere)


def test_packaging_decides_and_a_pillar_of_ones_own_speaks_for_itself():
    with repository(WHOLE) as place:
        assert demo.choose(None, "distro", place)[0] == "distro"
        assert demo.choose(PILLAR, "distro", place)[0] == "distro"
        assert demo.choose(PILLAR, "upstream", place)[0] == "upstream"
        assert demo.choose(PILLAR, None, place) == (None, "those that my.yml names")


@pytest.mark.parametrize(("packaging", "over"), demo.PACKAGING.items())
def test_each_packaging_has_its_pillar(packaging, over):
    assert over is None or f"infra_packaging: {packaging}" in over.read_text()
    if over is None:
        assert "infra_packaging: distro" in (CHECKOUT / "pillar.example").read_text()


# -- the tour


def test_the_tour_has_five_steps_and_the_terminal_shows_each_command():
    steps = tour.steps()
    assert [step.title[:3] for step in steps if step.title] == [f"{n}. " for n in range(1, 6)]
    shown = tour.summary()
    for step in steps:
        assert step.title in shown
        assert all(line in shown for line in step.commands)
        assert step.commands
    assert [step.commands for step in steps if step.host] == [("make demo-node",)]
    assert "# here, not on the machine:\n      make demo-node\n      # on the machine:" in shown
    assert "<!--" not in shown


def test_a_step_without_commands_is_an_error(tmp_path):
    page = tmp_path / "tour.md"
    page.write_text("# Tour\n\n## 1. Look\n\nNothing to type.\n\n## Next\n\n```bash\nls\n```\n")
    with pytest.raises(LabError, match=r"'1\. Look' has no commands"):
        tour.steps(page)


# -- errors of a pillar


@pytest.mark.parametrize(
    ("file", "own", "expected"),
    [
        (
            ["/srv/pillar/infra.sls, line 2, key x: no"],
            [],
            ["/srv/pillar/infra.sls, line 2, key x: no"],
        ),
        ([], ["nodes: expected y"], ["nodes: expected y"]),
        ([], [], []),
    ],
)
def test_what_is_wrong_with_a_pillar_is_one_line_each(file, own, expected):
    machine = create_autospec(Machine, instance=True)
    machine.run.return_value.stdout = "/srv/pillar/infra.sls\n"

    def salt_call(function, *words, check):
        return {"errors": file if words else own} if function == "infra_pillar.validate" else None

    machine.salt_call.side_effect = salt_call
    assert pillars.problems(machine) == expected


def test_a_suite_that_the_demo_does_not_have_is_refused():
    done = subprocess.run(
        [CHECKOUT / "test/lab/lab", "demo", "--suite", "fleeet"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "invalid choice: 'fleeet'" in done.stderr
