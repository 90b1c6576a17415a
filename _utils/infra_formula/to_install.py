"""What a run with ``test=True`` tells of packages that it would install."""

from __future__ import annotations

import re
import time
from typing import Any

from infra_formula.minion import Minion

_PLAIN = re.compile(r"[a-z0-9][a-z0-9.+-]+")  # a name in Debian, without a version or architecture
_READ = "infra_formula.package_lists_read"  # in the run's context: when, in seconds
_FRESH = 300  # seconds; the context of a minion that makes no process for a job outlives the run


def foretell(minion: Minion, name: str, packages: list[str]) -> dict[str, Any] | None:
    """Return what ``pkg.installed`` would tell with ``test=True``, with the lists read once a run.

    Salt's own has apt read its lists anew for each state that lacks a package: seen with Salt
    3008.4, 18 times ``apt-get update`` on an INFRA node on which nothing is installed.

    name
        Of the state.
    packages
        Names of packages.

    Returns the state's answer; None if no package is lacking, or if Salt has to tell: on other
    systems than Debian's, and of what is more than a name.
    """
    if minion.grains.get("os_family") != "Debian" or not all(map(_PLAIN.fullmatch, packages)):
        return None
    there = minion.call("pkg.list_pkgs")
    lacking = [package for package in packages if package not in there]
    if not lacking:
        return None
    now = time.monotonic()
    stale = now - minion.context.get(_READ, float("-inf")) > _FRESH
    if stale:
        minion.context[_READ] = now
    found = minion.call("pkg.latest_version", *lacking, refresh=stale)
    versions = {lacking[0]: found} if isinstance(found, str) else found
    changes = {
        package: {"new": versions.get(package) or "installed", "old": ""} for package in lacking
    }
    comment = f"The following packages would be installed/updated: {', '.join(lacking)}"
    return {"name": name, "changes": changes, "result": None, "comment": comment}
