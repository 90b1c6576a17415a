"""The formula in a saltenv that a top file chooses, and under options of Jinja of a site.

``base`` has every file of the formula too, each with a content that no one can use: whatever is
read from there fails, or is seen in the result.
"""

import ast
import copy
import json
import shutil
from pathlib import Path

import pytest
import salt.state
from saltfactories.utils.functional import Loaders

from functional.test_render import PILLAR, PLATFORMS, SLS, SWITCHES

REPO = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("infra", "_modules", "_states", "_utils")
UNUSABLE = "{% this_is_a_file_of_base %}\n"
EVERYTHING = {
    **PILLAR,
    **SWITCHES,
    "infra_packaging": "upstream",
    "certbot_email": "admin@pigsty.io",
}


def parameters(infra_node):
    hosts = {"infra-1": {"infra_seq": 1}} if infra_node else {"10.9.9.9": {"infra_seq": 1}}
    return {"infra": {**EVERYTHING, "infra_hosts": hosts, "node_wait": 0}}


def machine(salt_factories, number, **overrides):
    """Loaders of a minion; its id is the same each time, so that it is the same machine."""
    options = {"id": "infra-1", "file_client": "local", **overrides}
    factory = salt_factories.salt_minion_daemon(f"saltenv-{number}", overrides=options)
    return Loaders(factory.config.copy(), loaded_base_name=f"{__name__}.{number}")


@pytest.fixture(scope="module")
def roots(tmp_path_factory, formula_roots):
    """File roots: the formula in dev, by the top file of base, and one that is unusable in base."""
    (dev,) = formula_roots["file_roots"]["base"]
    base = tmp_path_factory.mktemp("base")
    for folder in FOLDERS:
        for path in sorted((REPO / folder).rglob("*")):
            copied = base / path.relative_to(REPO)
            if path.is_file() and path.suffix != ".pyc":
                copied.parent.mkdir(parents=True, exist_ok=True)
                copied.write_text(UNUSABLE, encoding="utf-8")
    (base / "top.sls").write_text("dev: {'*': [infra]}\n", encoding="utf-8")
    return {**formula_roots, "file_roots": {"base": [str(base)], "dev": [str(dev)]}}


@pytest.fixture(scope="module")
def loaders(salt_factories, roots):
    return machine(salt_factories, "dev", **roots)


@pytest.fixture(scope="module")
def plain(salt_factories, formula_roots):
    """A minion that has the formula in base."""
    return machine(salt_factories, "base", **formula_roots)


def outcome(run, cache):
    """What each state of a run would do, without what differs from run to run."""
    assert isinstance(run, dict), run
    found = {key: (state["result"], state["changes"], state["comment"])
             for key, state in run.items()}  # fmt: skip
    return json.loads(json.dumps(found, default=str).replace(cache, "CACHE"))


@pytest.mark.parametrize("infra_node", [True, False])
def test_a_highstate_reads_every_file_from_the_environment_of_the_top_file(
    loaders, plain, infra_node
):
    given = {"pillar": parameters(infra_node), "test": True}
    found = outcome(loaders.modules.state.highstate(**given).raw, loaders.opts["cachedir"])
    wanted = outcome(plain.modules.state.apply("infra", **given).raw, plain.opts["cachedir"])
    assert len(found) > 20
    assert found == wanted
    assert "this_is_a_file_of_base" not in json.dumps(found)


def test_the_library_of_that_environment_is_synced(loaders):
    utils = Path(loaders.opts["extension_modules"], "utils", "infra_formula")
    shutil.rmtree(utils)
    loaders.modules.state.highstate(pillar=parameters(False), test=True)
    for path in (REPO / "_utils" / "infra_formula").rglob("*.py"):
        synced = utils / path.relative_to(REPO / "_utils" / "infra_formula")
        assert synced.read_bytes() == path.read_bytes()


def test_every_state_passes_its_environment_to_the_library():
    for path in sorted((REPO / "_states").glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        for call in calls:
            if getattr(call.func, "id", "") == "Minion":
                assert "__env__" in [getattr(arg, "id", "") for arg in call.args], path.name


# -- jinja_sls_env ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "infra_node", "names"),
    [
        ("debian-12", True, SLS),
        ("debian-12", False, ["infra", "infra.clean"]),
        ("el-9", True, ["infra", "infra.clean"]),
    ],
)
def test_trimmed_blocks_of_jinja_change_nothing(
    salt_factories, formula_roots, platform, infra_node, names
):
    grains = PLATFORMS[platform]
    grains = {**grains, "selinux": {"enabled": grains["os_family"] == "RedHat"}, "init": "systemd"}
    trim = {"jinja_sls_env": {"trim_blocks": True, "lstrip_blocks": True}}
    loaders = machine(salt_factories, platform.replace("-", ""), grains=grains, **formula_roots)
    plain, trimmed = (
        rendered({**loaders.opts, **options}, names, parameters(infra_node))
        for options in ({}, trim)
    )
    differs = [sls for sls in names if trimmed[sls] != plain[sls]]
    assert {sls: trimmed[sls] for sls in differs} == {sls: plain[sls] for sls in differs}


def rendered(options, names, pillar):
    """High data of each SLS by itself."""
    found = {}
    with salt.state.HighState(copy.deepcopy(options), pillar) as compiler:
        for sls in names:
            compiler.building_highstate = type(compiler.building_highstate)()
            compiler.push_active()
            try:
                high, errors = compiler.render_highstate({"base": [sls]})
            finally:
                compiler.pop_active()
            assert errors == [], sls
            found[sls] = json.loads(json.dumps(high, default=str))
    return found
