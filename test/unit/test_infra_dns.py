"""Records, configuration and messages of the name server."""

import ipaddress
import socket
import struct
import threading
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.dns import dnsmasq as dns
from salt.exceptions import CommandExecutionError, SaltInvocationError

ADMIN = "10.10.10.10"
TEMPLATE = (
    Path(__file__).resolve().parents[2] / "infra" / "dns" / "files" / "dnsmasq.conf.j2"
).read_text(encoding="utf-8")
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
SETTINGS = {
    "port": 53,
    "admin_ip": ADMIN,
    "listen": ["127.0.0.1", ADMIN],
    "wildcards": {},
    "cnames": {},
    "options": [],
}


# -- records -------------------------------------------------------------------------------------


def test_the_admin_address_and_comments_are_understood():
    found = dns.parse(["${admin_ip} i.pigsty  A.pigsty # home", "", "# only a comment"], ADMIN)
    assert found == {
        "records": [{"address": ADMIN, "names": ["i.pigsty", "a.pigsty"], "line": 0}],
        "problems": [],
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("10.10.10.300 x", "expected an address first, got '10.10.10.300'"),
        ("x 10.10.10.10", "expected an address first, got 'x'"),
        ("10.10.10.10", "expected a name behind 10.10.10.10"),
        ("10.10.10.10 *.apps", "'*.apps' is a wildcard; put it into dns_wildcards"),
        ("10.10.10.10 -x", "expected a name of letters"),
        ("10.10.10.10 a..b", "expected a name of letters"),
        ("10.10.10.10 1.2.3.4", "expected a name, got the address or number '1.2.3.4'"),
        ("10.10.10.10 bücher.de", "expected a name in ASCII"),
        ("0.0.0.0 x", "expected an address first"),
        ("224.0.0.1 x", "expected an address first"),
        ("fe80::1%eth0 x", "expected an address first"),
        ("10.10.10.10 a\n10.10.10.11 b", "expected one line"),
        (f"10.10.10.10 {'a' * 64}", "expected a name of letters"),
        (7, "expected a line like"),
    ],
)
def test_a_broken_line_is_named_by_its_number(line, said):
    found = dns.parse(["10.10.10.10 good", line], ADMIN)
    assert [r["names"] for r in found["records"]] == [["good"]]
    assert len(found["problems"]) == 1
    assert found["problems"][0].startswith(f"dns_records[1]: {said}")


def test_contradictions_name_both_lines():
    lines = ["10.0.0.1 a", "10.0.0.2 b A", "fd00::1 a", "10.0.0.1 a"]
    assert dns.problems(lines, ADMIN) == [
        "dns_records[1]: 'a' is 10.0.0.2 here and 10.0.0.1 in dns_records[0]"
    ]


def test_what_is_no_list_is_refused():
    assert dns.problems("10.0.0.1 a", ADMIN)[0].startswith("dns_records: expected a list")


@given(st.lists(st.tuples(st.ip_addresses(), st.lists(NAME, min_size=1, max_size=3)), max_size=8))
def test_what_is_accepted_comes_back_from_the_file(given_records):
    lines = [f"{a} {' '.join(names)}" for a, names in given_records]
    parsed = dns.parse(lines, ADMIN)
    text = dns.hosts_text(parsed["records"])
    expected = {(n, r["address"]) for r in parsed["records"] for n in r["names"]}
    assert dns.pairs(text) == expected


@given(st.lists(st.text(max_size=60) | st.integers() | st.none(), max_size=6))
def test_whatever_is_given_the_file_holds_only_addresses_and_names(lines):
    parsed = dns.parse(lines, ADMIN)
    for line in dns.hosts_text(parsed["records"]).splitlines()[1:]:
        address, *names = line.split(" ")
        ipaddress.ip_address(address)
        assert names
        assert all(dns.name_fault(name) is None for name in names)
    assert len(parsed["problems"]) + len(parsed["records"]) <= len(lines)


# -- configuration -------------------------------------------------------------------------------


