"""The schema of the pillar: well-formed, and what is written from it is current."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from infra_formula.parameters import schema as infra_schema

from tools import json_schema, parameters

REPO = Path(__file__).resolve().parent.parent.parent
SCHEMA = parameters.read()
RULES = infra_schema.parameters(SCHEMA)
CASES = yaml.safe_load(
    (Path(__file__).parent / "cases" / "schema_scalars.yaml").read_text(encoding="utf-8")
)
EDITORS = parameters.pillar(SCHEMA)
ANNOTATIONS = {"about", "default", "unset", "since", "unit", "example", "entries", "clients"}
RULE_KEYS = {"type", "enum", "min", "max", "items", "keys", "required", "either", "secret"}
LAX = {"endpoint", "url", "any"}  # more passes in an editor than in a run
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def validator(schema):
    kind = jsonschema.Draft202012Validator
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


@pytest.mark.parametrize("path", parameters.files(SCHEMA), ids=lambda path: path.name)
def test_what_is_written_from_the_schema_is_current(path):
    current = parameters.files(SCHEMA)[path]
    assert path.read_text(encoding="utf-8") == current, (
        f"{path.relative_to(REPO)} is not what infra/schema.yaml says: run `make generate`"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nginx_users", {"ann": 12345678}),
        ("nginx_users", {"ann": "12345678\n"}),
        ("ca_key", {"12345678": 1}),
        ("certbot_dns_credentials", ["12345678"]),
        ("proxy_env", {"http_proxy": ["http://u:12345678@p"]}),
        ("grafana_admin_password", 12345678),
        ("alertmanager_receivers", {"ops": "https://hooks.example.com/12345678"}),
        ("alertmanager_global", "smtp_auth_password: 12345678"),
        ("vmetrics_scrape_jobs", ["password: 12345678"]),
    ],
)
def test_no_message_shows_a_secret(name, value):
    (told,) = infra_schema.check(name, value, RULES[name])
    assert told.startswith(name)
    assert "12345678" not in told


def test_no_parameter_stands_in_two_sections():
    assert len(RULES) == sum(len(section) for section in SCHEMA.values())


@pytest.mark.parametrize("name", RULES)
def test_each_parameter_is_described_and_its_values_fit_its_rule(name):
    rule = RULES[name]
    assert set(rule) <= ANNOTATIONS | RULE_KEYS, name
    assert {"about", "default", "since"} <= set(rule), name
    assert ("type" in rule) != ("either" in rule), name
    assert rule["about"][0].isupper() or rule["about"][0] == "`"
    assert rule["about"].endswith((".", "`")), name
    assert str(rule["since"]).startswith("Pigsty") or rule["since"][:4].isdigit(), name
    assert ("unset" in rule) == (rule["default"] is None), name
    for value in (rule["default"], *([rule["example"]] if "example" in rule else [])):
        assert infra_schema.check(name, value, rule) == []
        assert [e.message for e in validator(EDITORS).iter_errors({"infra": {name: value}})] == []


def test_the_json_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(EDITORS)
    assert (
        json.loads((REPO / "infra" / "pillar.schema.json").read_text(encoding="utf-8")) == EDITORS
    )


def test_the_example_is_a_pillar_to_an_editor_too():
    pillar = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))
    assert [e.message for e in validator(EDITORS).iter_errors(pillar)] == []


@pytest.mark.parametrize(
    ("secrets", "where"),
    [
        # The rest of an entry stands below `infra`.
        ({"grafana_datasources": {"Shop": {"secureJsonData": {"a": "b"}}}}, None),
        ({"nodes": {"a": {"grafana_datasources": {"Shop": {"url": "x"}}}}}, None),
        ({"nginx_users": {"ann": 1}}, ["nginx_users", "ann"]),
        ({"nginx_prot": 80}, []),
        ({"infra_hosts": {}}, []),
    ],
)
def test_an_editor_knows_infra_secrets(secrets, where):
    found = list(validator(EDITORS).iter_errors({"infra": {}, "infra_secrets": secrets}))
    wanted = [] if where is None else [["infra_secrets", *where]]
    assert [list(error.absolute_path) for error in found] == wanted


def test_the_example_of_secrets_is_a_pillar_to_an_editor_too():
    pillar = yaml.safe_load((REPO / "pillar-secrets.example").read_text(encoding="utf-8"))
    assert list(pillar) == ["infra_secrets"]
    assert [e.message for e in validator(EDITORS).iter_errors(pillar)] == []


@pytest.mark.parametrize(
    ("pillar", "where"),
    [
        ({"nginx_prot": 80}, []),
        ({"nginx_port": "80"}, ["nginx_port"]),
        ({"nginx_port": True}, ["nginx_port"]),
        ({"infra_hosts": {"a": {}}}, ["infra_hosts", "a"]),
        ({"infra_portal": {"wiki": {"websockt": True}}}, ["infra_portal", "wiki"]),
        ({"infra_portal": {"wiki": {"endpoint": "no-port"}}}, ["infra_portal", "wiki", "endpoint"]),
        ({"dns_upstream": "10.0.0.1"}, ["dns_upstream"]),
    ],
)
def test_an_editor_marks_mistakes(pillar, where):
    found = list(validator(EDITORS).iter_errors({"infra": pillar}))
    assert [list(error.absolute_path) for error in found] == [["infra", *where]]


def test_every_type_of_a_rule_is_told_to_editors():
    assert set(json_schema.SCALARS) == set(infra_schema._SCALARS)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_editors_agree_on_the_cases(kind):
    check = validator(json_schema.of_rule({"type": kind}))
    assert [value for value in CASES[kind]["good"] if not check.is_valid(value)] == []
    if kind not in LAX:
        # To JSON Schema 1.0 is an integer.
        bad = [value for value in CASES[kind]["bad"] if not isinstance(value, float)]
        assert [value for value in bad if check.is_valid(value)] == []


SCALARS = {
    "duration": st.from_regex(r"[0-9]{0,7}(ms|[smhdwyx])?", fullmatch=True),
    "timeout": st.from_regex(r"[0-9]{0,7}(ms|[smhdwyx])?", fullmatch=True),
    "days": st.from_regex(r"[0-9]{0,6}d?", fullmatch=True),
    "size": st.from_regex(r"[0-9]{0,10}[kKmMgGt]?", fullmatch=True) | st.integers(),
    "name": st.from_regex(r"[A-Za-z0-9._\- ]{0,103}", fullmatch=True),
    "path": st.from_regex(r"/?[A-Za-z0-9/._@ ;-]{0,20}", fullmatch=True),
    "domain": st.from_regex(r"(\*\.)?[A-Za-z0-9.-]{0,70}", fullmatch=True),
    "endpoint": st.from_regex(r"([a-z0-9._-]{0,12}|[0-9.]{1,15}|\[[0-9a-f:]+\]|unix):[0-9]{0,6}",
                              fullmatch=True),
    "ip": st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f.:]{0,20}", fullmatch=True),
    "url": st.from_regex(r"https?://[a-z0-9.:/\[\]@ -]{0,20}", fullmatch=True),
    "port": st.integers(-1, 70000),
    "line": st.text(max_size=8),
    "text": st.text(max_size=8),
    "quoted": st.text(alphabet='ab"\\$;{} \n', max_size=8),
}  # fmt: skip


@given(st.data(), st.sampled_from(sorted(json_schema.SCALARS)))
def test_what_a_run_lets_pass_an_editor_does_and_mostly_the_other_way_round(data, kind):
    value = data.draw(SCALARS.get(kind, st.nothing()) | ANYTHING)
    in_a_run = infra_schema.check("key", value, {"type": kind}) == []
    in_an_editor = validator(json_schema.of_rule({"type": kind})).is_valid(value)
    assert in_an_editor or not in_a_run
    assert kind in LAX or in_a_run == in_an_editor


RULE = st.recursive(
    st.sampled_from([
        {"type": "int", "min": 1, "max": 9},
        {"type": "bool"},
        {"type": "port"},
        {"type": "name"},
        {"type": "line", "enum": ["a", "b"]},
        {"type": "duration", "unset": "what it is anyhow"},
        {"type": "any"},
    ]),
    lambda inner: st.one_of(
        st.builds(lambda i: {"type": "list", "items": i}, inner),
        st.builds(lambda i: {"type": "map", "items": i}, inner),
        st.builds(lambda i: {"type": "map", "keys": {"a": i, "b": i}, "required": ["a"]}, inner),
        st.builds(lambda i, j: {"either": [i, j]}, inner, inner),
        st.builds(lambda i: {**i, "unset": "nothing"}, inner),
    ),
    max_leaves=4,
)  # fmt: skip


def instance(rule):
    """A strategy of values that are near to what a rule expects."""
    choices = [ANYTHING, *([st.none()] if "unset" in rule else [])]
    if "either" in rule:
        choices += [instance(choice) for choice in rule["either"]]
    elif rule.get("type") == "list":
        choices.append(st.lists(instance(rule["items"]), max_size=2))
    elif rule.get("type") == "map":
        keys = rule.get("keys", {"a": rule.get("items")})
        choices.append(
            st.fixed_dictionaries({}, optional={k: instance(v) for k, v in keys.items()})
        )
    else:
        choices.append(st.sampled_from([1, 9, 10, True, "a", "b", "30s", "", 80]))
    return st.one_of(choices)


@given(st.data(), RULE)
def test_editors_and_runs_agree_on_nested_rules(data, rule):
    value = data.draw(instance(rule))
    errors = infra_schema.check("key", value, rule)
    assert (errors == []) == validator(json_schema.of_rule(rule)).is_valid(value), errors


@given(ANYTHING)
def test_an_editor_has_an_answer_to_anything(value):
    assume(isinstance(value, dict))
    list(validator(EDITORS).iter_errors({"infra": value}))
