"""infra_pillar.validate through Salt's loader: a file, data, and what this minion is given."""

import json
from pathlib import Path

import pytest
from salt.exceptions import SaltInvocationError

REPO = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def validate(modules):
    return modules.infra_pillar.validate


def test_the_example_is_valid(validate):
    given = validate(str(REPO / "pillar.example"), secrets=str(REPO / "pillar-secrets.example"))
    assert given == {"valid": True, "errors": [], "warnings": []}


def test_a_file_may_hold_jinja(validate, tmp_path):
    path = tmp_path / "infra.sls"
    path.write_text("{% set port = 70000 %}\ninfra:\n  nginx_port: {{ port }}\n", encoding="utf-8")
    assert validate(str(path))["errors"] == [
        "nginx_port: expected a port, an integer from 1 to 65535, got 70000"
    ]


def test_a_file_may_be_json(validate, tmp_path):
    path = tmp_path / "infra.json"
    path.write_text(json.dumps({"infra": {"nginx_prot": 80}}), encoding="utf-8")
    assert validate(str(path))["errors"] == [
        "nginx_prot: unknown key; did you mean 'nginx_port'?"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("infra:\n  nginx_port: 80: 90\n", ", line 2, key nginx_port: mapping values"),
        ("{% set a = 1 %}\ninfra:\n  x: [1,\n", ", line 4, key x: "),
        ("infra:\n  nginx_port: {{ nowhere.port }}\n", "'nowhere' is undefined"),
        ("infra:\n  a: {% if %}\n", "line 2, key a: Jinja syntax error"),
        ("infra:\n\tnginx_port: 80\n", ", line 2, key nginx_port: "),
        ('#!json\n{"infra": \n', "Expecting value"),
    ],
)
def test_a_file_that_does_not_render_is_one_line_with_the_key(validate, tmp_path, text, said):
    path = tmp_path / "infra.sls"
    path.write_text(text)
    given = validate(str(path))
    assert given["valid"] is False
    (error,) = given["errors"]
    assert error.startswith(str(path))
    assert said in error
    assert "\n" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"infra_portal": {"wiki": {"domain": "w.pigsty"}}}, "infra_portal.wiki: expected an"),
        ({"infra_hosts": {}}, "infra_hosts: expected at least one INFRA node"),
        ({"infra_services": [{"name": "x"}]}, "infra_services[0].url: missing"),
        ({"repo_upstream": [{"name": "x"}]}, "repo_upstream[0].module: missing"),
        (
            {"register": {"db": {"targets": [{"prot": 1}]}}},
            "register.db.targets[0].prot: unknown key; did you mean 'port'?",
        ),
        ({"dns_cnames": {"a.b": "a.b"}}, "dns_cnames['a.b']: expected another name"),
    ],
)
def test_what_is_wrong_is_named(validate, given, error):
    errors = validate(pillar={"infra": given})["errors"]
    assert any(told.startswith(error) for told in errors), errors


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"portal_auth": "basic", "nginx_users": {"ann": "x"}}, None),
        ({"portal_auth": "oidc"}, "portal_auth: expected an oauth2_proxy_endpoint"),
        ({"nodes": {"infra-1": {"portal_auth": "oidc"}}}, "nodes['infra-1'].portal_auth: expected"),
    ],
)
def test_a_file_with_logins_for_the_portal_is_checked_like_the_pillar_of_a_minion(
    validate, tmp_path, given, error
):
    """It once ended with `KeyError: 'components'` as soon as portal_auth was set."""
    portal = {
        "home": {"domain": "i.pigsty"},
        "logs": {"domain": "l.pigsty", "endpoint": "${admin_ip}:9428"},
    }
    path = tmp_path / "infra.json"
    path.write_text(json.dumps({"infra": {"infra_portal": portal, **given}}), encoding="utf-8")
    errors = validate(str(path))["errors"]
    assert errors == [] if error is None else errors[0].startswith(error)


MERGED = """#!jinja|json
{%- from "infra/map.jinja" import infra with context %}
{"map": {"test.nop": [{"merged": {{ infra | tojson }}}]}}
"""


@pytest.mark.parametrize("minion", ["infra-1", "10.9.9.9"])
def test_a_template_has_the_parameters_of_its_minion(modules, formula_roots, minion):
    infra = {
        "infra_hosts": {minion: {"infra_seq": 1, "ip": minion if minion[0] == "1" else "10.1.1.1"}},
        "nginx_port": 8080,
        "proxy_env": {"no_proxy": "localhost"},
        "nodes": {"infra-1": {"dns_port": 5353}, "other": {"ntp_stratum": 3}},
    }
    secrets = {"proxy_env": {"http_proxy": "http://u:p@h"}, "nginx_users": {"ann": "x"}}
    pillar = {"infra": infra, "infra_secrets": secrets}
    Path(formula_roots["file_roots"]["base"][0], "merged.sls").write_text(MERGED, encoding="utf-8")
    (chunk,) = modules.state.show_low_sls("merged", pillar=pillar)
    merged = chunk["merged"]
    wanted = {"no_proxy": "localhost", **(secrets["proxy_env"] if minion == "infra-1" else {})}
    assert merged["proxy_env"] == wanted
    assert merged["nginx_users"] == (secrets["nginx_users"] if minion == "infra-1" else {})
    assert (merged["nginx_port"], merged["dns_port"], merged["ntp_stratum"]) == (8080, 5353, 10)
    assert merged["nginx_ssl_port"] == 443


