"""Salt's real loader and state compiler, in this process."""

import pytest
from saltfactories.utils.functional import Loaders


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
