"""Streams: TCP and UDP, TLS that ends here or goes on by name, by a real nginx with real bytes."""

import contextlib
import socket
import ssl
import time
from pathlib import Path

import closing
import pem
import portal_samples
import pytest
from infra_formula import paths
from infra_formula.firewall import arguments as firewall_arguments
from infra_formula.monitoring import arguments as monitoring_arguments
from infra_formula.monitoring import scraping
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from infra_formula.portal import (
    applied,
    configuration,
    entries,
    faults,
    own_certificates,
    pages,
    rendering,
    streams,
)
from infra_formula.portal import arguments as portal_arguments
from name_server import NameServer
from nginx_server import Server
from portal_samples import LOADER, facts, settings
from ports import free_port

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
        self.close = closing.Waiting(self.socket, self._serve).end

    def _serve(self):
        while True:
            channel, _ = self.socket.accept()
            with contextlib.suppress(OSError):
                self._answer(channel)

    def _answer(self, channel):
        channel.settimeout(30)
        if self.context is not None:
            channel = self.context.wrap_socket(channel, server_side=True)
        data = b""
        # All of it: who closes with something unread resets the connection.
        while not data.endswith(END) and (got := channel.recv(65536)):
            data += got
        channel.sendall(self.name + b" " + data.removesuffix(END))
        channel.close()


class UdpEcho:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.close = closing.Waiting(self.socket, self._serve).end

    def _serve(self):
        while True:
            data, sender = self.socket.recvfrom(65536)
            if sender is None:  # it was shut down
                return
            self.socket.sendto(b"udp " + data, sender)


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
        "bank": {"listen": ports["sni"], "endpoint": bank,
                 "server_name": ["bank.p", "Bank.p", "*.bank.p"]},
        "proxy": {"listen": ports["proxy"], "endpoint": one, "proxy_protocol": True},
        "closed": {"listen": ports["closed"], "endpoint": one, "allow": "127.0.0.2"},
        "udp": {"listen": ports["udp"], "endpoint": udp, "protocol": "udp"},
        "name": {"listen": ports["name"], "endpoint": "no-such.invalid:1"},
        "name-by-sni": {"listen": ports["sni"], "endpoint": "no-such.invalid:1",
                        "server_name": "gone.p"},
    }  # fmt: skip
    modules = folder / "etc/modules-enabled"
    modules.mkdir(parents=True)
    (modules / "50-stream.conf").write_text(f"load_module {MODULE};\n")
    server = Server(folder, {}, certificates={"shop": SHOP.as_pillar()}, infra_streams=given)
    server.ports, server.streams = ports, given
    yield server
    server.close()
    for echo in echoes:
        echo.close()


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


def answered(port, **how):
    """What ``talk`` returns; nothing, where the connection ends without an answer."""
    try:
        return talk(port, **how)
    except OSError:
        return b"", None


def is_refused(port, **how):
    """Whether a connection ends without an answer."""
    return answered(port, **how)[0] == b""


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
    assert is_refused(site.ports["sni"], server_name="gone.p")
    assert talk(site.ports["tcp"])[0] == b"one hello"
    assert talk(site.ports["sni"], server_name="shop.p")[0] == b"shop hello"


def test_a_name_that_gets_an_address_is_reached_without_a_reload(tmp_path):
    """At the start nobody knows it; an address that moves is followed, over TCP and by SNI."""
    names = NameServer(tmp_path)
    one, other = Echo("one"), Echo("other")
    bank = Echo("bank", BANK, tmp_path)
    given = {
        "plain": {"listen": free_port(), "endpoint": f"db.corp.example:{port_of(one)}"},
        "sni": {"listen": free_port(), "endpoint": f"db.corp.example:{port_of(bank)}",
                "server_name": "bank.p"},
        "other": {"listen": free_port(), "endpoint": other.endpoint},
    }  # fmt: skip
    (tmp_path / "nginx/etc/modules-enabled").mkdir(parents=True)
    load = f"load_module {MODULE};\n"
    (tmp_path / "nginx/etc/modules-enabled/50-stream.conf").write_text(load)
    server = Server(tmp_path / "nginx", {}, names.service(), infra_streams=given)
    plain, sni = given["plain"]["listen"], given["sni"]["listen"]
    try:
        assert is_refused(plain)
        assert is_refused(sni, server_name="bank.p")
        assert talk(given["other"]["listen"])[0] == b"other hello"
        names.knows("db.corp.example")
        # Each worker asks for itself.
        assert eventually(lambda: answered(plain) == (b"one hello", None))
        found = (b"bank hello", BANK.crt)
        assert eventually(lambda: answered(sni, server_name="bank.p") == found)
    finally:
        server.close()
        names.close()
        for echo in (one, other, bank):
            echo.close()


def port_of(echo):
    return echo.endpoint.rpartition(":")[2]


