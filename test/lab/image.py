"""Root file systems of the lab's machines: built once, then only read.

An image is kept under a name made of everything that went into it. It is built beside its place
and renamed at the end, so that what has the name is whole.
"""

from __future__ import annotations

import hashlib
import os
import platform as host_platform
import re
import subprocess
import time
from pathlib import Path

from . import aptconf, build, paths
from .host import LabError, require
from .progress import Heartbeat, Progress
from .record import every
from .suites import Platform

KEEP_SECONDS = 7 * 24 * 3600


def ensure(platform: Platform, progress: Progress, salt: str | None = None) -> Path:
    """Return the root file system of a platform, built first if it is not there.

    Args:
        platform: the platform.
        progress: told what is being done.
        salt: a release of Salt, `3006`; INFRA_SALT's, or the one of the tests, if not given.

    Returns:
        The folder, which must not be written to.

    Raises:
        LabError: it could not be built; the message has the end of the log.
    """
    require()
    sources = aptconf.for_release(platform.release)
    images = paths.cache() / "images"
    requirement = _salt_requirement(salt)
    image = images / f"{platform.name}-{_key(platform, sources, requirement)}"
    used = images / f"{image.name}.used"
    if image.is_dir():
        used.touch()
        return image
    with paths.locked(images / f"{platform.name}.lock") as lock:
        if image.is_dir():
            return image
        _discard_others(images, platform)
        log = images / f"{platform.name}.log"
        work = images / f"{platform.name}.building"
        with log.open("w") as output:
            try:
                with Heartbeat(progress, lambda: _last_line(platform, log)):
                    build.make_root(
                        platform, sources, requirement, archives(platform.name), work, output,
                        lock.fileno(), progress,
                    )  # fmt: skip
            except subprocess.CalledProcessError as error:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise LabError(f"{platform.name} could not be built ({log}):\n{tail}") from error
        # First the mark, so that an image never stands without one.
        used.touch()
        (work / "root").rename(image)
        paths.remove_tree(work)
    return image


def archives(platform: str) -> Path:
    """Return the folder of a platform's downloaded packages."""
    return paths.cache() / "apt" / platform


def _key(platform: Platform, sources: list[aptconf.Source], requirement: str) -> str:
    """Return a digest of everything that goes into an image, dates excepted."""
    digest = hashlib.sha256()
    parts = [platform.release, host_platform.machine(), requirement]
    for part in parts:
        digest.update(part.encode())
    for path in [Path(build.__file__), *sorted(build.RECIPE.iterdir())]:
        digest.update(path.read_bytes())
    for name, content in build.host_files(sources):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


def _salt_requirement(salt: str | None) -> str:
    """Return pip's requirement of Salt: the tests' own one, unless another release is given."""
    salt = salt or os.environ.get("INFRA_SALT")
    if salt:
        return f"salt=={salt}.*\n"
    requirements = paths.CHECKOUT / "test" / "requirements.txt"
    for line in requirements.read_text().splitlines():
        if re.match(r"salt\b(?!-)", line):
            return f"{line}\n"
    raise LabError(f"{requirements} does not pin Salt.")


def _last_line(platform: Platform, log: Path) -> str:
    """Return what a build is at: the last line of its log."""
    lines = log.read_text(errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{platform.name}: {last[:100]}" if last else ""


def _discard_others(images: Path, platform: Platform) -> None:
    """Remove the platform's interrupted builds, and images that have not been used for a week."""
    paths.remove_tree(images / f"{platform.name}.building")
    in_use = {record.images.get(platform.name) for record in every()}
    for mark in images.glob(f"{platform.name}-*.used"):
        folder = mark.with_suffix("")
        if time.time() - mark.stat().st_mtime > KEEP_SECONDS and str(folder) not in in_use:
            paths.remove_tree(folder)
            mark.unlink()
