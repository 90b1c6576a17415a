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


KINDS = {
    ("file", "managed"): ("paths",),
    ("file", "symlink"): ("paths",),
    ("file", "directory"): ("paths",),
    ("group", "present"): ("groups",),
    ("user", "present"): ("accounts", "groups"),
    ("service", "running"): ("units",),
    ("selinux", "boolean"): ("booleans",),
    ("selinux", "fcontext_policy_present"): ("contexts",),
    ("timezone", "system"): ("timezones",),
}
EVERYTHING = {
    "certbot_sign": True, "certbot_email": "a@b.c", "certbot_dns_plugin": "cloudflare",
    "certbot_dns_credentials": "dns_cloudflare_api_token = x", "certbot_ca": "/etc/ca.pem",
    "node_timezone": "UTC",
}  # fmt: skip


def changed(chunks):
    """Component → kind → names that the states of Salt's own, and those of certificates, change."""
    found = {}
    for chunk in chunks:
        component = {"webroot": "repo"}.get(part := chunk["__sls__"].split(".")[1], part)
        kinds = found.setdefault(component, {})
        for kind in KINDS.get((chunk["state"], chunk["fun"]), ()):
            if not chunk["name"].startswith("/var/lib/infra/"):
                kinds.setdefault(kind, set()).add(chunk["name"])
        if "private_key" in chunk and chunk["fun"] != "authority":
            kinds.setdefault("paths", set()).update((chunk["name"], chunk["private_key"]))
    return {component: kinds for component, kinds in found.items() if kinds}


@pytest.mark.parametrize("infra_node", [True, False])
def test_all_that_an_apply_changes_is_recorded_before(modules, loaders, infra_node):  # noqa: F811
    for name in ("infra", "infra.nginx", "infra.vmetrics", "infra.node", "infra.certbot"):
        given = EVERYTHING if name in ("infra", "infra.certbot", "infra.node") else {}
        found = chunks(modules, loaders, name, infra_node, **given)
        found = [c for c in found if c["__sls__"].startswith("infra.")]
        assert [c["__id__"] for c in found if c["state"] == "pkg"] == []
        recorded = {}
        for chunk in found:
            if (chunk["state"], chunk["fun"]) == ("infra_before", "recorded"):
                assert chunk["failhard"]
                kinds = recorded.setdefault(chunk["name"], {})
                for kind in {kind for some in KINDS.values() for kind in some}:
                    kinds.setdefault(kind, set()).update(chunk.get(kind) or ())
        places = [i for i, c in enumerate(found) if (c["state"], c["fun"]) in KINDS]
        first = places[0] if places else len(found)
        assert "infra_before" not in [c["state"] for c in found[first:]]
        for component, kinds in changed(found).items():
            for kind, names in kinds.items():
                left = names - recorded.get(component, {}).get(kind, set())
                assert left == set(), (name, component, kind)
