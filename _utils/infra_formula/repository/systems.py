"""Operating systems and architectures that a repository can be built for."""

from __future__ import annotations

from typing import Any

from infra_formula.errors import InvalidInput
from infra_formula.minion import Minion

OSES: dict[str, dict[str, Any]] = {
    **{
        f"d{number}": {
            "family": "deb",
            "distro": "debian",
            "codename": codename,
            "releasever": str(number),
        }
        for number, codename in ((11, "bullseye"), (12, "bookworm"), (13, "trixie"))
    },
    **{
        f"u{number}": {
            "family": "deb",
            "distro": "ubuntu",
            "codename": codename,
            "releasever": f"{number}.04",
        }
        for number, codename in ((22, "jammy"), (24, "noble"), (26, "resolute"))
    },
    **{
        f"el{number}": {
            "family": "rpm",
            "distro": "el",
            "codename": f"el{number}",
            "releasever": str(number),
        }
        for number in (7, 8, 9, 10)
    },
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
    result: str = target_of(
        minion.grains["os_family"],
        minion.grains["os"],
        int(minion.grains["osmajorrelease"]),
        minion.grains["cpuarch"],
    )
    return result
