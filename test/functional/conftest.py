"""Salt's real loader and state compiler, in this process."""

import importlib.util
import json
from pathlib import Path

import pytest
import salt.pillar
from infra_formula import paths
from infra_formula.minion import Minion
from saltfactories.utils.functional import Loaders
from support.guard import machine_is_left_alone  # noqa: F401 - a fixture of every test
from support.salt_shortcuts import (  # noqa: F401 - fixtures of every test
    compiled_templates,
    events_that_nobody_hears,
    listed_distributions,
    listed_modules,
    synced_modules,
)


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory):
    """The formula's records of this machine lie elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "STATE_DIR", tmp_path_factory.mktemp("state"))
        yield


@pytest.fixture(scope="module")
def minion_overrides():
    """Options of the minion; a module overrides it to be another machine."""
    return {}


@pytest.fixture(scope="module")
def loaders(salt_factories, formula_roots, minion_overrides):
    factory = salt_factories.salt_minion_daemon(
        "infra-1", overrides={"file_client": "local", **formula_roots, **minion_overrides}
    )
    return Loaders(factory.config.copy(), loaded_base_name=f"{__name__}.loaded")


@pytest.fixture(autouse=True)
def reset_loaders_state(loaders):
    yield
    loaders.reset_state()


@pytest.fixture
def states(loaders):
    return loaders.states


@pytest.fixture
def modules(loaders):
    return loaders.modules


@pytest.fixture
def minion(loaders):
    """What a thin module passes to the library."""
    return Minion(loaders.modules, loaders.opts, loaders.grains, {})


@pytest.fixture(params=["with the call", "by a master"])
def given_pillar(request, formula_roots, monkeypatch):
    """How a run is given its pillar; returns what to name with the call."""
    if request.param == "with the call":
        yield lambda pillar: pillar
        return
    compiled = salt.pillar.Pillar.compile_pillar
    # Salt 3008 masks what a master compiles, and `pillar.get` copies it each time.
    hide = salt.utils.secret.hide if importlib.util.find_spec("salt.utils.secret") else dict
    monkeypatch.setattr(
        salt.pillar.Pillar, "compile_pillar", lambda *a, **k: hide(compiled(*a, **k))
    )
    (folder,) = map(Path, formula_roots["pillar_roots"]["base"])
    top = folder / "top.sls"
    before = top.read_text(encoding="utf-8")
    top.write_text("base: {'*': [site]}", encoding="utf-8")

    def compiled_from(pillar):
        (folder / "site.sls").write_text(json.dumps(pillar, ensure_ascii=False), encoding="utf-8")

    yield compiled_from
    top.write_text(before, encoding="utf-8")
