"""Programs that tests run: given ones, Debian's, or stand-ins, and which of them each test ran.

`INFRA_PROGRAMS` (`make test PROGRAMS=DIR`) names a folder of programs under the vendor's names. One
that is there takes the place of Debian's and of the stand-in, in the tests that run it themselves
and in the vendor's repository that machines of the lab install from (test/lab/standins). Otherwise
Debian's package is downloaded and unpacked (not installed: nothing starts) below the cache,
`${INFRA_CACHE:-~/.cache/infra-formula}/programs`.

`INFRA_PACKAGING=upstream` (`make test PACKAGING=upstream`) has machines of the lab install from the
vendor's own repository instead.

Run as a program it checks both settings and prints what is given; pytest does the same when it
starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "test"))  # `make test` runs this file as a program

from lab import aptconf, vendor  # noqa: E402

STANDINS = Path(__file__).resolve().parents[1] / "lab/standins"
GIVEN, STANDIN, VENDOR = "given", "stand-in", "the vendor's repository"
ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Known:
    """A program under the vendor's name.

    Attributes:
        version: the flag that prints its version.
        package: Debian's package of it; empty where there is none.
        debian: the program's name there.
        standin: the stand-in, a file of test/lab/standins, where Debian has no package. A program
            with neither is there only if it is given.
        inside: where the program is in a given folder, of one that is a tree.
    """

    version: str = "--version"
    package: str = ""
    debian: str = ""
    standin: str = ""
    inside: str = ""


PROGRAMS = {
    "victoria-metrics": Known("-version", "victoria-metrics", "victoria-metrics"),
    "vmalert": Known("-version", "victoria-metrics", "vmalert"),
    "vmagent": Known("-version", "victoria-metrics", "vmagent"),
    "vminsert": Known("-version"),
    "vmselect": Known("-version"),
    "vmstorage": Known("-version"),
    "victoria-logs": Known("-version", standin="victoria_logs.py"),
    "victoria-traces": Known("-version", standin="victoria_traces.py"),
    "alertmanager": Known(package="prometheus-alertmanager", debian="prometheus-alertmanager"),
    "amtool": Known(package="prometheus-alertmanager", debian="amtool"),
    "blackbox_exporter": Known(
        package="prometheus-blackbox-exporter", debian="prometheus-blackbox-exporter"
    ),
    "node_exporter": Known(
        package="prometheus-node-exporter", debian="prometheus-node-exporter"
    ),
    "nginx_exporter": Known(
        package="prometheus-nginx-exporter", debian="prometheus-nginx-exporter"
    ),
    "vector": Known(standin="vector.py"),
    "grafana": Known(standin="grafana.py", inside="bin/grafana"),
}  # fmt: skip
"""Every program that can be given, by the vendor's name."""


@dataclass(frozen=True, order=True)
class Use:
    """A program that a test ran: `origin` is GIVEN, STANDIN, VENDOR, or names Debian's release."""

    name: str
    version: str
    origin: str


class ProgramsError(RuntimeError):
    """A program is not available, or the settings of this module cannot be met."""


# -- given ones


@lru_cache(maxsize=1)
def given() -> dict[str, tuple[Path, str]]:
    """Programs of the folder that is given: path of each and its version, by the vendor's name.

    Of a tree, as Grafana is one, the path is the tree's.

    Raises ProgramsError, naming every program of the folder that is of no use, and why.
    """
    setting = os.environ.get("INFRA_PROGRAMS", "")
    if not setting:
        return {}
    folder = Path(setting).resolve()
    if not folder.is_dir():
        raise ProgramsError(f"PROGRAMS={setting}: expected a folder of programs")
    there = {name: folder / name for name in PROGRAMS if (folder / name).exists()}
    if not there:
        raise ProgramsError(
            f"PROGRAMS={setting}: expected at least one of {', '.join(PROGRAMS)} in it"
        )
    result, faults = {}, []
    for name, path in there.items():
        try:
            result[name] = (path, _checked(name, path))
        except ProgramsError as error:
            faults.append(f"PROGRAMS={setting}: {error}")
    if faults:
        raise ProgramsError("\n".join(faults))
    return result


def unused() -> list[str]:
    """Names in the given folder that are no program's."""
    setting = os.environ.get("INFRA_PROGRAMS", "")
    return (
        sorted({path.name for path in Path(setting).iterdir()} - set(PROGRAMS)) if setting else []
    )


_MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine of ELF


