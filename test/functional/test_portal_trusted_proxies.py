"""Balancers and CDNs in front of the portal: what is believed of whom, by a real nginx."""

import http.client
import re
import socket
import ssl
import time

import pytest
from infra_formula.portal import entries, rendering, trusted_proxies
from nginx_server import Server, Upstream, drain
from portal_samples import LOADER, facts, settings
from ports import free_port

BALANCER = "127.0.0.2"
VISITOR = "203.0.113.9"


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


def portal(upstream):
    there = f"127.0.0.1:{upstream.port}"
    return {
        "home": {"certbot": "x"},
        "app": {"domain": "a.p", "endpoint": there},
        "safe": {"domain": "s.p", "endpoint": there, "enforce_https": True, "hsts": 60},
        "cert": {"domain": "c.p", "endpoint": there, "enforce_https": True, "certbot": "x"},
        "near": {"domain": "n.p", "endpoint": there, "config": "allow 203.0.113.0/24; deny all;"},
    }


@pytest.fixture(scope="module")
def start(tmp_path_factory, upstream):
    running = []

    def start(**changes):
        server = Server(
            tmp_path_factory.mktemp("nginx"), portal(upstream),
            **{"nginx_trusted_proxies": [f"{BALANCER}/32", "2001:db8::/32"], **changes},
        )  # fmt: skip
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def server(start):
    return start()


def ask(server, name, path="/", source=BALANCER, tls=False, **headers):
    """Ask as a machine of an address does; returns status, headers and body."""
    port = server.tls_port if tls else server.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    plain = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
    connection.sock = plain
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection.sock = context.wrap_socket(plain, server_hostname=name)
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request("GET", path, headers={"Host": name, "Connection": "close", **given})
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


SAID = {"X_Forwarded_For": VISITOR, "X_Forwarded_Proto": "https"}


def test_a_trusted_proxy_says_who_the_visitor_is(server, upstream):
    assert ask(server, "a.p", X_Forwarded_Port="8443", **SAID)[0] == 200
    seen = [upstream.header(f"X-{n}") for n in ("Real-IP", "Forwarded-For", "Forwarded-Proto")]
    assert seen == [VISITOR, VISITOR, "https"]
    assert upstream.header("X-Forwarded-Port") == "8443"
    ask(server, "a.p", **SAID)
    assert upstream.header("X-Forwarded-Port") == "443"
    ask(server, "a.p", X_Forwarded_For=f"1.2.3.4, {VISITOR}, {BALANCER}")
    assert upstream.header("X-Real-IP") == VISITOR


def test_nobody_else_is_believed(server, upstream):
    assert ask(server, "a.p", source="127.0.0.3", X_Forwarded_Port="8443", **SAID)[0] == 200
    seen = [upstream.header(f"X-{n}") for n in ("Real-IP", "Forwarded-For", "Forwarded-Proto")]
    assert seen == ["127.0.0.3", "127.0.0.3", "http"]
    assert upstream.header("X-Forwarded-Port") == str(server.port)


@pytest.mark.parametrize("name", ["s.p", "c.p"])
def test_enforce_https_does_not_loop_behind_a_proxy_that_ends_tls(server, name):
    assert ask(server, name, **SAID)[0] == 200
    code, said, _ = ask(server, name, X_Forwarded_For=VISITOR, X_Forwarded_Proto="http")
    assert (code, said["location"]) == (301, f"https://{name}:{server.tls_port}/")
    # Through a proxy that speaks TLS to the portal, a visitor without it is redirected as well.
    assert ask(server, name, tls=True, X_Forwarded_Proto="http")[0] == 301
    assert ask(server, name, tls=True)[0] == 200


@pytest.mark.parametrize("said", ["https", "HTTPS", "https,http", "http", "", "on"])
def test_a_visitor_does_not_get_past_enforce_https_by_a_header(server, upstream, said):
    before = len(upstream.seen)
    assert ask(server, "s.p", source="127.0.0.3", X_Forwarded_Proto=said)[0] == 301
    assert len(upstream.seen) == before


def test_hsts_is_sent_to_who_came_by_https_to_the_proxy(server):
    assert ask(server, "s.p", **SAID)[1]["strict-transport-security"] == "max-age=60"


def test_challenges_are_answered_in_the_clear(server):
    path = server.home / "acme/.well-known/acme-challenge/token"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a proof")
    got = ask(server, "c.p", "/.well-known/acme-challenge/token", X_Forwarded_Proto="http")
    assert got[::2] == (200, "a proof")
    assert ask(server, "s.p", "/.well-known/acme-challenge/token", source="127.0.0.1")[0] == 301


def test_lists_of_addresses_are_about_the_visitor(server):
    assert ask(server, "n.p", **SAID)[0] == 200
    assert ask(server, "n.p", X_Forwarded_For="198.51.100.1")[0] == 403
    assert ask(server, "n.p", source="127.0.0.3", **SAID)[0] == 403


