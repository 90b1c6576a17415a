"""Conversion of any inventory: a clean error, or a valid pillar and a whole report.

A golden file that has to change is written anew with INFRA_GOLDEN=write in the environment, and
its difference read before it is committed.
"""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula.parameters import locked, validation
from infra_formula.pigsty import conversion
from infra_formula.pigsty import inventory as pigsty_inventory
from infra_formula.pigsty import report as report_texts
from salt.exceptions import SaltInvocationError

from tools import formula, parameters

CASES = Path(__file__).parent / "cases" / "pigsty"
TABLE = yaml.safe_load((parameters.ROOT / "infra" / "pigsty.yaml").read_text(encoding="utf-8"))
SCHEMA = {n: p for section in parameters.read().values() for n, p in section.items()}
BROKEN = yaml.safe_load((CASES / "broken.yaml").read_text(encoding="utf-8"))
INVENTORIES = sorted(CASES.glob("*.yml"))
TEXTS = [path.read_text(encoding="utf-8") for path in INVENTORIES]


MINION = formula.minion()


def test_the_table_names_parameters_that_there_are():
    assert {row["to"] for row in TABLE["renamed"].values()} <= set(SCHEMA)
    assert set(TABLE["defaults"]) <= set(SCHEMA)
    for name in (*TABLE["renamed"], *TABLE["registers"]):
        assert name not in TABLE["without"], name
    for name in (*TABLE["renamed"], *TABLE["without"]):
        assert name not in SCHEMA or name.endswith("_clean"), name


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.stem)
def test_pillar_and_report_are_golden(path):
    pillar, report = conversion.from_text(MINION, path.read_text(encoding="utf-8"))
    secrets = {key: pillar.pop(key) for key in list(pillar) if key == "infra_secrets"}
    texts = {
        ".sls": report_texts.pillar_file(pillar, path.name),
        ".report": report_texts.text(report),
    }
    if secrets:
        texts[".secrets.sls"] = report_texts.pillar_file(secrets, path.name)
        assert yaml.safe_load(texts[".secrets.sls"]) == secrets
    for suffix, text in texts.items():
        golden = path.with_suffix(suffix)
        if os.environ.get("INFRA_GOLDEN") == "write":
            golden.write_text(text, encoding="utf-8")
        assert text == golden.read_text(encoding="utf-8")
    assert yaml.safe_load(texts[".sls"]) == pillar


def check_pillar(pillar):
    """The pillar is good for all minions, and for a client, but for what is locked."""
    found = validation.check(MINION, pillar["infra"], pillar.get("infra_secrets"), all_minions=True)
    placeholders = locked.problems(pillar)
    assert bool(placeholders) == any("in place of a placeholder" in e for e in found["errors"])
    assert len(found["errors"]) == len(placeholders)
    infra, secrets = map(locked.unlocked, (pillar["infra"], pillar.get("infra_secrets")))
    infra = {"infra_hosts": {"10.10.10.10": {"infra_seq": 1}}, **infra}
    # Pigsty names INFRA nodes by their addresses, which any minion can claim: the report says so.
    by_address = [f"infra_hosts[{host!r}]: any minion can claim" for host in infra["infra_hosts"]]
    findings = validation.check(MINION, infra, secrets, all_minions=True)
    assert findings["errors"] == []
    assert [w for w in findings["warnings"] if not w.startswith(tuple(by_address))] == []
    assert validation.check(MINION, infra) == {"errors": [], "warnings": []}


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.stem)
def test_the_pillar_is_valid(path):
    pillar, _ = conversion.from_text(MINION, path.read_text(encoding="utf-8"))
    check_pillar(pillar)


@pytest.mark.parametrize(("text", "error"), BROKEN)
def test_what_is_broken_is_told_with_its_place(tmp_path, text, error):
    path = tmp_path / "pigsty.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SaltInvocationError) as caught:
        conversion.convert(MINION, str(path))
    assert str(caught.value) == error


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(SaltInvocationError, match="No such file"):
        conversion.convert(MINION, str(tmp_path / "absent.yml"))
    path = tmp_path / "pigsty.yml"
    path.write_bytes(b"infra: \xff\xfe")
    with pytest.raises(SaltInvocationError, match="expected text in UTF-8"):
        conversion.convert(MINION, str(path))


def test_secrets_are_in_no_report(tmp_path):
    path = tmp_path / "pigsty.yml"
    path.write_text(
        "infra:\n  hosts: {10.10.10.10: {infra_seq: 1}}\n  vars:\n"
        "    nginx_users: {admin: hunter2, other: [hunter2]}\n"
        "    grafana_admin_password: hunter2\n    haproxy_admin_password: hunter2\n"
        "    pg_admin_password: \"{{ 'hunter2' | b64decode }}\"\n    nginx_port: hunter2\n"
        "    node_timezone: \"{{ 'hunter2' | b64decode }}\"\n    dns_records: [hunter2 hunter2]\n",
        encoding="utf-8",
    )
    found = conversion.convert(MINION, str(path))
    told = found["report"]
    assert "hunter2" not in json.dumps(told) + report_texts.text(told)
    # Nor in an answer, which a master keeps.
    assert "hunter2" not in json.dumps(found["pillar"])
    assert any("grafana_admin_password" in note for note in told["notes"])
    assert {row["became"] for row in told["variables"]} >= {"refused", "unresolved", "without"}


