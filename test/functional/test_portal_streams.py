"""Streams: TCP and UDP, TLS that ends here or goes on by name, by a real nginx with real bytes."""

import socket
import ssl
import threading
from pathlib import Path

import pem
import portal_samples
import pytest
from infra_formula.firewall import arguments as firewall_arguments
from infra_formula.monitoring import arguments as monitoring_arguments
from infra_formula.monitoring import scraping
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from infra_formula.portal import applied, entries, pages, rendering, streams
from infra_formula.portal import arguments as portal_arguments
from nginx_server import Server, free_port
from portal_samples import LOADER, facts, settings

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
END = b"<end>"
SHOP, BANK = pem.pair("shop.p"), pem.pair("bank.p")


class Echo:
    """Answers what it gets with its name before it, over TCP (with TLS, if it has a pair)."""

    def __init__(self, name, pair=None, folder=None):
        self.name = name.encode()
        self.context = None
        if pair is not None:
            path = folder / f"{name}.pem"
            path.write_text(pair.crt + pair.key)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(path)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                channel, _ = self.socket.accept()
                if self.context is not None:
                    channel = self.context.wrap_socket(channel, server_side=True)
                data = b""
                # All of it: who closes with something unread resets the connection.
                while not data.endswith(END) and (got := channel.recv(65536)):
                    data += got
                channel.sendall(self.name + b" " + data.removesuffix(END))
                channel.close()
            except OSError:
                if self.socket.fileno() < 0:
                    return


class UdpEcho:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, sender = self.socket.recvfrom(65536)
                self.socket.sendto(b"udp " + data, sender)
            except OSError:
                return


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    assert MODULE.exists(), "the stream module of nginx is not installed; tools/prepare does that"
    folder = tmp_path_factory.mktemp("nginx")
    echoes = [Echo("one"), Echo("shop", SHOP, folder), Echo("bank", BANK, folder), UdpEcho()]
    one, shop, bank, udp = (echo.endpoint for echo in echoes)
    ports = {name: free_port() for name in ("tcp", "tls", "sni", "proxy", "closed", "udp", "name")}
    given = {
        "tcp": {"listen": ports["tcp"], "endpoint": [one]},
        "tls": {"listen": ports["tls"], "endpoint": one, "ssl": True, "cert": "shop"},
        "shop": {"listen": ports["sni"], "endpoint": shop, "server_name": "shop.p"},
        "bank": {"listen": ports["sni"], "endpoint": bank, "server_name": ["bank.p", "*.bank.p"]},
        "proxy": {"listen": ports["proxy"], "endpoint": one, "proxy_protocol": True},
        "closed": {"listen": ports["closed"], "endpoint": one, "allow": "127.0.0.2"},
        "udp": {"listen": ports["udp"], "endpoint": udp, "protocol": "udp"},
        "name": {"listen": ports["name"], "endpoint": "no-such.invalid:1"},
    }
    modules = folder / "etc/modules-enabled"
    modules.mkdir(parents=True)
    (modules / "50-stream.conf").write_text(f"load_module {MODULE};\n")
    server = Server(folder, {}, certificates={"shop": SHOP.as_pillar()}, infra_streams=given)
    server.ports, server.streams = ports, given
    yield server
    server.close()
    for echo in echoes:
        echo.socket.close()


def talk(port, data=b"hello", source="127.0.0.1", server_name=None):
    """What a stream answers, and the certificate that it shows."""
    channel = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    shown = None
    if server_name is not None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        channel = context.wrap_socket(channel, server_hostname=server_name)
        shown = ssl.DER_cert_to_PEM_cert(channel.getpeercert(binary_form=True))
    with channel:
        channel.sendall(data + END)
        said = b""
        while got := channel.recv(65536):
            said += got
    return said, shown


def is_refused(port, **how):
    """Whether a connection ends without an answer."""
    try:
        return talk(port, **how)[0] == b""
    except OSError:
        return True


def test_tcp_goes_to_the_endpoint_byte_by_byte(site):
    data = bytes(range(256))
    assert talk(site.ports["tcp"], data)[0] == b"one " + data


def test_tls_ends_here_with_a_certificate_by_name(site):
    assert talk(site.ports["tls"], server_name="shop.p") == (b"one hello", SHOP.crt)


def test_the_name_of_a_connection_says_where_it_goes_and_tls_is_passed_on(site):
    port = site.ports["sni"]
    assert talk(port, server_name="shop.p") == (b"shop hello", SHOP.crt)
    for name in ("bank.p", "www.bank.p"):
        assert talk(port, server_name=name) == (b"bank hello", BANK.crt)
    assert is_refused(port, server_name="other.p")


def test_the_endpoint_is_told_the_visitor_by_the_proxy_protocol(site):
    said = talk(site.ports["proxy"], source="127.0.0.7")[0]
    assert said.startswith(b"one PROXY TCP4 127.0.0.7 127.0.0.1 ")


def test_who_is_not_allowed_gets_nothing(site):
    assert talk(site.ports["closed"], source="127.0.0.2")[0] == b"one hello"
    assert is_refused(site.ports["closed"])


def test_udp_goes_there_and_back(site):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(10)
        channel.sendto(b"hello", ("127.0.0.1", site.ports["udp"]))
        assert channel.recv(100) == b"udp hello"


def test_a_name_without_an_address_costs_nothing_but_its_own_stream(site):
    assert is_refused(site.ports["name"])
    assert talk(site.ports["tcp"])[0] == b"one hello"


