"""Ask apt what a repository for a Debian or Ubuntu release has to hold.

apt runs with a root of its own: sources, keyrings, lists, cache and an empty list of installed
packages. The machine's own configuration is neither read nor changed, so that one machine can
resolve for other distributions, releases and architectures.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.repository import logins, systems

ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_LOCK_SECONDS = 60
_URI = re.compile(r"^'([^']+)' (\S+) (\d+) ?(?:(\w+):([0-9a-fA-F]+))?\s*$")
_DAMAGED = re.compile(
    r"Splitting up .* failed|doesn't contain all expected parts|could not be parsed or opened"
)
"""What apt says of its own lists if they are not as it wrote them."""
_HASHES = ("SHA256", "SHA512")
"""Checksums that apt is asked for, in this order: the store is by SHA-256."""


def sources_text(upstreams: list[dict[str, Any]], arch: str) -> str:
    """Sources in deb822 format.

    upstreams
        ``name``, ``url`` (without a login), ``suite``, ``components``, and ``keyring`` (path) or
        ``trusted``.
    arch
        Debian's name of the architecture.
    """
    stanzas = []
    for upstream in upstreams:
        lines = [
            f"# {upstream['name']}",
            "Types: deb",
            f"URIs: {upstream['url']}",
            f"Suites: {upstream['suite']}",
        ]
        if upstream["components"]:
            lines.append(f"Components: {' '.join(upstream['components'])}")
        lines.append(f"Architectures: {arch}")
        if upstream.get("keyring"):
            lines.append(f"Signed-By: {upstream['keyring']}")
        else:
            lines.append("Trusted: yes")
        if upstream.get("check_valid_until") is False:
            lines.append("Check-Valid-Until: no")
        stanzas.append("\n".join(lines) + "\n")
    return "\n".join(stanzas)


def config_text(
    root: str,
    arch: str,
    proxies: dict[str, str] | None = None,
    authorities: dict[str, str] | None = None,
) -> str:
    """apt.conf of a root of its own.

    root
        Directory of that root.
    arch
        Debian's name of the architecture.
    proxies
        Scheme (``http``, ``https``) → proxy URL. It holds for redirections to other hosts, too.
    authorities
        Host → file with the CA of its certificate.
    """
    lines = [
        f'Dir "{root}/";',
        # Nobody else can enter its directory.
        'APT::Sandbox::User "root";',
        f'Dir::State::status "{root}/var/lib/dpkg/status";',
        f'APT::Architecture "{arch}";',
        f'APT::Architectures {{ "{arch}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Install-Suggests "false";',
        'APT::Update::Error-Mode "any";',
        'Acquire::Languages "none";',
        'Acquire::Retries "3";',
        'Acquire::http::Timeout "30";',
        'Acquire::https::Timeout "30";',
        'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
    ]
    for scheme, proxy in sorted((proxies or {}).items()):
        if not re.fullmatch(r"https?://[^\s\"'\\;{}]+", proxy):
            raise InvalidInput("proxy_env: expected the URL of a proxy, without blanks or quotes")
        lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    lines += authority_lines(authorities or {})
    return "\n".join(lines) + "\n"


def authorities(upstreams: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Host → file with the CA of its certificate, of upstreams with ``ca``.

    Raises InvalidInput for two of one host, which apt cannot tell apart.
    """
    paths: dict[str, str] = {}
    for upstream in upstreams:
        host, file = urlsplit(upstream["url"]).hostname or "", upstream.get("ca")
        if file and paths.setdefault(host, file) != file:
            raise InvalidInput(
                f"repo_upstream ({upstream['name']}).ca: another upstream of the host {host} has"
                f" {paths[host]}; expected one file for both"
            )
    return paths


def authority_lines(authorities: dict[str, str]) -> list[str]:
    """Lines of apt.conf for CAs: host → file."""
    lines = []
    for host, file in sorted(authorities.items()):
        if re.search(r"[\s\"'\\;{}]", file):
            raise InvalidInput(f"{file!r}: expected a path without blanks or quotes")
        # apt's configuration has no name for an IPv6 address, which holds its separator.
        scope = "" if ":" in host else f"::{host}"
        lines.append(f'Acquire::https{scope}::CAInfo "{file}";')
    return lines


