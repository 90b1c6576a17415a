"""Components are applied alone, in any order, and removed in any: no package of theirs stays.

The distribution is made up: packages and what each depends on. dpkg's refusals are answered in its
own words; nothing else of the removal is a double.
"""

from unittest.mock import create_autospec

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from infra_formula import paths, process
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record, packages

NAMES = [f"p{number}" for number in range(7)]


class Machine:
    """A machine whose package manager knows a made-up distribution.

    Attributes:
        depends: package → those that it depends on.
        installed: what is installed.
    """

    def __init__(self, depends, before):
        self.depends = depends
        self.installed = set().union(*(self.closure(name) for name in before), {"base"})
        self.minion = Minion(
            {
                "pkg.list_pkgs": lambda: dict.fromkeys(self.installed, "1"),
                "pkg.purge": lambda pkgs: self.installed.difference_update(pkgs),
            },
            grains={"os_family": "Debian"},
        )

    def closure(self, name):
        return {name}.union(*(self.closure(other) for other in self.depends[name]))

    def apply(self, component, names):
        """What infra_package.installed does."""
        install_record.add_packages(self.minion, component, names)
        wanted = set().union(*(self.closure(name) for name in names))
        new = wanted - self.installed
        self.installed |= wanted
        changes = {name: {"old": "", "new": "1"} for name in new}
        install_record.add_package_changes(component, changes)

    def remove(self, component):
        plan = packages.plan_removal(self.minion, component)
        plan.apply()
        plan.record()

    def foretell(self, components):
        """Packages that a run with `test=True` tells that it would remove."""
        self.minion.context.clear()
        plans = [packages.plan_removal(self.minion, name, test=True) for name in components]
        return [name for plan in plans for name in plan.changes]

    def dpkg(self, command, **_options):
        """`dpkg --no-act --purge`: refused while something that stays depends on one of them."""
        going = set(command[3:])
        refused = [
            f"dpkg: dependency problems prevent removal of {name}:\n {user} depends on {name}.\n"
            for name in sorted(going)
            for user in sorted(self.installed - going)
            if name in self.depends.get(user, ())
        ]
        return {"retcode": int(bool(refused)), "stdout": "", "stderr": "\n".join(refused)}


@st.composite
def sites(draw):
    """A distribution, components with packages of it, orders of applying and removing."""
    depends = {
        name: draw(st.sets(st.sampled_from(NAMES[:place]), max_size=3)) if place else set()
        for place, name in enumerate(NAMES)
    }
    some = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
    components = draw(st.dictionaries(st.sampled_from("abcd"), some, min_size=1))
    before = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    return (
        depends,
        before,
        components,
        draw(st.permutations(sorted(components))),
        draw(st.permutations(sorted(components))),
    )


NOTHING = {name: set() for name in NAMES}
REQUIRED_LATER = (
    # `a` is applied alone and brings what a package of `b` depends on; `a` is removed first.
    {**NOTHING, "p1": {"p0"}},
    set(),
    {"a": ["p0"], "b": ["p1"]},
    ["a", "b"],
    ["a", "b"],
)


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "infra")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "run")
    return tmp_path / "infra"


@given(site=sites(), twice=st.booleans())
@example(site=REQUIRED_LATER, twice=False)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_components_installed_goes_with_them_in_any_order(state_dir, site, twice):
    depends, before, components, applied, removed = site
    (state_dir / "before.json").unlink(missing_ok=True)
    machine = Machine(depends, before)
    at_first = set(machine.installed)
    for component in applied * (1 + twice):
        machine.apply(component, components[component])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "run", create_autospec(process.run, side_effect=machine.dpkg))
        there, record = set(machine.installed), install_record.record()
        told = machine.foretell(removed)
        assert (machine.installed, install_record.record()) == (there, record)
        for component in removed:
            machine.remove(component)
            for other in removed[removed.index(component) + 1 :]:
                assert set(components[other]) <= machine.installed
    assert machine.installed == at_first
    assert sorted(told) == sorted(there - at_first)


@given(site=sites())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_package_of_the_sites_own_keeps_what_it_depends_on(state_dir, site):
    depends, before, components, applied, removed = site
    (state_dir / "before.json").unlink(missing_ok=True)
    depends = {**depends, "own": set(components[applied[-1]])}
    machine = Machine(depends, before)
    at_first = set(machine.installed)
    for component in applied:
        machine.apply(component, components[component])
    machine.installed |= machine.closure("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "run", create_autospec(process.run, side_effect=machine.dpkg))
        there = set(machine.installed)
        told = machine.foretell(removed)
        for component in removed:
            machine.remove(component)
        assert machine.installed == at_first | machine.closure("own")
        assert sorted(told) == sorted(there - machine.installed)
        # Once that is gone, a further removal takes the rest.
        machine.installed.discard("own")
        for component in removed:
            machine.remove(component)
    assert machine.installed == at_first
