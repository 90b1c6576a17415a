"""Operating systems and architectures that a repository can be built for."""

from __future__ import annotations

from infra_formula.errors import InvalidInput
from infra_formula.minion import Minion

_RELEASES = (
    ("d", "deb", "debian", {11: "bullseye", 12: "bookworm", 13: "trixie"}, "{}"),
    ("u", "deb", "ubuntu", {22: "jammy", 24: "noble", 26: "resolute"}, "{}.04"),
    ("el", "rpm", "el", {number: f"el{number}" for number in (7, 8, 9, 10)}, "{}"),
)
OSES: dict[str, dict[str, str]] = {
    f"{letter}{number}": {
        "family": family,
        "distro": distro,
        "codename": codename,
        "releasever": version.format(number),
    }
    for letter, family, distro, codenames, version in _RELEASES
    for number, codename in codenames.items()
}
"""Operating systems by Pigsty's short code."""

ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Architectures by the kernel's name, with the name that Debian gives them."""


def target_of(os_family: str, os_name: str, major: int, arch: str) -> str:
    """The target that a machine itself is.

    os_family, os_name, major, arch
        The grains ``os_family``, ``os``, ``osmajorrelease`` and ``cpuarch``.

    Returns e.g. ``d12.x86_64``. Raises SaltInvocationError for a system that no target stands for.
    """
    letter = {"Debian": "u" if os_name == "Ubuntu" else "d", "RedHat": "el"}.get(os_family)
    code = f"{letter}{major}"
    if letter is None or code not in OSES or arch not in ARCHES:
        raise InvalidInput(
            f"no repository can be built for {os_name} {major} on {arch}; say which with"
            f" repo_targets (systems: {', '.join(OSES)}; architectures: {', '.join(ARCHES)})"
        )
    return f"{code}.{arch}"


def identity(minion: Minion) -> tuple[str, str, str]:
    """Family, release and architecture of this machine, as its package manager has them.

    Returns e.g. ``("deb", "trixie", "amd64")`` or ``("rpm", "el9", "x86_64")``; the release is
    empty if the grains do not say it.
    """
    grains = minion.grains
    arch = str(grains.get("cpuarch", ""))
    if grains.get("os_family") == "Debian":
        return "deb", str(grains.get("oscodename", "")), ARCHES.get(arch, arch)
    major = str(grains.get("osmajorrelease", ""))
    return "rpm", f"el{major}" if major else "", arch


def of_target(target: str) -> tuple[str, str, str]:
    """Family, release and architecture of a target, in the words of :func:`identity`.

    target
        E.g. ``d12.x86_64``; empty strings for what is none.
    """
    code, _, arch = target.partition(".")
    system = OSES.get(code)
    if system is None or arch not in ARCHES:
        return "", "", ""
    family = system["family"]
    return family, system["codename"], ARCHES[arch] if family == "deb" else arch


def this_target(minion: Minion) -> str:
    """The target that this machine is."""
    grains = minion.grains
    major = int(grains["osmajorrelease"])
    return target_of(grains["os_family"], grains["os"], major, grains["cpuarch"])
