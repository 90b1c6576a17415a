"""What firewalld and ufw say, and what they are told."""

import json
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths, process, systemd
from infra_formula.daemon import local_ports
from infra_formula.errors import CommandFailed
from infra_formula.firewall import admission, confinement, entitlements
from infra_formula.firewall import nftables as nft
from infra_formula.firewall import ports as firewall
from infra_formula.uninstall import install_record as before
from salt.exceptions import CommandExecutionError

from _states import infra_firewall as state

UFW = """Status: active

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW       Anywhere
80/tcp                     ALLOW       Anywhere
443/tcp                    ALLOW       10.0.0.0/8
53/udp                     DENY        Anywhere
80/tcp (v6)                ALLOW       Anywhere (v6)
"""


class Machine:
    """A machine on which some commands answer."""

    def __init__(self, monkeypatch, answers):
        self.answers, self.asked = answers, []
        monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=self.run))
        programs = {command.split()[0] for command in answers}
        monkeypatch.setattr(
            firewall.salt.utils.path, "which", lambda name: name if name in programs else None
        )
        self.noted = []
        add = create_autospec(before.add, side_effect=lambda *a: self.noted.append(a))
        monkeypatch.setattr(before, "add", add)
        low = {"__sls__": "infra.nginx.firewall"}
        monkeypatch.setattr(state, "__low__", low, raising=False)
        monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)

    def run(self, command, **_options):
        self.asked.append(" ".join(command))
        code, out = self.answers[self.asked[-1]]
        return {"retcode": code, "stdout": out, "stderr": "" if code == 0 else out}


def test_what_ufw_lets_in():
    assert firewall.ufw_ports(UFW) == ["22/tcp", "443/tcp from 10.0.0.0/8", "80/tcp"]


def test_ufw_is_told_from_where(monkeypatch):
    told = "ufw allow proto tcp from 10.0.0.2 to any port 9428"
    machine = Machine(monkeypatch, {"ufw status": (0, UFW), told: (0, "Rule added")})
    ret = state.open("x", ["80/tcp", "443/tcp"], ["10.0.0.0/8"])
    assert ret["changes"] == {}  # open for everybody, or from there
    ret = state.open("x", ["9428/tcp"], ["10.0.0.2"])
    assert ret["changes"] == {"ufw": ["9428/tcp from 10.0.0.2"]}
    assert machine.asked[-1] == told


def test_no_firewall_is_no_change(monkeypatch):
    Machine(monkeypatch, {"ls": (0, "")})
    assert state.open("x", ["80/tcp"])["result"] is True


def test_ufw_is_told_what_is_missing(monkeypatch):
    machine = Machine(monkeypatch, {"ufw status": (0, UFW), "ufw allow 443/tcp": (0, "Rule added")})
    ret = state.open("x", ["80/tcp", "443/tcp"])
    assert ret["changes"] == {"ufw": ["443/tcp"]}
    assert machine.asked[-1] == "ufw allow 443/tcp"
    # Port 80 was open before us, and is not closed on the way back.
    assert machine.noted == [("nginx", {"ports": {"443/tcp": "ufw"}})]


RICH = 'rule family="ipv4" source address="10.0.0.0/8" port port="9428" protocol="tcp" accept'
RICH6 = RICH.replace("ipv4", "ipv6").replace("10.0.0.0/8", "fd00::/8")
FIREWALLD = {
    "firewall-cmd --state": (0, "running"),
    "firewall-cmd --list-ports": (0, "80/tcp 443/tcp"),
    "firewall-cmd --permanent --list-ports": (0, "80/tcp"),
    "firewall-cmd --list-rich-rules": (0, f"{RICH}\n{RICH.replace('9428', '9')}"),
    "firewall-cmd --permanent --list-rich-rules": (0, RICH),
    f"firewall-cmd --permanent --add-rich-rule={RICH6}": (0, "success"),
    f"firewall-cmd --add-rich-rule={RICH6}": (0, "success"),
    "firewall-cmd --permanent --add-port=443/tcp": (0, "success"),
    "firewall-cmd --add-port=443/tcp": (0, "success"),
}


def test_firewalld_has_to_know_it_for_good(monkeypatch):
    machine = Machine(monkeypatch, FIREWALLD)
    assert state.open("x", ["80/tcp", "443/tcp"])["changes"] == {"firewalld": ["443/tcp"]}
    assert "firewall-cmd --permanent --add-port=443/tcp" in machine.asked
    assert state.open("x", ["80/tcp"])["changes"] == {}


