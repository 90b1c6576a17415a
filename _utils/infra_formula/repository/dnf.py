"""Ask dnf what a yum repository has to hold.

dnf is a Python library before it is a program. This file has two halves: a loader module that
finds the Python that dnf runs in, and a program (``python3 infra_repo_dnf.py``, request on stdin,
answer on stdout, both JSON) that uses the library there. The second half must not import Salt,
which is installed in another Python.

Cache, keys and state lie in a folder of their own; the machine's own repositories are not read.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from infra_formula import process
from infra_formula.errors import CommandFailed


def interpreter(dnf: str = "") -> str:
    """The Python that has the dnf library: the one that the program dnf names in its first line.

    dnf
        Path of the program; found along PATH where empty.

    Raises CommandExecutionError where there is no dnf.
    """

    program = dnf or shutil.which("dnf-3") or shutil.which("dnf") or ""
    if not program:
        raise CommandFailed(
            "dnf is not here; a yum repository can only be built where dnf (version 4) is installed"
        )
    with Path(program).open("rb") as stream:
        first = stream.readline(256)
    match = re.match(rb"#!\s*(/\S*python\S*)", first)
    if not match:
        raise CommandFailed(f"{program}: expected a Python program (dnf version 4)")
    return match.group(1).decode()


def resolve(
    root: str,
    upstreams: list[dict[str, Any]],
    arch: str,
    releasever: str,
    names: list[str],
    proxies: dict[str, str] | None = None,
    timeout: int = 600,
) -> dict[str, Any]:
    """The packages wanted, and all that they need, as dnf's solver finds them.

    root
        Directory for dnf's cache and keys; kept from run to run.
    upstreams
        ``name``, ``baseurls``, ``keys`` (files), ``trusted``, ``meta`` (dnf's own options).
    arch
        ``x86_64`` or ``aarch64``.
    releasever
        What ``$releasever`` stands for.
    names
        Packages, patterns, provides, groups (``@core``).
    proxies
        Upstream's name → proxy URL.
    timeout
        Seconds it may take.

    Returns ``packages`` (``url``, ``name``, ``version``, ``arch``, ``file``, ``size``,
    ``checksum``, ``upstream``), ``missing`` and ``broken``, as ``infra_repo_apt.resolve`` does.

    Raises CommandExecutionError when an upstream cannot be reached or verified.
    """

    base = Path(root).resolve()
    for part in ("cache", "persist", "log", "empty", "no-repos", "no-vars"):
        (base / part).mkdir(parents=True, exist_ok=True)
    request = {
        "root": str(base),
        "arch": arch,
        "releasever": releasever,
        "names": names,
        "repos": [
            {
                "id": upstream["name"],
                "baseurl": upstream["baseurls"],
                "gpgkey": [Path(key).as_uri() for key in upstream["keys"]],
                "options": options(upstream),
                "proxy": (proxies or {}).get(upstream["name"], ""),
            }
            for upstream in upstreams
        ],
    }
    answer = process.run(
        [interpreter(), "-I", __file__.removesuffix("c")],
        stdin=json.dumps(request),
        env={"LC_ALL": "C.UTF-8", "http_proxy": "", "https_proxy": "", "HOME": str(base)},
        timeout=timeout,
    )
    for ring in base.glob("cache/*/pubring"):
        # dnf reads keys with gpg, whose agent would stay for ever.
        process.run(
            ["gpgconf", "--homedir", str(ring), "--kill", "gpg-agent"],
        )
    try:
        result: dict[str, Any] = json.loads(answer["stdout"].strip().splitlines()[-1])
    except (ValueError, IndexError) as exc:
        raise CommandFailed(
            f"dnf failed:\n{answer['stderr'] or answer['stdout'] or 'without a word'}"
        ) from exc
    if result.get("error"):
        raise CommandFailed(f"dnf cannot use the upstreams:\n{result['error']}")
    return result


def options(upstream: dict[str, Any]) -> dict[str, Any]:
    """dnf's options for an upstream: its own ``meta``, and verification unless it is trusted."""
    known = {"priority", "module_hotfixes", "excludepkgs", "exclude", "includepkgs", "sslverify"}
    meta = {("excludepkgs" if k == "exclude" else k): v for k, v in upstream["meta"].items()
            if k in known}  # fmt: skip
    signed = str(upstream["meta"].get("repo_gpgcheck", 1)).lower() not in ("0", "false", "no")
    return {**meta, "repo_gpgcheck": signed and not upstream["trusted"]}


# -- the half that runs in dnf's own Python ------------------------------------------------------


def _solve(request: dict[str, Any]) -> dict[str, Any]:
    import dnf
    import dnf.exceptions
    import dnf.rpm

    base = dnf.Base()
    conf = base.conf
    root = Path(request["root"])
    conf.cachedir = str(root / "cache")
    conf.persistdir = str(root / "persist")
    conf.logdir = str(root / "log")
    conf.installroot = str(root / "empty")
    conf.reposdir = [str(root / "no-repos")]
    conf.varsdir = [str(root / "no-vars")]
    conf.install_weak_deps = False
    conf.best = True
    conf.multilib_policy = "best"
    conf.ignorearch = True
    conf.timeout = 30
    conf.retries = 3
    conf.minrate = 1024
    conf.substitutions["arch"] = request["arch"]
    conf.substitutions["basearch"] = dnf.rpm.basearch(request["arch"])
    conf.substitutions["releasever"] = request["releasever"]
    for wanted in request["repos"]:
        repo = dnf.repo.Repo(wanted["id"], conf)
        repo.baseurl = [
            url.replace("$basearch", conf.substitutions["basearch"])
            .replace("$arch", request["arch"])
            .replace("$releasever", request["releasever"])
            for url in wanted["baseurl"]
        ]
        repo.gpgkey = wanted["gpgkey"]
        repo.skip_if_unavailable = False
        repo.metadata_expire = 0
        if wanted["proxy"]:
            repo.proxy = wanted["proxy"]
        for key, value in wanted["options"].items():
            setattr(repo, key, value if not isinstance(value, str) or " " not in value
                    else value.replace(",", " ").split())  # fmt: skip
        base.repos.add(repo)
    try:
        base.fill_sack(load_system_repo=False, load_available_repos=True)
    except dnf.exceptions.RepoError as exc:
        return {"error": str(exc)}
    foreign = base.sack.query().filter(arch=["i386", "i486", "i586", "i686", "armv7hl"])
    base.sack.add_excludes(foreign)
    packages: dict[str, dict[str, Any]] = {}
    missing: list[str] = []
    wanted_names: list[str] = []
    for name in request["names"]:
        if _known(base, name):
            wanted_names.append(name)
        else:
            missing.append(name)
    broken: dict[str, str] = {}
    groups = [wanted_names] if wanted_names else []
    while groups:
        group = groups.pop()
        base.reset(goal=True)
        try:
            for name in group:
                base.install(name, strict=True)
            base.resolve(allow_erasing=False)
        except dnf.exceptions.Error as exc:
            if len(group) == 1:
                broken[group[0]] = str(exc)
            else:
                middle = len(group) // 2
                groups += [group[:middle], group[middle:]]
            continue
        for package in base.transaction.install_set:
            kind, digits = package.returnIdSum()
            url = package.remote_location()
            packages[url] = {
                "url": url,
                "name": package.name,
                "version": package.evr,
                "arch": package.arch,
                "file": url.rpartition("/")[2],
                "size": package.downloadsize,
                "checksum": f"{'sha1' if kind == 'sha' else kind}:{digits}",
                "upstream": package.reponame,
            }
    ordered = sorted(packages.values(), key=lambda p: (p["name"], p["version"], p["arch"]))
    return {"packages": ordered, "missing": missing, "broken": broken}


def _known(base: Any, name: str) -> bool:
    import dnf.subject

    if name.startswith("@"):
        base.read_comps(arch_filter=True)
        return bool(base.comps.groups_by_pattern(name[1:]))
    return bool(dnf.subject.Subject(name).get_best_query(base.sack, with_provides=True))


def _main() -> int:
    request = json.load(sys.stdin)
    print(json.dumps(_solve(request)))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
