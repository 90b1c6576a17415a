"""What a lab has on this host, written down before it is made.

A lab that was interrupted at any point is taken down by its record alone: names that only this lab
gives out, and processes by their id together with the moment they started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from . import paths
from .suites import MachineSpec

FILE = "record.json"


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same id.

    Attributes:
        pid: its id.
        started: the moment it started, in clock ticks since the host's boot.
        boot: the host's boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the identity of a running process, None if there is none of that id."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name stands in brackets and may hold anything, brackets too.
        fields = stat.rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        return cls(pid, int(fields[19]), boot_id())

    @classmethod
    def me(cls) -> Process:
        """Return the identity of this very process."""
        me = cls.of(os.getpid())
        assert me is not None, "a process that asks is running"
        return me

    def alive(self) -> bool:
        """Tell whether this process, and no other of its id, still runs."""
        return Process.of(self.pid) == self


def boot_id() -> str:
    """Return the identity of the host's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass
class Record:
    """A lab, as it is on this host.

    Attributes:
        name: the lab's name.
        suite: the suite it was made from.
        platform: the platform of its machines.
        link: number of its uplink, unique on the host; gives device and addresses.
        tree: the folder whose state folders the machines see.
        master: the machine with the salt-master, if any.
        attached: whether the host's route to the lab's network leads to it.
        owner: the process without which the lab is a left-over; None for one that is to stay.
        machines: its machines by name.
        images: the root file system of each platform in use.
        snapshots: the snapshot that each machine started from, if one.
        boot: the host's boot during which it was made.
    """

    name: str
    suite: str
    platform: str
    link: int
    tree: str
    master: str = ""
    attached: bool = False
    owner: Process | None = None
    machines: dict[str, MachineSpec] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    boot: str = field(default_factory=boot_id)

    @property
    def folder(self) -> Path:
        """The folder that holds everything of this lab."""
        return paths.state() / self.name

    @property
    def netns(self) -> str:
        """The name of the lab's network namespace."""
        return f"lab-{self.name}"

    def machine_netns(self, machine: str) -> str:
        """Return the name of a machine's network namespace; no lab's name has a dot in it."""
        return f"{self.netns}.{machine}"

    def machine_folder(self, machine: str) -> Path:
        """Return the folder of a machine."""
        return self.folder / machine

    def save(self) -> None:
        """Write the record, in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f"{FILE}.new"
        beside.write_text(json.dumps(asdict(self), indent=2) + "\n")
        beside.replace(self.folder / FILE)

    @classmethod
    def load(cls, name: str) -> Record | None:
        """Return the record of a lab, None if there is none of that name."""
        try:
            data: dict[str, Any] = json.loads((paths.state() / name / FILE).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        data["owner"] = _made(Process, data["owner"]) if data["owner"] else None
        data["machines"] = {key: _made(MachineSpec, one) for key, one in data["machines"].items()}
        return _made(cls, data)


def _made(kind: type[Any], data: dict[str, Any]) -> Any:
    """Return a dataclass of a record: what a lab of another checkout has besides is passed over."""
    known = {part.name for part in fields(kind)}
    return kind(**{key: value for key, value in data.items() if key in known})


def every() -> Iterator[Record]:
    """Yield the record of each lab on this host, in the order of their names."""
    if paths.state().is_dir():
        for folder in sorted(paths.state().iterdir()):
            record = Record.load(folder.name)
            if record is not None:
                yield record
