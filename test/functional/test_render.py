"""Every SLS renders on every platform, and the map is what its golden file says.

A golden file that has to change is written anew with INFRA_GOLDEN=write in the environment, and
its difference read before it is committed.
"""

import os
from pathlib import Path

import pytest
import yaml
from saltfactories.utils.functional import Loaders

REPO = Path(__file__).resolve().parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
PILLAR = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
PLATFORMS = {
    "debian-12": {"os": "Debian", "os_family": "Debian", "osmajorrelease": 12, "oscodename": "bookworm"},
    "debian-13": {"os": "Debian", "os_family": "Debian", "osmajorrelease": 13, "oscodename": "trixie"},
    "ubuntu-22.04": {"os": "Ubuntu", "os_family": "Debian", "osmajorrelease": 22, "oscodename": "jammy"},
    "ubuntu-24.04": {"os": "Ubuntu", "os_family": "Debian", "osmajorrelease": 24, "oscodename": "noble"},
    "el-8": {"os": "Rocky", "os_family": "RedHat", "osmajorrelease": 8},
    "el-9": {"os": "Rocky", "os_family": "RedHat", "osmajorrelease": 9},
    "el-10": {"os": "AlmaLinux", "os_family": "RedHat", "osmajorrelease": 10},
}  # fmt: skip
SLS = sorted(
    str(path.relative_to(REPO).with_suffix("")).replace("/", ".").removesuffix(".init")
    for path in (REPO / "infra").rglob("*.sls")
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


@pytest.fixture(params=["distro", "upstream"])
def packaging(request):
    return request.param


def pillar(loaders, packaging, infra_node=True):
    hosts = {loaders.opts["id"]: {"infra_seq": 1}} if infra_node else {"10.9.9.9": {"infra_seq": 1}}
    return {"infra": {**PILLAR, "infra_packaging": packaging, "infra_hosts": hosts,
                      "infra_safeguard": False}}  # fmt: skip


@pytest.mark.parametrize("node", [True, False])
def test_every_sls_renders(loaders, modules, packaging, node):
    for sls in SLS:
        low = modules.state.show_low_sls(sls, pillar=pillar(loaders, packaging, node))
        assert isinstance(low, list), (sls, low)
        broken = [chunk for chunk in low if not isinstance(chunk, dict)]
        assert broken == [], sls


def test_ids_are_of_the_house_and_unique(loaders, modules, packaging):
    low = modules.state.show_low_sls("infra", pillar=pillar(loaders, packaging))
    assert {chunk["__id__"].split("-")[0] for chunk in low} == {"infra"}
    assert len({(c["state"], c["fun"], c["__id__"], c["name"]) for c in low}) == len(low)


DUMP = """#!jinja|json
{%- from "infra/map.jinja" import infra with context %}
{%- import_yaml "infra/defaults.yaml" as defaults %}
{%- set told = {} %}
{%- for key, value in infra.items() if key not in ("given", "identity", "infra_packaging") %}
  {%- if key not in defaults or defaults[key] != value %}{% do told.update({key: value}) %}{% endif %}
{%- endfor %}
{"map": {"test.nop": [{"told": {{ told | tojson }}}]}}
"""


def test_the_map_is_golden(modules, formula_roots, platform, packaging):
    Path(formula_roots["file_roots"]["base"][0], "map-dump.sls").write_text(DUMP, encoding="utf-8")
    given = {"infra": {"infra_packaging": packaging}}
    (chunk,) = modules.state.show_low_sls("map-dump", pillar=given)
    path = GOLDEN / f"{platform}.{packaging}.yaml"
    if os.environ.get("INFRA_GOLDEN") == "write":
        path.write_text("---\n" + yaml.safe_dump(chunk["told"]), encoding="utf-8")
    assert chunk["told"] == yaml.safe_load(path.read_text(encoding="utf-8"))