def preferences_text(
    upstreams: list[dict[str, Any]], others: Iterable[Mapping[str, Any]] = ()
) -> str:
    """Priorities of upstreams as apt's preferences; empty if none has one.

    upstreams
        See :func:`sources_text`; those with ``priority`` are pinned by their host, or by their
        suite if another source has the same host.
    others
        Further sources, each ``url`` and ``suite``.

    Raises InvalidInput if neither tells an upstream from another source.
    """
    stanzas = []
    for upstream in upstreams:
        if upstream.get("priority") is None:
            continue
        rest = [*(other for other in upstreams if other is not upstream), *others]
        host = urlsplit(upstream["url"]).hostname or ""
        suite = str(upstream["suite"])
        if host and all(urlsplit(other["url"]).hostname != host for other in rest):
            pins = [f'origin "{host}"']
        elif not suite.endswith("/") and all(other["suite"] != suite for other in rest):
            pins = [f"release n={suite}", f"release a={suite}"]
        else:
            raise InvalidInput(
                f"repo_upstream ({upstream['name']}).priority: another source has its host and"
                " suite, so apt cannot tell them apart"
            )
        stanzas += [
            f"Package: *\nPin: {pin}\nPin-Priority: {upstream['priority']}\n" for pin in pins
        ]
    return "\n".join(stanzas)


def pins_text(names: Iterable[str]) -> str:
    """apt's preferences that make the versions and suites of packages their candidates.

    names
        ``name=version`` or ``name/suite``; others are passed over.
    """
    stanzas = []
    for text in names:
        name, mark, value = re.match(r"([^=/]*)([=/]?)(.*)", text).groups()  # type: ignore[union-attr]
        pins = {"=": [f"version {value}"], "/": [f"release n={value}", f"release a={value}"]}
        stanzas += [
            f"Package: {name}\nPin: {pin}\nPin-Priority: 1001\n" for pin in pins.get(mark, [])
        ]
    return "\n".join(stanzas)


def parse_uris(text: str) -> list[dict[str, Any]]:
    """What ``apt-get --print-uris`` says, as items to fetch.

    Returns mappings with ``url``, ``name``, ``version``, ``arch``, ``file`` (as the upstream calls
    it), ``size`` (bytes) and ``checksum``.

    Raises CommandExecutionError for a package whose file name is not of the form that apt gives it.
    """
    items = []
    for line in text.splitlines():
        match = _URI.match(line)
        if not match:
            continue
        url, file, size, kind, digits = match.groups()
        # apt writes name_version_arch.deb, with the version's colon (epoch) as %3a.
        parts = file.removesuffix(".deb").split("_")
        if len(parts) != 3:
            raise CommandFailed(f"{url}: apt names it {file!r}, not name_version_arch.deb")
        name, version, arch = parts
        kind = (kind or "").lower().removesuffix("sum")
        items.append(
            {
                "url": url,
                "name": name,
                "version": unquote(version),
                "arch": arch,
                "file": unquote(url.rpartition("/")[2]),
                "size": int(size),
                "checksum": f"{kind}:{digits.lower()}" if digits else "",
            }
        )
    return items


def relation(name: str) -> str:
    """``name=version`` as a dependency is written: ``name (= version)``."""
    name, _, version = name.partition("/")[0].partition("=")
    return f"{name} (= {version})" if version else name


def parse_policy(text: str) -> dict[str, str]:
    """Name → version of the candidate in ``apt-cache policy``; empty for a virtual package."""
    versions: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line and not line[0].isspace() and line.endswith(":"):
            name = line[:-1].partition(":")[0]
        elif name and line.strip().startswith("Candidate:"):
            version = line.split(":", 1)[1].strip()
            versions[name] = "" if version == "(none)" else version
    return versions