def test_the_configuration_serves_the_folder_and_asks_upstream():
    settings = {
        **SETTINGS,
        "wildcards": {"*.apps.pigsty": "${admin_ip}"},
        "cnames": {"www.pigsty": "i.pigsty"},
        "options": ["log-queries"],
    }
    servers = [dns.upstream("10.0.0.2"), dns.upstream("/corp.example/10.0.0.53#5353")]
    lines = dns.config_text(TEMPLATE, settings, servers).splitlines()
    for line in (
        "listen-address=127.0.0.1",
        "listen-address=10.10.10.10",
        "bind-dynamic",
        "no-hosts",
        "no-resolv",
        "addn-hosts=/etc/hosts.d",
        "address=/apps.pigsty/10.10.10.10",
        "cname=www.pigsty,i.pigsty",
        "server=10.0.0.2",
        "server=/corp.example/10.0.0.53#5353",
        "bogus-priv",
        "log-queries",
    ):
        assert line in lines
    assert "local=/#/" not in lines


def test_with_nobody_to_ask_unknown_names_do_not_exist():
    text = dns.config_text(TEMPLATE, SETTINGS, [dns.upstream("/corp.example/10.0.0.53")])
    assert "local=/#/" in text.splitlines()


@pytest.mark.parametrize("text", ["", "dns.example", "10.0.0.1:53", "10.0.0.1#0", "//10.0.0.1", 3])
def test_an_upstream_that_is_none(text):
    assert dns.upstream(text) is None


def test_parameters_are_named_in_their_errors():
    found = dns.setting_problems(
        {
            "dns_records": ["x"],
            "dns_wildcards": {"apps": "nowhere", "a b": "10.0.0.1"},
            "dns_cnames": {"a": "a"},
            "dns_upstream": ["10.0.0.1", "dns"],
            "dns_listen": ["lo"],
        }
    )
    assert [e.split(":")[0] for e in found] == [
        "dns_records[0]",
        "dns_wildcards['apps']",
        "dns_wildcards['a b']",
        "dns_cnames['a']",
        "dns_upstream[1]",
        "dns_listen[0]",
    ]


def test_our_own_servers_are_never_asked(monkeypatch):
    foreign = create_autospec(dns.resolver.foreign, return_value=["10.0.0.2"])
    monkeypatch.setattr(dns.resolver, "foreign", foreign)
    own = {"address": "10.0.0.2", "port": 53, "domain": ""}
    assert dns.servers(None, ["10.10.10.10"]) == [own]
    foreign.assert_called_once_with(["10.10.10.10"])
    assert dns.servers(["10.0.0.9#54"], []) == [{"address": "10.0.0.9", "port": 54, "domain": ""}]
    assert dns.servers([], []) == []
    # One domain's server leaves the others to those whom the machine asks anyhow.
    corporate = {"address": "10.0.0.53", "port": 53, "domain": "corp.example"}
    assert dns.servers(["/corp.example/10.0.0.53"], []) == [corporate, own]


# -- messages ------------------------------------------------------------------------------------


def answer_to(query, records=(), rcode=0, flags=0x8180):
    ident = struct.unpack("!H", query[:2])[0]
    body = b"".join(
        b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(data)) + data for kind, data in records
    )
    return struct.pack("!6H", ident, flags | rcode, 1, len(records), 0, 0) + query[12:] + body


@given(NAME, st.sampled_from(sorted(dns.TYPES)), st.integers(0, 65535))
def test_a_question_is_read_back(name, kind, ident):
    found = dns.decode_message(dns.encode_query(name, kind, ident))
    assert (found["question"], found["ident"], found["response"]) == (name, ident, False)


@given(NAME, st.lists(st.ip_addresses(v=4), max_size=5), st.lists(st.ip_addresses(v=6), max_size=5))
def test_an_answer_is_read(name, four, six):
    query = dns.encode_query(name, "A", 1)
    records = [(1, a.packed) for a in four] + [(28, a.packed) for a in six]
    found = dns.decode_message(answer_to(query, records))
    values = [ipaddress.ip_address(a["value"]) for a in found["answers"]]
    assert values == [*four, *six]
    assert all(a["name"] == name and a["ttl"] == 60 for a in found["answers"])


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data):
    try:
        found = dns.decode_message(data)
    except ValueError:
        return
    assert set(found) == {"ident", "response", "truncated", "rcode", "question", "answers"}


@given(NAME, st.data())
def test_a_cut_or_changed_answer_does_no_harm(name, data):
    whole = answer_to(dns.encode_query(name, "A", 1), [(1, b"\x0a\0\0\1"), (5, b"\xc0\x0c")])
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if cut:
        cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = dns.decode_message(bytes(cut))
    except ValueError:
        return
    assert all(set(a) == {"name", "type", "ttl", "value"} for a in found["answers"])


