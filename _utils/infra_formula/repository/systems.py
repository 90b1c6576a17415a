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


def this_target(minion: Minion) -> str:
    """The target that this machine is."""
    grains = minion.grains
    major = int(grains["osmajorrelease"])
    return target_of(grains["os_family"], grains["os"], major, grains["cpuarch"])