def resolve(
    root: str,
    upstreams: list[dict[str, Any]],
    arch: str,
    names: list[str],
    proxies: dict[str, str] | None = None,
    timeout: int = 600,
    accept_changes: bool = False,
) -> dict[str, Any]:
    """The packages wanted, and all that they need, as apt's solver finds them.

    root
        Directory for apt's sources, lists and cache; the next run only fetches what changed.
    upstreams
        See :func:`sources_text`.
    arch
        ``x86_64`` or ``aarch64``.
    names
        Packages (``name``, ``name=version``, ``name/suite`` or patterns with ``*``); real or
        virtual.
    proxies
        Scheme → proxy URL, and ``no_proxy``: hosts without one, with commas between.
    timeout
        Seconds that one call of apt may take.
    accept_changes
        Whether an upstream may have changed its ``Codename``. Its ``Origin``, ``Label``, ``Suite``
        and ``Version`` may always: they are signed, and nothing here depends on them.

    Returns ``packages`` (see :func:`parse_uris`), ``missing`` (names that no upstream has) and
    ``broken`` (name → why it cannot be installed). Packages that exclude each other are resolved
    apart, each with all it needs.

    Raises CommandExecutionError when an upstream cannot be reached or verified.
    """
    if not shutil.which("apt-get"):
        raise CommandFailed(
            "apt-get is not here; a repository for Debian or Ubuntu can only be built where apt is"
        )
    debian = systems.ARCHES[arch]
    base = Path(root).resolve()
    _make_root(
        base,
        {
            "etc/apt/sources.list.d/upstream.sources": sources_text(upstreams, debian),
            "etc/apt/auth.conf.d/upstream.conf": logins.apt_text(upstreams),
            "etc/apt/preferences.d/upstream": preferences_text(upstreams),
            "etc/apt/preferences.d/pins": "",
            "apt.conf": config_text(
                str(base),
                debian,
                {scheme: url for scheme, url in (proxies or {}).items() if scheme != "no_proxy"},
                authorities(upstreams),
            ),
        },
    )
    apt = _Apt(base, timeout, (proxies or {}).get("no_proxy", ""))

    kinds = ("Origin", "Label", "Suite", "Version", *(["Codename"] if accept_changes else []))
    accepted = [
        part for kind in kinds for part in ("-o", f"Acquire::AllowReleaseInfoChange::{kind}=true")
    ]
    answer = apt.run("apt-get", "update", "-q", *accepted)
    for _ in range(_LOCK_SECONDS):
        # A run that was killed may have left its apt behind, which goes on for a moment.
        if "Could not get lock" not in answer["stderr"]:
            break
        time.sleep(1)
        answer = apt.run("apt-get", "update", "-q", *accepted)
    if answer["retcode"] and _DAMAGED.search(answer["stderr"]):
        # What was fetched before is damaged. A server that is asked whether it has anything newer
        # says that it has not, so that it would stay so.
        shutil.rmtree(base / "var/lib/apt/lists", ignore_errors=True)
        (base / "var/lib/apt/lists/partial").mkdir(parents=True)
        answer = apt.run("apt-get", "update", "-q", *accepted)
    complaints = _complaints(answer["stderr"])
    if answer["retcode"] or any(line.startswith("E:") for line in complaints):
        hint = "\nTo accept the change, set repo_build: true" if _is_changed(complaints) else ""
        raise CommandFailed(
            "apt cannot use the upstreams:\n"
            + ("\n".join(complaints) or answer["stderr"] or answer["stdout"])
            + hint
        )
    wanted, missing = _existing(names, apt)
    packages: dict[tuple[str, str, str], dict[str, Any]] = {}
    broken: dict[str, str] = {}
    pins = base / "etc/apt/preferences.d/pins"
    for round_of_names in _rounds(wanted):
        atomic.write(pins, pins_text(round_of_names), 0o600)
        items, why = _solve(apt, round_of_names)
        packages.update(items)
        broken.update(why)
    return {
        "packages": sorted(packages.values(), key=lambda p: (p["name"], p["version"], p["arch"])),
        "missing": missing,
        "broken": broken,
    }


def _uris(apt: _Apt, names: list[str], kind: str = "") -> process.Outcome:
    force = ["-o", f"Acquire::ForceHash={kind}"] if kind else []
    relations = [relation(name) for name in names]
    return apt.run("apt-get", "satisfy", "-qq", "-y", "--print-uris", *force, *relations)


