"""The name and port that an upstream is told are those that the visitor used.

A browser sends them as `Origin` as well; Jupyter, Grafana and MinIO refuse a websocket where the
two differ.
"""

import pytest
from nginx_server import Server, Upstream


@pytest.fixture(scope="module")
def behind():
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def portal(tmp_path_factory, behind):
    there = f"127.0.0.1:{behind.port}"
    server = Server(
        tmp_path_factory.mktemp("host"),
        {
            "app": {"domain": "app.pigsty", "endpoint": there, "websocket": True},
            "any": {"domain": "*.apps.pigsty", "endpoint": there},
        },
        components={"vmetrics": {"port": behind.port}},
    )
    yield server
    server.close()


SENT = {  # Host that a visitor sends → Host that the upstream gets
    "app.pigsty": "app.pigsty",
    "app.pigsty:8443": "app.pigsty:8443",  # a forwarded port, or a port of one's own
    "app.pigsty:443": "app.pigsty:443",
    "APP.pigsty:8443": "app.pigsty:8443",
    "one.apps.pigsty:8080": "one.apps.pigsty:8080",
    "i.pigsty:8443": "i.pigsty:8443",
    "127.0.0.1:8443": "127.0.0.1:8443",
    # Who the home page is, is not for a visitor to say; the port does no harm.
    "evil.example:8443": "i.pigsty:8443",
    "app.pigsty:": "app.pigsty",
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("sent", "expected"), SENT.items())
def test_the_host_is_the_visitors(portal, behind, sent, expected, tls):
    assert portal.get(sent, "/" if "app" in expected else "/vmetrics/x", tls=tls)[0] == 200
    assert behind.header("Host") == expected
    assert behind.header("X-Forwarded-Host") == expected
    port = expected.partition(":")[2] or str(portal.tls_port if tls else portal.port)
    assert behind.header("X-Forwarded-Port") == port


def test_origin_and_host_of_a_websocket_agree(portal, behind):
    sent = "app.pigsty:8443"
    headers = {"Upgrade": "websocket", "Connection": "upgrade", "Origin": f"https://{sent}"}
    portal.get(sent, "/socket", **headers)
    assert behind.header("Origin") == f"https://{behind.header('Host')}"


@pytest.mark.parametrize("port", ["", "0x50", "8443 x", "8443:1", "123456", "8443\t", "-1"])
def test_what_is_no_port_is_not_handed_on(portal, behind, port):
    data = f"GET / HTTP/1.1\r\nHost: app.pigsty:{port}\r\nConnection: close\r\n\r\n"
    before = len(behind.seen)
    portal.raw(data.encode())
    for seen in behind.seen[before:]:
        lines = seen.decode().split("\r\n")
        assert "Host: app.pigsty" in lines or "Host: app.pigsty:8443" in lines


def test_a_request_without_a_host_gets_the_one_that_its_address_has(portal, behind):
    portal.raw(b"GET /vmetrics/x HTTP/1.0\r\n\r\n")
    assert behind.header("Host") == f"i.pigsty:{portal.port}"