def test_firewalld_is_told_from_where(monkeypatch):
    machine = Machine(monkeypatch, FIREWALLD)
    assert state.open("x", ["9428/tcp"], ["10.0.0.0/8"])["changes"] == {}
    ret = state.open("x", ["9428/tcp"], ["10.0.0.0/8", "fd00::/8"])
    assert ret["changes"] == {"firewalld": ["9428/tcp from fd00::/8"]}
    assert machine.asked[-1] == f"firewall-cmd --add-rich-rule={RICH6}"
    assert firewall.open_ports("firewalld") == ["80/tcp", "9428/tcp from 10.0.0.0/8"]


def test_test_mode_only_tells(monkeypatch):
    machine = Machine(monkeypatch, FIREWALLD)
    monkeypatch.setattr(state, "__opts__", {"test": True})
    ret = state.open("x", ["443/tcp"])
    assert ret["result"] is None
    assert not [command for command in machine.asked if "add-port" in command]


def test_a_refusal_is_a_failure_with_its_words(monkeypatch):
    Machine(monkeypatch, {**FIREWALLD, "firewall-cmd --add-port=443/tcp": (13, "NOT_AUTHORIZED")})
    ret = state.open("x", ["443/tcp"])
    assert ret["result"] is False
    assert "NOT_AUTHORIZED" in ret["comment"]


@pytest.mark.parametrize("code", [252, 1])
def test_a_firewalld_that_does_not_run_is_none(monkeypatch, code):
    Machine(monkeypatch, {"firewall-cmd --state": (code, "not running")})
    assert firewall.active() is None


def test_a_broken_ufw_is_told(monkeypatch):
    Machine(monkeypatch, {"ufw status": (1, "ERROR: problem running")})
    with pytest.raises(CommandExecutionError, match="problem running"):
        firewall.active()


# -- whom a firewall lets in


VERBOSE = """Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW IN    Anywhere
9428/tcp                   ALLOW IN    10.0.0.0/8                 # logs
9429:9431/tcp              DENY IN     10.0.0.7
9429:9431,9500/tcp         ALLOW IN    10.0.0.0/8
Nginx Full                 ALLOW IN    10.3.0.1
Anywhere                   ALLOW IN    10.0.0.99
22/tcp (v6)                ALLOW IN    Anywhere (v6)
8428/tcp                   ALLOW IN    fd00::/8
"""


@pytest.mark.parametrize(
    ("source", "port", "protocol", "admitted"),
    [
        ("192.0.2.1", 22, "tcp", True),
        ("2001:db8::1", 22, "tcp", True),
        ("10.0.0.7", 9428, "tcp", True),
        ("10.0.0.7", 9428, "udp", False),
        ("192.0.2.1", 9428, "tcp", False),
        ("10.0.0.7", 9430, "tcp", False),
        ("10.0.0.8", 9430, "tcp", True),
        ("10.0.0.8", 9500, "tcp", True),
        ("10.0.0.99", 1, "udp", True),
        ("10.3.0.1", 80, "tcp", None),
        ("fd00::7", 8428, "tcp", True),
        ("2001:db8::1", 8428, "tcp", False),
        ("2001:db8::1", 80, "tcp", False),
    ],
)
def test_ufws_rules_are_followed_in_their_order(source, port, protocol, admitted):
    assert admission.ufw_admits(VERBOSE, source, port, protocol) is admitted


def test_a_ufw_that_lets_in_by_default_does():
    told = VERBOSE.replace("deny (incoming)", "allow (incoming)")
    assert admission.ufw_admits(told, "192.0.2.1", 80, "tcp") is True
    assert admission.ufw_rules(told)[0] is False


@given(st.text(max_size=200), st.ip_addresses().map(str), st.integers(1, 65535))
def test_no_status_of_ufws_is_an_error(status, source, port):
    told = VERBOSE.replace("9428/tcp", status)
    assert admission.ufw_admits(told, source, port, "tcp") in (True, False, None)


