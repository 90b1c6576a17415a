"""Records and configuration against a real dnsmasq, on a port and in folders of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from unittest.mock import create_autospec

import hostile_facts
import pytest
from infra_formula import paths
from infra_formula.dns import client, dnsmasq, known_names, records
from infra_formula.minion import Minion
from infra_formula.registration import generated, inventory
from ports import free_port
from salt.exceptions import CommandExecutionError

REPO = Path(__file__).resolve().parents[2]
TEMPLATE = (REPO / "infra" / "dns" / "files" / "dnsmasq.conf.j2").read_text(encoding="utf-8")


SYSTEMCTL = dnsmasq.systemd.systemctl


class Server:
    """dnsmasq as our template configures it."""

    def __init__(self, folder, monkeypatch, **settings):
        self.folder, self.port = folder, free_port()
        self.hosts = folder / "hosts.d"
        self.hosts.mkdir()
        monkeypatch.setattr(records, "ROOT", str(self.hosts))
        self.pending = folder / "pending"
        monkeypatch.setattr(dnsmasq, "_RELOAD_PENDING", self.pending)
        monkeypatch.setattr(paths, "STATE_DIR", folder / "state")
        monkeypatch.setattr(paths, "LOCK_DIR", folder / "lock")
        self.minion = Minion({"service.status": self.is_running})
        systemctl = create_autospec(SYSTEMCTL, side_effect=self.systemctl)
        monkeypatch.setattr(dnsmasq.systemd, "systemctl", systemctl)
        whole = {
            "port": self.port,
            "admin_ip": "10.10.10.10",
            "listen": ["127.0.0.1"],
            "wildcards": {},
            "cnames": {},
            "options": [],
            **settings,
        }
        servers = [dnsmasq.parse_upstream(text) for text in whole.pop("servers", [])]
        text = dnsmasq.config_text(TEMPLATE, whole, servers)
        # What only the real place allows: its account, its pid file, the machine's own drop-ins.
        text = text.replace("user=dnsmasq\ngroup=dnsmasq\n", "user=root\n")
        text = text.replace("/run/dnsmasq.pid", str(folder / "pid"))
        text = text.replace("conf-dir=/etc/dnsmasq.d", f"conf-dir={folder}/conf.d")
        (folder / "conf.d").mkdir()
        self.config = folder / "dnsmasq.conf"
        self.config.write_text(text, encoding="utf-8")
        self.program = shutil.which("dnsmasq") or pytest.fail("dnsmasq is not installed")
        self.process = None
        self.reloads = 0

    def is_running(self, unit):
        assert unit == "dnsmasq"
        return self.process is not None

    def systemctl(self, *words):
        assert words == ("kill", "--kill-who=main", "--signal=SIGHUP", "dnsmasq")
        self.reloads += 1
        os.kill(self.process.pid, signal.SIGHUP)

    def test(self):
        command = [self.program, "--test", "-C", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def start(self):
        command = [self.program, "--keep-in-foreground", "-C", str(self.config)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.ask("127.0.0.1", "PTR")  # nobody upstream is asked for this one
            except CommandExecutionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def publish(self, lines):
        """Publish the lines of each registrant; returns what changed."""
        registered = {who: records.parse(some, "10.10.10.10")[0] for who, some in lines.items()}
        plan = dnsmasq.plan_registered_records(self.minion, "dns", registered, self.port)
        if plan.changes:
            plan.apply()
        return plan.changes

    def ask(self, name, kind="A", **options):
        return client.query(name, kind, port=self.port, **options)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path, monkeypatch):
    made = []

    def make(**settings):
        made.append(Server(tmp_path, monkeypatch, **settings))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_records_come_change_and_go_while_it_runs(server):
    one = server()
    one.start()
    pid = one.process.pid
    one.publish({"default": ["10.0.0.1 a.x b.x"], "node-1": ["10.0.0.2 node-1"]})
    assert one.ask("A.X")["values"] == ["10.0.0.1"]
    assert one.ask("node-1", tcp=True)["values"] == ["10.0.0.2"]
    one.publish({"default": ["10.0.0.9 a.x"], "node-1": ["10.0.0.2 node-1"]})
    assert one.ask("a.x")["values"] == ["10.0.0.9"]
    assert one.ask("b.x")["rcode"] == "NXDOMAIN"
    one.publish({"default": ["10.0.0.9 a.x"]})
    assert one.ask("node-1")["rcode"] == "NXDOMAIN"
    assert one.ask("10.0.0.9", "PTR")["values"] == ["a.x"]
    assert (one.process.pid, one.process.poll()) == (pid, None)
    assert one.reloads == 3
    assert one.publish({"default": ["10.0.0.9 a.x"]}) == {}
    assert one.reloads == 3


def test_a_name_of_two_registrants_stays_while_one_of_them_gives_it(server):
    one = server()
    one.start()
    one.publish({"node-1": ["10.0.0.5 vip"], "node-2": ["10.0.0.5 vip"]})
    one.publish({"node-2": ["10.0.0.5 vip"]})
    assert one.ask("vip")["values"] == ["10.0.0.5"]


def test_a_server_that_does_not_take_it_up_gets_the_old_records_back(server, monkeypatch):
    one = server()
    one.start()
    one.publish({"default": ["10.0.0.1 a.x"]})
    monkeypatch.setattr(dnsmasq.systemd, "systemctl", create_autospec(SYSTEMCTL))
    real = client.wait_for
    monkeypatch.setattr(client, "wait_for", lambda *a, **k: real(*a, **{**k, "seconds": 0.2}))
    with pytest.raises(CommandExecutionError, match=r"expected 10\.0\.0\.2"):
        one.publish({"default": ["10.0.0.2 a.x"]})
    assert records.served("default") == {"default": {"10.0.0.1": ["a.x"]}}
    assert one.ask("a.x")["values"] == ["10.0.0.1"]
    assert one.pending.exists()


def test_records_wait_for_a_server_that_is_not_started_yet(server):
    one = server()
    one.publish({"default": ["10.0.0.1 a.x"]})
    assert one.reloads == 0
    one.start()
    assert one.ask("a.x")["values"] == ["10.0.0.1"]


def test_what_others_put_there_is_served_and_left_alone(server):
    one = server()
    (one.hosts / "pg-meta-1").write_text("10.0.0.7 pg-meta-1\n", encoding="utf-8")
    one.start()
    one.publish({"default": ["10.0.0.1 a.x"]})
    one.publish({})
    assert one.ask("pg-meta-1")["values"] == ["10.0.0.7"]
    assert [p.name for p in one.hosts.iterdir()] == ["pg-meta-1"]


def test_wildcards_and_aliases(server):
    one = server(wildcards={"apps.x": "${admin_ip}"}, cnames={"www.x": "a.x"})
    one.start()
    one.publish({"default": ["10.0.0.1 a.x"]})
    assert one.ask("any.thing.apps.x")["values"] == ["10.10.10.10"]
    answer = one.ask("www.x")
    assert answer["values"] == ["10.0.0.1"]
    assert {"CNAME", "A"} == {a["type"] for a in answer["answers"]}


def test_an_isolated_server_says_that_a_known_name_has_no_other_address(server):
    one = server()
    one.start()
    one.publish({"default": ["10.0.0.1 a.x"]})
    other = one.ask("a.x", "AAAA")
    assert (other["rcode"], other["values"]) == ("NOERROR", [])
    assert one.ask("elsewhere.example")["rcode"] == "NXDOMAIN"


def test_other_names_are_asked_upstream(server, tmp_path, monkeypatch):
    (tmp_path / "up").mkdir()
    up = Server(tmp_path / "up", monkeypatch)
    up.start()
    up.publish({"default": ["10.9.9.9 outside.example"]})
    (tmp_path / "one").mkdir()
    one = Server(tmp_path / "one", monkeypatch, servers=[f"127.0.0.1#{up.port}"])
    one.start()
    try:
        assert one.ask("outside.example")["values"] == ["10.9.9.9"]
    finally:
        one.stop()
        up.stop()


def test_it_accepts_the_whole_configuration(server):
    one = server(
        wildcards={"apps.x": "10.0.0.1"},
        cnames={"www.x": "a.x"},
        servers=["10.0.0.2", "/corp.example/10.0.0.3#5353", "fd00::1"],
        options=["cache-size=10000"],
        listen=["127.0.0.1", "10.10.10.10"],
    )
    assert one.test().returncode == 0, one.test().stderr


def test_dnsmasq_refuses_a_line_that_it_does_not_know(server):
    one = server(options=["no-such-option"])
    assert one.test().returncode != 0


def test_no_query_is_lost_while_a_thousand_records_change(server):
    one = server()
    one.start()
    lines = [f"10.1.{i >> 8}.{i & 255} n{i}.x" for i in range(1000)]
    one.publish({"default": lines})
    lost, asked = 0, 0
    for change in range(5):
        lines[change] = f"10.2.0.{change + 1} n{change}.x"
        one.publish({"default": lines})
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            asked += 1
            lost += one.ask(f"n{asked % 1000}.x")["values"] == []
        assert one.ask(f"n{change}.x")["values"] == [f"10.2.0.{change + 1}"]
    assert asked > 0
    assert lost == 0


def test_names_that_are_accepted_of_hostile_minions_are_served(tmp_path, monkeypatch):
    """A name that dnsmasq, or the query that verifies it, refuses would fail the apply of all."""
    mine = {}
    for number, (_attack, facts) in enumerate(hostile_facts.records()):
        ident = f"evil-{number}"
        if isinstance(facts, dict) and isinstance(facts.get("dns"), list):
            facts = {**facts, "ins": ident, "ip": f"10.20.{number >> 8}.{number & 255}"}
            for record in facts["dns"]:
                if isinstance(record, dict) and isinstance(record.get("names"), list):
                    # Beside the name that is the attack, one of the minion's own.
                    record["names"] = [*record["names"], f"{ident}.pigsty"]
        mine[ident] = facts
    settings = {
        "nodes": [], "reserved": {}, "portal_names": ["i.pigsty"], "jobs": [], "others": {},
        "dns_records": [], "admin_ip": "10.10.10.10", "domains": None, "networks": ["10.0.0.0/8"],
        "assigned": {}, "cluster": "nodes", "components": [], "own_id": "", "own_addresses": [],
    }  # fmt: skip
    registered = generated.records(inventory.accept(mine, settings)["nodes"])
    assert len(registered) > 50
    server = Server(tmp_path, monkeypatch)
    server.start()
    try:
        plan = dnsmasq.plan_registered_records(server.minion, "names", registered, server.port)
        plan.apply()
    finally:
        server.stop()


class Silent:
    """A name server upstream that takes queries and never answers; it knows what it was asked."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address = f"127.0.0.1#{self.socket.getsockname()[1]}"

    def asked(self):
        names = set()
        while True:
            try:
                names.add(client.decode_message(self.socket.recv(4096))["question"])
            except BlockingIOError:
                # By such a name dnsmasq finds out whether it forwards to itself.
                return {name for name in names if not re.fullmatch(r"[0-9a-f]{8}\.test", name)}


