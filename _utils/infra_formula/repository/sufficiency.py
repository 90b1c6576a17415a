"""Whether a machine can do with certain package sources alone, asked of its package manager.

It runs with a root of its own, so that the machine's sources and lists are neither read nor
changed. Before other sources are disabled, nobody is locked out.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra_formula import paths, process
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.fileset.contents import File
from infra_formula.minion import Minion
from infra_formula.repository import apt, contents, systems

_LISTED = 12


class Lack(NamedTuple):
    """Packages that sources do not have.

    required
        Those that components of the machine have to install.
    secured
        Those that are installed, and would get no updates any more.
    """

    required: list[str]
    secured: list[str]

    def text(self, what: str, parameters: str) -> str:
        """One message for people.

        what
            The sources, e.g. ``/www/pigsty``.
        parameters
            What keeps other sources, e.g. ``repo_remove: false``.
        """
        parts = []
        if self.required:
            parts.append(f"no {_cut(self.required)}, which components of this machine need")
        if self.secured:
            parts.append(
                f"no {_cut(self.secured)}, installed here, which would get no security updates"
            )
        return (
            f"{what} has {' and '.join(parts)}. Add them to repo_packages or repo_extra_packages"
            " (the aliases infra-distro and node-distro have what a site of the distribution's"
            " packages needs; without repo_packages, the default lists are complete). Or set"
            f" {parameters}, which keeps the other sources, or repo_remove_check: false, which"
            " disables them all the same"
        )


def _cut(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def lack(
    minion: Minion,
    needs: Mapping[str, list[str]],
    files: Mapping[str, File],
    apt_files: Mapping[str, File] | None = None,
) -> Lack:
    """What a machine would lack that installs from certain sources alone.

    needs
        ``required`` and ``secured``, see ``needs.needs``.
    files
        The sources: name of the file below apt's or yum's folder → its content.
    apt_files
        apt's logins and CAs: path below ``/etc/apt`` → file.

    Raises CommandFailed if the sources cannot be read.
    """
    wanted = sorted({*needs.get("required", ()), *needs.get("secured", ())})
    available = _available(minion, wanted, files, apt_files or {})
    if available is None:
        return Lack([], [])
    installed = {str(name).partition(":")[0] for name in minion.call("pkg.list_pkgs")}
    missing = [name for name in wanted if name not in available]
    return Lack(
        [n for n in needs.get("required", ()) if n in missing and n not in installed],
        [n for n in needs.get("secured", ()) if n in missing and n in installed],
    )


def _available(
    minion: Minion,
    names: list[str],
    files: Mapping[str, File],
    apt_files: Mapping[str, File],
) -> set[str] | None:
    """Those of some packages that sources have; None if there is nothing here to ask."""
    paths.CACHE_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = paths.CACHE_DIR / "repo-check"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o700)
    try:
        if systems.identity(minion)[0] == "deb":
            return _of_apt(root, names, files, apt_files, systems.identity(minion)[2])
        return _of_dnf(root, names, files)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _of_apt(
    root: Path,
    names: list[str],
    files: Mapping[str, File],
    apt_files: Mapping[str, File],
    arch: str,
) -> set[str] | None:
    if shutil.which("apt-get") is None:
        return None
    texts = {f"etc/apt/sources.list.d/{rel}": str(file["text"]) for rel, file in files.items()}
    texts.update({f"etc/apt/{rel}": str(file["text"]) for rel, file in apt_files.items()})
    return apt.available(str(root), texts, arch, names)


def _of_dnf(root: Path, names: list[str], files: Mapping[str, File]) -> set[str] | None:
    if shutil.which("dnf") is None:
        return None
    (root / "repos").mkdir()
    for rel, file in files.items():
        atomic.write(root / "repos" / rel, str(file["text"]), 0o600)
    answer = process.run(
        ["dnf", "-q", "-y", f"--setopt=reposdir={root / 'repos'}",
         f"--setopt=cachedir={root / 'cache'}", f"--setopt=persistdir={root / 'persist'}",
         f"--setopt=logdir={root / 'log'}", "--setopt=skip_if_unavailable=0",
         "repoquery", "--available", "--queryformat", "%{name}\\n", *names],
        env={"LC_ALL": "C.UTF-8", "HOME": str(root)},
        timeout=600,
    )  # fmt: skip
    for ring in root.glob("cache/*/pubring"):
        process.run(["gpgconf", "--homedir", str(ring), "--kill", "gpg-agent"])
    if answer["retcode"]:
        raise CommandFailed(f"dnf cannot use it: {answer['stderr'] or answer['stdout']}")
    return set(answer["stdout"].split())


# -- the record of a repository that was sufficient --------------------------------------------


def _record_file(name: str) -> Path:
    return paths.STATE_DIR / "repo" / f"{name}-sufficient.json"


def recorded(name: str) -> dict[str, Any]:
    """The last generation that was compared: ``generation``, ``needs`` and whether it ``has`` all.

    name
        ``repo_name``. Empty if none was compared.
    """
    return contents.read_json(str(_record_file(name)))


def record(name: str, generation: str, needs: Mapping[str, Iterable[str]], has: bool) -> None:
    """Record what was compared, so that it is not asked again for the same generation."""
    file = _record_file(name)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = {"generation": os.path.basename(generation), "needs": needs, "has": has}
    atomic.write(file, json.dumps(data, indent=1, sort_keys=True) + "\n", 0o600)