def eventually(condition):
    """nginx remembers for five seconds that a name has no address."""
    deadline = time.monotonic() + 120
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def test_the_apply_names_the_stream_whose_name_has_no_address():
    given = {
        "good": PG,
        "typo": {**PG, "listen": 5433, "endpoint": "no-such-host.invalid:5432"},
    }
    assert configuration.name_warnings({}, settings(infra_streams=given)) == [
        "infra_streams.typo.endpoint: this machine finds no address for "
        "no-such-host.invalid:5432; connections are closed until it does"
    ]


# -- own certificates


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A stream with an own certificate that was applied, which is the test's to break."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    (tmp_path / "state/manifest").mkdir(parents=True)
    (tmp_path / "shop.crt").write_text(SHOP.crt)
    (tmp_path / "shop.key").write_text(SHOP.key)
    pair = {"cert": f"{tmp_path}/shop.crt", "key": f"{tmp_path}/shop.key"}
    given = settings(infra_streams={"tls": {**PG, "ssl": True, **pair}})
    applied.record({}, given)
    return given


@pytest.mark.parametrize("part", ["crt", "key"])
@pytest.mark.parametrize("way", ["gone", "empty", "another's", "a folder"])
def test_an_own_certificate_that_breaks_costs_its_own_stream_only(own, tmp_path, way, part):
    path = tmp_path / f"shop.{part}"
    path.unlink()
    if way == "a folder":
        path.mkdir()
    elif way != "gone":
        path.write_text("" if way == "empty" else getattr(BANK, part))
    assert rendering.problems({}, own) == []
    (warning,) = own_certificates.broken_warnings({}, own)
    assert warning.startswith("infra_streams.tls.")
    assert warning.endswith("; the portal's own certificate is served in its place")
    rendering._certificates_digest({}, own, [])
    files = rendering.files({}, own, facts(broken_stream_certificates=["tls"]), LOADER)
    assert str(tmp_path) not in files[streams.FILE]["text"]
    assert "ssl_certificate conf.d/cert/pigsty.crt;" in files[streams.FILE]["text"]
    (row,) = applied.status(only=["tls"], timeout=1).values()
    assert row["certificate"] in warning


def test_a_certificate_that_was_never_served_is_an_error(own, tmp_path):
    own["infra_streams"]["tls"]["cert"] = f"{tmp_path}/none.crt"
    (error,) = rendering.problems({}, own)
    assert error.startswith("infra_streams.tls.cert: expected a file, there is none")


def test_a_certificate_that_is_renewed_in_its_place_reloads_nginx(own, tmp_path):
    before = rendering._certificates_digest({}, own, [])
    (tmp_path / "shop.crt").write_text(BANK.crt)
    assert rendering._certificates_digest({}, own, []) != before


def test_what_only_nginx_finds_is_led_back_to_the_stream(tmp_path):
    (tmp_path / streams.FILE).write_text(
        "stream {\n    # infra_streams.a\n    server {\n        ssl_certificate /x/a.crt;\n"
        "        ssl_certificate_key /x/a.key;\n    }\n}\n"
    )
    for path, attribute in (("/x/a.crt", "cert"), ("/x/a.key", "key")):
        said = f'nginx: [emerg] cannot load certificate "{path}": BIO_new_file() failed'
        found = faults.explain(said, str(tmp_path), {"home": {}})
        assert found.startswith(f"infra_streams.a.{attribute}: nginx refuses it: cannot load")


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
        ({"pg": PG, "PG": {**PG, "listen": 5433}}, "infra_streams.PG: expected a name that diff"),
        ({"pg": {**PG, "endpoint": "127.0.0.1:5432"}},
         "infra_streams.pg.endpoint: expected one that does not lead back to this stream"),
        ({"a": {**PG, "endpoint": "localhost:5433"},
          "b": {**PG, "listen": 5433, "endpoint": ["10.0.0.1:1", "10.10.10.10:5432"]}},
         "infra_streams.b.endpoint: expected one that does not lead back to this stream"),
        ({"a": {**PG, "endpoint": "127.0.0.1:5433"}, "b": {**PG, "listen": 5433}}, None),
        ({"u": {**PG, "endpoint": "127.0.0.1:5432", "protocol": "udp"}, "pg": PG},
         "infra_streams.u.endpoint: expected one that does not lead back"),
        ({"u": {**PG, "endpoint": "127.0.0.1:5433", "protocol": "udp"},
          "pg": {**PG, "listen": 5433, "endpoint": "127.0.0.1:5432"}}, None),
        ({"a": {**SNI, "server_name": ["a.p", "A.p", "a.P"]}}, None),
        ({"pg": {**PG, "endpoint": "unix:/tmp/pg.sock"}}, "endpoint: expected a path outside /tmp"),
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
    assert portal_arguments.stream_module(here) == []
    upstream = Site({**here.parameters, "infra_packaging": "upstream"}, here.grains)
    assert "libnginx-mod-stream" not in portal_arguments.packages(upstream)
    assert portal_arguments.stream_module(upstream) == ["libnginx-mod-stream"]
    assert "libnginx-mod-stream" not in portal_arguments.packages(without)
