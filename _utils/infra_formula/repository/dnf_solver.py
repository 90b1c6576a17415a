"""Program: what a yum repository has to hold, by dnf's solver. Run by ``dnf.py``.

Request on standard input, answer in the last line of standard output, both JSON. It runs in the
Python that has the dnf library, which has neither Salt nor this library: it imports neither.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


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
        # By that alone, dnf takes what it fetched within the same second for new.
        repo._repo.expire()
        for key, value in wanted["login"].items():
            setattr(repo, key, value)
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
                if name.startswith("@"):
                    base.install_specs([name], strict=True)
                else:
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
