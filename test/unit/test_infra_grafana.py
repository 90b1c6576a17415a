"""Grafana's settings, its parameters and its administrator, on a machine that is made up."""

import configparser
import json
import re
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import process, systemd, templates
from infra_formula.daemon import health, local_ports
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.grafana import administrator as grafana_administrator
from infra_formula.grafana import api
from infra_formula.grafana import settings as formula_settings
from lab.standins import grafana_settings
from salt.exceptions import CommandExecutionError, SaltInvocationError
from support.doubles import double

from _states import infra_grafana as states

REPO = Path(__file__).resolve().parents[2]
TEMPLATE = (REPO / "infra/grafana/files/grafana.ini.j2").read_text(encoding="utf-8")
DEFAULTS = yaml.safe_load((REPO / "infra/defaults.yaml").read_text(encoding="utf-8"))
SETTINGS = {
    "port": 3000,
    "listen": "127.0.0.1",
    "pgurl": "",
    "admin_username": "admin",
    "admin_password": "pig;st#y",
    "anonymous": "",
    "auth_proxy": False,
    "theme": "light",
    "language": "en",
    "home": "/infra/grafana/home/home.json",
    "origins": ["localhost", "i.pigsty"],
    "proxies": ["127.0.0.1", "::1"],
    "unsigned": ["victoriametrics-logs-datasource"],
}
DAEMON = {"unit": "grafana-server", "program": "/usr/share/grafana/bin/grafana", "port": 3000}
WHO = {"port": 3000, "username": "admin", "password": "right"}


@pytest.fixture
def configure_loader_modules():
    names = ("__salt__", "__grains__", "__context__")
    return {states: {**{name: {} for name in names}, "__opts__": {"test": False}}}


def parsed(config=None, **changes):
    files = formula_settings.files({**SETTINGS, **changes}, config or {}, TEMPLATE)
    found = configparser.RawConfigParser(strict=True, delimiters=("=",))
    found.optionxform = str
    found.read_string(files["grafana.ini"]["text"])
    return found, files


# -- settings ---


def file_of(name):
    return f"$__file{{/etc/grafana/infra/{name}}}"


def test_the_settings_are_of_the_parameters_and_secrets_are_not_among_them():
    found, files = parsed(pgurl="postgres://g:hush@db:5436/grafana")
    assert found["server"]["root_url"] == "/ui/"
    assert found["database"]["url"] == file_of("database_url")
    assert found["security"]["admin_password"] == file_of("admin_password")
    assert found["security"]["csrf_trusted_origins"] == "localhost i.pigsty"
    for text in ("hush", SETTINGS["admin_password"]):
        assert text not in files["grafana.ini"]["text"]
    assert files["infra/admin_password"]["text"] == SETTINGS["admin_password"]
    for spec in files.values():
        assert (spec["mode"], spec["group"]) == ("0640", "grafana")
    assert all(files[rel]["secret"] for rel in files if rel.startswith("infra/"))
    assert "url" not in parsed()[0]["database"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pgurl": "postgres://g:hush@db:5436/grafana", "language": "zh", "theme": "dark"},
        {"anonymous": "viewer"},
        {"auth_proxy": True},
    ],
    ids=["defaults", "database", "anonymous", "proxy"],
)
def test_every_setting_is_in_grafana_s_documents_with_a_value_that_it_takes(changes, tmp_path):
    """And the stand-in of the lab refuses each that is misspelt, or has another value."""
    text = re.sub(r"\$__file\{[^}]*\}", "secret", parsed(**changes)[1]["grafana.ini"]["text"])
    path = tmp_path / "grafana.ini"
    path.write_text(text, encoding="utf-8")
    assert grafana_settings.settings(str(path))
    for line in text.splitlines():
        key, sign, value = line.partition(" = ")
        if not sign or key.startswith("#"):
            continue
        broken = [f"{key}s = {value}"]
        if re.fullmatch(r"true|false|\d+\w?|Viewer|light|dark|username", value):
            broken.append(f"{key} = {value}x")
        for other in broken:
            path.write_text(text.replace(f"\n{line}\n", f"\n{other}\n"), encoding="utf-8")
            with pytest.raises(grafana_settings.Refused):
                grafana_settings.settings(str(path))


def test_types_of_provisioning_files_are_checked_by_the_stand_in(tmp_path):
    folder = tmp_path / "datasources"
    folder.mkdir()
    good = {"name": "a", "type": "prometheus", "access": "proxy", "isDefault": True}
    for change in ({}, {"isDefault": "yes"}, {"jsonData": []}, {"urls": "x"}):
        one = {**good, **change}
        (folder / "a.yml").write_text(yaml.safe_dump({"apiVersion": 1, "datasources": [one]}))
        if change:
            with pytest.raises(grafana_settings.Refused):
                grafana_settings.sources(str(tmp_path))
        else:
            assert grafana_settings.sources(str(tmp_path))