@pytest.mark.parametrize("source", ["10.0.0.0/8", "fd00::/8"])
@pytest.mark.parametrize("kind", ["ufw", "firewalld"])
def test_what_was_opened_for_somebody_is_closed_again(monkeypatch, kind, source):
    asked = []
    monkeypatch.setattr(firewall, "run_firewall", lambda *words: asked.append(words) or "")
    rule = f"9428/tcp from {source}"
    firewall.open_port(kind, rule)
    opened = [" ".join(words) for words in asked]
    asked.clear()
    firewall.close_port(kind, rule)
    undo = {"ufw": ("ufw allow", "ufw delete allow"), "firewalld": ("--add-", "--remove-")}[kind]
    assert [" ".join(words) for words in asked] == [line.replace(*undo) for line in opened]


ROWS = [
    {"service": "vmetrics", "ports": ["8428/tcp"], "reached_by": "peers", "ours": True,
     "sources": ["10.0.0.12"], "opened": ["10.0.0.12"]},
    {"service": "vlogs", "ports": ["9428/tcp"], "reached_by": "site", "ours": True,
     "sources": ["10.0.0.0/8"], "opened": ["10.0.0.0/8"]},
    {"service": "haproxy", "ports": ["9101/tcp"], "reached_by": "infra", "ours": False,
     "sources": ["10.0.0.12"], "opened": ["10.0.0.12"]},
]  # fmt: skip


def test_what_is_not_ours_is_let_in_and_never_confined():
    rows, told = entitlements.confinable(ROWS, ["10.0.0.12"], ["10.0.0.0/8"])
    assert ([row["service"] for row in rows], told) == (["vmetrics", "vlogs"], [])
    assert "9101/tcp from 10.0.0.12" in entitlements.allow_rules(ROWS)


def test_a_site_whose_networks_are_not_known_goes_on_shipping_its_logs():
    rows, (told,) = entitlements.confinable(ROWS, ["10.0.0.12", "203.0.113.5"], ["10.0.0.0/8"])
    assert [row["service"] for row in rows] == ["vmetrics"]
    assert told.startswith("node_firewall_intranet: expected the networks of the site")
    assert "203.0.113.5" in told
    assert "vlogs" in told


@pytest.mark.parametrize(
    ("allow", "fault"),
    [
        ({"vmetrics": ["10.0.0.7", "fd00::/8"]}, None),
        ({"vmetric": ["10.0.0.7"]}, "infra_firewall_allow.vmetric: expected one of"),
        ({"vmetrics": ["10.0.0.7", "x"]}, "infra_firewall_allow.vmetrics[1]: expected an address"),
        ({"vmetrics": ["10.0.0.7/8"]}, "infra_firewall_allow.vmetrics[0]: expected an address"),
    ],
)
def test_who_else_is_let_in_is_named_by_service_and_network(allow, fault):
    errors = entitlements.problems({"infra_firewall_allow": allow}, ["vmetrics", "grafana"])
    assert len(errors) == (fault is not None)
    assert all(error.startswith(fault) for error in errors)


# -- whether there is a firewall


class Rules:
    """A machine without firewalld and ufw: what nft and iptables tell."""

    def __init__(self, monkeypatch, tmp_path, rules, ipv6=True, legacy=""):
        interfaces = tmp_path / "if_inet6"
        interfaces.write_text(f"fe80 02 40 20 80 {'eth0' if ipv6 else 'lo'}\n", encoding="ascii")
        (tmp_path / "ip_tables_names").write_text("filter\n" if legacy else "", encoding="ascii")
        monkeypatch.setattr(admission, "_INTERFACES", interfaces)
        monkeypatch.setattr(admission, "_LEGACY", f"{tmp_path}/ip{{}}_tables_names")
        unavailable = create_autospec(nft.unavailable, return_value=None)
        monkeypatch.setattr(nft, "unavailable", unavailable)
        monkeypatch.setattr(nft, "ruleset", create_autospec(nft.ruleset, return_value=rules))
        answer = {"retcode": 0, "stdout": legacy, "stderr": ""}
        monkeypatch.setattr(process, "run", create_autospec(process.run, return_value=answer))
        found = {"iptables-legacy"} if legacy else set()
        monkeypatch.setattr(
            firewall.salt.utils.path, "which", lambda name: name if name in found else None
        )


def chain(family="inet", policy="accept", table="filter", *exprs):
    place = {"family": family, "table": table}
    base = {**place, "name": "input", "hook": "input", "type": "filter", "policy": policy}
    return [{"chain": base}, *({"rule": {**place, "chain": "input", "expr": e}} for e in exprs)]


