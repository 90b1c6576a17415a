"""What kitchen.yml says: platforms, suites, the machines and the pillar of each.

The lab and kitchen read the same file. A suite's `lab:` key is the lab's own and kitchen ignores
it; everything else is kitchen's, so that a pillar or a platform is written down once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .host import LabError
from .paths import CHECKOUT

NETWORK = ipaddress.IPv4Network("10.10.10.0/24")
GATEWAY = ipaddress.IPv4Address("10.10.10.1")
NETWORK6 = ipaddress.IPv6Network("fd00:10:10:10::/64")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class Platform:
    """A distribution release that machines run.

    Attributes:
        name: as kitchen.yml has it, `debian-12`.
        release: the distribution's own name of it, `bookworm`.
    """

    name: str
    release: str


@dataclass(frozen=True)
class MachineSpec:
    """A machine as a suite describes it.

    Attributes:
        name: host name and minion id.
        address: its IPv4 address on the lab's network.
        internet: whether it reaches anything beyond that network.
        platform: a platform of its own; empty means the lab's.
        minion: whether it runs a salt-minion; a machine that is a master and nothing else does not.
        disk: MiB that it can write in all, on a file system of its own; 0 means what the host has.
    """

    name: str
    address: str
    internet: bool = True
    platform: str = ""
    minion: bool = True
    disk: int = 0

    def __post_init__(self) -> None:
        check_name("machine", self.name)
        try:
            address = ipaddress.IPv4Address(self.address)
        except ValueError as error:
            raise LabError(f"Machine {self.name}: {self.address!r} is no IPv4 address.") from error
        ends = (NETWORK.network_address, NETWORK.broadcast_address)
        if address not in NETWORK or address == GATEWAY or address in ends:
            raise LabError(
                f"Machine {self.name}: its address must be in {NETWORK} and other than {GATEWAY}, "
                f"not {address}."
            )

    @property
    def host_part(self) -> int:
        """The last octet of the address, unique within a lab."""
        return int(self.address.rsplit(".", 1)[1])

    @property
    def address6(self) -> str:
        """The IPv6 address: it ends in the same digits as the IPv4 one."""
        return f"{NETWORK6.network_address}{self.host_part}"


@dataclass(frozen=True)
class Suite:
    """A suite of kitchen.yml.

    Attributes:
        name: its name.
        machines: what is booted.
        pillar: the pillar's file.
        secrets: the file of the pillar that INFRA nodes alone get.
        master: the machine that runs a salt-master; empty means that all are masterless.
    """

    name: str
    machines: tuple[MachineSpec, ...]
    pillar: Path | None = None
    secrets: Path | None = None
    master: str = ""


@dataclass(frozen=True)
class Kitchen:
    """All of kitchen.yml that concerns the lab."""

    platforms: Mapping[str, Platform] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)

    def platform(self, name: str | None = None) -> Platform:
        """Return a platform, the first of the file if none is named.

        Raises:
            LabError: there is none of that name.
        """
        return _pick("platform", self.platforms, name)

    def suite(self, name: str | None = None) -> Suite:
        """Return a suite, the first of the file if none is named.

        Raises:
            LabError: there is none of that name.
        """
        return _pick("suite", self.suites, name)


def _pick(kind: str, known: Mapping[str, Any], name: str | None) -> Any:
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise LabError(f"kitchen.yml has no {kind} {name!r} of the lab; it has {', '.join(known)}.")
    return known[name]


def check_name(kind: str, name: str) -> str:
    """Return a name that is fit for hosts, namespaces and folders alike.

    Raises:
        LabError: it is not.
    """
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is no name for a {kind}: up to 32 small letters, digits and hyphens."
        )
    return name


def load(path: Path = CHECKOUT / "kitchen.yml") -> Kitchen:
    """Read kitchen.yml.

    Args:
        path: the file.

    Raises:
        LabError: the file is not there, or lacks what the lab needs.
    """
    try:
        data = yaml.safe_load(path.read_text())
        return Kitchen(
            platforms={
                entry["name"]: Platform(entry["name"], entry["lab"]["release"])
                for entry in data["platforms"]
                if "lab" in entry
            },
            suites={entry["name"]: _suite(entry, path.parent) for entry in data["suites"]},
        )
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError) as error:
        raise LabError(f"{path}: a platform or suite lacks {error} of the lab.") from error


def _suite(entry: dict[str, Any], root: Path) -> Suite:
    lab = entry["lab"]
    pillars = entry.get("provisioner", {}).get("pillars_from_files", {})
    suite = Suite(
        name=check_name("suite", entry["name"]),
        machines=tuple(
            MachineSpec(name, **(settings or {})) for name, settings in lab["machines"].items()
        ),
        pillar=root / pillars["infra.sls"] if "infra.sls" in pillars else None,
        secrets=root / pillars["infra_secrets.sls"] if "infra_secrets.sls" in pillars else None,
        master=lab.get("master", ""),
    )
    if suite.master and suite.master not in {machine.name for machine in suite.machines}:
        raise LabError(f"Suite {suite.name}: its master {suite.master!r} is no machine of it.")
    return suite
