"""A Pigsty's inventory, converted, and its pillar applied as it is to a machine of that address.

What the lab's distribution does not carry is switched off on top of it, and no repository is built.
"""

from pathlib import Path

import pytest
from infra_formula.pigsty import conversion
from lab import Lab

from tools import formula

CASES = Path(__file__).resolve().parent.parent / "unit" / "cases" / "pigsty"
LAB = {
    "infra_packaging": "distro",
    "repo_enabled": False,
    "node_repo_modules": "",
    **{f"{name}_enabled": False for name in ("grafana", "vlogs", "vtraces", "vector")},
}
NAMES = {
    "infra-only": {"i.pigsty": 401, "docs.pigsty": 200},
    "vault": {"i.pigsty": 200, "hidden.pigsty": 401},
    "v2": {
        "h.pigsty": 200,
        "p.pigsty": 200,
        "a.pigsty": 200,
        "g.pigsty": 502,
        "my_metrics.pigsty": 200,
    },
    "v3": {"h.pigsty": 200, "p.pigsty": 200, "a.pigsty": 200, "g.pigsty": 502},
    "odd": {"i.corp.example": 200, "braces.corp.example": 200},
    "demo": {"home.pigsty.cc": 200, "p.pigsty.cc": 200, "a.pigsty.cc": 200, "lab.pigsty.cc": 502},
}
"""Names of each inventory → what the portal answers under them; 502: nothing is behind it here."""

OLD = ("v2", "v3")
"""Inventories of releases whose default names are in the name server and in ``/etc/hosts``."""


def convert(inventory):
    return conversion.from_text(formula.minion(), inventory)


def answer(machine, name):
    """Status under a name, over HTTPS with the machine's own CA."""
    return machine.run(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}",
         "--cacert", "/etc/pki/ca.crt", "--resolve", f"{name}:443:10.10.10.10",
         f"https://{name}/"], check=False,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [name if name == "infra-only" else pytest.param(name, marks=pytest.mark.soak)
     for name in NAMES],
)  # fmt: skip
def test_the_pillar_of_an_inventory_is_applied(name):
    pillars, _ = convert((CASES / f"{name}.yml").read_text(encoding="utf-8"))
    pillar = pillars["infra"]
    given = {**pillars, "infra": {**pillar, **LAB}}
    with Lab.up("default", name=f"pigsty-{name}", pillar=given) as lab:
        machine = lab.machine("infra-1")
        for folder in ("docs", "hidden", "braces"):
            machine.write(f"/www/{folder}/index.html", "here\n")
        first = machine.apply()
        assert first.ok, first.complaint()
        assert machine.apply().changes == {}
        served = {n: int(answer(machine, n)) for n in NAMES[name]}
        assert served == NAMES[name]
        for known in ("h.pigsty", "g.pigsty", "p.pigsty", "a.pigsty") if name in OLD else ():
            assert "10.10.10.10" in machine.run(["getent", "hosts", known]).stdout
            assert "10.10.10.10" in str(machine.salt_call("infra_dns.query", known))
        own = pillar.get("nodes", {}).get("10.10.10.10", {})
        facts = machine.salt_call("infra_register.facts")
        assert facts["cls"] == own.get("node_cluster", "nodes")
        targets = machine.read("/infra/targets/node/10.10.10.10.yml")
        assert "10.10.10.10:9100" in targets
        assert "10.10.10.10:9101" in targets  # as in a Pigsty, HAProxy is taken to run
        if name == "infra-only":
            check_packages(machine, given)


def check_packages(machine, given):
    """What a site installs beside Pigsty is installed; a name that no repository has costs none."""
    text = (
        "infra: {hosts: {10.10.10.10: {infra_seq: 1}}, vars: {infra_packages: "
        "['grafana,grafana-plugins,nginx', 'tree jq', no-such-package, 'jq']}}\n"
    )
    wanted = convert(text)[0]["infra"]["infra_packages"]
    assert wanted == ["tree", "jq", "no-such-package"]
    given = {**given, "infra": {**given["infra"], "infra_packages": wanted}}
    refused = machine.apply("infra.node.packages", pillar=given, check=False)
    assert [row["__id__"] for row in refused.values() if row["result"] is False] == [
        "infra-node-packages-infra-installed"
    ]
    assert "1 of 3 packages cannot be installed: no-such-package: " in refused.complaint()
    for package in ("tree", "jq"):
        machine.run(["dpkg", "--status", package])
    given["infra"]["infra_packages"] = wanted[:2]
    assert machine.apply("infra.node.packages", pillar=given).changes == {}
