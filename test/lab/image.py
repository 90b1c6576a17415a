"""Root file systems of the lab's machines: built once, then only read.

An image is kept under a name made of everything that went into it. It is built beside its place
and renamed at the end, so that what has the name is whole.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import platform as host_platform
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from . import aptconf, archive, container, paths
from .host import LabError, require
from .record import every
from .suites import Platform

Progress = Callable[[str], None]
RECIPE = paths.HERE / "image"
TELL_SECONDS = 10
KEEP_SECONDS = 7 * 24 * 3600
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")


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
                with Heartbeat(log, platform.name, progress):
                    _build(platform, sources, requirement, work, output, lock.fileno(), progress)
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


def _build(
    platform: Platform,
    sources: list[aptconf.Source],
    requirement: str,
    work: Path,
    output: IO[str],
    lock: int,
    progress: Progress,
) -> None:
    root, pool, pip_cache = work / "root", archives(platform.name), paths.cache() / "pip"
    for folder in (root, pool, pip_cache):
        folder.mkdir(parents=True, exist_ok=True)
    progress(f"{platform.name}: installing Debian {platform.release} (a minute, once)")
    # An image that is not whole is thrown away, so nothing of it need reach the disk at once.
    quick = root / "etc/dpkg/dpkg.cfg.d/lab"
    quick.parent.mkdir(parents=True)
    quick.write_text("force-unsafe-io\n")
    packages = ",".join(_words(RECIPE / "packages.txt"))
    # debootstrap mounts things below the root; in this namespace they go when it goes.
    subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("debootstrap", "--variant=minbase", f"--include={packages}", f"--cache-dir={pool}"),
            *(platform.release, str(root), sources[0].uri),
        ],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        check=True,
        pass_fds=(lock,),
    )
    for package in (root / archive.FOLDER).glob("*.deb"):
        package.unlink()
    for path, content in _files(sources):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)

    progress(f"{platform.name}: installing Salt (a minute, once)")
    (work / "requirements.txt").write_text(requirement)
    binds = {RECIPE: "image", work / "requirements.txt": "requirements.txt", **_pip_binds()}
    name = f"build.{platform.name}"
    command = container.start(
        work,
        name,
        [
            *("--console=pipe", "--resolv-conf=bind-host"),
            f"--bind={pool}:/var/cache/apt/archives",
            f"--bind={pip_cache}:/run/lab/pip-cache",
            "--setenv=PIP_CACHE_DIR=/run/lab/pip-cache",
            *(f"--bind-ro={host}:/run/lab/{name}" for host, name in binds.items()),
            *(f"--setenv={name}={value}" for name, value in _pip_settings()),
            "/run/lab/image/provision",
        ],
        output,
        keep=(lock,),
    )
    status = command.wait()
    container.tidy(work, name)
    if status != 0:
        raise subprocess.CalledProcessError(status, "provision")
    # Each machine has its own of these.
    for name in ("hostname", "resolv.conf", "machine-id", "dpkg/dpkg.cfg.d/lab"):
        (root / "etc" / name).unlink(missing_ok=True)


class Heartbeat:
    """Says every few seconds what a build is at: the last line of its log."""

    def __init__(self, log: Path, name: str, progress: Progress) -> None:
        self._log = log
        self._name = name
        self._progress = progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        said = ""
        while not self._over.wait(TELL_SECONDS):
            lines = self._log.read_text(errors="replace").splitlines()
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            if last != said:
                said = last
                self._progress(f"{self._name}: {last[:100]}")


def _key(platform: Platform, sources: list[aptconf.Source], requirement: str) -> str:
    """Return a digest of everything that goes into an image, dates excepted."""
    digest = hashlib.sha256()
    parts = [platform.release, host_platform.machine(), requirement]
    for part in parts:
        digest.update(part.encode())
    for path in [Path(__file__), *sorted(RECIPE.iterdir())]:
        digest.update(path.read_bytes())
    for name, content in _files(sources):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


def _files(sources: list[aptconf.Source]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of what the image has from this host: how to reach the outside."""
    yield "/etc/apt/sources.list.d/debian.sources", aptconf.deb822(sources).encode()
    yield "/etc/apt/apt.conf.d/90-lab", aptconf.reach().encode()
    for key in sorted({source.signed_by for source in sources} - {"", aptconf.KEYRING}):
        yield key, Path(key).read_bytes()
    if LOCAL_CERTIFICATES.is_dir():
        for certificate in sorted(LOCAL_CERTIFICATES.glob("*.crt")):
            yield str(certificate), certificate.read_bytes()


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


def _pip_config() -> dict[str, str]:
    """Return this host's settings of pip, from its files and the environment.

    As https://pip.pypa.io/en/stable/topics/configuration/ says, without asking a pip, which the
    Python that runs this need not have. What comes later wins.
    """
    home = Path.home()
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
    ]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    parser = configparser.RawConfigParser()
    try:
        parser.read(files, encoding="utf-8")
    except configparser.Error as error:
        raise LabError(f"pip's settings cannot be read: {error}.") from error
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            settings |= {k.replace("_", "-"): v.strip() for k, v in parser.items(section)}
    for name, value in os.environ.items():
        if name.startswith("PIP_") and name not in ("PIP_CONFIG_FILE", "PIP_CACHE_DIR"):
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def _pip_binds() -> dict[Path, str]:
    """Return files and folders of the host that its pip settings name."""
    named = {Path(word) for value in _pip_config().values() for word in value.split()}
    there = sorted(path for path in named if path.is_absolute() and path.exists())
    return {path: f"pip-{number}" for number, path in enumerate(there)}


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Yield pip's settings as environment variables that hold inside the image's build."""
    inside = {str(host): f"/run/lab/{name}" for host, name in _pip_binds().items()}
    for name, value in _pip_config().items():
        variable = "PIP_" + name.upper().replace("-", "_")
        yield variable, " ".join(inside.get(word, word) for word in value.split())


def _words(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def _discard_others(images: Path, platform: Platform) -> None:
    """Remove the platform's interrupted builds, and images that have not been used for a week."""
    paths.remove_tree(images / f"{platform.name}.building")
    in_use = {record.images.get(platform.name) for record in every()}
    for mark in images.glob(f"{platform.name}-*.used"):
        folder = mark.with_suffix("")
        if time.time() - mark.stat().st_mtime > KEEP_SECONDS and str(folder) not in in_use:
            paths.remove_tree(folder)
            mark.unlink()
