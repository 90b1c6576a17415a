"""What is in nginx's access logs: every visitor, and none of this formula's own questions."""

import http.client
import socket
import time

import pytest
from nginx_server import Server, Upstream

NODE, VISITOR = "127.0.0.1", "127.0.0.2"  # an INFRA node's address, and somebody else's
OURS = ("infra-formula", "Blackbox Exporter/0.26.0", "Blackbox-Exporter/0.28.0")
LAST = "/the-last-request"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    upstream = Upstream()
    running = Server(
        tmp_path_factory.mktemp("nginx"),
        {"app": {"domain": "app.pigsty", "endpoint": f"127.0.0.1:{upstream.port}"}},
        components={"vlogs": {"port": upstream.port}},
        closed_ports=[upstream.port],
    )
    (running.home / "index.html").write_text("home")
    (running.home / "pigsty").mkdir()
    (running.home / "pigsty/repo_complete").write_text("complete")
    yield running
    running.close()
    upstream.close()


def logged(server, name, path, source, agent, method="GET", log="access.log"):
    """Lines that a log has of one request."""
    before = _lines(server, log)
    _ask(server, name, path, source, agent, method)
    # nginx writes the line of a request after its answer: the next one's comes behind it.
    _ask(server, name, LAST, VISITOR, "curl", "GET")
    deadline = time.monotonic() + 20
    while True:
        lines = _lines(server, log)[len(before) :]
        if any(LAST in line for line in lines) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert LAST in lines[-1]
    return lines[:-1]


def _lines(server, log):
    path = server.root / "log" / log
    return path.read_text().splitlines() if path.exists() else []


def _ask(server, name, path, source, agent, method):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.sock = socket.create_connection(("127.0.0.1", server.port), 20, (source, 0))
    connection.request(method, path, headers={"Host": name, "User-Agent": agent})
    connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize("agent", OURS)
@pytest.mark.parametrize(("name", "log"), [("i.pigsty", "access.log"), ("app.pigsty", "app.log")])
def test_what_an_infra_node_asks_of_itself_is_not_logged(server, name, log, agent):
    for method in ("GET", "HEAD"):
        assert logged(server, name, "/", NODE, agent, method, log) == []


def test_the_probe_of_the_repository_is_not_logged(server):
    assert logged(server, "i.pigsty", "/pigsty/repo_complete", NODE, OURS[1]) == []


@pytest.mark.parametrize("agent", OURS)
@pytest.mark.parametrize("path", ["/", "/pigsty/repo_complete", "/x", "/?a=b"])
@pytest.mark.parametrize(("name", "log"), [("i.pigsty", "access.log"), ("app.pigsty", "app.log")])
def test_a_visitor_is_logged_whatever_it_calls_itself(server, name, log, path, agent):
    (line,) = logged(server, name, path, VISITOR, agent, log=log)
    assert line.startswith(f"{VISITOR} ")
    assert f'"GET {path} HTTP/1.1"' in line


@pytest.mark.parametrize(
    ("path", "agent", "method"),
    [
        ("/", "curl/8", "GET"),
        ("/", "not infra-formula", "GET"),
        ("/", "x Blackbox Exporter/0.26.0", "GET"),
        ("/?a=/", OURS[0], "GET"),
        ("/x", OURS[1], "GET"),
        ("/pigsty/repo_completes", OURS[1], "GET"),
        ("/pigstyxrepo_complete", OURS[1], "GET"),
        ("/x", OURS[0], "POST"),
        ("/", OURS[0], "POST"),
    ],
)
def test_what_else_is_asked_on_an_infra_node_is_logged(server, path, agent, method):
    assert len(logged(server, "i.pigsty", path, NODE, agent, method)) == 1


def test_logs_that_an_infra_node_ships_to_itself_make_no_lines_of_their_own(server):
    path = "/vlogs/insert/jsonline"
    assert logged(server, "i.pigsty", path, NODE, "Vector/0.46", "POST") == []
    assert len(logged(server, "i.pigsty", path, VISITOR, "Vector/0.46", "POST")) == 1
    assert len(logged(server, "i.pigsty", path, VISITOR, OURS[0], "POST")) == 1


def test_no_header_makes_a_visitor_an_infra_node(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.sock = socket.create_connection(("127.0.0.1", server.port), 20, (VISITOR, 0))
    names = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP")
    headers = dict.fromkeys(names, NODE) | {"Host": "i.pigsty", "User-Agent": OURS[0]}
    before = len(_lines(server, "access.log"))
    connection.request("GET", "/", headers=headers)
    connection.getresponse().read()
    connection.close()
    assert logged(server, "i.pigsty", "/y", VISITOR, "curl")
    first = _lines(server, "access.log")[before]
    assert f"{VISITOR} - - " in first
    assert '"GET / HTTP/1.1"' in first
