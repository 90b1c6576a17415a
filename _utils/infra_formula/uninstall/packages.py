"""Packages that a removal can take away, and the package manager that does."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.state import Plan
from infra_formula.uninstall import install_record

_FORETOLD = "infra_clean.packages_foretold"  # in the run's context
_DPKG_NEEDS = re.compile(r"^\s+(\S+) depends on (\S+?)[.;]?(?: \(.*)?$", re.MULTILINE)
_DPKG_OF = re.compile(r"problems prevent removal of (\S+):")
_RPM_NEEDS = re.compile(r"^\s*(.+?) is needed by \(installed\) (\S+)$", re.MULTILINE)


@dataclass
class Foretold:
    """What the removals of a run with ``test=True`` would have done so far.

    Attributes:
        record: the install record, as it would be.
        gone: packages that would be removed.
    """

    record: dict[str, install_record.Entries]
    gone: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, minion: Minion) -> Foretold:
        """Return that of a run that begins."""
        minion.context[_FORETOLD] = cls(copy.deepcopy(install_record.record()))
        return cls.of(minion)

    @classmethod
    def of(cls, minion: Minion) -> Foretold:
        """Return that of the run."""
        found: Foretold | None = minion.context.get(_FORETOLD)
        return found or cls.start(minion)

    def note(self, component: str, removed: Iterable[str], required: Mapping[str, str]) -> None:
        """Do to the record what the removal of a component's packages would do to it.

        component
            Its name.
        removed
            Packages that are no longer of it.
        required
            As :func:`removable` returns it.
        """
        handed = install_record.heirs(self.record, component, required)
        for package, other in handed.items():
            self.record[other].setdefault("installed", {})[package] = False
        for kind in ("packages", "installed"):
            for package in (*removed, *handed):
                self.record.get(component, {}).get(kind, {}).pop(package, None)


def plan_removal(minion: Minion, component: str, test: bool = False) -> Plan:
    """Plan to remove the packages of a component, and to install displaced ones again.

    component
        Its name.
    test
        Nothing is going to be done: the plans of a run stand on what those before would have done.
    """
    foretold = Foretold.of(minion) if test else None
    everything = foretold.record if foretold else install_record.record()
    kinds = everything.get(component, {})
    others = install_record.installed_by_formula(component, everything)
    installed = [
        package
        for kind in ("packages", "installed")
        for package, was in kinds.get(kind, {}).items()
        if not was
    ]
    own = [package for package in installed if package not in others]
    gone = foretold.gone if foretold else set()
    plan = removable(minion, own, gone) if own else {"remove": [], "required": {}}
    displaced = sorted(kinds.get("displaced", {}))
    stays = [f"; {name} stays: {user} requires it" for name, user in plan["required"].items()]
    stays += [
        f"; {name} stays: another component requires it" for name in installed if name in others
    ]
    changes = dict.fromkeys(plan["remove"], "removed")
    changes.update(dict.fromkeys(displaced, "installed again"))
    warnings: list[str] = []
    removed = [package for package in installed if package not in plan["required"]]
    if foretold:
        foretold.note(component, removed, plan["required"])
        foretold.gone.update(plan["remove"])

    def apply() -> None:
        if plan["remove"]:
            purge(minion, plan["remove"])
        if not displaced:
            return
        try:
            minion.call("pkg.install", pkgs=displaced)
        except CommandExecutionError as err:
            for name in displaced:
                changes.pop(name)
            names = ", ".join(displaced)
            warnings.append(
                f"{names} was there before installation and is not available now: {err}"
            )
        else:
            install_record.forget(component, "displaced", displaced)

    def record() -> None:
        install_record.hand_over(component, plan["required"])
        for kind in ("packages", "installed"):
            install_record.forget(component, kind, removed)

    what = f"The packages of {component}"
    done = "removed" if changes else "nothing to remove"
    return Plan(
        changes=changes,
        comment=f"{what}: {done}{''.join(stays)}",
        would=f"{what}: would be removed{''.join(stays)}",
        apply=apply,
        warnings=warnings,
        record=record,
    )


def required_by(family: str, output: str) -> dict[str, str]:
    """Packages that cannot be removed → a package that requires them.

    family
        ``Debian`` or ``RedHat``.
    output
        Of ``dpkg --no-act --purge`` or ``rpm --erase --test``.
    """
    if family == "Debian":
        dependents = {}
        for block in re.split(r"(?=dpkg: dependency problems)", output):
            of = _DPKG_OF.search(block)
            user = _DPKG_NEEDS.search(block)
            if of and user:
                dependents[of.group(1)] = user.group(1)
        return dependents
    return dict(_RPM_NEEDS.findall(output))


def removable(
    minion: Minion, packages: Iterable[str], gone: Collection[str] = ()
) -> dict[str, Any]:
    """Find out which packages can be removed without removing another one.

    packages
        Names; those that are not installed are ignored.
    gone
        Names of others, which are treated as removed.

    Returns ``remove`` (names) and ``required`` (name → the package that requires it).
    """
    there = minion.call("pkg.list_pkgs")
    wanted = set(packages)
    left = sorted(name for name in {*wanted, *gone} if name in there)
    required: dict[str, str] = {}
    family = minion.grains["os_family"]
    command = (
        ["dpkg", "--no-act", "--purge"] if family == "Debian" else ["rpm", "--erase", "--test"]
    )
    while left:
        outcome = process.run([*command, *left], env={"LC_ALL": "C"})
        if outcome["retcode"] == 0:
            break
        output = f"{outcome['stdout']}\n{outcome['stderr']}"
        users = required_by(family, output)
        if family != "Debian":
            users = {_provider(what): user for what, user in users.items()}
        stay = {name.partition(":")[0]: user for name, user in users.items()}
        stay = {name: user for name, user in stay.items() if name in left}
        if not stay:
            raise CommandFailed(f"{' '.join(command)}: {output.strip()}")
        required.update(stay)
        left = [name for name in left if name not in stay]
    return {
        "remove": [name for name in left if name in wanted],
        "required": {name: user for name, user in required.items() if name in wanted},
    }


def _provider(capability: str) -> str:
    """Name of the installed package that provides a capability."""
    word = capability.split(" ", 1)[0]
    outcome = process.run(
        ["rpm", "--query", "--queryformat", "%{NAME}\n", "--whatprovides", word],
    )
    return outcome["stdout"].splitlines()[0] if outcome["retcode"] == 0 else word


def purge(minion: Minion, packages: list[str]) -> None:
    """Remove packages with their configuration.

    Raises CommandExecutionError where some are still installed then.
    """
    function = "pkg.purge" if minion.grains["os_family"] == "Debian" else "pkg.remove"
    minion.call(function, pkgs=packages)
    left = sorted(set(packages) & set(minion.call("pkg.list_pkgs")))
    if left:
        raise CommandFailed(f"the package manager left these installed: {', '.join(left)}")
