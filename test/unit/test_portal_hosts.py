"""An entry that leads to a tool of an INFRA node is as closed as the tool, by whatever spelling."""

import ipaddress
import socket
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.portal import entries, hosts, views
from portal_samples import ALL_COMPONENTS, settings

SITE = {
    "portal_auth": "basic",
    "components": ALL_COMPONENTS,
    "addresses": ["10.10.10.10", "10.10.10.11"],
    "own_addresses": ["127.0.0.1", "10.10.10.10", "10.20.0.10", "::1", "fd00::10"],
    "own_names": ["node-1.example.org", "node-1", "node-1.example.org"],
    "infra_names": ["infra-1", "10.10.10.11", "infra-2.example.org"],
    "dns_records": ["${admin_ip} vm.site metrics.site", "10.10.10.12 db.site # a database", "x"],
    "tool_ports": {"vmalert_logs": 8881, "node_exporter": 9100, "grafana": 3000},
}
ETC_HOSTS = {"loop": "127.0.1.1", "peer": "10.10.10.11", "db-2": "10.10.10.22", "six": "fd00::10"}


@pytest.fixture(autouse=True)
def etc_hosts(monkeypatch):
    """A resolver that knows a few names; every other name is unknown."""

    def find(name, _port, **_more):
        if name not in ETC_HOSTS:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (ETC_HOSTS[name], 0))]

    monkeypatch.setattr(
        socket, "getaddrinfo", create_autospec(socket.getaddrinfo, side_effect=find)
    )
    hosts._resolved.cache_clear()


def auth(entry, **more):
    shown = views.views({"x": {"domain": "x.p", **entry}, **more}, settings(**SITE))
    return shown["x"]["auth"]


TOOLS = [
    "localhost", "LOCALHOST", "LocalHost", "127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0",  # noqa: S104
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::ffff:10.10.10.10]", "10.10.10.10", "10.10.10.11",
    "10.20.0.10", "[fd00::10]", "[FD00:0::10]", "${admin_ip}", "0x7f000001", "0x7f.1",
    "node-1", "NODE-1", "node-1.example.org", "infra-1", "Infra-1", "infra-2.example.org",
    "vm.site", "VM.Site", "metrics.site", "loop", "peer", "six",
    "i.pigsty", "x.p", "X.P", "any.w.p",
    "a-name-that-nobody-knows",
]  # fmt: skip


@pytest.mark.parametrize("host", TOOLS)
@pytest.mark.parametrize("port", [8428, 8880, 8881, 9059, 9100, 10428])
def test_a_tool_is_closed_by_each_of_its_names(host, port):
    others = {"home": {"domain": "i.pigsty"}, "w": {"domain": "*.w.p", "path": "/www/w"}}
    endpoint = f"{host}:{port}"
    assert auth({"endpoint": endpoint}, **others) == "basic"
    assert auth({"endpoint": ["10.0.0.1:1", endpoint]}, **others) == "basic"
    assert auth({"endpoint": endpoint, "auth": False}, **others) == ""
    assert auth({"endpoint": f"{host}:1234"}, **others) == ""
    assert auth({"endpoint": f"{host}:3000"}, **others) == ""  # Grafana has a login of its own


@pytest.mark.parametrize(
    "endpoint", ["10.10.10.12:8428", "db.site:8428", "db-2:9100", "[fd00::11]:8428",
                 "[::ffff:10.10.10.12]:8428", "unix:/run/8428", "example.org:443"],
)  # fmt: skip
def test_a_program_of_another_machine_is_the_affair_of_its_entry(endpoint):
    assert auth({"endpoint": endpoint}) == ""


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ("location /x/ { proxy_pass http://127.0.0.1:8428/; }", "basic"),
        ("location /x/ { proxy_pass http://LOCALHOST:8428; }", "basic"),
        ("location /x/ { if ($a) { proxy_pass http://[::1]:8881/x; } }", "basic"),
        ("location /x/ { grpc_pass grpc://127.0.0.2:10428; }", "basic"),
        ("location /x/ { proxy_pass http://$server_addr:8428; }", "basic"),
        ("location /x/ { proxy_pass http://tool/; }", "basic"),
        ("location /x/ { proxy_pass http://10.10.10.12:8428/; }", ""),
        ("location /x/ { proxy_pass http://127.0.0.1/; }", ""),
        ("location /x/ { fastcgi_pass unix:/run/php.sock; }", ""),
        ("# proxy_pass http://127.0.0.1:8428/;", ""),
    ],
)
def test_raw_directives_lead_to_a_tool_as_an_endpoint_does(config, method):
    tool = {"domain": "t.p", "endpoint": "127.0.0.1:8428", "auth": False}
    assert auth({"path": "/www/x", "config": config}, tool=tool) == method
    assert auth({"path": "/www/x", "config": config, "auth": False}, tool=tool) == ""


def test_an_entry_that_would_be_closed_needs_users():
    given = settings(**{**SITE, "nginx_users": False})
    portal = {"x": {"domain": "x.p", "endpoint": "LOCALHOST:8428", "auth": True}}
    assert [e for e in entries.problems(portal, given) if e.startswith("infra_portal.x.auth")]


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        ("10.10.10.10:8428", "127.0.0.1:8428"),
        ("[::ffff:10.10.10.10]:8428", "127.0.0.1:8428"),
        ("10.20.0.10:8428", "127.0.0.1:8428"),
        ("node-1:8428", "127.0.0.1:8428"),
        ("vm.site:8428", "127.0.0.1:8428"),
        ("localhost:8428", "localhost:8428"),
        ("10.10.10.11:8428", "10.10.10.11:8428"),
        ("infra-1:8428", "infra-1:8428"),
        ("10.10.10.10:1", "10.10.10.10:1"),
    ],
)
def test_what_this_node_alone_reaches_is_asked_on_loopback(endpoint, asked):
    given = settings(**{**SITE, "closed_ports": [8428], "own_address": "10.10.10.10"})
    shown = views.views({"x": {"domain": "x.p", "endpoint": endpoint}}, given)
    assert shown["x"]["endpoints"] == [asked]


IPV4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)


@given(ip=IPV4 | st.integers(0, 2**24 - 1).map(lambda n: ipaddress.IPv4Address(127 << 24 | n)))
def test_an_address_is_the_same_in_each_of_its_forms(ip):
    number, (a, b, c, d) = int(ip), ip.packed
    mapped = ipaddress.IPv6Address(0xFFFF << 32 | number)
    forms = [
        str(ip), f"[::ffff:{ip}]", f"[{mapped}]", f"[{mapped.exploded}]",
        f"[{str(mapped).upper()}]", f"[64:ff9b::{ip}]", str(number), hex(number), f"0x{number:X}",
        f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}", f"0x{a:x}.{b}.{c}.0x{d:x}",
        f"0{a:o}.{b}.{c}.0{d:o}", f"{ip}.",
    ]  # fmt: skip
    assert {hosts.address(form) for form in forms} == {ip}


@given(st.text(max_size=20) | st.from_regex(r"[\[\]0-9a-fxX:.%]{0,20}", fullmatch=True))
def test_an_address_or_none_is_made_of_any_text(text):
    found = hosts.address(text)
    assert found is None or hosts.address(str(found)) == found
