"""Every SLS renders on every platform, and the map is what its golden file says.

A golden file that has to change is written anew with INFRA_GOLDEN=write in the environment, and
its difference read before it is committed.
"""

import json
import os
from pathlib import Path

import pytest
import yaml
from saltfactories.utils.functional import Loaders

REPO = Path(__file__).resolve().parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
PILLAR = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
COMPONENTS = yaml.safe_load((REPO / "infra" / "components.yaml").read_text(encoding="utf-8"))
SWITCHES = {row["switch"]: True for row in COMPONENTS if "switch" in row}
PLATFORMS = {
    f"{name}-{release}": {
        "os": os_name,
        "os_family": family,
        "osmajorrelease": int(release.partition(".")[0]),
        "osrelease": release,
        "oscodename": codename,
    }
    for name, os_name, family, release, codename in (
        ("debian", "Debian", "Debian", "12", "bookworm"),
        ("debian", "Debian", "Debian", "13", "trixie"),
        ("ubuntu", "Ubuntu", "Debian", "22.04", "jammy"),
        ("ubuntu", "Ubuntu", "Debian", "24.04", "noble"),
        ("el", "Rocky", "RedHat", "8", ""),
        ("el", "Rocky", "RedHat", "9", ""),
        ("el", "AlmaLinux", "RedHat", "10", ""),
    )
}  # fmt: skip
# infra/orch runs on the master; its tests are those of the fleet.
SLS = sorted(
    str(path.relative_to(REPO).with_suffix("")).replace("/", ".").removesuffix(".init")
    for path in (REPO / "infra").rglob("*.sls")
    if "orch" not in path.parts
)


@pytest.fixture(scope="module", params=list(PLATFORMS))
def platform(request):
    return request.param


@pytest.fixture(scope="module")
def loaders(salt_factories, formula_roots, platform):
    grains = PLATFORMS[platform]
    grains = {**grains, "selinux": {"enabled": grains["os_family"] == "RedHat"}, "init": "systemd"}
    factory = salt_factories.salt_minion_daemon(
        f"infra-1-{platform}",
        overrides={"file_client": "local", "grains": grains, **formula_roots},
    )
    return Loaders(
        factory.config.copy(), loaded_base_name=f"{__name__}.{platform}".replace("-", "_")
    )


def pillar(loaders, packaging, infra_node=True):
    hosts = {loaders.opts["id"]: {"infra_seq": 1}} if infra_node else {"10.9.9.9": {"infra_seq": 1}}
    return {"infra": {**PILLAR, "infra_packaging": packaging, "infra_hosts": hosts,
                      "infra_safeguard": False}}  # fmt: skip


def low(modules, sls, pillar):
    found = modules.state.show_low_sls(sls, pillar=pillar)
    assert isinstance(found, list), (sls, found)
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == [], sls
    return found


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is applied here, so that there is nothing to reset."""


@pytest.mark.parametrize(("packaging", "node"), [("upstream", True), ("distro", False)])
def test_what_is_applied_renders_and_its_ids_are_of_the_house(loaders, modules, packaging, node):
    everything = {**pillar(loaders, packaging, node)["infra"], **SWITCHES}
    found = low(modules, "infra", {"infra": everything})
    assert {chunk["__id__"].split("-")[0] for chunk in found} == {"infra"}
    assert len({(c["state"], c["fun"], c["__id__"], c["name"]) for c in found}) == len(found)


def test_each_sls_renders_by_itself(loaders, modules, platform):
    """What differs within a family is in the map, so that one platform of each is enough."""
    for sls in SLS if platform in ("debian-12", "el-9") else ():
        low(modules, sls, pillar(loaders, "distro"))


DUMP = """#!jinja|json
{%- from "infra/map.jinja" import infra with context %}
{%- import_yaml "infra/defaults.yaml" as defaults %}
{%- set told = {} %}
{%- for key, value in infra.items() if key not in ("given", "own", "identity", "infra_packaging") %}
  {%- if key not in defaults or defaults[key] != value %}
    {%- do told.update({key: value}) %}
  {%- endif %}
{%- endfor %}
{"map": {"test.nop": [{"told": {{ told | tojson }}}]}}
"""


@pytest.mark.parametrize("packaging", ["distro", "upstream"])
def test_the_map_is_golden(modules, formula_roots, platform, packaging):
    Path(formula_roots["file_roots"]["base"][0], "map-dump.sls").write_text(DUMP, encoding="utf-8")
    given = {"infra": {"infra_packaging": packaging}}
    (chunk,) = modules.state.show_low_sls("map-dump", pillar=given)
    path = GOLDEN / f"{platform}.{packaging}.json"
    if os.environ.get("INFRA_GOLDEN") == "write":
        text = json.dumps(chunk["told"], indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert chunk["told"] == json.loads(path.read_text(encoding="utf-8"))