@pytest.fixture
def silent():
    upstream = Silent()
    yield upstream
    upstream.socket.close()


TYPES = ("A", "AAAA", "MX", "TXT", "NS", "SOA", "CNAME")


@pytest.mark.parametrize("kind", TYPES)
def test_a_known_name_is_answered_here_whatever_the_type(server, silent, kind):
    """With an upstream that is silent, an unanswered AAAA costs 15 s of each connection."""
    one = server(
        servers=[silent.address], wildcards={"apps.x": "10.0.0.9"}, cnames={"www.x": "nas.x"}
    )
    one.publish({"default": ["10.0.0.1 nas.x i.x", "fd00::1 six.x"], "node-1": ["10.0.0.2 NODE-1"]})
    one.start()
    for name in ("nas.x", "i.x", "six.x", "node-1", "any.apps.x", "apps.x", "www.x"):
        assert one.ask(name, kind)["rcode"] == "NOERROR", name
        assert one.ask(name, kind, tcp=True)["rcode"] == "NOERROR", name
    assert silent.asked() == set()


def test_what_is_not_known_here_is_still_asked_upstream(server, silent):
    """A name below a known one is another name; so is a removed one."""
    one = server(servers=[silent.address])
    one.publish({"default": ["10.0.0.1 example.com gone.example"]})
    one.start()
    # That it is gone is verified, though nobody upstream says so.
    one.publish({"default": ["10.0.0.1 example.com"]})
    names = {"www.example.com", "gone.example", "elsewhere.example"}
    for name in names:
        with pytest.raises(CommandExecutionError, match="no answer in time"):
            one.ask(name, timeout=0.3)
    assert silent.asked() == names