REJECT = [{"reject": None}]
XT = [{"xt": {"type": "match", "name": "conntrack"}}, {"accept": None}]


@pytest.mark.parametrize(
    ("rules", "ipv6", "legacy", "found"),
    [
        ([], True, "", None),
        (chain(policy="drop"), True, "", "nftables"),
        (chain("inet", "accept", "x", REJECT), True, "", "nftables"),
        (chain("ip", "drop"), True, "", None),
        (chain("ip", "drop"), False, "", "nftables"),
        (chain("ip", "drop") + chain("ip6", "drop"), True, "", "nftables"),
        (
            chain("ip", "drop", "filter", XT) + chain("ip6", "drop", "filter", XT),
            True,
            "",
            "nftables",
        ),
        (chain("ip", "accept", "filter", XT), False, "", None),
        (chain("inet", "drop", "infra"), True, "", None),  # the table of ours
        ([], False, "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT", "iptables"),
        ([], False, "-P INPUT ACCEPT", None),
        ([], True, "-P INPUT DROP", None),
    ],
)
def test_a_firewall_is_one_that_drops_what_it_does_not_know(
    monkeypatch, tmp_path, rules, ipv6, legacy, found
):
    Rules(monkeypatch, tmp_path, rules, ipv6, legacy)
    assert admission.default_drop_firewall(nft.Reading()) == found


def test_rules_of_iptables_that_cannot_be_followed_leave_it_open_who_gets_in(monkeypatch, tmp_path):
    Rules(monkeypatch, tmp_path, [], False, "-P INPUT ACCEPT\n-A INPUT -j X")
    name, admits = admission.current()
    assert (name, admits("10.0.0.7", 8428, "tcp")) == ("no firewall", None)
    monkeypatch.undo()
    Rules(monkeypatch, tmp_path, [], False, "-P INPUT ACCEPT")
    name, admits = admission.current()
    assert (name, admits("10.0.0.7", 8428, "tcp")) == ("no firewall", True)


@pytest.mark.parametrize(("target", "found"), [("default", "firewalld"), ("ACCEPT", None)])
def test_a_firewalld_whose_zone_takes_everything_is_none(monkeypatch, target, found):
    answers = {
        "firewall-cmd --state": (0, "running"),
        "firewall-cmd --get-default-zone": (0, "public"),
        "firewall-cmd --permanent --zone=public --get-target": (0, target),
    }
    Machine(monkeypatch, answers)
    assert admission.default_drop_firewall(nft.Reading()) == found


# -- the table as a state


class Confined:
    """A machine that the state confines: what it holds, and what it was asked to do."""

    def __init__(self, monkeypatch, tmp_path):
        self.firewall = self.guard = self.fault = None
        self.live, self.noted, self.calls, self.looks = None, {}, [], []
        self.root = tmp_path / "etc"
        monkeypatch.setattr(confinement, "ROOT", str(self.root))
        monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
        monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
        self.has_nft, self.active = True, False
        self.record, self.ports, self.locked_out = {}, [], []
        monkeypatch.setattr(
            confinement.salt.utils.path,
            "which",
            lambda name: "/usr/sbin/nft" if self.has_nft else None,
        )
        monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
        monkeypatch.setattr(state, "__low__", {"__sls__": "infra.firewall"}, raising=False)
        functions = {
            firewall.active: lambda: self.firewall,
            admission.default_drop_firewall: lambda _: self.guard,
            firewall.ssh_ports: lambda rows: self.locked_out,
            firewall.open_ports: lambda _: self.ports,
            firewall.open_port: lambda _, rule: self.ports.append(rule),
            firewall.close_port: lambda _, rule: self.ports.remove(rule),
            nft.unavailable: lambda: self.fault if self.has_nft else "nft is not installed",
            nft.check: self.check,
            nft.ruleset: self.ruleset,
            nft.managed_table: lambda _: self.live or [],
            systemd.unit_state: lambda unit: {"active": self.active},
            systemd.systemctl: self.systemctl,
            before.add: self.note,
            before.add_package_changes: lambda component, changes: None,
            before.record: lambda: self.record,
            before.forget: lambda *a: self.calls.append(("forget", *a)),
        }
        modules = {m.__name__: m for m in (firewall, admission, nft, systemd, before)}
        for function, double in functions.items():
            spec = create_autospec(function, side_effect=double)
            monkeypatch.setattr(modules[function.__module__], function.__name__, spec)
        salt = {"cp.get_file_str": lambda path: "[Unit]\n", "pkg.install": self.install}
        monkeypatch.setattr(state, "__salt__", salt, raising=False)
        for name in ("__grains__", "__context__"):
            monkeypatch.setattr(state, name, {}, raising=False)

    def note(self, component, entries):
        for kind, names in entries.items():
            self.noted.setdefault(component, {}).setdefault(kind, {}).update(names)

    def ruleset(self):
        self.looks.append("ruleset")
        if self.fault:
            raise CommandFailed("nft list ruleset: no")
        return []

    def check(self, _text):
        self.looks.append("check")

    def install(self, name, **_options):
        assert (name, state.__opts__["test"]) == ("nftables", False)
        if self.fault is not None:
            raise CommandExecutionError("no candidate")
        self.has_nft = True
        return {"nftables": {"old": "", "new": "1.0"}}

    @property
    def files(self):
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}

    def systemctl(self, *words, must=True):
        self.calls.append(words)
        if words[0] == "reload-or-restart":
            rules = (self.root / "infra-firewall.nft").read_text(encoding="utf-8")
            self.live, self.active = [{"text": rules}], True
        if words[0] == "disable":
            self.live, self.active = None, False

    def apply(self, rows=ROWS, mode="auto", opens=True, test=False):
        state.__opts__["test"] = test
        return state.confined("x", rows, ["10.0.0.12"], ["10.0.0.0/8"], mode, opens)