def test_what_is_for_this_machine_is_not_for_who_claims_to_be_it(server):
    for name, path in (("i.pigsty", "/nginx"), (rendering.CONFIG_HASH_NAME, "/")):
        assert ask(server, name, path, source="127.0.0.1")[0] == 200
        assert ask(server, name, path, X_Forwarded_For=VISITOR)[0] == 403


def test_not_even_if_a_proxy_hands_the_claim_on(start):
    server = start(nginx_trusted_proxies=["127.0.0.2", "203.0.113.0/24"])
    claim = {"X_Forwarded_For": f"127.0.0.1, {VISITOR}"}
    assert ask(server, "n.p", **claim)[0] == 403
    before = log_lines(server)
    ask(server, "i.pigsty", User_Agent="infra-formula", source="127.0.0.1")
    ask(server, "i.pigsty", "/zh", source="127.0.0.1", X_Forwarded_For=VISITOR)
    deadline = time.monotonic() + 10
    while log_lines(server) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    # Only what was not a health check of this machine.
    assert [line.split()[6] for line in log_lines(server)[len(before) :]] == ["/zh"]


def log_lines(server):
    path = server.root / "log/access.log"
    return path.read_text().splitlines() if path.exists() else []


def test_a_proxy_on_this_machine_hides_no_visitor_from_the_log(start):
    server = start(nginx_trusted_proxies=["127.0.0.1"])
    ask(server, "i.pigsty", source="127.0.0.1", User_Agent="infra-formula", X_Forwarded_For=VISITOR)
    deadline = time.monotonic() + 10
    while not log_lines(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log_lines(server)[0].startswith(f"{VISITOR} ")


# -- the PROXY protocol


@pytest.fixture(scope="module")
def proxied(start):
    ports = {f"nginx_proxy_protocol_{name}": free_port() for name in ("port", "ssl_port")}
    server = start(**ports)
    server.proxy_port = ports["nginx_proxy_protocol_port"]
    server.proxy_tls_port = ports["nginx_proxy_protocol_ssl_port"]
    return server


def through(server, name, source=BALANCER, tls=False, headers=""):
    port = server.proxy_tls_port if tls else server.proxy_port
    channel = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
    channel.sendall(f"PROXY TCP4 {VISITOR} 127.0.0.1 4711 80\r\n".encode())
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        channel = context.wrap_socket(channel, server_hostname=name)
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n{headers}\r\n"
    channel.sendall(request.encode())
    with channel:
        return int(re.match(rb"HTTP/1.1 (\d+)", drain(channel))[1])


@pytest.mark.parametrize("tls", [False, True])
def test_the_proxy_protocol_says_the_visitor_s_address(proxied, upstream, tls):
    assert through(proxied, "a.p", tls=tls) == 200
    assert upstream.header("X-Real-IP") == VISITOR
    assert upstream.header("X-Forwarded-Proto") == ("https" if tls else "http")
    assert through(proxied, "n.p", tls=tls) == 200
    # Of who is not trusted, it is not believed.
    assert through(proxied, "a.p", source="127.0.0.3", tls=tls) == 200
    assert upstream.header("X-Real-IP") == "127.0.0.3"
    assert through(proxied, "n.p", source="127.0.0.3", tls=tls) == 403


def test_headers_behind_the_proxy_protocol_are_the_visitor_s_own(proxied, upstream):
    claims = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n"
    assert through(proxied, "s.p", headers=claims) == 301
    through(proxied, "a.p", headers=claims)
    assert upstream.header("X-Real-IP") == VISITOR
    assert upstream.header("X-Forwarded-Proto") == "http"


def test_the_ordinary_ports_go_on_for_this_machine_and_its_neighbours(proxied):
    assert proxied.get("a.p", tls=False)[0] == proxied.get("a.p")[0] == 200
    assert proxied.get(rendering.CONFIG_HASH_NAME, tls=False)[0] == 200


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"nginx_proxy_protocol_port": 81}, "nginx_proxy_protocol_port: expected nginx_trusted_pr"),
        (
            {"nginx_trusted_proxies": ["10.0.0.5"], "nginx_proxy_protocol_ssl_port": 443},
            "nginx_proxy_protocol_ssl_port: expected another port than nginx_ssl_port, got 443",
        ),
        ({"nginx_trusted_proxies": ["0.0.0.0/0"]}, "nginx_trusted_proxies: expected the addresses"),
    ],
)
def test_what_does_not_fit_is_named(changes, expected):
    found = entries.problems({}, settings(**changes))
    assert (not found) if expected is None else found[0].startswith(expected)


def test_without_proxies_nothing_of_it_is_there():
    files = rendering.files({}, settings(), facts(), LOADER)
    text = "".join(file.get("text", "") for file in files.values())
    assert not re.search(r"real_?ip|proxy_protocol|visitor_(?:scheme|https)|proxied_port", text)
    old = {k: v for k, v in settings().items() if "prox" not in k or k == "nginx_proxy_x"}
    assert trusted_proxies.trusted(old) == []