@pytest.mark.parametrize(("anonymous", "enabled"), [("", "false"), ("viewer", "true")])
def test_nobody_sees_anything_without_a_sign_in_unless_asked_for(anonymous, enabled):
    found, _ = parsed(anonymous=anonymous)
    assert found["auth.anonymous"]["enabled"] == enabled
    assert found["auth.anonymous"].get("org_role") == ("Viewer" if anonymous else None)


def test_the_proxy_is_trusted_only_where_asked_for_and_only_from_the_portal():
    assert dict(parsed()[0]["auth.proxy"]) == {"enabled": "false"}
    found, _ = parsed(auth_proxy=True)
    assert found["auth.proxy"]["whitelist"] == "127.0.0.1, ::1"


@pytest.mark.parametrize(("language", "wanted"), [("en", "en-US"), ("zh", "zh-Hans")])
def test_the_language(language, wanted):
    assert parsed(language=language)[0]["users"]["default_language"] == wanted


def test_settings_of_the_site_go_over_ours_and_its_secrets_into_files():
    config = {
        "users": {"default_theme": "dark", "viewers_can_edit": True},
        "smtp": {"enabled": True, "host": "mail:25", "password": 'p"a#s;s', "user": "a;b"},
        "remote_cache": {"connstr": "redis://:hush@cache:6379"},
    }
    found, files = parsed(config)
    assert found["users"]["default_theme"] == "dark"
    assert found["users"]["viewers_can_edit"] == "true"
    assert found["users"]["default_language"] == "en-US"
    assert found["smtp"]["password"] == file_of("smtp.password")
    assert found["smtp"]["user"] == '"""a;b"""'
    assert files["infra/smtp.password"]["text"] == 'p"a#s;s'
    assert files["infra/remote_cache.connstr"]["secret"]
    assert files["grafana.ini"]["text"].count("default_theme") == 1


NAMES = st.from_regex(r"[a-z][a-z_]{0,10}", fullmatch=True)
VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).filter(
        lambda text: '"""' not in text
    ),
)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4), max_size=4))
def test_every_setting_that_passes_the_check_stands_once_where_it_belongs(config):
    assert formula_settings._config_problems(config) == [
        f"grafana_config[{section!r}].{key}: expected no such key; it is this formula's"
        for section, keys in config.items()
        for key in keys
        if section == "paths"
    ]
    found, files = parsed(config)
    for section, keys in config.items():
        for key, value in keys.items():
            text = found[section][key]
            if formula_settings.is_secret(key, value):
                assert files[f"infra/{section}.{key}"]["text"] == value
                assert text == file_of(f"{section}.{key}")
            else:
                told = text.removeprefix('"""').removesuffix('"""')
                assert told == formula_settings.ini(value).removeprefix('"""').removesuffix('"""')


def test_a_broken_template_is_named():
    with pytest.raises(SaltInvocationError, match=r"grafana\.ini\.j2"):
        formula_settings.files(SETTINGS, {}, "{{ nothing.there }}")


# -- parameters ---


def test_the_defaults_are_good():
    assert formula_settings.problems(DEFAULTS) == []


