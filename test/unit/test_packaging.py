"""What the ecosystem expects of a formula: its metadata, its licence, kitchen's options."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from functional import test_render
from lab import LabError, suites
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


PLATFORMS = {row["name"]: row for row in KITCHEN["platforms"]}
ARCHIVES = {"ubuntu": "Ubuntu", "debian": "Debian", "rockylinux": "Rocky", "almalinux": "AlmaLinux"}
"""Names of distributions: kitchen's, and the grain `os`."""


def rendered():
    """Platforms for which every state is rendered, by kitchen's names of them."""
    kitchens = {grain: name for name, grain in ARCHIVES.items()}
    return {
        f"{kitchens[grains['os']]}-{grains['osrelease']}"
        for grains in test_render.PLATFORMS.values()
    }


def matrix(document):
    """The rows of the table of platforms in a README: platform, then what is said of it."""
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    table = text.partition("<!-- platforms -->\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {name: said for name, *said in rows[2:]}


@pytest.mark.parametrize(
    ("document", "yes", "no"), [("README.md", "yes", "no"), ("README.zh.md", "是", "否")]
)
def test_the_readme_says_truly_what_is_tested_on_each_platform(document, yes, no):
    expected = {
        name: [
            yes if "lab" in row else no,
            yes if name in rendered() else no,
            f"`{row['driver']['image']}`",
        ]
        for name, row in PLATFORMS.items()
    }
    assert matrix(document) == expected


def test_kitchen_has_every_distribution_that_the_metadata_claim():
    claimed = {name.strip() for name in FORMULA["os"].split(",")} - {"RedHat"}
    assert {ARCHIVES[name.partition("-")[0]] for name in PLATFORMS} == claimed
    families = {grains["os_family"] for grains in test_render.PLATFORMS.values()}
    assert families == {name.strip() for name in FORMULA["os_family"].split(",")}
    assert rendered() == set(PLATFORMS)


def test_a_suite_of_several_machines_is_the_labs_on_every_platform():
    for suite in KITCHEN["suites"]:
        several = len(suite["lab"]["machines"]) > 1
        assert suite.get("excludes", []) == (list(PLATFORMS) if several else [])


def test_a_platform_that_only_kitchen_has_is_refused_by_the_lab():
    with pytest.raises(LabError, match=r"no platform 'ubuntu-22.04' of the lab; it has debian-12"):
        suites.load().platform("ubuntu-22.04")


def test_make_help_names_every_target_for_people():
    said = subprocess.run(
        ["make", "--no-print-directory", "-C", str(CHECKOUT)], capture_output=True, text=True
    ).stdout
    for target in ("demo", "test", "test-salt", "package", "bench", "soak"):
        assert re.search(rf"(?m)^  make {target} ", said), target
