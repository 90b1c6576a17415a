"""What firewalld and ufw say, and what they are told."""

import pytest
from salt.exceptions import CommandExecutionError

from _modules import infra_before as before
from _modules import infra_firewall as firewall
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
        monkeypatch.setattr(firewall, "__salt__", {"cmd.run_all": self.run}, raising=False)
        programs = {command.split()[0] for command in answers}
        monkeypatch.setattr(
            firewall.salt.utils.path, "which", lambda name: name if name in programs else None
        )
        functions = {
            f"infra_firewall.{name}": getattr(firewall, name)
            for name in ("active", "open_ports", "open_port")
        }
        self.noted = []
        functions["infra_before.component_of"] = before.component_of
        functions["infra_before.note"] = self.noted.append
        monkeypatch.setattr(state, "__salt__", functions, raising=False)
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
    assert machine.noted == [{"nginx": {"ports": {"443/tcp": "ufw"}}}]


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
