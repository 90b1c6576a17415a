"""Pigsty's templates and the pillar from an inventory serve the same, and a difference is found."""

import copy
from pathlib import Path

import pytest
import yaml
from infra_formula.parameters import merging
from infra_formula.pigsty import comparison, conversion, original

from tools import formula

CASES = Path(__file__).parent / "cases" / "pigsty"
SHAPES = [
    shape
    for shape in yaml.safe_load((CASES / "shapes.yaml").read_text(encoding="utf-8"))
    if "error" not in shape
]
MINION = formula.minion()
OF_THE_FORMULA = (
    "record a.pigsty on",
    "record g.pigsty on",
    "record p.pigsty on",
    "part traces on",
)
"""What the formula has by default, and Pigsty not."""
OF_PIGSTY = ("part pushgateway on",)
SAFER = "redirect: no, here yes"
"""A password is not asked for without HTTPS."""


def lines(path):
    """The differences but those by default."""
    return [
        line
        for line in comparison.compare(MINION, str(path))
        if not (line.startswith(OF_THE_FORMULA) and line.endswith("only here"))
        and not line.startswith(OF_PIGSTY)
        and not line.endswith(f": {SAFER}")
    ]


KNOWN = {
    # Both hosts have one address, so that only one of them can register.
    "odd": [
        "target node edge edge-a.corp.example 10.10.10.31:9100: only in Pigsty",
        "target node edge edge-a.corp.example 10.10.10.31:9101: only in Pigsty",
        "target node edge edge-a.corp.example 10.10.10.31:9598: only in Pigsty",
        "target ping edge edge-a.corp.example 10.10.10.31: only in Pigsty",
    ],
}


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yml")), ids=lambda path: path.stem)
def test_a_converted_inventory_serves_what_pigsty_serves(path):
    assert lines(path) == KNOWN.get(path.stem, [])


def written(shape, folder):
    path = folder / "pigsty.yml"
    path.write_text(shape["inventory"], encoding="utf-8")
    for name, text in shape.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["about"])
def test_what_is_served_otherwise_is_closed_or_reported(shape, tmp_path):
    """Nothing is served that Pigsty does not serve; what is missing is locked or reported."""
    path = written(shape, tmp_path)
    found = lines(path)
    is_locked = bool(shape.get("locked"))
    _, report = (
        conversion.from_text(MINION, shape["inventory"]) if "files" not in shape else (0, {})
    )
    for line in found:
        if " only here" in line and line.startswith("name "):
            assert any(row["path"] == "infra_portal.home" for row in report["closed"]) or (
                line.startswith("name localhost on") or is_locked
            ), line
        assert "login: yes, here no" not in line or is_locked, line
        assert "redirect: yes, here no" not in line or is_locked, line
        assert "scheme: https, here http" not in line or is_locked, line
    if not is_locked and "closed" not in shape and "report" not in shape:
        assert [line for line in found if "only in Pigsty" in line] == shape.get("lost", [])


def sides(name):
    work = conversion.of_file(MINION, str(CASES / f"{name}.yml"))
    pillar = work.pillar()
    theirs = original.served(work.inventory, work.hosts, work.release)
    return theirs, pillar, work


def changed(change, name="four"):
    theirs, pillar, work = sides(name)
    values = copy.deepcopy(merging.with_secrets(pillar["infra"], pillar.get("infra_secrets")))
    change(values)
    hosts = list(work.inventory["hosts"])
    ours = comparison.of_pillar(MINION, {"infra": values}, hosts, work.hosts.key)
    return [
        line for line in comparison.differences(theirs, ours) if not line.startswith(OF_THE_FORMULA)
    ]


def entry(key, **attributes):
    return lambda values: values["infra_portal"][key].update(attributes)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            entry("minio", endpoint="10.10.10.11:9001"),
            "upstream: 10.10.10.10:9001, here 10.10.10.11",
        ),
        (entry("minio", scheme="http"), "name m.pigsty on 10.10.10.10: scheme: https, here http"),
        (entry("minio", websocket=False), "name m.pigsty on 10.10.10.10: websocket: yes, here no"),
        (entry("minio", auth=True), "name m.pigsty on 10.10.10.10: login: no, here yes"),
        (entry("minio", enforce_https=True), "m.pigsty on 10.10.10.10: redirect: no, here yes"),
        (entry("home", index=False), "name i.pigsty on 10.10.10.10: listing: yes, here no"),
        (lambda v: v["infra_portal"].pop("minio"), "name m.pigsty on 10.10.10.10: only in Pigsty"),
        (lambda v: v.update(dns_records=[]), "record i.pigsty on 10.10.10.10: only in Pigsty"),
        (lambda v: v.update(nginx_sslmode="disable"), "https: yes, here no"),
        (lambda v: v.update(alertmanager_enabled=False), "part alerts on 10.10.10.10: only in"),
        (lambda v: v["nodes"]["10.10.10.11"].pop("register"), "target pgsql pg-test pg-test-1"),
        (lambda v: v["nodes"]["10.10.10.11"].update(node_cluster="x"), "target node pg-test"),
        (lambda v: v.update(node_etc_hosts=[]), "/etc/hosts of 10.10.10.10"),
    ],
)
def test_each_kind_of_difference_is_found(change, found):
    assert changed(lambda values: None) == []
    assert any(found in line for line in changed(change)), changed(change)


def test_the_differences_are_printed():
    assert comparison.text([]).startswith("Pigsty and the pillar serve the same")
    text = comparison.text(["name a on b: only here"])
    assert text == "What Pigsty and the pillar do not serve alike\n  name a on b: only here\n"