def test_secrets_are_written_beside_the_pillar_and_nowhere_else(tmp_path):
    convert = partial(conversion.convert, MINION)
    out = tmp_path / "infra.sls"
    found = convert(str(CASES / "infra-only.yml"), str(out))
    beside = tmp_path / "infra_secrets.sls"
    assert (found["out"], found["secrets"]) == (str(out), str(beside))
    assert out.read_text(encoding="utf-8") == (CASES / "infra-only.sls").read_text(encoding="utf-8")
    wanted = (CASES / "infra-only.secrets.sls").read_text(encoding="utf-8")
    assert beside.read_text(encoding="utf-8") == wanted
    assert [path.stat().st_mode & 0o777 for path in (out, beside)] == [0o600, 0o600]
    assert "infra_secrets" not in convert(str(CASES / "infra-only.yml"))["pillar"]
    with pytest.raises(SaltInvocationError, match="expected another name"):
        convert(str(CASES / "infra-only.yml"), str(beside))
    plain = tmp_path / "other"
    plain.mkdir()
    assert convert(str(CASES / "single.yml"), str(plain / "infra.sls"))["secrets"] is None
    assert [path.name for path in plain.iterdir()] == ["infra.sls"]


def check(text):
    """Convert; whatever comes out holds what is promised of it."""
    try:
        pillar, report = conversion.from_text(MINION, text)
    except SaltInvocationError as err:
        assert str(err)  # noqa: PT017 - a clean error is one of the two answers
        return None
    check_pillar(pillar)
    written = report_texts.pillar_file(pillar)
    assert yaml.safe_load(written) == pillar
    variables = pigsty_inventory.read(text)["variables"]
    told = [(row["name"], row["at"], row["line"]) for row in report["variables"]]
    assert told == [(v["name"], v["at"], v["line"]) for v in variables]
    lines = report_texts.text(report)
    assert all(f"{row['path']}: " in lines for row in report["closed"] if row["path"].isprintable())
    assert all(row["name"].isprintable() is False or row["name"] in lines
               for row in report["variables"])  # fmt: skip
    return pillar


ADAPTED = sorted(TABLE["renamed"].keys() | {"infra_portal", "repo_upstream", "node_packages"})


@pytest.mark.parametrize("value", [None, True, 1.5, "x", [], [{}], {}, {"a": []}])
def test_a_value_of_another_type_is_told_of_and_left_out(value):
    hosts = {"10.10.10.10": {"infra_seq": 1, **dict.fromkeys(ADAPTED, value)}}
    assert check(yaml.safe_dump({"all": {"children": {"infra": {"hosts": hosts}}}}))


NAMES = st.sampled_from([
    *SCHEMA, *TABLE["renamed"], *TABLE["registers"], "infra_seq", "ansible_host", "mine",
    "prometheus_clean", "grafana_admin_password", "pg_users", "loki_data",
])  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 70000), st.floats(), st.text(max_size=8),
    st.sampled_from([
        "{{ mine }}", "{{ admin_ip }}", "${admin_ip}", "{{ inventory_hostname }}", "10.10.10.10",
        "yes", "off", "80", "30s", "15d", "infra", "{{ x", "-retentionPeriod=3d", "i.pigsty",
        "${admin_ip} i.pigsty", "10.10.10.9:80", "primary", "10.10.10.5/24", "/www",
    ]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["home", "domain", "endpoint", "a", "name", "url", "6379"])
        | st.integers(0, 9),
        inner, max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip
VARS = st.dictionaries(NAMES, VALUES, max_size=6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(VARS, VARS, VARS, st.integers(0, 2))
def test_any_variables_become_a_valid_pillar_and_one_row_each(of_all, of_group, own, seq):
    text = yaml.safe_dump({
        "all": {"vars": of_all, "children": {
            "infra": {"hosts": {"10.10.10.10": {"infra_seq": seq}}},
            "more": {"hosts": {"10.10.10.10": own, "10.10.10.11": own}, "vars": of_group},
        }},
    })  # fmt: skip
    check(text)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_an_inventory_with_a_slip_in_it_is_an_error_or_a_valid_pillar(data):
    """Cut, doubled or spoiled in one place, as files are."""
    text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 30))
    instead = data.draw(
        st.sampled_from(["", "\t", ":", "{", "]", "x", "\n", "&a", "*a", "!x", "'"])
    )
    check(text[:start] + instead + text[start + length :])


@pytest.mark.parametrize("text", TEXTS, ids=[path.stem for path in INVENTORIES])
def test_every_inventory_of_the_cases_keeps_the_promises(text):
    assert check(text) is not None


def test_hundreds_of_hosts_are_converted():
    text = yaml.safe_dump({
        "all": {"vars": {"admin_ip": "10.10.10.10", "node_timezone": "UTC"}, "children": {
            "infra": {"hosts": {"10.10.10.10": {"infra_seq": 1}}},
            **{f"pg-{n}": {
                "hosts": {f"10.20.{n}.{seq}": {"pg_seq": seq, "pg_role": "replica"}
                          for seq in range(1, 5)},
                "vars": {"pg_cluster": f"pg-{n}"},
            } for n in range(100)},
        }},
    })  # fmt: skip
    pillar = check(text)
    assert len(pillar["infra"]["nodes"]) == 400
    assert json.dumps(pillar["infra"]["node_timezone"]) == '"UTC"'