def test_a_name_that_points_at_itself_ends():
    with pytest.raises(ValueError, match="points at itself"):
        dns.decode_message(struct.pack("!6H", 1, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")


@pytest.mark.parametrize("name", ["a" * 64, "a..b", ".".join(["a" * 60] * 5), "b\xfc"])
def test_a_name_that_no_query_can_carry(name):
    with pytest.raises(SaltInvocationError, match="name: expected"):
        dns.encode_query(name, "A", 1)


def test_an_unknown_type():
    with pytest.raises(SaltInvocationError, match="type: expected one of"):
        dns.encode_query("a", "ANY", 1)


# -- asking --------------------------------------------------------------------------------------


class Server:
    """A name server of one address, that first answers what it is told to."""

    def __init__(self, replies):
        self.replies = replies
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        self.tcp = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._udp, daemon=True).start()
        threading.Thread(target=self._tcp, daemon=True).start()

    def _udp(self):
        while True:
            try:
                query, who = self.udp.recvfrom(4096)
                for reply in self.replies(query, False):
                    self.udp.sendto(reply, who)
            except OSError:
                return

    def _tcp(self):
        while True:
            try:
                conn, _ = self.tcp.accept()
            except OSError:
                return
            with conn:
                query = conn.recv(4096)[2:]
                for reply in self.replies(query, True):
                    conn.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def serve():
    servers = []

    def start(replies):
        servers.append(Server(replies))
        return servers[-1].port

    yield start
    for server in servers:
        server.close()


def test_strangers_answers_are_passed_over(serve):
    def replies(query, tcp):
        stranger = bytes([query[0] ^ 255]) + query[1:]
        yield b"junk"
        yield answer_to(stranger, [(1, b"\x01\x01\x01\x01")])
        yield answer_to(query, [(1, b"\x0a\x0a\x0a\x0a")])

    assert dns.query("i.pigsty", port=serve(replies))["values"] == ["10.10.10.10"]


def test_a_truncated_answer_is_asked_for_over_tcp(serve):
    def replies(query, tcp):
        flags = 0x8180 if tcp else 0x8380
        yield answer_to(query, [(1, b"\x0a\0\0\1")] if tcp else [], flags=flags)

    assert dns.query("i.pigsty", port=serve(replies))["values"] == ["10.0.0.1"]


@pytest.mark.parametrize("tcp", [False, True])
def test_no_server_is_an_error_that_names_it(tcp):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(CommandExecutionError, match=f"i.pigsty at 127.0.0.1:{port}"):
        dns.query("i.pigsty", port=port, tcp=tcp, timeout=0.5)


def test_an_answer_over_tcp_that_is_cut_off(serve):
    with pytest.raises(CommandExecutionError, match="closed in the middle"):
        dns.query("i.pigsty", port=serve(lambda q, tcp: []), tcp=True, timeout=1)


def test_waiting_tells_what_is_answered_instead(serve):
    port = serve(lambda query, tcp: [answer_to(query, [(1, b"\x0a\0\0\1")])])
    dns.wait_for([("a", "10.0.0.1")], [("a", "10.0.0.2")], port=port, seconds=1)
    with pytest.raises(CommandExecutionError, match=r"expected 10\.0\.0\.2"):
        dns.wait_for([("a", "10.0.0.2")], [], port=port, seconds=0)
    with pytest.raises(CommandExecutionError, match=r"10\.0\.0\.1 to be gone"):
        dns.wait_for([], [("a", "10.0.0.1")], port=port, seconds=0)


def test_records_are_listed_by_registrant(tmp_path, monkeypatch):
    monkeypatch.setattr(dns, "ROOT", str(tmp_path))
    (tmp_path / "default").write_text("10.0.0.1 b a\n# note\nbroken\n", encoding="utf-8")
    (tmp_path / "node-1").write_text("10.0.0.2 node-1\n", encoding="utf-8")
    (tmp_path / ".hidden").write_text("10.0.0.3 x\n", encoding="utf-8")
    assert dns.records() == {
        "default": {"10.0.0.1": ["a", "b"]},
        "node-1": {"10.0.0.2": ["node-1"]},
    }
    assert dns.records("node-1") == {"node-1": {"10.0.0.2": ["node-1"]}}
