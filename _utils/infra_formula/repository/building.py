"""Building the local software repository: resolve, fetch, verify, index, sign, publish.

What :func:`build` does for ``published.build``, step by step, in the order of this file.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula import credentials, paths
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.repository import (
    apt,
    checksums,
    connections,
    contents,
    dnf,
    fetching,
    indexes,
    logins,
    marker,
    package_store,
    releases,
    rpm_signatures,
    sealing,
    systems,
    upstream_dates,
    upstream_keys,
)

_MINOR_RELEASES = 11  # RHEL's last is .10: https://access.redhat.com/support/policy/updates/errata


def build(
    minion: Minion,
    plan: dict[str, Any],
    state: dict[str, Any],
    key: dict[str, Any],
    transfer: dict[str, Any],
    force: bool = False,
) -> dict[str, Any]:
    """Build and publish what a plan says; the caller holds the lock of the repository.

    plan, state
        Of ``catalogue.plan`` and ``releases.state``.
    key, transfer, force
        As for ``published.build``.

    Returns what :func:`outcome` does. If it raises, what was published is unchanged.
    """
    home, name = plan["home"], plan["name"]
    releases.refuse_mounts(home, name)
    signer = sealing.signing_key(plan["name"], key)
    folder = Path(releases.work(home, name))
    proxy_env = transfer.get("proxy_env") or {}
    cache = Path(transfer.get("cache") or _private_cache(), name)
    state_folder = Path(transfer.get("state") or paths.STATE_DIR / "repo", name)
    dates = state_folder / "upstream-dates.json"
    resolutions = [
        _resolve(minion, cache, target, proxy_env, force, dates) for target in plan["targets"]
    ]
    _refuse_missing(resolutions)
    checksums.refuse_unverified(resolutions)
    fetched = _fetch(minion, home, name, folder, resolutions, transfer)
    packages = [package for target in resolutions for package in target["packages"]]
    _separate(packages)
    keys = rpm_signatures.verify(folder, name, resolutions, signer, home)
    former = _former_versions(packages, state["info"].get("packages", []), plan["keep"])
    have = package_store.present(home, name, {p["sha256"]: p["size"] for p in former})
    packages += [package for package in former if package["sha256"] in have]
    before = state["info"]
    same = {p["path"]: p["sha256"] for p in packages} == {
        p["path"]: p["sha256"] for p in before.get("packages", [])
    }
    if (
        state["complete"]
        and same
        and before.get("request") == plan["fingerprint"]
        and before.get("key") == signer["fingerprint"]
    ):
        return outcome(state["path"], before, before, False, fetched)
    with releases.staged(home, name) as stage:
        info = _assemble(plan, resolutions, packages, keys, signer, state, stage, folder)
        path = releases.publish(home, name, str(stage))
    package_store.sweep(home, name)
    return outcome(path, info, before, True, fetched)


def _private_cache() -> Path:
    """Directory of the solvers, which nobody but root can enter: they have logins in it."""
    paths.CACHE_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths.CACHE_DIR.chmod(0o700)
    return paths.CACHE_DIR / "repo"


def outcome(
    path: str, info: dict[str, Any], before: dict[str, Any], changed: bool, fetched: int
) -> dict[str, Any]:
    """Result of a build: what is published at a path, compared with what was before.

    info, before
        Descriptions of the repository, now and before.

    Returns ``changed``, ``path``, ``packages`` (how many), ``fetched`` (bytes), ``added`` and
    ``removed`` (paths).
    """
    now = {p["path"]: p["sha256"] for p in info.get("packages", [])}
    then = {p["path"]: p["sha256"] for p in before.get("packages", [])}
    return {
        "changed": changed,
        "path": path,
        "packages": len(now),
        "fetched": fetched,
        "added": sorted(p for p in now if then.get(p) != now[p]),
        "removed": sorted(set(then) - set(now)),
    }


def _resolve(
    minion: Minion,
    cache: Path,
    target: dict[str, Any],
    proxy_env: dict[str, str],
    force: bool,
    dates: Path,
) -> dict[str, Any]:
    """A target with the packages that it needs.

    dates
        Record of how new the indexes of the upstreams were.
    """
    root = cache / target["id"]
    root.mkdir(parents=True, exist_ok=True)
    upstreams = [upstream_keys.with_key_files(minion, root, upstream, target, proxy_env, force)
                 for upstream in target["upstreams"]]  # fmt: skip
    proxy_for = connections.proxy_for
    answer: dict[str, Any] = {"packages": [], "missing": [], "broken": {}}
    try:
        if target["names"] and target["family"] == "deb":
            urls = [u["url"] for u in upstreams if u["url"].startswith("http")]
            proxies = connections.proxies_of(urls, proxy_env)
            names = target["names"]
            answer = apt.resolve(
                str(root), upstreams, target["arch"], names, proxies, accept_changes=force
            )
            upstream_dates.refuse_older(dates, target["id"], upstream_dates.of_apt(root))
        elif target["names"]:
            proxies = {u["name"]: proxy_for(u["baseurls"][0], proxy_env) for u in upstreams}
            answer = dnf.resolve(
                str(root),
                upstreams,
                target["arch"],
                target["releasever"],
                target["names"],
                proxies,
                proxy_env=proxy_env,
            )
            indexes_of_yum = upstream_dates.of_dnf(root, upstreams)
            upstream_dates.refuse_older(dates, target["id"], indexes_of_yum)
    except CommandExecutionError as exc:
        raise CommandFailed(f"{target['id']}: {exc}") from exc
    packages = [
        {
            **package,
            "login": logins.of_url(package["url"], upstreams),
            "tls": _tls(package, upstreams),
            "target": target["id"],
            "path": _path(target, package["file"]),
        }
        for package in answer["packages"]
    ]
    for entry in target["urls"]:
        packages.append(
            {
                **entry,
                "file": entry["name"],
                "version": "",
                "arch": "",
                "size": 0,
                "target": target["id"],
                "path": _path(target, entry["name"]),
            }
        )
    return {
        **target,
        "upstreams": upstreams,
        "packages": packages,
        "missing": answer["missing"],
        "broken": answer["broken"],
    }


def _tls(package: dict[str, Any], upstreams: list[dict[str, Any]]) -> connections.Tls:
    """How the upstream of a package is verified: as its metadata are."""
    for upstream in upstreams:
        if "upstream" in package:
            is_own = package["upstream"] == upstream["name"]
        else:
            is_own = logins.is_below(package["url"], upstream["url"])
        if is_own:
            return dnf.tls_of(upstream)
    return connections.Tls()


def _path(target: dict[str, Any], file: str) -> str:
    """Where a file is published."""
    kind = file.rpartition(".")[2]
    if kind == "deb":
        prefix = file[:4] if file.startswith("lib") else file[:1]
        return f"pool/{target['codename']}/{prefix.lower()}/{file}"
    if kind == "rpm":
        return f"{target['id']}/rpms/{file[:1].lower()}/{file}"
    return f"files/{file}"


def _refuse_missing(found: list[dict[str, Any]]) -> None:
    """Report the missing packages of all targets in one error."""
    lines = []
    for target in found:
        if target["missing"]:
            lines.append(
                f"{target['id']}: no upstream has {', '.join(sorted(target['missing']))}"
                f" (searched: {', '.join(u['name'] for u in target['upstreams'])})"
            )
        for name, why in sorted(target["broken"].items()):
            lines.append(f"{target['id']}: {name} cannot be installed from these upstreams: {why}")
    if lines:
        raise CommandFailed("\n".join(lines))


def _fetch(
    minion: Minion,
    home: str,
    name: str,
    folder: Path,
    found: list[dict[str, Any]],
    transfer: dict[str, Any],
) -> int:
    """Have every package in the store; sets ``sha256`` and ``size`` of each. Returns the bytes."""
    alias_file = folder / "cache" / "alias.json"
    # A former release had logins in these addresses.
    former = contents.read_json(str(alias_file))
    alias = {credentials.redact_urls(key, "").replace("//@", "//"): former[key] for key in former}
    notes_file = folder / "cache" / "url.json"
    notes = contents.read_json(str(notes_file))
    packages = [package for target in found for package in target["packages"]]
    for package in packages:
        kind, _, digits = package["checksum"].partition(":")
        package["key"] = package["checksum"] or f"url:{package['url']}"
        package["sha256"] = digits if kind == "sha256" else alias.get(package["key"], "")
    wanted = {p["sha256"]: p["size"] for p in packages if p["sha256"]}
    present = set(package_store.present(home, name, wanted))
    # What has no checksum is asked for in each build, whether it has changed.
    to_fetch = {p["key"]: p for p in packages if not p["checksum"] or p["sha256"] not in present}
    for package in to_fetch.values():
        if package["url"].startswith("file:") and not package["checksum"]:
            upstream_keys.refuse_untrusted(f"repo_url_packages: {package['url']}", package["url"])
    items = [
        {
            "url": package["url"],
            "checksum": package["checksum"],
            "size": package["size"],
            "name": package["file"],
            "login": package.get("login"),
            "tls": package.get("tls"),
            "known": notes.get(key) if package["sha256"] in present else None,
        }
        for key, package in to_fetch.items()
    ]
    result = fetching.fetch(
        minion,
        items,
        str(folder / "store"),
        str(folder / "partial"),
        connections=transfer.get("connections") or fetching.CONNECTIONS,
        retries=4 if transfer.get("retries") is None else transfer["retries"],
        timeout=transfer.get("timeout") or 30,
        proxy_env=transfer.get("proxy_env"),
        tag=f"infra/repo/{name}/progress",
        note=str(folder / "progress"),
    )
    digests = dict(zip(to_fetch, result["files"], strict=True))
    fresh = dict(zip(to_fetch, result["notes"], strict=True))
    contents.write_json(
        str(notes_file), {**notes, **{k: note for k, note in fresh.items() if note}}
    )
    for package in packages:
        package["sha256"] = digests.get(package["key"]) or package["sha256"]
    if digests:
        alias.update({k: d for k, d in digests.items() if not k.startswith("sha256:")})
        contents.write_json(str(alias_file), alias)
        package_store.record(home, name, list(digests.values()))
    for package in packages:
        package["size"] = os.stat(package_store.path(folder / "store", package["sha256"])).st_size
    return int(result["bytes"])


def _separate(packages: list[dict[str, Any]]) -> None:
    """Publish files of one name apart, if they are of several architectures or versions.

    The name of a file has no epoch: 1.0 and 2:1.0 of a package have the same one.
    """
    first: dict[str, tuple[str, str, str]] = {}
    for package in packages:
        arch = package["target"].rpartition(".")[2]
        own = (package["sha256"], arch, package["version"])
        sha256, other_arch, version = first.setdefault(package["path"], own)
        folder, _, file = package["path"].rpartition("/")
        if sha256 == own[0]:
            continue
        if other_arch != arch:
            package["path"] = f"{folder}/{arch}/{file}"
        elif version and own[2] not in ("", version):
            package["path"] = f"{folder}/{own[0][:12]}/{file}"


def _former_versions(
    packages: list[dict[str, Any]], before: list[dict[str, Any]], keep: int
) -> list[dict[str, Any]]:
    """Former versions of packages that stay: the newest ``keep - 1`` of each that is still wanted.

    Sets ``since`` of all: when the repository had the package first.
    """
    known = {(p["path"], p["sha256"]): p["since"] for p in before}
    # Later than all before it, also for builds within one second and clocks that went back.
    now = max([int(time.time()), *(p["since"] + 1 for p in before)])
    for package in packages:
        package["since"] = known.get((package["path"], package["sha256"]), now)
    paths = {p["path"] for p in packages}
    wanted = {(p["target"], p["name"], p["arch"]) for p in packages if p["version"]}
    former: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for package in before:
        key = (package["target"], package["name"], package["arch"])
        if key in wanted and package["version"] and package["path"] not in paths:
            former.setdefault(key, []).append(package)
    return [
        package
        for group in former.values()
        for package in sorted(group, key=lambda p: -p["since"])[: keep - 1]
    ]


def _assemble(
    plan: dict[str, Any],
    found: list[dict[str, Any]],
    packages: list[dict[str, Any]],
    keys: dict[str, str],
    signer: dict[str, str],
    state: dict[str, Any],
    stage: Path,
    folder: Path,
) -> dict[str, Any]:
    """Fill the staged generation: packages, indexes, keys, signatures, and last the marker."""
    sums: dict[str, str] = {}
    for package in packages:
        if package["path"] in sums:
            if sums[package["path"]] != package["sha256"]:
                raise CommandFailed(
                    f"{package['path']}: two upstreams have different packages of this name"
                )
            continue
        source = package_store.path(folder / "store", package["sha256"])
        contents.link(str(source), str(stage / package["path"]))
        sums[package["path"]] = package["sha256"]
    written, suites = _index_debs(plan, found, packages, stage, folder, state["path"])
    rpm_files, yum = _index_rpms(found, packages, stage, folder, state)
    sealing.write_public_key(stage, plan["name"], signer)
    for rel, file in keys.items():
        (stage / rel).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, stage / rel)
    info = _info(plan, found, packages, keys, signer, suites, yum)
    (stage / marker.INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
    signatures = []
    for rel in [*written, *rpm_files]:
        if rel.endswith("Release"):
            base = rel.removesuffix("Release")
            signatures.append((rel, f"{base}InRelease", "clear"))
            signatures.append((rel, f"{base}Release.gpg", "detached"))
        elif rel.endswith("/repomd.xml"):
            signatures.append((rel, f"{rel}.asc", "detached"))
    sealing.sign(stage, signer, signatures)
    sealing.seal(stage, sums, signer, folder / "cache")
    return info


def _index_debs(
    plan: dict[str, Any],
    found: list[dict[str, Any]],
    packages: list[dict[str, Any]],
    stage: Path,
    folder: Path,
    before: str,
) -> tuple[list[str], list[str]]:
    """Write the apt indexes; returns the Release files, and the suites (the default one first)."""
    debs = sorted({p["path"] for p in packages if p["path"].endswith(".deb")})
    suites = list(dict.fromkeys(t["codename"] for t in found if t["family"] == "deb"))
    cache = str(folder / "cache" / "index.db")
    texts = indexes.paragraphs(str(stage), debs, cache) if debs else {}
    _check_texts(packages, texts)
    release_files = []
    for suite in suites:
        arches = list(dict.fromkeys(
            systems.ARCHES[t["arch"]]
            for t in found if t["family"] == "deb" and t["codename"] == suite
        ))  # fmt: skip
        own = {path: texts[path] for path in debs if path.startswith(f"pool/{suite}/")}
        field = indexes.field
        kind = {path: field(text, "Architecture") for path, text in own.items()}
        others = {path: arch for path, arch in kind.items() if arch not in (*arches, "all")}
        if others:
            named = ", ".join(f"{path} ({arch})" for path, arch in sorted(others.items()))
            raise CommandFailed(
                f"{suite}: packages for an architecture that is none of its targets"
                f" ({', '.join(arches)}): {named}. Remove them from repo_url_packages, use"
                " ${arch} in their addresses, or add the target to repo_targets"
            )
        fields = {
            "Origin": plan["name"],
            "Label": plan["name"],
            "Suite": suite,
            "Codename": suite,
            "Architectures": " ".join(arches),
            "Components": "main",
            "Description": f"local repository {plan['name']}",
        }
        components = {
            f"main/binary-{arch}": {p: t for p, t in own.items() if kind[p] in (arch, "all")}
            for arch in arches
        }
        write = indexes.write_suite
        release_files.append(write(str(stage), f"dists/{suite}", fields, components, before)[0])
        if suite == suites[0]:
            # The folder itself, too, for the line that Pigsty's clients have: deb URL ./
            flat = {k: v for k, v in fields.items() if k != "Components"}
            release_files.append(write(str(stage), ".", flat, {".": own}, before)[0])
    if debs:
        indexes.forget(str(stage), debs, cache)
    return release_files, suites


def _check_texts(packages: list[dict[str, Any]], texts: dict[str, str]) -> None:
    """What the index tool read must be what was verified when it was fetched."""
    field = indexes.field
    for package in packages:
        text = texts.get(package["path"])
        if text is None:
            continue
        if field(text, "SHA256") != package["sha256"]:
            raise CommandFailed(
                f"{package['path']}: changed on disk while the repository was built"
            )
        name, version = field(text, "Package"), field(text, "Version")
        # One of repo_url_packages has no version before.
        if package["version"] and (package["name"], package["version"]) != (name, version):
            raise CommandFailed(
                f"{package['path']}: its upstream's index says that it is {package['name']}"
                f" {package['version']}, but it is {name} {version}"
            )
        package["name"] = name
        package["version"] = version
        package["arch"] = field(text, "Architecture")


def _index_rpms(
    found: list[dict[str, Any]],
    packages: list[dict[str, Any]],
    stage: Path,
    folder: Path,
    state: dict[str, Any],
) -> tuple[list[str], list[str]]:
    """Write the yum indexes; returns their files, and the folders (the default one first)."""
    files: list[str] = []
    folders = [t["id"] for t in found if t["family"] == "rpm"]
    for target in folders:
        files += indexes.write_repodata(
            str(stage), target, str(folder / "cache" / f"repodata-{target}"), state["path"]
        )
    for target in folders:
        # A machine that is held at a minor release has that for yum's $releasever.
        release, _, arch = target.partition(".")
        for minor in range(_MINOR_RELEASES):
            (stage / f"{release}.{minor}.{arch}").symlink_to(target)
    if folders:
        # The same under the folder itself, for clients of a repository for one system.
        for part in ("repodata", "rpms"):
            if (stage / folders[0] / part).is_dir():
                (stage / part).symlink_to(f"{folders[0]}/{part}")
    return files, folders


def _info(
    plan: dict[str, Any],
    found: list[dict[str, Any]],
    packages: list[dict[str, Any]],
    keys: dict[str, str],
    signer: dict[str, str],
    suites: list[str],
    yum: list[str],
) -> dict[str, Any]:
    wanted = ("target", "path", "name", "version", "arch", "sha256", "size", "since")
    unique = {p["path"]: {k: p[k] for k in wanted} for p in packages}
    return {
        "format": 1,
        "name": plan["name"],
        "built": int(time.time()),
        "request": plan["fingerprint"],
        "targets": [target["id"] for target in found],
        "key": signer["fingerprint"],
        "suites": suites,
        "default_suite": suites[0] if suites else "",
        "flat": bool(suites),
        "yum": yum,
        "keys": sorted(keys),
        "upstreams": [
            {
                "target": target["id"],
                "name": upstream["name"],
                "url": upstream.get("url") or " ".join(upstream.get("baseurls", [])),
                "verified": not upstream["trusted"],
            }
            for target in found
            for upstream in target["upstreams"]
        ],
        "packages": [unique[path] for path in sorted(unique)],
    }
