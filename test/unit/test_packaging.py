"""What the ecosystem expects of a formula: its metadata, its licence, kitchen's options."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from lab import pillar as pillars
from lab.paths import CHECKOUT

FORMULA = yaml.safe_load((CHECKOUT / "FORMULA").read_text(encoding="utf-8"))
KITCHEN = yaml.safe_load((CHECKOUT / "kitchen.yml").read_text(encoding="utf-8"))
OPTIONS = Path(__file__).with_name("cases") / "kitchen_salt.yaml"
PROVISIONER = set(yaml.safe_load(OPTIONS.read_text(encoding="utf-8")))


def test_the_metadata_are_those_that_spm_asks_for():
    assert {"name", "os", "os_family", "version", "release", "summary", "description"} <= set(
        FORMULA
    )
    assert FORMULA["top_level_dir"] == FORMULA["name"] == "infra"
    missing = [path for path in FORMULA["files"] if not (CHECKOUT / path).exists()]
    assert missing == []


def test_whatever_salt_syncs_is_in_the_package():
    synced = {path.name for path in CHECKOUT.glob("_*") if path.is_dir()}
    assert "_utils" in synced
    assert synced <= set(FORMULA["files"])


def test_the_version_is_in_one_place_and_has_notes():
    notes = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = [name for name in re.findall(r"(?m)^## (\S+)", notes) if name != "Unreleased"]
    assert releases[0] == str(FORMULA["version"])
    project = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project


def test_the_licence_is_the_whole_text_of_apache_2():
    text = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    assert text.strip().startswith("Apache License")
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.split()) > 1500


@pytest.mark.parametrize("where", [KITCHEN, *KITCHEN["suites"]], ids=lambda part: part.get("name"))
def test_kitchen_salt_knows_each_option(where):
    options = set(where["provisioner"]) - {"name"}
    assert options - PROVISIONER == set()


def test_the_pillars_of_kitchen_are_there():
    for suite in KITCHEN["suites"]:
        for path in suite["provisioner"].get("pillars_from_files", {}).values():
            assert (CHECKOUT / path).is_file()


@pytest.mark.parametrize("secrets", [None, {"nginx_users": {"ann": "hush"}}])
def test_a_lab_gives_secrets_to_infra_nodes_alone(secrets):
    given = {"infra": {"nginx_port": 80}, **({"infra_secrets": secrets} if secrets else {})}
    made = pillars.files(given)
    top = yaml.safe_load(made["/srv/pillar/top.sls"])["base"]
    assert top == {"*": ["infra"], **({"infra-*": ["infra_secrets"]} if secrets else {})}
    assert "hush" not in made["/srv/pillar/infra.sls"]
    for name in ("infra", "infra_secrets"):
        text = made.get(f"/srv/pillar/{name}.sls", "{}").removeprefix("#!json\n")
        assert json.loads(text) == {key: value for key, value in given.items() if key == name}


def test_make_help_names_every_target_for_people():
    said = subprocess.run(
        ["make", "--no-print-directory", "-C", str(CHECKOUT)], capture_output=True, text=True
    ).stdout
    for target in ("demo", "test", "test-salt", "package", "bench", "soak"):
        assert re.search(rf"(?m)^  make {target} ", said), target
