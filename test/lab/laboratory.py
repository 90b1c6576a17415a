"""Labs: suites of machines on a network of their own, brought up and taken down as one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from . import aptconf, fleet, image, network, paths
from .applied import Applied
from .host import LabError, require, run
from .machine import Machine
from .progress import Progress, silent
from .record import Process, Record, boot_id, every
from .suites import MachineSpec, check_name, load

APPLY_SECONDS = 300
REMOVING = ".removing-"
Pillar = Mapping[str, Any] | Path | str


class Lab:
    """A lab that is up.

    As a context manager it is taken down at the end. The lab of a process that ends without doing
    so is a left-over, which the next `up` of any lab removes.

    Attributes:
        name: its name.
        seconds: how long the steps of `up` took: `image`, `boot`, `salt`, `apply`.
        applied: what the apply of `up` did, by machine.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._machines = {spec.name: Machine(record, spec) for spec in record.machines.values()}
        self.name = record.name
        self.seconds: dict[str, float] = {}
        self.applied: dict[str, Applied] = {}

    # Life of a lab

    @classmethod
    def up(
        cls,
        suite: str | None = None,
        *,
        name: str | None = None,
        platform: str | None = None,
        pillar: Pillar | None = None,
        apply: bool = False,
        attach: bool = False,
        tree: Path | None = None,
        machines: Sequence[MachineSpec] | None = None,
        master: str | None = None,
        salt: str | None = None,
        snapshot: str = "",
        progress: Progress = silent,
    ) -> Lab:
        """Boot the machines of a suite.

        Args:
            suite: a suite of kitchen.yml; the first if not given.
            name: the lab's name; the suite's if not given.
            platform: a platform of kitchen.yml; the first if not given.
            pillar: the pillar, as data or a file; the suite's if not given.
            apply: apply `infra` on every machine.
            attach: let the host reach the lab's addresses. One lab at a time can be.
            tree: a folder whose subfolders are the states instead of the checkout's.
            machines: what to boot instead of the suite's machines; a master of the suite's that is
                nothing else is booted with them.
            master: which of `machines` runs the salt-master, in the place of the suite's.
            salt: the machines' release of Salt, `3006`; INFRA_SALT's, or the tests' own one, if not
                given.
            snapshot: a name of snapshots; a masterless machine starts from the one that fits, if
                there is one, and `Machine.keep` takes one.
            progress: told what is being done.

        Returns:
            The lab, with all machines booted and, where the suite has a master, answering to it.

        Raises:
            LabError: it could not be brought up, and was taken down again.
        """
        require()
        kitchen = load()
        chosen = kitchen.suite(suite)
        wanted = chosen.machines
        if machines is not None:
            alone = () if master else (m for m in chosen.machines if not m.minion)
            wanted = (*machines, *alone)
        master = master or chosen.master
        master = master if master in {spec.name for spec in wanted} else ""
        record = Record(
            name=check_name("lab", name or chosen.name),
            suite=chosen.name,
            platform=kitchen.platform(platform).name,
            link=0,
            tree=str((tree or paths.CHECKOUT).resolve()),
            master=master,
            attached=attach,
            owner=Process.me(),
        )
        content = Path(pillar) if isinstance(pillar, str) else pillar
        lab = cls(record)
        lab._found()
        try:
            with lab.timed("image"):
                for key in sorted({record.platform, *(spec.platform for spec in wanted)} - {""}):
                    record.images[key] = str(image.ensure(kitchen.platform(key), progress, salt))
            with lab.timed("boot"):
                if content is None:
                    lab._boot(wanted, chosen.pillar, progress, chosen.secrets, snapshot)
                else:
                    lab._boot(wanted, content, progress, snapshot=snapshot)
            lab._warn_if_shut_in(progress)
            if master:
                progress(f"starting the salt-master on {master}, and the minions")
                with lab.timed("salt"):
                    fleet.start(lab.minions, lab.master)
            if apply:
                with lab.timed("apply"):
                    lab.applied = lab.apply(progress=progress)
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def find(cls, name: str | None = None) -> Lab:
        """Return a lab that is up.

        Args:
            name: its name; not needed where there is only one.

        Raises:
            LabError: there is none of that name, or it is not clear which is meant.
        """
        known = {record.name: record for record in every()}
        if name is None and len(known) == 1:
            return cls(next(iter(known.values())))
        if name is None:
            there = f"these are up: {', '.join(known)}" if known else "none is up"
            raise LabError(f"Which lab? {there}.")
        if name not in known:
            raise LabError(f"There is no lab {name!r}.")
        return cls(known[name])

    @classmethod
    def all(cls) -> list[Lab]:
        """Return all labs on this host, left-overs too."""
        return [cls(record) for record in every()]

    def down(self) -> None:
        """Take the lab down: nothing of it is left on the host, and what machines wrote is gone.

        Raises:
            LabError: it belongs to another process, which is still running.
        """
        owner = self._record.owner
        if owner is not None and owner.alive() and owner != Process.me():
            raise LabError(
                f"Lab {self.name} belongs to process {owner.pid}, which is running; end that first."
            )
        with _global_lock():
            if self._record.folder.exists():
                self._remove()

    def keep(self) -> None:
        """Let the lab stay up when this process ends."""
        self._record.owner = None
        self._record.save()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # Its machines

    @property
    def machines(self) -> list[Machine]:
        """All machines, in the suite's order."""
        return list(self._machines.values())

    @property
    def minions(self) -> list[Machine]:
        """Those that the formula is applied to: all, but for one that is a master only."""
        return [machine for machine in self.machines if machine.spec.minion]

    @property
    def master(self) -> Machine:
        """The machine with the salt-master.

        Raises:
            LabError: the lab has none.
        """
        if not self._record.master:
            raise LabError(f"The machines of lab {self.name} are masterless.")
        return self.machine(self._record.master)

    @property
    def record(self) -> Record:
        """What is written down about the lab."""
        return self._record

    def machine(self, name: str) -> Machine:
        """Return a machine.

        Raises:
            LabError: the lab has none of that name.
        """
        if name not in self._machines:
            raise LabError(f"Lab {self.name} has no {name!r}; it has {', '.join(self._machines)}.")
        return self._machines[name]

    def add(
        self,
        name: str,
        address: str,
        *,
        internet: bool = True,
        platform: str = "",
        pillar: Pillar | None = None,
    ) -> Machine:
        """Add a machine to the lab, and boot it; under a master, wait until it answers.

        Args:
            name: its host name and minion id.
            address: its IPv4 address.
            internet: whether it reaches anything beyond the lab.
            platform: a platform of kitchen.yml; the lab's if not given.
            pillar: its pillar, if it is masterless.

        Returns:
            The machine.
        """
        spec = MachineSpec(name, address, internet, platform)
        if name in self._machines:
            raise LabError(f"Lab {self.name} has a machine {name!r} already.")
        if platform:
            known = load().platform(platform)
            self._record.images[platform] = str(image.ensure(known, silent))
        content = Path(pillar) if isinstance(pillar, str) else pillar
        self._boot([spec], content, silent)
        if self._record.master:
            fleet.start([self._machines[name]], self.master)
        return self._machines[name]

    def promote(self, name: str) -> None:
        """Have a machine run a salt-master for the lab, which had none; it is its first minion.

        Args:
            name: the machine, which serves the pillar to itself so far.

        Raises:
            LabError: the lab has a master, or the two do not come up.
        """
        if self._record.master:
            raise LabError(f"{self._record.master} is the master of lab {self.name} already.")
        machine = self.machine(name)
        for path, content in fleet.settings(machine.spec, machine.spec).items():
            machine.write(path, content)
        self._record.master = name
        self._record.save()
        fleet.start([machine], machine)

    def net(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float | None = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the host inside the lab's network, where 10.10.10.1 is its address.

        Args:
            argv: the program and its arguments.
            check: raise when it ends with anything but 0.
            input: text for its standard input.
            timeout: seconds that it may take.

        Raises:
            CommandError: it failed (with `check`) or took too long.
        """
        return run(self.net_command(argv), check=check, input=input, timeout=timeout)

    def net_command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs a program of the host inside the lab's network."""
        return ["nsenter", f"--net={network.NETNS / self._record.netns}", "--", *argv]

    # Salt

    def apply(
        self,
        state: str = "infra",
        *,
        test: bool = False,
        check: bool = True,
        progress: Progress = silent,
    ) -> dict[str, Applied]:
        """Apply a state on all machines: through the master, or on one after the other.

        Args:
            state: the state.
            test: only say what would change.
            check: raise when a state fails.
            progress: told of each state as it starts.

        Returns:
            The states' results by machine.

        Raises:
            LabError: states failed (with `check`); the message has their comments.
        """
        if self._record.master:
            progress(f"salt '*' state.apply {state}")
            # All of them answered before, so it is worth the wait; it ends with the last answer.
            wait = f"--timeout={APPLY_SECONDS}"
            words = ["*", "state.apply", state, *(["test=True"] if test else [])]
            answers = self.salt(wait, *words, check=False)
            applied = {one.name: Applied.of(answers.get(one.name)) for one in self.minions}
        else:
            applied = {
                name: machine.apply(
                    state,
                    test=test,
                    check=False,
                    progress=lambda what, name=name: progress(f"{name}: {what}"),  # type: ignore[misc]
                )
                for name, machine in self._machines.items()
            }
        broken = [f"{name}: {done.complaint()}" for name, done in applied.items() if not done.ok]
        if check and broken:
            raise LabError("\n".join(broken))
        return applied

    def salt(self, *words: str, check: bool = True, timeout: float | None = 1800) -> dict[str, Any]:
        """Run `salt` on the lab's master: options, target, function, arguments.

        Args:
            words: what follows `salt` on the command line.
            check: raise when it ends with anything but 0.
            timeout: seconds that it may take.

        Returns:
            The answers by minion.

        Raises:
            LabError: the lab has no master, or the command failed (with `check`).
        """
        return fleet.salt(self.master, *words, check=check, timeout=timeout)

    def timed(self, step: str) -> _Timer:
        """Return a context manager that writes down in `seconds` how long a step takes."""
        return _Timer(self.seconds, step)

    # Making it

    def _found(self) -> None:
        """Write the lab down, and make its network, once left-overs are out of the way."""
        with _global_lock():
            _sweep()
            known = Record.load(self.name)
            if known is not None:
                raise LabError(
                    f"Lab {self.name} is up already; take it down first: test/lab/lab down "
                    f"{self.name}, or give this one another name (--name)."
                )
            if self._record.attached:
                network.check_attachable()
            self._record.link = network.free_link()
            self._record.save()
            try:
                network.create(self._record)
            except BaseException:
                self._remove()
                raise

    def _remove(self) -> None:
        """Remove everything that the lab has on this host, under the lock.

        Whatever interrupts this, the next `up` goes on with it: the lab has an owner that ended,
        or its folder is marked.
        """
        self._record.owner = Process.me()
        self._record.save()
        for machine in self._machines.values():
            machine.remove()
        others = [record for record in every() if record.name != self.name]
        network.remove(self._record, last=not others)
        marked = self._record.folder.with_name(f"{REMOVING}{self.name}")
        # An interrupted removal came this far, and was then gone on with.
        paths.remove_tree(marked)
        self._record.folder.rename(marked)
        paths.remove_tree(marked)

    def _warn_if_shut_in(self, progress: Progress) -> None:
        """Say so if the machines that should reach the archive cannot even resolve its name."""
        source = aptconf.for_release(load().platform(self._record.platform).release)[0]
        host = urlsplit(source.uri).hostname or ""
        for machine in self.machines:
            if machine.spec.internet:
                asked = ["timeout", "5", "getent", "ahostsv4", host]
                if machine.run(asked, check=False).returncode != 0:
                    progress(
                        f"warning: {machine.name} cannot resolve {host}; is this host offline, or "
                        "does a firewall of its own (docker, ufw) drop what it forwards?"
                    )
                return

    def _boot(
        self,
        specs: Sequence[MachineSpec],
        pillar: Any,
        progress: Progress,
        secrets: Path | None = None,
        snapshot: str = "",
    ) -> None:
        """Make machines and boot them, all at once."""
        added = [Machine(self._record, spec) for spec in specs]
        taken = {machine.address for machine in self.machines}
        for machine in added:
            if machine.address in taken:
                raise LabError(f"{machine.address} is the address of two machines.")
            taken.add(machine.address)
        self._record.machines |= {spec.name: spec for spec in specs}
        self._record.save()
        self._machines |= {machine.name: machine for machine in added}
        master = self._record.machines.get(self._record.master)
        progress(f"booting {', '.join(machine.name for machine in added)}")
        for machine in added:
            network.add_machine(self._record, machine.spec)
            machine.prepare(fleet.files(machine.spec, master, pillar, secrets), snapshot)
            machine.launch()
        for machine in added:
            machine.wait()


class _Timer:
    """Writes down how long a block took."""

    def __init__(self, into: dict[str, float], step: str) -> None:
        self._into = into
        self._step = step

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._into[self._step] = time.monotonic() - self._start


def _global_lock() -> Any:
    return paths.locked(paths.state() / "lock")


def _sweep() -> None:
    """Remove left-overs: labs whose process has ended, or which the host's own end took along."""
    for record in every():
        orphaned = record.owner is not None and not record.owner.alive()
        if orphaned or record.boot != boot_id():
            Lab(record)._remove()
    for marked in paths.state().glob(f"{REMOVING}*"):
        paths.remove_tree(marked)
