"""resolv.conf, its owners, and the table of hosts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths, process
from infra_formula.dns import resolver
from support.doubles import double

from _states import infra_resolver

OPTIONS = ["options single-request-reopen timeout:1"]
IPV4 = st.ip_addresses(v=4).map(str)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("add", ["10.0.0.1", "10.0.0.2", "8.8.8.8"]), ("overwrite", ["10.0.0.1", "10.0.0.2"])],
)
def test_ours_come_first_and_three_at_most(method, expected):
    ours, foreign = ["10.0.0.1", "10.0.0.2"], ["8.8.8.8", "9.9.9.9"]
    assert resolver.choose(method, ours, foreign) == expected


@given(st.lists(IPV4), st.lists(IPV4), st.sampled_from(["add", "overwrite"]))
def test_never_more_than_three_and_never_twice(ours, foreign, method):
    found = resolver.choose(method, ours, foreign)
    assert len(found) <= 3
    assert len(found) == len(set(found))
    assert found[: len(set(ours))] == list(dict.fromkeys(ours))[:3]


@given(st.lists(IPV4, max_size=4), st.text(max_size=200))
def test_what_is_written_names_just_these_servers_and_is_stable(servers, current):
    once = resolver.resolv_conf(servers, OPTIONS, current)
    assert resolver.nameservers(once) == list(dict.fromkeys(servers))
    assert resolver.resolv_conf(servers, OPTIONS, once) == once


def test_search_lines_of_others_are_kept_and_options_replaced():
    current = "search corp.example\noptions ndots:5\nnameserver 8.8.8.8\n# note\n"
    assert resolver.resolv_conf(["10.0.0.1"], OPTIONS, current).splitlines()[1:] == [
        "options single-request-reopen timeout:1",
        "search corp.example",
        "nameserver 10.0.0.1",
    ]


def test_systemd_resolved_is_told_in_its_own_words():
    assert "DNS=10.0.0.1 10.0.0.2\n" in resolver.resolved_conf("add", ["10.0.0.1", "10.0.0.2"])
    assert "Domains" not in resolver.resolved_conf("add", ["10.0.0.1"])
    assert "Domains=~.\n" in resolver.resolved_conf("overwrite", ["10.0.0.1"])


def test_networkmanager_is_told_in_its_own_words():
    text = resolver.networkmanager_conf(["10.0.0.1", "8.8.8.8"], [*OPTIONS, "search a.b"])
    assert "options=single-request-reopen,timeout:1\n" in text
    assert "searches=a.b\n" in text
    assert "[global-dns-domain-*]\nservers=10.0.0.1,8.8.8.8\n" in text


@pytest.mark.parametrize(
    "line", ["nameserver 1.1.1.1", "options", "", 3, "options a\nnameserver b"]
)
def test_a_line_that_is_no_option(line):
    assert resolver.problems({"node_dns_options": [*OPTIONS, line]})[0].startswith(
        "node_dns_options[1]: expected"
    )


@given(
    st.text(alphabet=st.characters(blacklist_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
)
def test_lines_of_others_stay_in_the_table_of_hosts(current):
    ours = ["10.10.10.10 i.pigsty"]
    once = resolver.hosts_text(current, ours)
    assert once.endswith("10.10.10.10 i.pigsty # pigsty dns\n")
    assert resolver.hosts_text(once, ours) == once
    kept = [x for x in current.splitlines() if not x.rstrip().endswith("# pigsty dns")]
    while kept and not kept[-1].strip():
        kept.pop()
    assert resolver.hosts_text(once, []).splitlines() == kept


def test_what_pigsty_left_in_the_table_is_taken_over():
    current = "127.0.0.1 localhost\n10.0.0.9 i.pigsty # pigsty dns\n10.0.0.3 x # pigsty meta\n"
    assert resolver.hosts_text(current, ["10.10.10.10 i.pigsty"]).splitlines() == [
        "127.0.0.1 localhost",
        "10.0.0.3 x # pigsty meta",
        "10.10.10.10 i.pigsty # pigsty dns",
    ]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose resolver lies below a folder of the test's own."""
    monkeypatch.setattr(resolver, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(resolver, "RECORD", tmp_path / "resolver.json")
    monkeypatch.setattr(resolver, "_UPLINKS", (str(tmp_path / "uplink"),))
    monkeypatch.setattr(resolver, "DROPINS", {o: tmp_path / o for o in resolver.DROPINS})
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    monkeypatch.setattr(infra_resolver, "__opts__", {"test": False}, raising=False)
    return tmp_path


def test_foreign_servers_are_remembered_beyond_the_three(machine):
    (machine / "resolver.json").write_text('["8.8.8.8", "9.9.9.9"]', encoding="utf-8")
    (machine / "resolv.conf").write_text("nameserver 7.7.7.7\nnameserver 127.0.0.53\n")
    assert resolver.external_nameservers(["10.0.0.1"]) == ["7.7.7.7"]
    ours = resolver.resolv_conf(["10.0.0.1", "10.0.0.2", "8.8.8.8"], [], "")
    (machine / "resolv.conf").write_text(ours)
    assert resolver.external_nameservers(["10.0.0.1", "10.0.0.2"]) == ["8.8.8.8", "9.9.9.9"]


def test_uplinks_of_resolved_count(machine):
    (machine / "uplink").write_text("nameserver 9.9.9.9\nnameserver 10.0.0.1\n")
    (machine / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    assert resolver.external_nameservers(["10.0.0.1"]) == ["9.9.9.9"]


def test_a_damaged_memory_is_no_memory(machine):
    (machine / "resolver.json").write_text("{", encoding="utf-8")
    assert resolver.recorded_nameservers() is None


@pytest.mark.parametrize(
    ("target", "text", "expected"),
    [
        ("/run/systemd/resolve/stub-resolv.conf", None, "systemd-resolved"),
        ("/run/NetworkManager/resolv.conf", None, "NetworkManager"),
        (None, "# Generated by NetworkManager\nnameserver 1.1.1.1\n", "NetworkManager"),
        (None, "nameserver 1.1.1.1\n", "file"),
    ],
)
def test_who_owns_it(machine, target, text, expected):
    if target:
        (machine / "resolv.conf").symlink_to(target)
    else:
        (machine / "resolv.conf").write_text(text)
    assert resolver.owner() == expected


def test_nameservers_that_are_not_managed_are_left_alone(machine):
    (machine / "resolv.conf").write_text("nameserver 1.1.1.1\n")
    ret = infra_resolver.configured("x", "none", ["10.10.10.10"], [], [])
    assert (ret["result"], ret["changes"]) == (True, {})
    assert (machine / "resolv.conf").read_text() == "nameserver 1.1.1.1\n"


GIVEN = ("x", "add", ["10.10.10.10"], ["options timeout:1"], [])


def test_resolv_conf_without_an_owner_is_written_and_its_original_backed_up(machine):
    (machine / "resolv.conf").write_text("search corp.example\nnameserver 9.9.9.9\n")
    infra_resolver.__opts__["test"] = True
    assert infra_resolver.configured(*GIVEN)["result"] is None
    assert not (machine / "resolver.json").exists()
    infra_resolver.__opts__["test"] = False
    ret = infra_resolver.configured(*GIVEN)
    assert list(ret["changes"]) == [str(machine / "resolv.conf")]
    assert ret["comment"] == "Nameservers are 10.10.10.10, 9.9.9.9 (by file)."
    assert resolver.nameservers((machine / "resolv.conf").read_text()) == ["10.10.10.10", "9.9.9.9"]
    assert json.loads((machine / "resolver.json").read_text()) == ["9.9.9.9"]
    saved = machine / "state/replaced" / str(machine / "resolv.conf").lstrip("/")
    assert saved.read_text() == "search corp.example\nnameserver 9.9.9.9\n"
    assert infra_resolver.configured(*GIVEN)["changes"] == {}


def test_a_corrupt_record_is_rebuilt_from_the_nameservers_in_use(machine):
    (machine / "resolv.conf").write_text("nameserver 9.9.9.9\n")
    infra_resolver.configured(*GIVEN)
    (machine / "resolver.json").write_text("{", encoding="utf-8")
    ret = infra_resolver.configured(*GIVEN)
    assert "corrupt" in ret["changes"][str(machine / "resolver.json")]
    assert json.loads((machine / "resolver.json").read_text()) == ["9.9.9.9"]


@pytest.mark.parametrize(
    ("owner", "command"),
    [
        ("systemd-resolved", ["systemctl", "restart", "systemd-resolved"]),
        ("NetworkManager", ["systemctl", "reload", "NetworkManager"]),
    ],
)
def test_the_owner_of_resolv_conf_gets_a_drop_in_and_is_reloaded(
    machine, monkeypatch, owner, command
):
    outcome = {"retcode": 0, "stdout": "", "stderr": ""}
    run = double(monkeypatch, process, "run", return_value=outcome)
    double(monkeypatch, resolver, "owner", return_value=owner)
    (machine / "uplink").write_text("nameserver 9.9.9.9\n")
    infra_resolver.__opts__["test"] = True
    assert infra_resolver.configured(*GIVEN)["result"] is None
    assert not (machine / owner).exists()
    run.assert_not_called()
    infra_resolver.__opts__["test"] = False
    assert list(infra_resolver.configured(*GIVEN)["changes"]) == [str(machine / owner)]
    run.assert_called_once_with(command)
    assert "10.10.10.10" in (machine / owner).read_text()
    assert json.loads((machine / "resolver.json").read_text()) == ["9.9.9.9"]
    assert infra_resolver.configured(*GIVEN)["changes"] == {}
    run.assert_called_once_with(command)


def test_a_drop_in_that_cannot_be_reloaded_is_taken_back_so_that_the_next_run_tries_again(
    machine, monkeypatch
):
    outcome = {"retcode": 1, "stdout": "", "stderr": "busy"}
    run = double(monkeypatch, process, "run", return_value=outcome)
    double(monkeypatch, resolver, "owner", return_value="NetworkManager")
    for _ in range(2):
        ret = infra_resolver.configured(*GIVEN)
        assert ret["result"] is False
        assert "systemctl reload NetworkManager: busy" in ret["comment"]
        assert "node_dns_method: none" in ret["comment"]
        assert not (machine / "NetworkManager").exists()
    assert run.call_count == 2