@pytest.fixture
def confined(monkeypatch, tmp_path):
    return Confined(monkeypatch, tmp_path)


def test_a_bare_machine_is_told_the_truth_and_confined_once(confined):
    confined.has_nft = False
    would = confined.apply(test=True)
    assert would["result"] is None
    assert confined.calls == []
    done = confined.apply()
    assert done["result"] is True
    assert set(done["changes"]) == set(would["changes"])
    assert done["changes"]["table inet infra"].startswith("loaded")
    assert confined.noted == {
        "firewall": {
            "packages": {"nftables": False},
            "units": {"infra-firewall": {"file": "", "active": False}},
            "paths": {str(paths.STATE_DIR / "firewall.json"): "absent"},
        }
    }
    for test in (True, False):
        confined.looks.clear()
        again = confined.apply(test=test)
        assert (again["changes"], again["result"]) == ({}, True)
        assert confined.looks == ["ruleset"]  # one call of nft


@pytest.mark.parametrize("live", [None, [{"text": "somebody's own"}]])
def test_a_table_that_was_flushed_or_changed_is_loaded_again(confined, live):
    confined.apply()
    confined.live = live
    assert confined.apply(test=True)["result"] is None
    assert set(confined.apply()["changes"]) == {"table inet infra"}
    assert confined.apply()["changes"] == {}


def test_what_is_remembered_of_it_may_be_damaged(confined):
    confined.apply()
    (paths.STATE_DIR / "firewall.json").write_text("{", encoding="utf-8")
    assert set(confined.apply()["changes"]) == {"table inet infra"}
    assert confined.apply()["changes"] == {}


@pytest.mark.parametrize("why", ["guard", "off", "no rows"])
def test_where_another_firewall_drops_or_it_is_switched_off_the_table_goes(confined, why):
    confined.apply()
    confined.guard = "nftables" if why == "guard" else None
    given = {"mode": "off"} if why == "off" else {"rows": []} if why == "no rows" else {}
    assert confined.apply(**given, test=True)["result"] is None
    assert confined.live is not None
    assert confined.apply(**given)["changes"] == {"table inet infra": "removed"}
    assert (confined.live, confined.files) == (None, set())
    assert confined.apply(**given)["changes"] == {}


@pytest.mark.parametrize("fault", ["nft cannot be used here: Operation not permitted", None])
def test_where_nft_cannot_be_used_it_is_a_warning_and_an_error_if_required(confined, fault):
    confined.fault, confined.has_nft = fault or "no package", fault is not None
    done = confined.apply()
    assert (done["result"], done["changes"]) == (True, {})
    assert "open to every machine" in done["warnings"][0]
    done = confined.apply(mode="required")
    assert done["result"] is False
    assert "infra_firewall is required" in done["comment"]
    # A package that was not installed is not taken for one that we brought.
    if fault is None:
        assert ("forget", "firewall", "packages", ["nftables"]) in confined.calls