def _with_checksums(
    apt: _Apt, names: list[str], packages: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Packages with the best checksum that their index has; apt prints the one it is asked for."""
    for kind in (*_HASHES[1:], ""):
        if all(package["checksum"] for package in packages):
            break
        others = {p["url"]: p["checksum"] for p in parse_uris(_uris(apt, names, kind)["stdout"])}
        packages = [
            package if package["checksum"] else {**package, "checksum": others[package["url"]]}
            for package in packages
        ]
    return packages


def _is_changed(complaints: list[str]) -> bool:
    return any("changed its" in line for line in complaints)


def _rounds(names: list[str]) -> list[list[str]]:
    """Names in groups within which each package is wanted in one version only."""
    rounds: list[list[str]] = [[n for n in names if not set(n) & set("=/")]]
    for name in names:
        if name in rounds[0]:
            continue
        bare = re.split("[=/]", name)[0]
        fitting = (
            group for group in rounds[1:] if all(re.split("[=/]", n)[0] != bare for n in group)
        )
        group = next(fitting, None)
        if group is None:
            rounds.append([name])
        else:
            group.append(name)
    return [group for group in rounds if group]


def _solve(
    apt: _Apt, names: list[str]
) -> tuple[dict[tuple[str, str, str], dict[str, Any]], dict[str, str]]:
    """What some names need, and why some cannot be installed; those that conflict apart."""
    packages: dict[tuple[str, str, str], dict[str, Any]] = {}
    broken: dict[str, str] = {}
    groups = [names]
    while groups:
        group = groups.pop()
        answer = _uris(apt, group, _HASHES[0])
        if answer["retcode"] == 0:
            for package in _with_checksums(apt, group, parse_uris(answer["stdout"])):
                packages[package["name"], package["version"], package["arch"]] = package
        elif len(group) > 1:
            middle = len(group) // 2
            groups += [group[:middle], group[middle:]]
        else:
            # Asked again, less quietly: only then does it say what it lacks.
            answer = apt.run("apt-get", "satisfy", "-q", "-s", relation(group[0]))
            unmet = answer["stdout"].partition("unmet dependencies:")[2]
            reasons = [line.strip() for line in unmet.splitlines() if line.startswith(" ")]
            broken[group[0]] = "; ".join(reasons) or answer["stderr"].strip()
    return packages, broken


def available(
    root: str, files: dict[str, str], arch: str, names: list[str], timeout: int = 600
) -> set[str]:
    """Those of some packages, real or virtual, that sources have.

    root
        Empty directory for apt.
    files
        Sources and logins: path below root → content.
    arch
        Debian's name of the architecture.
    names
        Packages.
    timeout
        Seconds that one call of apt may take.

    Raises CommandFailed if a source cannot be read.
    """
    base = Path(root).resolve()
    _make_root(base, {**files, "apt.conf": config_text(str(base), arch)})
    apt = _Apt(base, timeout)
    answer = apt.run("apt-get", "update", "-q")
    complaints = _complaints(answer["stderr"])
    if answer["retcode"]:
        raise CommandFailed("apt cannot use it:\n" + "\n".join(complaints or [answer["stdout"]]))
    return set(_existing(names, apt)[0]) if names else set()


class _Apt:
    """apt's programs with a root of their own."""

    def __init__(self, root: Path, timeout: float, no_proxy: str = "") -> None:
        config = str(root / "apt.conf")
        proxies = {"http_proxy": "", "https_proxy": "", "all_proxy": "", "no_proxy": no_proxy}
        self.env = {"APT_CONFIG": config, **proxies}
        self.timeout = timeout

    def run(self, *argv: str) -> process.Outcome:
        return process.run(argv, env=self.env, timeout=self.timeout)


def _make_root(base: Path, files: dict[str, str]) -> None:
    for folder in (
        "etc/apt/auth.conf.d",
        "etc/apt/sources.list.d",
        "etc/apt/preferences.d",
        "etc/apt/apt.conf.d",
        "etc/apt/trusted.gpg.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
    ):
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "var/lib/dpkg/status").write_text("", encoding="utf-8")
    for rel, text in files.items():
        # Logins of upstreams and proxies are in two of them.
        atomic.write(base / rel, text, 0o600)


def _complaints(stderr: str) -> list[str]:
    """What apt says is wrong, without what it merely notes."""
    lines = [line.strip() for line in stderr.splitlines() if line[:2] in ("E:", "W:")]
    return [line for line in lines if "unsandboxed" not in line]


def _existing(names: list[str], apt: _Apt) -> tuple[list[str], list[str]]:
    """Names to be resolved, patterns expanded, and names that no upstream has."""
    wanted: dict[str, None] = {}
    missing = []
    plain = [n for n in names if not set(n) & set("*?")]
    patterns = [n for n in names if set(n) & set("*?")]
    if patterns:
        known = apt.run("apt-cache", "pkgnames")["stdout"].split()
        for pattern in patterns:
            matches = sorted(fnmatch.filter(known, pattern))
            wanted.update(dict.fromkeys(matches))
            if not matches:
                missing.append(pattern)
    if not plain:
        return list(wanted), missing
    bare = [re.split("[=/]", name)[0] for name in plain]
    policy = parse_policy(apt.run("apt-cache", "policy", *bare)["stdout"])
    for name, own in zip(plain, bare, strict=True):
        version = name.partition("=")[2]
        if policy.get(own):
            suite = name.partition("/")[2]
            if (version or suite) and not _has_version(own, version, suite, apt):
                missing.append(name)
                continue
            wanted[name] = None
        elif own in policy and _provided(apt.run("apt-cache", "showpkg", own)["stdout"]):
            wanted[name] = None
        else:
            missing.append(name)
    return list(wanted), missing


def _has_version(name: str, version: str, suite: str, apt: _Apt) -> bool:
    """Whether an upstream has a package in a version, or in a suite."""
    lines = apt.run("apt-cache", "madison", name)["stdout"].splitlines()
    rows = [[part.strip() for part in line.split("|")] for line in lines if line.count("|") >= 2]
    if suite:
        return any(re.search(rf" {re.escape(suite)}/", row[2]) for row in rows)
    return any(row[1] == version for row in rows)


def _provided(showpkg: str) -> bool:
    tail = showpkg.partition("Reverse Provides:")[2]
    with contextlib.suppress(IndexError):
        return bool(tail.strip().splitlines()[0])
    return False