def test_the_status_has_a_row_for_each_stream(site, tmp_path, monkeypatch):
    monkeypatch.setattr(applied, "record_path", lambda: tmp_path / "record.json")
    given = settings(infra_streams=site.streams, nginx_port=site.port, nginx_ssl_port=site.tls_port)
    applied.record({}, given)
    rows = applied.status(only=["tcp", "udp", "name"])
    assert rows["tcp"]["listen_status"] == rows["tcp"]["upstream_status"] == "ok"
    assert rows["name"]["upstream_status"] == "error"
    assert rows["udp"]["listen"] == f"{site.ports['udp']}/udp"
    assert rows["udp"]["listen_status"] is None


def test_the_home_page_shows_where_streams_are():
    given = settings(infra_streams={
        "pg": {"listen": 5432, "endpoint": "10.0.0.1:5432"},
        "shop": {"listen": 8444, "endpoint": "10.0.0.1:443", "server_name": "shop.p"},
        "dns": {"listen": 5353, "endpoint": "10.0.0.1:53", "protocol": "udp"},
    })  # fmt: skip
    sites = pages.portal_context({}, given, [], "1")["sites"]
    assert [s["names"] for s in sites if s["kind"] == "stream"] == [
        ["i.pigsty:5432"], ["shop.p:8444"], ["i.pigsty:5353 (UDP)"],
    ]  # fmt: skip


def test_without_streams_nothing_of_them_is_there():
    files = rendering.files({}, settings(), facts(), LOADER)
    assert streams.FILE not in files
    assert "streams" not in files["nginx.conf"]["text"]


PG = {"listen": 5432, "endpoint": "10.0.0.1:5432"}
SNI = {"listen": 8444, "endpoint": "10.0.0.1:443", "server_name": "a.p"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pg": PG, "sni": SNI, "other": {**SNI, "server_name": "b.p"}}, None),
        ({"pg": {**PG, "protocol": "udp"}, "tcp": PG}, None),
        ({"a b": PG}, "infra_streams['a b']: expected a name of letters"),
        ({"home": PG}, "infra_streams.home: expected another name than that of infra_portal.home"),
        ({"pg": PG, "more": PG}, "infra_streams.more.listen: expected another port than infra_st"),
        ({"pg": {**PG, "listen": 443}}, "listen: expected another port than nginx_ssl_port has"),
        ({"a": SNI, "b": SNI}, "infra_streams.b.server_name: 'a.p' is already infra_streams.a's"),
        ({"a": SNI, "b": {**PG, "listen": 8444}}, "infra_streams.b.listen: expected another port"),
        ({"a": SNI, "b": {**SNI, "server_name": "b.p", "allow": "10.0.0.1"}},
         "infra_streams.b.allow: expected what infra_streams.a has"),
        ({"a": {**SNI, "ssl": True}}, "ssl: expected nothing beside server_name"),
        ({"pg": {**PG, "endpoint": []}}, "endpoint: expected at least one"),
        ({"pg": {**PG, "endpoint": ["a.p:1", "10.0.0.1:1"]}}, "expected addresses where there are"),
        ({"u": {**PG, "protocol": "udp", "ssl": True}}, "ssl: expected protocol tcp beside it"),
        ({"pg": {**PG, "cert": "/c", "key": "/k"}}, "ssl: expected true beside cert"),
        ({"pg": {**PG, "ssl": True, "cert": "none"}}, "cert: expected an absolute path"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(given, expected):
    found = entries.problems({"home": {}}, settings(infra_streams=given))
    assert (not found) if expected is None else expected in " ".join(found), found


def test_a_stream_does_not_lead_past_portal_auth():
    given = {"vm": {"listen": 9999, "endpoint": "127.0.0.1:8428"}}
    more = {"components": portal_samples.ALL_COMPONENTS, "portal_auth": "basic"}
    (found,) = entries.problems({}, settings(infra_streams=given, **more))
    assert found.startswith("infra_streams.vm.endpoint: expected none of a program without a login")


@pytest.fixture
def here():
    grains = {"os_family": "Debian", "id": "infra-1", "ipv4": ["10.10.10.10"], "ipv6": []}
    given = {
        "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
        "infra_packaging": "distro",
        "infra_streams": {"pg": PG, "syslog": {**PG, "listen": 5514, "protocol": "udp"}},
    }
    return Site({**merging.defaults(grains), **given}, grains)


def test_the_firewall_lets_everybody_in_to_streams(here):
    rows = [row for row in firewall_arguments.access(here) if row["service"] == "nginx"]
    assert {"5432/tcp", "5514/udp"} <= {port for row in rows for port in row["ports"]}
    assert all(row["sources"] is None for row in rows)


def test_tcp_streams_are_probed_on_each_infra_node(here):
    targets = monitoring_arguments.infra_targets(here)
    probes = scraping.own_targets(**targets)["probe/infra.yml"]
    found = [p for p in probes if p["labels"].get("module") == "tcp_connect"]
    assert [p["targets"] for p in found] == [["10.10.10.10:5432"]]
    assert found[0]["labels"]["entry"] == "pg"


def test_the_module_is_installed_where_there_are_streams(here):
    assert "libnginx-mod-stream" in portal_arguments.packages(here)
    without = Site({**here.parameters, "infra_streams": {}}, here.grains)
    assert "libnginx-mod-stream" not in portal_arguments.packages(without)