HOME = {"home": {"domain": "i.pigsty", "auth": True}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grafana_admin_password": "abcd"}, "grafana_admin_password: expected at least 5"),
        ({"grafana_admin_password": "hushhush "}, "grafana_admin_password: expected"),
        ({"grafana_admin_username": "a b"}, "grafana_admin_username: expected letters"),
        ({"grafana_pgurl": "mysql://u:hushhush@h/db"}, "grafana_pgurl: expected postgres://"),
        ({"grafana_pgurl": "postgres://u:hushhush@h"}, "grafana_pgurl: expected postgres://"),
        ({"grafana_pgurl": "postgres://u:hushhush@h:port/db"}, "grafana_pgurl: expected"),
        ({"grafana_auth_proxy": True}, "grafana_auth_proxy: expected portal_auth, or infra_portal"),
        ({"grafana_auth_proxy": True, "infra_portal": {"home": {"domain": "x"}}},
         "grafana_auth_proxy: expected portal_auth, or infra_portal"),
        ({"grafana_auth_proxy": True, "infra_portal": HOME, "nginx_enabled": False},
         "grafana_auth_proxy: expected false"),
        ({"grafana_meta": "meta"}, "grafana_meta: expected host:port/database"),
        ({"grafana_meta": "h:5432/a b"}, "grafana_meta: expected host:port/database"),
        ({"grafana_plugins_unsigned": ["good-panel", "*"]}, "grafana_plugins_unsigned[1]"),
        ({"grafana_config": {"a b": {}}}, "grafana_config['a b']"),
        ({"grafana_config": {"smtp": {"x y": 1}}}, "grafana_config['smtp'].x y"),
        ({"grafana_config": {"smtp": {"host": ["a"]}}}, "grafana_config['smtp'].host"),
        ({"grafana_config": {"smtp": {"host": "a\nb"}}}, "grafana_config['smtp'].host"),
        ({"grafana_config": {"security": {"admin_password": "hushhush"}}},
         "grafana_config['security'].admin_password: expected it to be set by "
         "grafana_admin_password"),
        ({"grafana_config": {"paths": {"data": "/x"}}}, "grafana_config['paths'].data"),
        ({"grafana_config": {"auth.proxy": {"whitelist": ""}}}, "'auth.proxy'].whitelist"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_key_and_no_secret_is_quoted(given, named):
    (error,) = formula_settings.problems(given)
    assert named in error
    assert "hushhush" not in error


@pytest.mark.parametrize(
    "portal", [{"infra_portal": HOME}, {"portal_auth": "oidc"}, {"portal_auth": "basic"}]
)
def test_a_proxy_that_the_portal_stands_before_is_good(portal):
    assert formula_settings.problems({"grafana_auth_proxy": True, **portal}) == []


@given(st.text(max_size=40))
def test_any_text_is_a_cmdb_or_none(text):
    found = formula_settings.meta(text)
    assert found is None or f"{found['endpoint']}/{found['database']}" == text


@given(st.text(max_size=60))
def test_any_text_is_a_database_or_one_complaint(text):
    assert len(formula_settings._database_problems(text)) <= 1


def test_a_database_that_is_not_there_is_told_without_its_password(monkeypatch):
    refused = ConnectionRefusedError(111, "Connection refused")
    double(monkeypatch, socket, "create_connection", side_effect=refused)
    fault = formula_settings.database_problem("postgres://g:hush@10.0.0.9:5436/grafana")
    assert "grafana_pgurl: 10.0.0.9:5436 does not answer" in fault
    assert "hush" not in fault
    assert formula_settings.database_problem("") == ""


# -- the API ---


def answering(monkeypatch, answer):
    """A Grafana that always gives this answer."""
    code, told = answer
    text = told if isinstance(told, str) else json.dumps(told)
    return double(monkeypatch, local_ports, "request", return_value=(code, text))


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [((200, {"isGrafanaAdmin": True}), True), ((401, {"message": "Invalid username"}), False)],
)
def test_whether_a_password_is_taken(monkeypatch, answer, wanted):
    ask = answering(monkeypatch, answer)
    assert api.accepts(WHO) is wanted
    assert ask.call_args.args[1] == "/ui/api/user"
    assert ask.call_args.args[5] == {"Authorization": "Basic YWRtaW46cmlnaHQ="}


@pytest.mark.parametrize(
    "answer", [(200, {"isGrafanaAdmin": False}), (500, "oops"), (None, "refused"), (200, "<html>")]
)
def test_what_is_no_answer_is_an_error(monkeypatch, answer):
    ask = answering(monkeypatch, answer)
    with pytest.raises(CommandExecutionError) as caught:
        api.accepts(WHO)
    assert "right" not in str(caught.value)
    ask.assert_called_once()


def test_the_password_goes_to_the_command_line_tool_by_its_input(monkeypatch):
    outcome = {"retcode": 0, "stdout": "", "stderr": ""}
    run = double(monkeypatch, process, "run", return_value=outcome)
    grafana_administrator.reset_password("/usr/share/grafana/bin/grafana", "hushhush")
    (command,) = run.call_args.args
    assert "hushhush" not in " ".join(command)
    assert command[:4] == ["runuser", "-u", "grafana", "--"]
    assert run.call_args.kwargs["stdin"] == "hushhush\n"


def test_its_refusal_reaches_the_user(monkeypatch):
    outcome = {"retcode": 1, "stdout": "", "stderr": "Error: short"}
    double(monkeypatch, process, "run", return_value=outcome)
    with pytest.raises(CommandExecutionError, match=r"grafana_admin_password: .*Error: short"):
        grafana_administrator.reset_password("/g", "hushhush")


# -- the administrator as a state ---


def administrator(monkeypatch, accepted, test=False, known="admin", active=True):
    """Run the state; `accepted` are the answers to whether a name and password are taken."""
    double(monkeypatch, systemd, "unit_state", return_value={"active": active})
    calls = {name: double(monkeypatch, api, name) for name in ("accepts", "rename")}
    for name in ("recorded_name", "record_name", "reset_password"):
        calls[name] = double(monkeypatch, grafana_administrator, name)
    calls["accepts"].side_effect = accepted
    calls["recorded_name"].return_value = known
    states.__opts__["test"] = test
    return states.administrator("root", DAEMON, "hushhush"), calls


def test_a_password_that_is_taken_changes_nothing(monkeypatch):
    ret, calls = administrator(monkeypatch, [True], known="root")
    assert (ret["result"], ret["changes"]) == (True, {})
    calls["reset_password"].assert_not_called()
    calls["record_name"].assert_not_called()


def test_another_password_is_set_and_asked_for_again(monkeypatch):
    ret, calls = administrator(monkeypatch, [False, True])
    assert ret["result"] is True
    assert ret["changes"] == {"root": "password set (not shown)"}
    calls["reset_password"].assert_called_once_with(DAEMON["program"], "hushhush")
    assert calls["accepts"].call_count == 2
    assert "hushhush" not in json.dumps(ret)


@pytest.mark.parametrize("active", [True, False])
def test_in_test_mode_nothing_is_set(monkeypatch, active):
    ret, calls = administrator(monkeypatch, [False], test=True, active=active)
    assert ret["result"] is (None if active else True)
    calls["reset_password"].assert_not_called()


def test_another_name_is_given_to_the_user_that_was_known(monkeypatch):
    ret, calls = administrator(monkeypatch, [False, False, True, True], known="admin")
    assert ret["changes"] == {"root": "password set (not shown); renamed from admin"}
    (before, name) = calls["rename"].call_args.args
    assert (before["username"], name) == ("admin", "root")


@pytest.mark.parametrize(("known", "accepted"), [("", [False, False]), ("admin", [False] * 3)])
def test_who_is_refused_in_spite_of_all_is_told_what_to_do(monkeypatch, known, accepted):
    ret, calls = administrator(monkeypatch, accepted, known=known)
    assert ret["result"] is False
    assert "grafana_admin_username" in ret["comment"]
    assert "rename it in Grafana" in ret["comment"]
    assert "hushhush" not in ret["comment"]
    calls["rename"].assert_not_called()


# -- settings as a state ---


def configured(monkeypatch, found, test=False, active=True, fault="", taken=""):
    returns = {
        (templates, "read"): TEMPLATE,
        (FileSet, "plan"): found,
        (formula_settings, "database_problem"): fault,
        (systemd, "unit_state"): {"active": active},
        (health, "port_problem"): taken,
        (health, "restart"): None,
        (FilePlan, "apply"): None,
    }
    calls = {
        name: double(monkeypatch, module, name, return_value=value)
        for (module, name), value in returns.items()
    }
    states.__opts__["test"] = test
    return states.configured("/etc/grafana/grafana.ini", DAEMON, SETTINGS, {}), calls


SETS = FileSet("grafana", "/etc/grafana")
SAME = FilePlan(SETS, {})
OTHER = FilePlan(SETS, {}, change=["grafana.ini"], diff={"grafana.ini": "-a\n+b"})


def test_settings_that_are_there_change_and_restart_nothing(monkeypatch):
    ret, calls = configured(monkeypatch, SAME)
    assert (ret["result"], ret["changes"]) == (True, {})
    calls["apply"].assert_not_called()


@pytest.mark.parametrize("active", [True, False])
def test_other_settings_restart_grafana_where_it_runs(monkeypatch, active):
    ret, calls = configured(monkeypatch, OTHER, active=active)
    assert ret["result"] is True
    assert ("grafana-server" in ret["changes"]) is active
    reload = calls["apply"].call_args.kwargs["reload"]
    assert (reload is not None) is active
    if active:
        reload()
        calls["restart"].assert_called_once_with(DAEMON)


def test_in_test_mode_settings_are_only_compared(monkeypatch):
    ret, calls = configured(monkeypatch, OTHER, test=True)
    assert ret["result"] is None
    assert ret["changes"]
    calls["apply"].assert_not_called()


@pytest.mark.parametrize("fault", [{"fault": "grafana_pgurl: no"}, {"taken": "grafana_port: no"}])
def test_a_fault_is_told_before_anything_is_written(monkeypatch, fault):
    ret, calls = configured(monkeypatch, OTHER, **fault)
    assert (ret["result"], ret["changes"]) == (False, {})
    assert ret["comment"] in fault.values()
    calls["apply"].assert_not_called()
