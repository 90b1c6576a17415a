"""Every pillar of the documents passes the gate that a pillar has to pass before it is applied."""

import documents
import pytest

PILLARS = [(block, documents.pillar(block)) for block in documents.blocks()]
PILLARS = [
    (block, pillar)
    for block, pillar in PILLARS
    if pillar is not None and not block.notes.get("pillar", {}).get("files")
]


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is applied here, so that there is nothing to reset."""


@pytest.mark.parametrize(("block", "pillar"), PILLARS, ids=[block.place for block, _ in PILLARS])
def test_pillar(loaders, modules, states, block, pillar):
    # Only an INFRA node looks at the portal.
    given = {"infra_hosts": {}, **pillar["infra"]}
    ours = {loaders.opts["id"]: {"infra_seq": 99, "ip": "10.10.10.99"}}
    given["infra_hosts"] = {**ours, **given["infra_hosts"]}
    chunks = modules.state.show_low_sls("infra.pillar", pillar={"infra": given})
    assert all(isinstance(chunk, dict) for chunk in chunks), chunks
    (gate,) = [chunk for chunk in chunks if chunk["state"] == "infra_pillar"]
    known = ("name", "parameters", "own", "hosts", "admin_ip", "portal", "portal_settings")
    told = states.infra_pillar.valid(**{key: gate[key] for key in known if key in gate})
    assert told.result is True, f"{block.place}: {told.comment}"


def test_the_gate_is_one_that_refuses(states):
    told = states.infra_pillar.valid(name="x", parameters={"nginx_prot": 80})
    assert told.result is False
    assert "nginx_prot" in told.comment
