"""Records, configuration and messages of the name server."""

import ipaddress
import socket
import struct
from pathlib import Path
from unittest.mock import create_autospec

import closing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths
from infra_formula.dns import client, dnsmasq, migration, records
from ports import free_port
from salt.exceptions import CommandExecutionError, SaltInvocationError

from _states import infra_dns

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
    lines = ["${admin_ip} i.pigsty  A.pigsty # home", "", "# only a comment"]
    assert records.parse(lines, ADMIN) == (
        [{"address": ADMIN, "names": ["i.pigsty", "a.pigsty"]}],
        [],
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("10.10.10.300 x", "expected an address first, got '10.10.10.300'"),
        ("x 10.10.10.10", "expected an address first, got 'x'"),
        ("10.10.10.10", "expected a name after 10.10.10.10"),
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
    found, errors = records.parse(["10.10.10.10 good", line], ADMIN)
    assert [r["names"] for r in found] == [["good"]]
    assert len(errors) == 1
    assert errors[0].startswith(f"dns_records[1]: {said}")


def test_contradictions_name_both_lines():
    lines = ["10.0.0.1 a", "10.0.0.2 b A", "fd00::1 a", "10.0.0.1 a"]
    assert records.parse(lines, ADMIN)[1] == [
        "dns_records[1]: 'a' is 10.0.0.2 here and 10.0.0.1 in dns_records[0]"
    ]


def test_what_is_no_list_is_refused():
    assert records.parse("10.0.0.1 a", ADMIN)[1][0].startswith("dns_records: expected a list")


@given(st.lists(st.tuples(st.ip_addresses(), st.lists(NAME, min_size=1, max_size=3)), max_size=8))
def test_what_is_accepted_comes_back_from_the_file(given_records):
    lines = [f"{a} {' '.join(names)}" for a, names in given_records]
    parsed, _ = records.parse(lines, ADMIN)
    expected = {(n, r["address"]) for r in parsed for n in r["names"]}
    assert records.pairs(records.render(parsed)) == expected


@given(st.lists(st.text(max_size=60) | st.integers() | st.none(), max_size=6))
def test_whatever_is_given_the_file_holds_only_addresses_and_names(lines):
    parsed, errors = records.parse(lines, ADMIN)
    for line in records.render(parsed).splitlines()[1:]:
        address, *names = line.split(" ")
        ipaddress.ip_address(address)
        assert names
        assert all(records.name_problem(name) is None for name in names)
    assert len(errors) + len(parsed) <= len(lines)


# -- configuration -------------------------------------------------------------------------------


def test_the_configuration_serves_the_folder_and_asks_upstream():
    settings = {
        **SETTINGS,
        "wildcards": {"*.apps.pigsty": "${admin_ip}"},
        "cnames": {"www.pigsty": "i.pigsty"},
        "options": ["log-queries"],
    }
    servers = [
        dnsmasq.parse_upstream("10.0.0.2"),
        dnsmasq.parse_upstream("/corp.example/10.0.0.53#5353"),
    ]
    lines = dnsmasq.config_text(TEMPLATE, settings, servers).splitlines()
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
    text = dnsmasq.config_text(
        TEMPLATE, SETTINGS, [dnsmasq.parse_upstream("/corp.example/10.0.0.53")]
    )
    assert "local=/#/" in text.splitlines()


@pytest.mark.parametrize("text", ["", "dns.example", "10.0.0.1:53", "10.0.0.1#0", "//10.0.0.1", 3])
def test_an_upstream_that_is_none(text):
    assert dnsmasq.parse_upstream(text) is None


def test_parameters_are_named_in_their_errors():
    found = dnsmasq.problems(
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
    foreign = create_autospec(dnsmasq.resolver.external_nameservers, return_value=["10.0.0.2"])
    monkeypatch.setattr(dnsmasq.resolver, "external_nameservers", foreign)
    own = {"address": "10.0.0.2", "port": 53, "domain": ""}
    assert dnsmasq.upstreams(None, ["10.10.10.10"]) == [own]
    foreign.assert_called_once_with(["10.10.10.10"])
    assert dnsmasq.upstreams(["10.0.0.9#54"], []) == [
        {"address": "10.0.0.9", "port": 54, "domain": ""}
    ]
    assert dnsmasq.upstreams([], []) == []
    # One domain's server leaves the others to those whom the machine asks anyhow.
    corporate = {"address": "10.0.0.53", "port": 53, "domain": "corp.example"}
    assert dnsmasq.upstreams(["/corp.example/10.0.0.53"], []) == [corporate, own]


# -- messages ------------------------------------------------------------------------------------


def answer_to(query, records=(), rcode=0, flags=0x8180):
    ident = struct.unpack("!H", query[:2])[0]
    body = b"".join(
        b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(data)) + data for kind, data in records
    )
    return struct.pack("!6H", ident, flags | rcode, 1, len(records), 0, 0) + query[12:] + body


@given(NAME, st.sampled_from(sorted(client.TYPES)), st.integers(0, 65535))
def test_a_question_is_read_back(name, kind, ident):
    found = client.decode_message(client.encode_query(name, kind, ident))
    assert (found["question"], found["ident"], found["response"]) == (name, ident, False)


@given(NAME, st.lists(st.ip_addresses(v=4), max_size=5), st.lists(st.ip_addresses(v=6), max_size=5))
def test_an_answer_is_read(name, four, six):
    query = client.encode_query(name, "A", 1)
    records = [(1, a.packed) for a in four] + [(28, a.packed) for a in six]
    found = client.decode_message(answer_to(query, records))
    values = [ipaddress.ip_address(a["value"]) for a in found["answers"]]
    assert values == [*four, *six]
    assert all(a["name"] == name and a["ttl"] == 60 for a in found["answers"])


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data):
    try:
        found = client.decode_message(data)
    except ValueError:
        return
    assert set(found) == {"ident", "response", "truncated", "rcode", "question", "answers"}