def test_names_of_a_domain_with_a_server_of_its_own_go_on_going_there(
    server, silent, tmp_path, monkeypatch
):
    config = tmp_path / "config"
    config.write_text(f"server=127.0.0.1#1\nserver=/corp.example/{silent.address}\n")
    monkeypatch.setattr(known_names, "CONFIG", config)
    monkeypatch.setattr(known_names, "CONFIG_DIRECTORY", tmp_path / "none")
    one = server(servers=["127.0.0.1#1", f"/corp.example/{silent.address}"])
    one.publish({"default": ["10.0.0.1 app.corp.example"]})
    one.start()
    assert one.ask("app.corp.example", "AAAA")["rcode"] == "NOERROR"
    with pytest.raises(CommandExecutionError):
        one.ask("below.app.corp.example", timeout=0.3)
    assert silent.asked() == {"below.app.corp.example"}


def test_a_name_in_a_domain_that_has_one_address_needs_no_line(
    server, silent, tmp_path, monkeypatch
):
    config = tmp_path / "config"
    config.write_text("address=/apps.x/10.0.0.9\nlocal=/lan.x/\n")
    monkeypatch.setattr(known_names, "CONFIG", config)
    one = server(servers=[silent.address], wildcards={"apps.x": "10.0.0.9"})
    one.publish({"default": ["10.0.0.1 one.apps.x", "10.0.0.2 host.lan.x"]})
    one.start()
    assert one.ask("one.apps.x")["values"] == ["10.0.0.1"]
    assert one.ask("below.one.apps.x")["values"] == ["10.0.0.9"]
    assert one.ask("one.apps.x", "AAAA")["rcode"] == "NOERROR"
    assert one.ask("below.host.lan.x")["rcode"] == "NXDOMAIN"
    assert silent.asked() == set()


def test_a_dnsmasq_that_cannot_except_names_below_gets_private_names_only():
    names = {"nas.pigsty", "nas", "www.example.com"}
    text = known_names.render(names, {}, (2, 79))
    assert text.splitlines()[1:] == ["server=/nas/", "server=/nas.pigsty/"]
    assert "server=/*.www.example.com/#" in known_names.render(names, {}, (2, 86))


def test_an_apply_of_records_that_did_not_change_writes_the_names_once(server):
    """A site of an earlier release has the records, and not yet the names."""
    one = server()
    one.publish({"default": ["10.0.0.1 a.x"]})
    known_names.path().unlink()
    assert one.publish({"default": ["10.0.0.1 a.x"]}) == {"create": [known_names.NAME]}
    assert one.publish({"default": ["10.0.0.1 a.x"]}) == {}
    one.publish({})
    assert not known_names.path().exists()


def test_a_server_without_records_is_healthy_while_nobody_upstream_answers(server, silent):
    one = server(servers=[silent.address])
    one.start()
    assert dnsmasq.check_health("127.0.0.1", one.port, None) == "it has no records"
    assert silent.asked() == set()
