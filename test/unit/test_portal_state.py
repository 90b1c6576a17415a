"""States of the portal: what they change, what test=True leaves, and what they refuse."""

import stat
from pathlib import Path
from unittest.mock import create_autospec

import pem
import portal_samples
import pytest
from infra_formula import paths
from infra_formula.minion import Minion
from infra_formula.portal import (
    applied,
    configuration,
    http_client,
    logs,
    named_certificates,
    rendering,
    server,
)
from infra_formula.registration import inventory
from infra_formula.uninstall import install_record
from salt.exceptions import CommandExecutionError

from _states import infra_package
from _states import infra_portal as state

WIKI = {"wiki": {"domain": "wiki.p", "endpoint": "127.0.0.1:8000"}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The directory of nginx's configuration; nginx itself is a double that does not run."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    monkeypatch.setattr(inventory, "PATH", tmp_path / "register.json")
    monkeypatch.setattr(rendering, "ROOT", str(tmp_path / "nginx"))
    monkeypatch.setattr(rendering, "version", create_autospec(rendering.version, return_value=[1]))
    for name in ("reload", "check_staged"):
        monkeypatch.setattr(server, name, create_autospec(getattr(server, name)))
    monkeypatch.setattr(server, "served_hash", create_autospec(server.served_hash, return_value=""))
    server.served_hash.return_value = None

    def served(url):
        name = url.removeprefix(f"{rendering.TEMPLATES}/")
        return (portal_samples.TEMPLATES / name).read_text(encoding="utf-8")

    monkeypatch.setattr(state, "__salt__", {"cp.get_file_str": served}, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    for name in ("__grains__", "__context__", "__states__"):
        monkeypatch.setattr(state, name, {}, raising=False)
    return tmp_path / "nginx"


def managed(portal=WIKI, **options):
    given = portal_samples.settings(nginx_group="root")
    return state.managed("x", portal, given, **options)


def entries(ret):
    return {run["name"]: (run["result"], list(run["changes"])) for run in ret["sub_state_run"]}


def test_a_portal_is_applied_once_and_each_entry_is_reported(root):
    state.__opts__["test"] = True
    ret = managed()
    assert (ret["result"], entries(ret)["wiki"]) == (None, (None, ["conf.d/wiki.conf"]))
    assert not root.exists()
    with pytest.raises(CommandExecutionError, match="no portal was applied"):
        applied.recorded()
    state.__opts__["test"] = False
    ret = managed()
    assert (ret["result"], entries(ret)["wiki"]) == (True, (True, ["conf.d/wiki.conf"]))
    assert "server_name wiki.p;" in (root / "conf.d/wiki.conf").read_text()
    server.reload.assert_called_once()
    ret = managed()
    assert (ret["result"], ret["changes"], entries(ret)["wiki"]) == (True, {}, (True, []))
    server.reload.assert_called_once()
    assert entries(managed({}))["wiki"] == (True, ["conf.d/wiki.conf"])
    assert not (root / "conf.d/wiki.conf").exists()


def test_a_certificate_of_the_pillar_is_written_for_root_alone_and_its_key_is_in_no_return(root):
    pairs = [pem.pair("wiki.p").as_pillar() for _ in range(2)]
    portal = {"wiki": {**WIKI["wiki"], "cert": "own"}}

    def apply(pair):
        names = named_certificates.digests({"own": pair})
        given = portal_samples.settings(nginx_group="root", nginx_certificates=names)
        ret = state.managed("x", portal, given, certificates={"own": pair})
        assert not any(line in str(ret) for line in pair["key"].splitlines()[1:-1])
        assert not any(line in str(applied.render(minion())) for line in pair["key"].splitlines())
        assert applied.diff(minion()) == {}
        return ret["result"], ret["changes"]

    def minion():
        return Minion(state.__salt__, state.__opts__)

    result, changes = apply(pairs[0])
    assert result is True
    assert {"certificates/own.crt", "certificates/own.key"} <= {*changes["create"]}
    assert [oct(p.stat().st_mode) for p in (root / "certificates").iterdir()] == ["0o100600"] * 2
    first = server.hash_on_disk()
    assert apply(pairs[0]) == (True, {})
    assert apply(pairs[1])[1]["change"] == [
        "certificates/own.crt", "certificates/own.key", "conf.d/00-infra.conf",
    ]  # fmt: skip
    # That nginx has taken the new one is seen by its configuration's hash.
    assert server.hash_on_disk() != first
    assert managed()["changes"]["remove"] == ["certificates/own.crt", "certificates/own.key"]


REGISTRATION = {
    "nodes": [],
    "reserved": {},
    "jobs": [],
    "others": {"lb-1": {"ip": "10.10.10.30", "haproxy": 9101}},
    "dns_records": [],
    "admin_ip": "10.10.10.10",
    "portal_names": [],
    "domains": None,
    "networks": ["10.0.0.0/8"],
    "assigned": {},
    "cluster": "nodes",
    "components": [],
    "own_id": "infra-1",
    "own_addresses": [],
}


def test_consoles_are_those_of_the_registration_that_the_state_is_given(root, monkeypatch):
    functions = {**state.__salt__, "mine.get": lambda *_: {}}
    monkeypatch.setattr(state, "__salt__", functions)
    monkeypatch.setattr(state, "__opts__", {"test": False, "id": "infra-1"})
    ret = managed(registration=REGISTRATION)
    assert ret["result"] is True, ret["comment"]
    upstream = root / "conf.d/haproxy/upstream-lb-1.conf"
    assert "10.10.10.30:9101" in upstream.read_text()
    # Registered means recorded: what is done later, without the pillar, leaves the console there.
    inventory.record(inventory.decide(Minion(functions, state.__opts__), REGISTRATION)["nodes"])
    refreshed = state.certificates_refreshed("x", WIKI, portal_samples.settings(nginx_group="root"))
    assert (refreshed["result"], refreshed["changes"]) == (True, {})
    state.__context__.clear()
    assert managed(registration={**REGISTRATION, "others": {}})["changes"]["remove"]
    assert not upstream.exists()


def test_other_settings_are_recorded_even_if_no_file_changes(root):
    managed()
    given = portal_samples.settings(nginx_group="root", another="setting")
    assert state.managed("x", WIKI, given)["changes"] == {}
    assert applied.recorded()[1]["another"] == "setting"


def test_what_nginx_refuses_is_neither_written_nor_recorded(root):
    server.check_staged.side_effect = CommandExecutionError("infra_portal.wiki.config: no")
    ret = managed()
    assert (ret["result"], ret["changes"]) == (False, {})
    assert ret["comment"] == "infra_portal.wiki.config: no"
    assert not (root / "nginx.conf").exists()
    assert not applied.record_path().exists()


def test_an_unmanaged_file_is_refused_by_name_and_moved_with_clean(root):
    conf = root / "conf.d/wiki.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("theirs")
    ret = managed()
    assert (ret["result"], conf.read_text()) == (False, "theirs")
    assert ret["comment"].startswith("infra_portal.wiki: expected no unmanaged file at")
    assert managed(clean=True)["result"] is True
    assert "server_name wiki.p;" in conf.read_text()


def test_an_nginx_that_runs_with_an_older_configuration_is_reloaded(root):
    managed()
    server.served_hash.return_value = "0" * 16
    state.__opts__["test"] = True
    assert (managed()["result"], managed()["changes"]) == (None, {"nginx": "reloaded"})
    state.__opts__["test"] = False
    assert managed()["changes"] == {"nginx": "reloaded"}
    assert server.reload.call_count == 2
    server.served_hash.return_value = rendering.config_hash((root / rendering.SHARED).read_text())
    assert managed()["changes"] == {}


def test_an_interrupted_run_is_finished_by_the_next(root):
    server.reload.side_effect = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        managed()
    server.reload.side_effect = None
    assert managed()["changes"]
    assert managed()["changes"] == {}


def test_directories_of_sites_are_created_below_the_web_root_only(root, tmp_path, monkeypatch):
    created = []

    def directory(name, **_options):
        created.append(name)
        Path(name).mkdir(parents=True)
        return {"result": True}

    monkeypatch.setattr(state, "__states__", {"file.directory": directory})
    (tmp_path / "www").mkdir()
    inside, outside = str(tmp_path / "www/a/b"), str(tmp_path / "other")
    portal = {k: {"domain": f"{k}.p", "path": p} for k, p in (("in", inside), ("out", outside))}
    given = portal_samples.settings(nginx_home=str(tmp_path / "www"))
    ret = state.sites_present("x", portal, given)
    assert (ret["changes"], created) == ({"created": [inside]}, [inside])
    assert ret["warnings"] == [
        f"infra_portal.out.path: {outside} does not exist; put the site there"
    ]
    recorded = install_record.record()["nginx"]["paths"]
    assert set(recorded) == {str(tmp_path / "www/a"), inside}
    assert state.sites_present("x", portal, given)["changes"] == {}


@pytest.mark.parametrize(
    ("code", "result"), [(200, True), (401, True), (502, False), (None, False)]
)
def test_a_home_page_that_does_not_answer_is_unhealthy(root, monkeypatch, code, result):
    managed()
    for module, name in ((server, "wait_until_served"), (http_client, "get")):
        monkeypatch.setattr(module, name, create_autospec(getattr(module, name)))
    # Over TLS the portal's answer is always good: the fault is the one over plain HTTP.
    http_client.get.side_effect = lambda _port, _path, _host, tls, _timeout: (
        (200 if tls else code),
        {},
        "",
    )
    if code is None:
        http_client.get.side_effect = OSError("refused")
    healthy = create_autospec(configuration.units.record_healthy)
    monkeypatch.setattr(configuration.units, "record_healthy", healthy)
    ret = state.serving("x", portal_samples.settings())
    assert ret["result"] is result, ret
    assert isinstance(healthy.call_args.args[0], Minion)
    assert result or f"http answers {code}" in ret["comment"]


def test_a_home_page_of_the_sites_own_that_is_not_there_yet_is_no_fault(root, monkeypatch):
    """Its folder was created; the first apply of a fresh machine has to succeed."""
    for module, name in ((server, "wait_until_served"), (http_client, "get")):
        monkeypatch.setattr(module, name, create_autospec(getattr(module, name)))
    http_client.get.return_value = (404, {}, "")
    healthy = create_autospec(configuration.units.record_healthy)
    monkeypatch.setattr(configuration.units, "record_healthy", healthy)
    managed({"home": {"path": "/srv/no-such-home"}})
    ret = state.serving("x", portal_samples.settings())
    assert ret["result"] is True, ret
    managed({})
    ret = state.serving("x", portal_samples.settings())
    assert "http answers 404" in ret["comment"]


EMERG = "2026/11/28 12:00:00 [emerg] 17#17: "


@pytest.fixture
def error_log(monkeypatch, tmp_path):
    log = tmp_path / "error.log"
    log.write_text(EMERG + "bind() to 0.0.0.0:8099 failed (98: in use)\n")
    monkeypatch.setattr(server, "_ERROR_LOG", log)
    (tmp_path / "pid").write_text("17\n")
    monkeypatch.setattr(server, "_PID_FILE", tmp_path / "pid")
    return log


def test_an_error_of_an_earlier_reload_does_not_fail_a_health_check(monkeypatch, error_log):
    """Old workers may answer for a moment after a reload."""
    answers = iter(["old", "old", "new"])
    served = create_autospec(server.served_hash, side_effect=lambda _port: next(answers))
    monkeypatch.setattr(server, "served_hash", served)
    server.wait_until_served(80, "new")
    assert served.call_count == 3


def test_an_error_of_this_reload_ends_the_wait(monkeypatch, error_log):
    before = server.error_log_size()

    def refuse(_port):
        error_log.write_text(error_log.read_text() + EMERG + "unknown\n")
        return "old"

    double = create_autospec(server.served_hash, side_effect=refuse)
    monkeypatch.setattr(server, "served_hash", double)
    with pytest.raises(CommandExecutionError, match=r"on reload: .*unknown"):
        server.wait_until_served(80, "new", since=before)


TAKEN = EMERG + "bind() to 0.0.0.0:8099 failed (98: Address already in use)\n"
GIVEN_UP = EMERG + "still could not bind()\n"


def test_a_port_that_an_old_worker_still_has_is_waited_for(monkeypatch, error_log):
    """nginx gives up after five tries; it is reloaded again, and the port is free then."""
    before, reloads = server.error_log_size(), []
    with error_log.open("a") as stream:
        stream.write(TAKEN * 5 + GIVEN_UP)
    double = create_autospec(
        server.served_hash, side_effect=lambda _port: "new" if reloads else "old"
    )
    monkeypatch.setattr(server, "served_hash", double)
    server.wait_until_served(80, "new", since=before, reload=lambda: reloads.append(1))
    assert reloads == [1]


def test_a_port_that_stays_taken_is_named(monkeypatch, error_log):
    before = server.error_log_size()

    def refuse():
        with error_log.open("a") as stream:
            stream.write(TAKEN * 5 + GIVEN_UP)

    refuse()
    double = create_autospec(server.served_hash, side_effect=lambda _port: "old")
    monkeypatch.setattr(server, "served_hash", double)
    with pytest.raises(CommandExecutionError, match=r"on reload: .*bind\(\) to 0\.0\.0\.0:8099"):
        server.wait_until_served(80, "new", seconds=0.5, since=before, reload=refuse)


def test_another_error_beside_a_taken_port_ends_the_wait(monkeypatch, error_log):
    before = server.error_log_size()
    with error_log.open("a") as stream:
        stream.write(TAKEN + EMERG + "unknown\n")
    double = create_autospec(server.served_hash, side_effect=lambda _port: "old")
    monkeypatch.setattr(server, "served_hash", double)
    with pytest.raises(CommandExecutionError, match=r"on reload: .*unknown"):
        server.wait_until_served(80, "new", since=before, reload=lambda: None)


@pytest.mark.parametrize(
    "line",
    [
        EMERG.replace("17#", "18#") + "bind() failed",
        'x" ' + EMERG + "bind() failed",
        EMERG + 'bind() failed" failed (2: No such file), client: 10.0.0.1, server: a.example',
        '2026/11/28 12:00:00 [error] 18#18: *1 open() "/srv/[emerg]" failed (2: No such file)',
    ],
)
def test_a_line_that_a_visitor_forges_ends_no_reload(monkeypatch, error_log, line):
    """A server that is not of the formula may log a request with a line break as two lines."""
    error_log.write_text(f"{line}\n")
    answers = iter(["old", "old", "new"])
    served = create_autospec(server.served_hash, side_effect=lambda _port: next(answers))
    monkeypatch.setattr(server, "served_hash", served)
    server.wait_until_served(80, "new", since=0)
    assert served.call_count == 3


def test_the_error_log_and_what_was_rotated_of_it_are_closed(tmp_path):
    log = tmp_path / "nginx-error.log"
    for name, mode in (("", 0o644), (".1", 0o604), (".2.gz", 0o600), (".3.gz", 0o640)):
        path = tmp_path / f"nginx-error.log{name}"
        path.write_text("GET /?token=x")
        path.chmod(mode)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else")
    elsewhere.chmod(0o644)
    (tmp_path / "nginx-error.log.4").symlink_to(elsewhere)
    plan = logs.closed_plan(str(log))
    assert list(plan.changes["mode"]) == [str(log), f"{log}.1"]
    plan.apply()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted(tmp_path.glob("nginx*"))]
    assert modes == [0o640, 0o600, 0o600, 0o640, 0o644]
    assert logs.closed_plan(str(log)).changes == {}
    assert logs.closed_plan(str(tmp_path / "none.log")).changes == {}


@pytest.mark.parametrize(
    ("built", "asked"),
    [
        ("configure arguments: --with-http_v2_module --with-stream=dynamic", True),
        ("configure arguments: --with-stream --with-stream_ssl_module", False),
        ("configure arguments: --with-http_v2_module", False),
    ],
)
def test_a_package_is_installed_where_the_stream_module_is_apart(root, monkeypatch, built, asked):
    answer = {"name": "x", "result": True, "changes": {}, "comment": "installed"}
    installed = create_autospec(infra_package.installed, return_value=answer)
    monkeypatch.setattr(state, "__states__", {"infra_package.installed": installed})
    monkeypatch.setattr(rendering.program_facts, "recall", lambda *_: built)
    monkeypatch.setattr(rendering.salt.utils.path, "which", lambda _: "/usr/sbin/nginx")
    ret = state.stream_module_installed("x", ["libnginx-mod-stream"])
    assert ret["result"] is True
    assert (ret == answer) is asked
    wanted = {"name": "x", "component": "nginx", "pkgs": ["libnginx-mod-stream"]}
    assert [call.kwargs for call in installed.call_args_list] == ([wanted] if asked else [])