@given(NAME, st.data())
def test_a_cut_or_changed_answer_does_no_harm(name, data):
    whole = answer_to(client.encode_query(name, "A", 1), [(1, b"\x0a\0\0\1"), (5, b"\xc0\x0c")])
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if cut:
        cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = client.decode_message(bytes(cut))
    except ValueError:
        return
    assert all(set(a) == {"name", "type", "ttl", "value"} for a in found["answers"])


def test_a_name_that_points_at_itself_ends():
    with pytest.raises(ValueError, match="points at itself"):
        client.decode_message(struct.pack("!6H", 1, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")


@pytest.mark.parametrize("name", ["a" * 64, "a..b", ".".join(["a" * 60] * 5), "b\xfc"])
def test_a_name_that_no_query_can_carry(name):
    with pytest.raises(SaltInvocationError, match="name: expected"):
        client.encode_query(name, "A", 1)


def test_an_unknown_type():
    with pytest.raises(SaltInvocationError, match="type: expected one of"):
        client.encode_query("a", "ANY", 1)


# -- asking --------------------------------------------------------------------------------------


class Server:
    """A name server of one address, that first answers what it is told to."""

    def __init__(self, replies):
        self.replies = replies
        self.udp, self.tcp = self._sockets()
        self.port = self.udp.getsockname()[1]
        self.waiting = [closing.Waiting(self.udp, self._udp), closing.Waiting(self.tcp, self._tcp)]

    @staticmethod
    def _sockets():
        address = ("127.0.0.1", free_port())
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(address)
        return udp, socket.create_server(address)

    def _udp(self):
        while True:
            query, who = self.udp.recvfrom(4096)
            if who is None:  # it was shut down
                return
            for reply in self.replies(query, False):
                self.udp.sendto(reply, who)

    def _tcp(self):
        while True:
            conn, _ = self.tcp.accept()
            with conn:
                query = conn.recv(4096)[2:]
                for reply in self.replies(query, True):
                    conn.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        for waiting in self.waiting:
            waiting.end()


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

    assert client.query("i.pigsty", port=serve(replies))["values"] == ["10.10.10.10"]


def test_a_truncated_answer_is_asked_for_over_tcp(serve):
    def replies(query, tcp):
        flags = 0x8180 if tcp else 0x8380
        yield answer_to(query, [(1, b"\x0a\0\0\1")] if tcp else [], flags=flags)

    assert client.query("i.pigsty", port=serve(replies))["values"] == ["10.0.0.1"]


@pytest.mark.parametrize("tcp", [False, True])
def test_no_server_is_an_error_that_names_it(tcp):
    port = free_port()
    with pytest.raises(CommandExecutionError, match=f"i.pigsty at 127.0.0.1:{port}"):
        client.query("i.pigsty", port=port, tcp=tcp, timeout=0.5)


def test_an_answer_over_tcp_that_is_cut_off(serve):
    with pytest.raises(CommandExecutionError, match="closed in the middle"):
        client.query("i.pigsty", port=serve(lambda q, tcp: []), tcp=True, timeout=1)


def test_waiting_tells_what_is_answered_instead(serve):
    port = serve(lambda query, tcp: [answer_to(query, [(1, b"\x0a\0\0\1")])])
    client.wait_for([("a", "10.0.0.1")], [("a", "10.0.0.2")], port=port, seconds=1)
    with pytest.raises(CommandExecutionError, match=r"expected 10\.0\.0\.2"):
        client.wait_for([("a", "10.0.0.2")], [], port=port, seconds=0)
    with pytest.raises(CommandExecutionError, match=r"10\.0\.0\.1 to be gone"):
        client.wait_for([], [("a", "10.0.0.1")], port=port, seconds=0)


def test_records_are_listed_by_registrant(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", str(tmp_path))
    (tmp_path / "default").write_text("10.0.0.1 b a\n# note\nbroken\n", encoding="utf-8")
    (tmp_path / "node-1").write_text("10.0.0.2 node-1\n", encoding="utf-8")
    (tmp_path / ".hidden").write_text("10.0.0.3 x\n", encoding="utf-8")
    assert records.served() == {
        "default": {"10.0.0.1": ["a", "b"]},
        "node-1": {"10.0.0.2": ["node-1"]},
    }
    assert records.served("node-1") == {"node-1": {"10.0.0.2": ["node-1"]}}


# -- states --------------------------------------------------------------------------------------


@pytest.fixture
def states(monkeypatch, tmp_path):
    """The states of the name server, on a machine whose dnsmasq does not run."""
    functions = {"service.status": lambda unit: False}
    for dunder, value in {
        "salt": functions,
        "opts": {"test": False},
        "grains": {},
        "context": {},
    }.items():
        monkeypatch.setattr(infra_dns, f"__{dunder}__", value, raising=False)
    monkeypatch.setattr(records, "ROOT", str(tmp_path / "hosts.d"))
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    monkeypatch.setattr(dnsmasq, "_RELOAD_PENDING", tmp_path / "run/pending")
    return infra_dns


def test_records_of_earlier_releases_are_moved(states, tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "hosts.d"
    old.mkdir()
    new.mkdir()
    for name in ("default", "pg-meta-1", "taken"):
        (old / name).write_text(f"10.0.0.1 {name}\n", encoding="utf-8")
    (new / "taken").write_text("", encoding="utf-8")
    monkeypatch.setattr(migration, "DIRECTORIES", (str(old), str(tmp_path / "none")))
    states.__opts__["test"] = True
    assert states.migrated(str(new))["result"] is None
    assert not (new / "pg-meta-1").exists()
    states.__opts__["test"] = False
    ret = states.migrated(str(new))
    assert list(ret["changes"]) == [str(old / "pg-meta-1")]
    assert "taken" in ret["warnings"][0]
    assert (new / "pg-meta-1").read_text(encoding="utf-8") == "10.0.0.1 pg-meta-1\n"
    assert not (old / "pg-meta-1").exists()
    assert states.migrated(str(new))["changes"] == {}


def test_a_broken_record_changes_nothing(states):
    ret = states.records("x", ["10.0.0.300 a"], ADMIN, 53)
    assert ret["result"] is False
    assert ret["comment"].startswith("dns_records[0]: expected an address first")
    assert records.served() == {}


def test_the_records_of_the_parameters_replace_those_of_another_hand(states, tmp_path):
    (tmp_path / "hosts.d").mkdir()
    (tmp_path / "hosts.d/default").write_text("10.0.0.1 theirs\n", encoding="utf-8")
    states.__opts__["test"] = True
    ret = states.records("x", ["${admin_ip} i.pigsty"], ADMIN, 53)
    assert (ret["result"], ret["changes"]) == (None, {"change": ["default"]})
    assert records.served() == {"default": {"10.0.0.1": ["theirs"]}}
    states.__opts__["test"] = False
    assert states.records("x", ["${admin_ip} i.pigsty"], ADMIN, 53)["result"] is True
    assert records.served() == {"default": {ADMIN: ["i.pigsty"]}}
    assert states.records("x", ["${admin_ip} i.pigsty"], ADMIN, 53)["changes"] == {}


def test_an_unmanaged_file_of_a_registrant_s_name_stays_and_is_named(states, tmp_path):
    (tmp_path / "hosts.d").mkdir()
    (tmp_path / "hosts.d/node-1").write_text("10.0.0.1 theirs\n", encoding="utf-8")
    some = {
        "node-1": [{"address": "10.0.0.2", "names": ["node-1"]}],
        "node-2": [{"address": "10.0.0.3", "names": ["node-2"]}],
    }
    ret = states.registered("register-names", some, 53)
    assert (ret["result"], ret["changes"]) == (True, {"create": ["node-2"]})
    assert "hosts.d/node-1: an unmanaged file" in ret["warnings"][0]
    assert records.served("node-1") == {"node-1": {"10.0.0.1": ["theirs"]}}
    assert records.served("node-2") == {"node-2": {"10.0.0.3": ["node-2"]}}


@pytest.mark.parametrize(
    ("target", "more", "accepted"),
    [
        ("www.example.com", {}, False),
        ("elsewhere.org", {"register_domains": ["example.com"]}, False),
        ("www.example.com", {"dns_records": ["10.0.0.1 www.example.com"]}, True),
        ("one.apps.example.com", {"dns_wildcards": {"apps.example.com": "10.0.0.1"}}, True),
        ("node-1.example.com", {"register_domains": ["example.com"]}, True),
        ("node-1.example.com", {"nodes": {"node-1.example.com": {}}}, True),
        ("pg.example.com", {"infra_portal": {"home": {"domain": "pg.example.com"}}}, True),
        ("other.x", {"dns_cnames": {"other.x": "i.pigsty", "www.x": "other.x"}}, True),
        ("node-1", {}, True),  # a minion may register it
        ("node-1.pigsty", {}, True),
    ],
)
def test_an_alias_of_a_name_that_the_server_has_no_address_for_is_refused(target, more, accepted):
    """dnsmasq answers such an alias without an address."""
    found = dnsmasq.problems({"dns_cnames": {"www.x": target}, **more})
    assert (found == []) is accepted, found
    assert accepted or found[0].startswith("dns_cnames['www.x']: expected a name in dns_records")


def test_a_folder_that_is_yet_to_be_made_is_no_fault_of_the_configuration(monkeypatch, tmp_path):
    texts = []
    monkeypatch.setattr(dnsmasq.checks, "refusal", lambda argv, name, text: texts.append(text))
    dnsmasq.check_text(
        f"port=53\nconf-dir={tmp_path}/none,.rpmnew\nconf-dir={tmp_path},.rpmnew\n", {"options": []}
    )
    assert texts == [f"port=53\n\nconf-dir={tmp_path},.rpmnew\n"]
