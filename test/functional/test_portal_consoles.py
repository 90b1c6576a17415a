"""Consoles of registered machines behind a real nginx: hostile names, and hostile paths."""

import itertools

import hostile_facts
import pytest
from infra_formula.registration import generated, inventory
from nginx_server import Server, Upstream

SETTINGS = {
    "nodes": [{"key": "infra-1", "ip": "10.10.10.10", "seq": 1}],
    "reserved": {},
    "portal_names": ["i.pigsty"],
    "jobs": [],
    "others": {},
    "dns_records": [],
    "admin_ip": "10.10.10.10",
    "domains": None,
    "networks": ["10.0.0.0/8", "fd00::/8"],
    "assigned": {},
    "cluster": "nodes",
    "components": ["vmetrics"],
    "own_id": "infra-1",
    "own_addresses": [],
}


def registered():
    """What is accepted of a thousand minions, each with one attack."""
    mine = {}
    for number, (_attack, facts) in enumerate(hostile_facts.records()):
        if isinstance(facts, dict):
            facts = {**facts}
            if facts.get("ip") == "10.10.10.66":
                facts["ip"] = f"10.20.{number >> 8}.{number & 255}"
            if facts.get("ins") == "evil":
                facts["ins"] = f"evil-{number}"
        mine[f"evil-{number}"] = facts
    # Names of upstreams that entries and raw configuration of the portal use.
    for number, name in enumerate(("x", "y", "acme-peers", "CON")):
        mine[f"m-{number}"] = {
            **hostile_facts.good(f"m-{number}", f"10.30.0.{number}"),
            "ins": name,
        }
    return generated.haproxy(inventory.accept(mine, SETTINGS)["nodes"])


@pytest.fixture(scope="module")
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def portal(tmp_path_factory, upstream):
    here = f"127.0.0.1:{upstream.port}"
    consoles = {**registered(), "node-1": here, "Node.2": here}
    assert len(consoles) > 300
    assert {"x", "y"} <= set(consoles)
    server = Server(
        tmp_path_factory.mktemp("nginx"),
        {
            "haproxy-x": {"domain": "x.p", "endpoint": here},
            "location-y": {"domain": "y.p", "endpoint": here},
        },
        haproxy=consoles,
    )  # fmt: skip
    yield server
    server.close()


def test_no_name_of_a_console_is_one_that_the_portal_uses(portal, upstream):
    """nginx started with all of them; an entry named like a console is still proxied to."""
    upstream.seen.clear()
    assert portal.get("x.p", "/page")[0] in (200, 301)
    assert upstream.seen


def request(path):
    lines = (f"GET {path} HTTP/1.1", "Host: i.p", "Sec-Fetch-Dest: document", "Connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


DOTS = ("..", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "..%00", "..;", "..%3b", "..%253b")
SLASHES = ("/", "%2f", "%2F", "%252f", "\\", "%5c", "%255c", "//", "/./")
PATHS = [
    f"/haproxy/node-1{start}{dots}{slash}{end}"
    for start, dots, slash, end in itertools.product(
        ("/", "/a/", "/;st=DONE/", "/%2f"), DOTS, SLASHES, ("admin", "", "../vmetrics/", "?a=/../b")
    )
]


def test_a_path_that_two_servers_may_read_differently_reaches_no_console(portal, upstream):
    """What arrives is the page of the console, or a plain path below it."""
    assert len(PATHS) > 1000
    upstream.seen.clear()
    for path in PATHS:
        answer = portal.raw(request(path))
        assert answer.split(b" ", 2)[1] in (b"200", b"301", b"400", b"403", b"404"), (path, answer)
    for seen in upstream.seen:
        path = seen.split(b" ", 2)[1].decode().partition("?")[0]
        assert path.startswith("/haproxy/node-1/"), path
        lowered = path.lower()
        assert not any(part in lowered for part in ("//", "\\", "%", "/..", "/./")), path


@pytest.mark.parametrize(
    "path",
    ["/haproxy/node-1/", "/haproxy/node-1/;csv", "/haproxy/node-1/;st=ERRP;up;norefresh;scope=a-b",
     "/haproxy/node-1/?scope=x%2e%2e%2fy", "/haproxy/Node.2/;json"],
)  # fmt: skip
def test_pages_of_a_console_are_served(portal, upstream, path):
    upstream.seen.clear()
    assert b" 200 " in portal.raw(request(path)).split(b"\r\n")[0]
    assert upstream.seen[0].split(b" ", 2)[1].decode() == path
