"""docs/reference.md has every name that an operator meets, and is short enough to read."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from tools import commands, parameters, reference

ROOT = parameters.ROOT
PAGE = reference.PAGE.read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)


def section(title):
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_it_has_the_sections_that_people_look_for():
    assert HEADINGS == [
        "Components", "Ports", "Files", "States to apply", "Functions", "Alerts", "Metrics",
        "Parameters", "State IDs",
    ]  # fmt: skip


def test_every_component_has_its_row():
    names = [row["name"] for row in yaml.safe_load((ROOT / "infra/components.yaml").read_text())]
    assert re.findall(r"^\| `(\w+)` \|", section("Components"), re.MULTILINE) == names


def test_every_parameter_is_there_with_a_link_to_its_section():
    schema = parameters.read()
    found = dict(re.findall(r"^\| `(\w+)` .*\[([^]]+)\]\(parameters", section("Parameters"), re.M))
    assert found == {name: title for title, inner in schema.items() for name in inner}


def test_every_function_is_there():
    names = {c.name for folder in ("_modules", "_runners")
             for _, found in commands.modules(ROOT, folder).values() for c in found}  # fmt: skip
    assert set(re.findall(r"^\| \[`([\w.]+)`\]", section("Functions"), re.MULTILINE)) == names


def test_every_alert_of_the_rules_is_there():
    rules = (ROOT / "infra/vmalert/files/rules").rglob("*.j2")
    names = {name for path in rules for name in re.findall(r"- alert: (\w+)", path.read_text())}
    assert set(re.findall(r"^\| `(\w+)` \|", section("Alerts"), re.MULTILINE)) == names


def test_every_record_of_the_rules_and_every_metric_of_the_formula_is_there():
    names = {rule["record"] for rule in reference.rules() if "record" in rule}
    for path in [*(ROOT / "_utils/infra_formula").rglob("*.py"), *ROOT.glob("infra/*/files/*")]:
        if "data" not in path.parts and path.is_file():
            names |= set(re.findall(r"# TYPE (infra_\w+)", path.read_text(encoding="utf-8")))
    assert "infra_drift_states" in names
    assert "infra_certificate_renewal_seconds" in section("Metrics")
    assert names - set(re.findall(r"`([\w:]+)`", section("Metrics"))) == set()


def test_every_sls_is_there():
    assert reference.state_files() == reference.named_states()


def test_every_state_id_is_there():
    ids = set()
    for path in [*(ROOT / "infra").rglob("*.sls"), *(ROOT / "infra").rglob("*.jinja")]:
        ids |= set(re.findall(r"^(infra-[\w-]+):$", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(ids) > 100
    assert ids - set(re.findall(r"`(infra-[\w-]+)`", section("State IDs"))) == set()


@pytest.mark.parametrize("release", ["12", "13"])
def test_every_file_of_an_infra_node_is_explained(release):
    golden = ROOT / f"test/integration/golden/files.debian-{release}.txt"
    patterns = [re.sub(r"<\w+>", "*", path) for path, _ in reference.FILES]

    def explained(path):
        return any(fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}/*")
                   or fnmatchcase(pattern, f"{path}/*") for pattern in patterns)  # fmt: skip

    paths = [line.split()[-1] for line in golden.read_text(encoding="utf-8").splitlines()]
    assert len(paths) > 100
    assert [p for p in paths if not explained(p) and not Path(p).name.startswith("nftables")] == []


def test_it_is_short_enough_to_read():
    assert len(PAGE.encode()) < 80_000
    assert max(len(line) for line in PAGE.splitlines()) < 2000