def test_a_firewall_that_runs_is_told_whom_to_let_in_and_whom_no_longer(confined):
    confined.firewall = confined.guard = "firewalld"
    confined.ports = ["8428/tcp from 10.0.0.99", "9/tcp from 10.0.0.99"]
    confined.record = {"daemon": {"ports": {"8428/tcp from 10.0.0.99": "firewalld"}}}
    would = confined.apply(test=True)
    done = confined.apply()
    assert would["changes"] == done["changes"]
    # What somebody else told it stays.
    assert set(confined.ports) == {
        "9/tcp from 10.0.0.99",
        "8428/tcp from 10.0.0.12",
        "9428/tcp from 10.0.0.0/8",
        "9101/tcp from 10.0.0.12",
    }
    assert confined.files == set()
    assert json.dumps(confined.noted).count("firewalld") == 3
    assert confined.apply()["changes"] == {}


def test_a_firewall_that_is_to_be_left_alone_is(confined):
    confined.firewall = confined.guard = "ufw"
    assert confined.apply(opens=False)["changes"] == {}
    assert confined.ports == []


def test_a_port_that_a_firewall_opens_to_everybody_is_warned_of(confined):
    confined.firewall = confined.guard = "ufw"
    confined.ports = ["8428/tcp"]
    told = "\n".join(confined.apply()["warnings"])
    assert "ufw allows everybody to reach 8428/tcp (vmetrics)" in told


def test_ssh_is_never_confined(monkeypatch, tmp_path):
    locked_out = firewall.ssh_ports
    confined = Confined(monkeypatch, tmp_path)
    listeners = {2222: {7}, 8428: {8}, 9: {1}}
    names = {7: "sshd", 8: "victoria-metric", 1: "systemd"}
    monkeypatch.setattr(
        local_ports, "listeners_by_port", lambda ports: {p: listeners.get(p, set()) for p in ports}
    )
    monkeypatch.setattr(firewall, "_process_name", names.get)
    rows = [{"service": "x", "ports": [f"{n}/tcp" for n in (22, 2222, 8428, 9, 80)]}]
    assert locked_out(rows) == ["22/tcp (x)", "2222/tcp (x)", "9/tcp (x)"]
    confined.locked_out = ["2222/tcp (x)"]
    done = confined.apply()
    assert (done["result"], done["changes"], confined.files) == (False, {}, set())
    assert "SSH listens there" in done["comment"]


ZONE = """drop (active)
  target: DROP
  icmp-block-inversion: no
  interfaces: eth0
  sources:
  services: ssh dns
  ports: 80/tcp 1000-1010/udp
  protocols:
  rich rules:
\trule family="ipv4" source address="10.0.0.12" port port="8428" protocol="tcp" accept
"""
SERVICES = {"ssh": "ssh\n  ports: 22/tcp\n", "dns": "dns\n  ports: 53/tcp 53/udp\n"}


@pytest.mark.parametrize(
    ("source", "port", "protocol", "admitted"),
    [
        ("192.0.2.1", 80, "tcp", True),
        ("192.0.2.1", 80, "udp", False),
        ("192.0.2.1", 1005, "udp", True),
        ("192.0.2.1", 22, "tcp", True),
        ("192.0.2.1", 53, "udp", True),
        ("10.0.0.12", 8428, "tcp", True),
        ("10.0.0.13", 8428, "tcp", False),
        ("2001:db8::1", 8428, "tcp", False),
    ],
)
def test_a_zone_of_firewallds_is_followed_where_nft_is_not_there(source, port, protocol, admitted):
    assert admission.firewalld_admits(ZONE, SERVICES, source, port, protocol) is admitted


def test_what_firewalld_does_not_tell_plainly_is_left_open():
    asked = (SERVICES, "192.0.2.1", 8428, "tcp")
    assert admission.firewalld_admits("", *asked) is None
    log = '\trule family="ipv4" source address="192.0.2.0/24" log prefix="x" accept\n'
    assert admission.firewalld_admits(ZONE + log, *asked) is None
    assert admission.firewalld_admits(ZONE.replace("DROP", "ACCEPT"), *asked) is True
