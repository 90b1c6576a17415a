"""The build of an image: mmdebstrap, then `image/provision` in the new root file system.

The name of an image has a digest of this file: a change of it builds all images anew.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from . import aptconf, archive, container, paths, pipconf
from .progress import Progress
from .suites import Platform

RECIPE = paths.HERE / "image"
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
FIND = '-maxdepth 1 -type f -name "*.deb" -exec'
TAKE = f'mkdir -p "$1/$FOLDER"; find "$POOL" {FIND} cp -t "$1/$FOLDER" {{}} +'
KEEP = f'find "$1/$FOLDER" {FIND} mv -n -t "$POOL" {{}} +'
"""mmdebstrap's hooks: it uses packages that were downloaded before, and keeps those of now.

Files alone: a link that a package's script puts there would lead to a file of the host.
"""


def make_root(
    platform: Platform,
    sources: list[aptconf.Source],
    requirement: str,
    pool: Path,
    work: Path,
    output: IO[str],
    lock: int,
    progress: Progress,
) -> None:
    """Make a root file system in `root` of a folder.

    Args:
        platform: the platform.
        sources: where apt takes packages from.
        requirement: pip's requirement of Salt.
        pool: the platform's downloaded packages, which are used and added to.
        work: the folder.
        output: gets all that the programs print.
        lock: a file descriptor that they inherit: it is locked for as long as one of them runs.
        progress: told what is being done.

    Raises:
        CalledProcessError: a program failed.
    """
    root, pip_cache = work / "root", paths.cache() / "pip"
    for folder in (root, pool, pip_cache):
        folder.mkdir(parents=True, exist_ok=True)
    progress(f"{platform.name}: installing Debian {platform.release} (a minute, once)")
    packages = ",".join(_words(RECIPE / "packages.txt"))
    reach = work / "apt.conf"
    reach.write_text(aptconf.reach())
    # mmdebstrap mounts things below the root; in this namespace they go when it goes.
    subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={packages}"),
            # An image that is not whole is thrown away: nothing of it need reach the disk at once.
            *(f"--aptopt={reach}", "--dpkgopt=force-unsafe-io"),
            # Merged from the start: the package that merges later brings perl.
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            *("--skip=essential/unlink", f"--setup-hook={TAKE}", f"--customize-hook={KEEP}"),
            *(platform.release, str(root), "-"),
        ],
        input=aptconf.deb822(sources),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        pass_fds=(lock,),
        env={**os.environ, "POOL": str(pool), "FOLDER": archive.FOLDER},
    )
    for written in ("apt/apt.conf.d/99mmdebstrap", "dpkg/dpkg.cfg.d/99mmdebstrap",
                    "apt/sources.list.d/0000main.sources"):  # fmt: skip
        (root / "etc" / written).unlink(missing_ok=True)
    (root / "etc/dpkg/dpkg.cfg.d/lab").write_text("force-unsafe-io\n")
    for path, content in host_files(sources):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)

    progress(f"{platform.name}: installing Salt (a minute, once)")
    (work / "requirements.txt").write_text(requirement)
    binds = {RECIPE: "image", work / "requirements.txt": "requirements.txt", **pipconf.binds()}
    prefix = f"build.{platform.name}."
    container.forget_killed(prefix)
    # Another user's cache may be built at the same time.
    name = f"{prefix}{os.getpid()}"
    command = container.start(
        work,
        name,
        [
            *("--console=pipe", "--resolv-conf=bind-host"),
            f"--bind={pool}:/var/cache/apt/archives",
            f"--bind={pip_cache}:/run/lab/pip-cache",
            "--setenv=PIP_CACHE_DIR=/run/lab/pip-cache",
            *(f"--bind-ro={host}:/run/lab/{name}" for host, name in binds.items()),
            *(f"--setenv={name}={value}" for name, value in pipconf.environment()),
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


def host_files(sources: list[aptconf.Source]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of what the image has from this host: how to reach the outside."""
    yield "/etc/apt/sources.list.d/debian.sources", aptconf.deb822(sources).encode()
    yield "/etc/apt/apt.conf.d/90-lab", aptconf.reach().encode()
    for key in sorted({source.signed_by for source in sources} - {"", aptconf.KEYRING}):
        yield key, Path(key).read_bytes()
    if LOCAL_CERTIFICATES.is_dir():
        for certificate in sorted(LOCAL_CERTIFICATES.glob("*.crt")):
            yield str(certificate), certificate.read_bytes()


def _words(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]