def test_what_is_no_pillar_is_said(validate, tmp_path):
    with pytest.raises(SaltInvocationError, match="expected a file"):
        validate(str(tmp_path / "absent.sls"))
    path = tmp_path / "infra.sls"
    path.write_text("nginx_port: 80\n", encoding="utf-8")
    with pytest.raises(SaltInvocationError, match="expected a dictionary with the key infra"):
        validate(str(path))
    path.write_text("infra: {a: [\n", encoding="utf-8")
    assert validate(str(path))["errors"][0].startswith(f"{path}, line 2, key infra: ")


def test_this_minion_s_own_pillar(validate):
    assert validate()["errors"][0].startswith("infra_hosts: expected at least one INFRA node")


# -- a pillar that is not valid ends the run ---


@pytest.mark.parametrize("sls", ["infra", "infra.nginx", "infra.register", "infra.node.resolver"])
def test_of_an_invalid_pillar_one_failed_state_is_all_that_is_in_the_run(
    modules, given_pillar, sls
):
    """Under test=True as in a real run: what Salt compiles is the same."""
    wrong = {"infra_hosts": {"infra-1": {"infra_seq": 1}}, "nginx_prot": 81}
    ret = modules.state.sls(sls, test=True, pillar=given_pillar({"infra": wrong}))
    (state,) = ret.raw.values()
    assert state["__id__"] == "infra-pillar-valid"
    assert state["result"] is False
    assert state["changes"] == {}
    assert state["comment"] == (
        "The pillar is not valid; nothing was changed.\n"
        "nginx_prot: unknown key; did you mean 'nginx_port'?"
    )


def test_the_states_of_others_stay_in_the_run(modules, formula_roots):
    root = Path(formula_roots["file_roots"]["base"][0])
    (root / "site.sls").write_text("site-state:\n  test.nop\n", encoding="utf-8")
    pillar = {"infra": {"infra_hosts": {"infra-1": {"infra_seq": 1}}, "nginx_prot": 81}}
    ret = modules.state.sls("site,infra", test=True, pillar=pillar)
    assert {state["__id__"] for state in ret.raw.values()} == {"site-state", "infra-pillar-valid"}


@pytest.mark.parametrize(
    ("pillar", "error"),
    [
        ({}, "infra_hosts: expected at least one INFRA node"),
        ({"infra": {}}, "infra_hosts: expected at least one INFRA node"),
        ({"infra": None}, "infra: expected a dictionary"),
        ({"infra": [1]}, "infra: expected a dictionary"),
        ({"infra": {"infra_packaging": "debian"}}, "infra_packaging: expected "),
        ({"infra": {"infra_packaging": ["x"]}}, "infra_packaging: expected "),
    ],
)
def test_a_minion_without_a_usable_pillar_gets_an_error(modules, given_pillar, pillar, error):
    ret = modules.state.sls("infra", test=True, pillar=given_pillar(pillar))
    assert isinstance(ret.raw, dict), ret.raw
    (state,) = ret.raw.values()
    assert state["result"] is False
    assert error in state["comment"]


@pytest.mark.parametrize(
    "lie",
    [
        {1: "x"},
        {True: 1},
        {None: 1},
        {"{{ 1 }}": 1},
        {"dns_records": {"a": None}},
        {"nodes": {"x": None}},
        {"infra_hosts": "x"},
        {"nginx_port": "80\n- x"},
        {"nginx_port": float("nan")},
        {"infra_portal": {"a\nb": {"domain": "x"}}},
        {"infra_portal": {"x": {True: 1}}},
        {"infra_portal": {"\U0001f600": {"domain": "\U0001f600"}}},
    ],
    ids=repr,
)
def test_whatever_a_pillar_holds_one_error_and_no_traceback_comes_of_it(modules, given_pillar, lie):
    infra = {"infra_hosts": {"infra-1": {"infra_seq": 1}}, **lie}
    ret = modules.state.sls("infra.nginx", test=True, pillar=given_pillar({"infra": infra}))
    assert isinstance(ret.raw, dict), ret.raw
    (state,) = ret.raw.values()
    assert state["result"] is False
    assert "Traceback" not in state["comment"]