def _checked(name: str, path: Path) -> str:
    """Return the version of a given program; raises ProgramsError where it is of no use."""
    known = PROGRAMS[name]
    if known.inside:
        path = path / known.inside
    if not path.is_file():
        wanted = f"an unpacked tree with {known.inside}" if known.inside else "a program"
        raise ProgramsError(f"{name}: expected {wanted}")
    with path.open("rb") as stream:
        head = stream.read(20)
    here = platform.machine()
    if head[:4] == b"\x7fELF" and here in _MACHINES:
        machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
        if machine != _MACHINES[here]:
            names = {number: key for key, number in _MACHINES.items()}
            made_for = names.get(machine, f"ELF machine {machine}")
            raise ProgramsError(
                f"{name}: expected a program for {here}, this one is for {made_for}"
            )
    if not os.access(path, os.X_OK):
        raise ProgramsError(f"{name}: expected an executable file (chmod +x)")
    try:
        done = subprocess.run(
            [str(path), known.version],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramsError(
            f"{name}: `{known.version}` was not answered within {ANSWER_SECONDS} s"
        ) from None
    except OSError as error:
        raise ProgramsError(f"{name}: cannot be run: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ProgramsError(
            f"{name}: `{known.version}` ended with {done.returncode}: {said[-1] if said else ''}"
        )
    return version_in(done.stdout + done.stderr)


def version_in(text: str) -> str:
    """The version in what a program prints about itself; `unknown` where it prints none."""
    match = re.search(r"(?<![\w.])v?(\d+\.\d+\.\d+(?:-(?:rc|beta|alpha)[\w.]*)?)(?![\w.])", text)
    return match[1] if match else "unknown"


# -- the program that a test runs


def program(name: str, release: str = "") -> str:
    """Path of a program, and note that the test that runs now ran it.

    Args:
        name: the vendor's name of it.
        release: Debian's name of the release whose package it is to be, `trixie`, unless one is
            given; without it what is installed, or this machine's own release.

    Raises ProgramsError, saying why, where it is not available: the test fails then.
    """
    path, use = locate(name, release)
    note([use])
    return path


def locate(name: str, release: str = "") -> tuple[str, Use]:
    """Path of a program as `program` has it, and which one it is."""
    known = PROGRAMS[name]
    if name in given():
        path, version = given()[name]
        return str(path), Use(name, version, GIVEN)
    if known.standin:
        return str(STANDINS / known.standin), Use(name, "", STANDIN)
    if not known.package:
        raise ProgramsError(f"{name}: Debian has no package of it; give it by PROGRAMS=DIR")
    installed = shutil.which(known.debian)
    if installed and not release:
        version = _installed_version(known.package)
        return installed, Use(name, version, f"Debian {aptconf.codename()}")
    folder = unpacked(known.package, release)
    path = folder / "usr/bin" / known.debian
    if not path.exists():
        raise ProgramsError(f"Debian's package {known.package} has no /usr/bin/{known.debian}")
    version = (folder / "version").read_text(encoding="utf-8")
    return str(path), Use(name, version, f"Debian {release or aptconf.codename()}")


def variants(name: str) -> dict[str, str]:
    """Releases whose program a test is run with, by a name of the variant: one, of one given."""
    return {"given": ""} if name in given() else {"own release": "", "Debian 13": "trixie"}


def is_real(name: str) -> bool:
    """Whether machines with the vendor's packages get the real program, no stand-in."""
    return from_vendor() or not PROGRAMS[name].standin or name in given()


def is_current(name: str) -> bool:
    """Whether machines with the vendor's packages get what was given or is the vendor's own."""
    return from_vendor() or name in given()


def _installed_version(package: str) -> str:
    words = ["dpkg-query", "--show", "--showformat=${Version}", package]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def unpacked(package: str, release: str = "") -> Path:
    """Folder below which a Debian package lies unpacked; its file `version` says which."""
    cache = Path(os.environ.get("INFRA_CACHE") or Path.home() / ".cache/infra-formula")
    folder = cache / "programs" / (release or "own") / package
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The version is written last.
        if not (folder / "version").exists():
            _unpack(package, folder, release)
    return folder


def _unpack(package: str, folder: Path, release: str) -> None:
    with tempfile.TemporaryDirectory(prefix="infra-programs-") as work:
        options = _options(Path(work), release) if release else []
        got = subprocess.run(
            ["apt-get", *options, "download", package],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        archives = sorted(Path(work).glob(f"{package}_*.deb"))
        if got.returncode or not archives:
            raise ProgramsError(f"apt-get download {package}: {got.stderr.strip()}")
        subprocess.run(["dpkg", "-x", str(archives[-1]), str(folder)], check=True)
        field = ["dpkg-deb", "--field", str(archives[-1]), "Version"]
        version = subprocess.run(field, capture_output=True, text=True, check=True).stdout
        (folder / "version").write_text(version.strip(), encoding="utf-8")


def _options(work: Path, release: str) -> list[str]:
    """Have apt look at another release, with a state of its own: this machine's is not touched."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (work / name).mkdir(parents=True)
    (work / "parts/other.sources").write_text(aptconf.deb822(aptconf.for_release(release)))
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{work}/parts",
        "Dir::State::lists": f"{work}/lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": f"{work}/cache",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    done = subprocess.run(
        ["apt-get", *flags, "update"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProgramsError(f"apt-get update for {release}: {done.stderr.strip()}")
    return flags


# -- the vendor's own repository


def from_vendor() -> bool:
    """Whether machines are to install from the vendor's own repository."""
    return os.environ.get("INFRA_PACKAGING") == "upstream"


def fetch(url: str) -> bytes:
    """Read a file of the vendor's; raises ProgramsError, saying what did not answer."""
    try:
        return vendor.fetch(url)
    except OSError as error:
        raise ProgramsError(f"PACKAGING=upstream: {error}") from error


# -- at the start of a run


def check() -> list[str]:
    """Check what INFRA_PROGRAMS and INFRA_PACKAGING ask for.

    Returns lines that say what is given; raises ProgramsError where it cannot be met.
    """
    packaging = os.environ.get("INFRA_PACKAGING", "")
    if packaging not in ("", "distro", "upstream"):
        raise ProgramsError(f"PACKAGING={packaging}: expected upstream, or distro")
    if packaging == "upstream":
        if os.environ.get("INFRA_PROGRAMS"):
            raise ProgramsError(
                "PROGRAMS and PACKAGING=upstream: expected one of them; the first says which "
                "programs machines get, the second takes those of the vendor's repository"
            )
        archive = vendor.archive()
        if why := vendor.unreachable(archive):
            raise ProgramsError(f"PACKAGING=upstream: {why}")
        return [f"packages of the vendor's repository {archive.uri}"]
    lines = [f"{name} {version}, {GIVEN}: {path}" for name, (path, version) in given().items()]
    if unused():
        lines.append(f"not used, no program's name: {', '.join(unused())}")
    return lines


# -- which program each test ran

_noted: dict[str, set[Use]] = {}


def note(uses: Iterable[Use]) -> None:
    """Note programs for the test that runs now."""
    # pytest names it there, with the phase: "test/unit/test_a.py::test_b (call)".
    place = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
    _noted.setdefault(place, set()).update(uses)


def noted() -> list[tuple[str, str]]:
    """Return what was noted since it was asked last, as properties of a report."""
    rows = [[place, *astuple(use)] for place, uses in _noted.items() for use in sorted(uses)]
    _noted.clear()
    return [("programs", json.dumps(rows))] if rows else []


def summary(properties: Iterable[Iterable[tuple[str, Any]]]) -> list[str]:
    """Lines that say which programs each file of tests ran, from all reports' properties."""
    files: dict[str, dict[str, set[str]]] = {}
    for report in properties:
        for key, value in report:
            if key != "programs":
                continue
            for place, name, version, origin in json.loads(value):
                shown = f"{name} {version}".strip()
                files.setdefault(place, {}).setdefault(origin, set()).add(shown)
    lines = []
    for place, origins in sorted(files.items()):
        lines.append(place)
        lines += [
            f"  {origin}: {', '.join(sorted(names))}" for origin, names in sorted(origins.items())
        ]
    return lines


DEBIANS = {
    *({known.package for known in PROGRAMS.values()} - {"", "victoria-metrics"}),
    "nginx", "dnsmasq-base", "chrony",
}  # fmt: skip
"""Packages with programs that a site runs, of names that Debian alone has."""
PACKAGE_NAMES = {
    *DEBIANS,
    "victoria-metrics", "vmutils", "victoria-logs", "victoria-traces", "alertmanager",
    "blackbox-exporter", "nginx-exporter", "node-exporter", "vector", "grafana",
}  # fmt: skip
"""All packages with programs that a site runs, the vendor's and Debian's."""
DESCRIBED = re.compile(r"^ program (\S+) (\S*) \((.+)\)$", re.MULTILINE)


def describe(uses: Iterable[Use]) -> str:
    """Say in the description of a package of ours which programs are in it."""
    return "".join(f"\n program {use.name} {use.version or '-'} ({use.origin})" for use in uses)


def of_packages(listing: str, release: str) -> list[Use]:
    """Which programs a machine has.

    Args:
        listing: of dpkg-query with LISTING as the format.
        release: Debian's name of the machine's release.
    """
    found = []
    # Lines of a description begin with a blank, all but the first one.
    for entry in re.split(r"\n(?! )", listing):
        name, _, rest = entry.strip().partition("\t")
        version, _, rest = rest.partition("\t")
        maintainer, _, description = rest.partition("\t")
        if name not in PACKAGE_NAMES or not version:
            continue
        described = DESCRIBED.findall(description)
        found += [Use(n, "" if v == "-" else v, origin) for n, v, origin in described]
        if not described:
            debians = name in DEBIANS or "debian" in maintainer.lower()
            found.append(Use(name, version, f"Debian {release}" if debians else VENDOR))
    return found


LISTING = "${Package}\t${Version}\t${Maintainer}\t${Description}\\n"
"""Format of dpkg-query that `of_packages` reads."""


def main() -> None:
    """Print what is given; end with one error where it is of no use."""
    try:
        lines = check()
    except ProgramsError as error:
        sys.exit(str(error))
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
