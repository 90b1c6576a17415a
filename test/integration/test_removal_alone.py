"""Components that were applied alone, in any order, and removed: no package of theirs stays.

A component brings others that it cannot do without, such as the firewall of its port: its own
clean.sls leaves those, infra.clean does not. One machine goes through the tests of this file; each
ends with infra.clean, and so begins with the packages of before.
"""

import itertools

import pytest
import yaml
from lab.paths import CHECKOUT
from lab.suites import MachineSpec
from vendors import DISTRO, NOT_SHIPPED

pytestmark = pytest.mark.soak
ROWS = yaml.safe_load((CHECKOUT / "infra/components.yaml").read_text(encoding="utf-8"))
COMPONENTS = [row["name"] for row in ROWS if row.get("switch") not in NOT_SHIPPED]
PILLAR = {
    "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
    **DISTRO,
    "infra_portal": {"home": {"domain": "i.pigsty"}},
    "node_repo_modules": "",
    "node_repo_remove": False,
    "node_default_packages": ["tree"],
    "repo_remove": False,
    "repo_packages": ["tree"],
    "repo_extra_packages": [],
    "certbot_email": "ops@example.org",
}
REMOVAL = {"infra_safeguard": False, "infra_remove": ["service", "config", "package"]}
PAIRS = [
    pair
    for pair in itertools.permutations(COMPONENTS, 2)
    # One of them brings most that others need: gnupg, openssl, curl, nftables.
    if pair[0] in ("repo", "firewall") or pair[1] == "repo"
]


@pytest.fixture(scope="module")
def machine(boot_lab):
    lab = boot_lab(pillar={"infra": PILLAR}, machines=[MachineSpec("infra-1", "10.10.10.10")])
    machine = lab.machine("infra-1")
    machine.run(["apt-get", "update", "-q"])
    machine.salt_call("saltutil.sync_all")
    return machine


@pytest.fixture(scope="module")
def before(machine):
    return packages(machine)


def packages(machine):
    """Everything that dpkg knows, with what is left of it."""
    form = "--showformat=${Package} ${db:Status-Abbrev}\n"
    return set(machine.run(["dpkg-query", "--show", form]).stdout.splitlines())


def apply(machine, state, **infra):
    done = machine.apply(state, check=False, pillar={"infra": infra})
    # A component that reads from another may fail without it; what it installed counts.
    assert not done.errors, done.errors
    return done


@pytest.fixture(autouse=True)
def removed(machine, before):
    """Have nothing of the formula on the machine, whatever a test left."""
    yield
    apply(machine, "infra.clean", **REMOVAL)


def assert_nothing_left(machine, before):
    assert apply(machine, "infra.clean", **REMOVAL).failed == {}
    assert sorted(packages(machine) ^ before) == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_applied_alone_goes_with_its_packages(machine, before, component):
    apply(machine, f"infra.{component}")
    assert_nothing_left(machine, before)


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_its_own_removal_leaves_goes_with_the_rest(machine, before, component):
    apply(machine, f"infra.{component}")
    assert apply(machine, f"infra.{component}.clean", **REMOVAL).failed == {}
    assert_nothing_left(machine, before)


@pytest.mark.parametrize("first", ["in their order", "the other way round"])
def test_all_of_them_one_after_the_other_go_at_once(machine, before, first):
    order = COMPONENTS if first == "in their order" else COMPONENTS[::-1]
    for component in order:
        apply(machine, f"infra.{component}")
    assert packages(machine) ^ before != set()
    assert_nothing_left(machine, before)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_components_go_in_either_order(machine, before, first, second):
    for component in (first, second):
        apply(machine, f"infra.{component}")
    for component in (first, second):
        assert apply(machine, f"infra.{component}.clean", **REMOVAL).failed == {}
    assert_nothing_left(machine, before)
