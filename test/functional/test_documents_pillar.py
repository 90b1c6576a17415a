"""Every pillar of the documents passes the gate that a pillar has to pass before it is applied."""

import documents
import pytest
from infra_formula.parameters import validation

from tools import formula

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
    secrets = pillar.get("infra_secrets", {})
    chunks = modules.state.show_low_sls(
        "infra.pillar", pillar={"infra": given, "infra_secrets": secrets}
    )
    assert all(isinstance(chunk, dict) for chunk in chunks), chunks
    (gate,) = [chunk for chunk in chunks if chunk["state"] == "infra_pillar"]
    arguments = {key: gate[key] for key in ("errors", "warnings") if key in gate}
    told = states.infra_pillar.valid(name=gate["name"], **arguments)
    assert told.result is True, f"{block.place}: {told.comment}"
    # What the page shows below `infra` is for all minions: no secret is among it.
    besides = block.notes.get("pillar", {}).get("with", {})
    shown = {key: value for key, value in pillar["infra"].items() if key not in besides}
    client = validation.check(formula.minion("node-1"), shown)
    assert client["warnings"] == [], f"{block.place}: {client['warnings']}"


def test_the_gate_is_one_that_refuses(states):
    errors = validation.check(formula.minion("node-1"), {"nginx_prot": 80})["errors"]
    told = states.infra_pillar.valid(name="x", errors=errors)
    assert told.result is False
    assert "nginx_prot" in told.comment


WRITTEN = sorted({b.document for b in documents.blocks() if b.notes.get("pillar", {}).get("write")})


@pytest.mark.parametrize("document", WRITTEN)
def test_the_pillars_of_a_page_go_together(document):
    """A reader who follows a page has all of its pillars, one over the other."""
    whole = {"infra": {"infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}}}
    for block in documents.blocks():
        if block.document == document and block.notes.get("pillar", {}).get("write"):
            whole = documents.merged(whole, documents.pillar(block))
    found = validation.check(
        formula.minion("infra-1"), whole["infra"], whole.get("infra_secrets", {})
    )
    assert found["errors"] == []
