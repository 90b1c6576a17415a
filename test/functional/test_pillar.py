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


def test_what_is_no_pillar_is_said(validate, tmp_path):
    with pytest.raises(SaltInvocationError, match="expected a file"):
        validate(str(tmp_path / "absent.sls"))
    path = tmp_path / "infra.sls"
    path.write_text("nginx_port: 80\n", encoding="utf-8")
    with pytest.raises(SaltInvocationError, match="expected a dictionary with the key infra"):
        validate(str(path))
    path.write_text("infra: {a: [\n", encoding="utf-8")
    with pytest.raises(SaltInvocationError, match=r"infra\.sls"):
        validate(str(path))


def test_this_minion_s_own_pillar(validate):
    assert validate()["errors"][0].startswith("infra_hosts: expected at least one INFRA node")
