"""Inventories of every release and habit: what becomes of them, and that nothing opens by it."""

import re
from pathlib import Path

import pytest
import yaml
from infra_formula.parameters import locked, merging, validation
from infra_formula.pigsty import conversion
from infra_formula.pigsty import report as report_texts
from salt.exceptions import SaltInvocationError

from tools import formula

CASES = Path(__file__).parent / "cases" / "pigsty"
SHAPES = yaml.safe_load((CASES / "shapes.yaml").read_text(encoding="utf-8"))
MINION = formula.minion()


def convert(shape, folder):
    """The pillar of an inventory, both parts of it in one, and its report."""
    path = folder / "pigsty.yml"
    path.write_text(shape["inventory"], encoding="utf-8")
    for name, text in shape.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    out = folder / "infra.sls"
    found = conversion.convert(MINION, str(path), str(out))
    pillar = yaml.safe_load(out.read_text(encoding="utf-8"))
    if found["secrets"]:
        pillar |= yaml.safe_load(Path(found["secrets"]).read_text(encoding="utf-8"))
    return pillar, found["report"]


def merged(pillar):
    return merging.with_secrets(pillar["infra"], pillar.get("infra_secrets"))


ABSENT = object()


def at(value, path):
    """The value at a key path; ABSENT if there is none."""
    for quoted, index, name in re.findall(r"\['([^']+)'\]|\[(\d+)\]|([^.\[\]]+)", path):
        key = int(index) if index else quoted or name
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return value


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["about"])
def test_an_inventory_becomes_what_its_author_expects(shape, tmp_path):
    if "error" in shape:
        with pytest.raises(SaltInvocationError) as caught:
            convert(shape, tmp_path)
        assert shape["error"] in str(caught.value)
        return
    pillar, report = convert(shape, tmp_path)
    whole = merged(pillar)
    for path, value in shape.get("infra", {}).items():
        found = at(whole, path)
        if isinstance(value, dict) and path.startswith("nodes[") and path.endswith("']"):
            found = {name: found[name] for name in value}
        assert found == value, path
    for path in shape.get("absent", []):
        assert at(whole, path) is ABSENT, path
    for path in shape.get("locked", []):
        assert locked.is_locked(at(whole, path)), path
    text = report_texts.text(report)
    closed = {row["path"] for row in report["closed"]}
    assert set(shape.get("locked", [])) | set(shape.get("closed", [])) <= closed
    if closed:
        assert text.startswith("Closed, because")
    for part in shape.get("report", []):
        assert part in text
    for part in shape.get("silent", []):
        assert part not in text
    errors = validation.check_data(MINION, pillar)["errors"]
    assert sorted(shape.get("locked", [])) == sorted(
        error.removeprefix("infra_secrets:").split(": expected a value that you set")[0]
        for error in errors
    )
