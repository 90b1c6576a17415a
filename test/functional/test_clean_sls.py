"""The way back renders on both families, for an INFRA node and a client, in the reverse order."""

import pytest

from .test_render import COMPONENTS, PLATFORMS, loaders, low, pillar  # noqa: F401 (a fixture)

STAGES = ["service", "config", "package", "data"]


@pytest.fixture(scope="module", params=["debian-12", "el-9"])
def platform(request):
    assert request.param in PLATFORMS
    return request.param


def chunks(modules, loaders, sls, infra_node=True, **given):  # noqa: F811
    """The states of a way back, in the order in which they run."""
    infra = {**pillar(loaders, "distro", infra_node)["infra"], **given}
    found = low(modules, sls, {"infra": infra})
    return sorted(found, key=lambda chunk: chunk["order"])


@pytest.mark.parametrize("infra_node", [True, False])
def test_it_is_the_way_there_in_reverse(modules, loaders, infra_node):  # noqa: F811
    found = chunks(modules, loaders, "infra.clean", infra_node, infra_remove=STAGES)
    ours = [c for c in found if c["state"] == "infra_clean"]
    assert [c["fun"] for c in ours[:2]] == ["allowed", "confirmed"]
    assert all(c["failhard"] for c in ours if c["fun"] in ("allowed", "confirmed"))
    assert ours[-1]["fun"] == "finished"
    names = [row["name"] for row in reversed(COMPONENTS)]
    for stage in STAGES[:3]:
        assert [c["name"] for c in ours if c["fun"] == stage] == names
    data = [c["name"] for c in ours if c["fun"] == "data"]
    assert data == names
    for name in names:
        order = [c["fun"] for c in ours if c["name"] == name and c["fun"] in (*STAGES, "rest")]
        assert order == [*STAGES, "rest"]


def test_it_goes_no_further_than_asked(modules, loaders):  # noqa: F811
    for given, expected in (
        ({}, {"service", "config", "rest"}),
        ({"infra_remove": ["service"]}, {"service"}),
    ):
        found = chunks(modules, loaders, "infra.nginx.clean", **given)
        ours = {c["fun"] for c in found if c["state"] == "infra_clean"}
        assert ours == {"allowed", *expected}


def test_every_component_has_a_way_back_behind_the_safeguard(modules, loaders):  # noqa: F811
    for row in COMPONENTS:
        first = chunks(modules, loaders, f"infra.{row['name']}.clean")
        ours = [c for c in first if c["__id__"] != "infra-sync-modules-loaded"]
        assert ours[0]["fun"] == "allowed", row["name"]
