"""Building the local software repository: resolve, fetch, verify, index, sign, publish.

What :func:`build` does for ``infra_repo.build``, step by step, in the order of this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from salt.exceptions import CommandExecutionError

from infra_formula.errors import CommandFailed
from infra_formula.fileset import root_only
from infra_formula.minion import Minion
from infra_formula.repository import apt, dnf, fetching, indexes, signing
from infra_formula.repository import releases as repository_releases

CACHE = "/var/cache/infra/repo"
"""What the solvers keep; may be removed at any time."""
KEYS = "/var/lib/infra/repo"
"""The signing key; must not be lost."""
INFO = "repo_info.json"


def build(
    minion: Minion,
    plan: dict[str, Any],
    state: dict[str, Any],
    key: dict[str, Any],
    transfer: dict[str, Any],
    force: bool = False,
) -> dict[str, Any]:
    """Build and publish what a plan says; for ``infra_repo.build``, which keeps others away.

    plan
        What ``infra_repo_catalogue.plan`` makes of a request.
    state
        What ``infra_repo_tree.state`` says is published.
    key, transfer, force
        See ``infra_repo.build``.

    Returns what :func:`outcome` does.

    Raises CommandExecutionError; what was published is then unchanged.
    """
    signer = _signer(plan["name"], key)
    home, name = plan["home"], plan["name"]
    folder = Path(repository_releases.work(home, name))
    proxy_env = transfer.get("proxy_env") or {}
    cache = Path(transfer.get("cache") or CACHE, name)
    found = [_resolved(minion, cache, target, proxy_env, force) for target in plan["targets"]]
    _raise_missing(found)
    fetched = _fetch(minion, home, name, folder, found, transfer)
    packages = [package for target in found for package in target["packages"]]
    keys = _verify_rpms(folder, name, found, signer, home)
    former = _kept(packages, state["info"].get("packages", []), plan["keep"])
    have = repository_releases.stored(home, name, {p["sha256"]: p["size"] for p in former})
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
    stage = repository_releases.stage(home, name)
    try:
        info = _assemble(plan, found, packages, keys, signer, state, Path(stage), folder)
        path = repository_releases.publish(home, name, stage)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    repository_releases.sweep(home, name)
    return outcome(path, info, before, True, fetched)


def outcome(
    path: str, info: dict[str, Any], before: dict[str, Any], changed: bool, fetched: int
) -> dict[str, Any]:
    """What a build came to.

    path
        What is published now.
    info, before
        Its description, and that of what was published before.
    changed
        Whether something was published.
    fetched
        Bytes that were fetched.

    Returns ``changed``, ``path``, ``packages`` (how many), ``fetched``, ``added`` and ``removed``
    (paths).
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


def sign_folder(minion: Minion, folder: str, name: str, cache: str, key: dict[str, Any]) -> str:
    """Sign, with this node's own key, a complete repository that nobody signed.

    folder
        A staged generation that others do not use yet; index and marker in it are replaced.
    name
        ``repo_name``.
    cache
        ``infra_repo_tree.work``'s folder ``cache``.
    key
        See ``infra_repo.build``.

    For apt, an index of all packages in the folder is written and signed. For yum, the index that
    is there is signed: it has the checksum of every package, so clients need no signature in those.

    Returns the fingerprint of the key.

    Raises CommandExecutionError.
    """
    stage = Path(folder)
    signer = _signer(name, key)
    for rel in (*_FLAT_INDEX, f"{name}.asc", f"{name}.gpg", "repodata/repomd.xml.asc"):
        (stage / rel).unlink(missing_ok=True)
    shutil.rmtree(stage / "by-hash", ignore_errors=True)
    files = repository_releases.files_of(folder)
    debs = [rel for rel in files if rel.endswith(".deb")]
    signatures = []
    if debs:
        texts = indexes.paragraphs(folder, debs, str(Path(cache, "index.db")))
        found = {indexes.field(t, "Architecture") for t in texts.values()}
        # apt does not look into a repository that does not name its architecture.
        found.add(_ARCHES.get(minion.grains["cpuarch"], minion.grains["cpuarch"]))
        fields = {
            "Origin": name,
            "Label": name,
            "Architectures": " ".join(sorted(found - {"all"})),
            "Description": f"local repository {name}",
        }
        indexes.write_suite(folder, ".", fields, {".": texts})
        signatures += [("Release", "InRelease", "clear"), ("Release", "Release.gpg", "detached")]
    yum = (stage / "repodata" / "repomd.xml").is_file()
    if yum:
        signatures.append(("repodata/repomd.xml", "repodata/repomd.xml.asc", "detached"))
    _write_public(stage, name, signer)
    info = {
        "format": 1,
        "name": name,
        "built": int(time.time()),
        "key": signer["fingerprint"],
        "suites": [],
        "default_suite": "",
        "flat": bool(debs),
        "yum": ["."] if yum else [],
        "keys": [],
        "rpms_signed": False,
        "targets": [],
        "upstreams": [],
    }
    (stage / INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
    _sign(stage, signer, signatures)
    _seal(stage, {}, signer, Path(cache))
    return str(signer["fingerprint"])


_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_FLAT_INDEX = (
    *(f"Packages{suffix}" for suffix in ("", ".gz", ".bz2", ".xz", ".zst")),
    *("Release", "InRelease", "Release.gpg"),
    *(INFO, "repo_complete", "repo_complete.asc"),
)


def _write_public(stage: Path, name: str, signer: dict[str, str]) -> None:
    """Publish the key: armoured, and as old programs want it."""
    (stage / f"{name}.asc").write_text(signer["public"], encoding="utf-8")
    binary = signing.dearmour(signer["public"].encode())
    (stage / f"{name}.gpg").write_bytes(binary)


def _seal(stage: Path, sums: dict[str, str], signer: dict[str, str], cache: Path) -> None:
    """List every file with its checksum in the marker, sign that, and put both in place."""
    for rel in repository_releases.files_of(str(stage)):
        if rel not in sums:
            sums[rel] = repository_releases.checksum(str(stage / rel))
    marker = cache / "marker"
    marker.write_text(repository_releases.marker_text(sums), encoding="utf-8")
    _sign(cache, signer, [("marker", "marker.asc", "detached")])
    repository_releases.seal(str(stage), sums, str(cache / "marker.asc"))


def _resolved(
    minion: Minion, cache: Path, target: dict[str, Any], proxy_env: dict[str, str], force: bool
) -> dict[str, Any]:
    """A target with the packages that it needs."""
    root = cache / target["id"]
    root.mkdir(parents=True, exist_ok=True)
    upstreams = [_with_keys(minion, root, upstream, target, proxy_env, force)
                 for upstream in target["upstreams"]]  # fmt: skip
    proxy_for = fetching.proxy_for
    answer: dict[str, Any] = {"packages": [], "missing": [], "broken": {}}
    try:
        if target["names"] and target["family"] == "deb":
            proxies = {
                str(urlsplit(u["url"]).hostname): proxy_for(u["url"], proxy_env) or "DIRECT"
                for u in upstreams
                if u["url"].startswith("http")
            }
            answer = apt.resolve(str(root), upstreams, target["arch"], target["names"], proxies)
        elif target["names"]:
            proxies = {u["name"]: proxy_for(u["baseurls"][0], proxy_env) for u in upstreams}
            answer = dnf.resolve(
                str(root), upstreams, target["arch"], target["releasever"], target["names"], proxies
            )
    except CommandExecutionError as exc:
        raise CommandFailed(f"{target['id']}: {exc}") from exc
    packages = [
        {**package, "target": target["id"], "path": _path(target, package["file"])}
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


def _path(target: dict[str, Any], file: str) -> str:
    """Where a file is published."""
    kind = file.rpartition(".")[2]
    if kind == "deb":
        prefix = file[:4] if file.startswith("lib") else file[:1]
        return f"pool/{target['codename']}/{prefix.lower()}/{file}"
    if kind == "rpm":
        return f"{target['id']}/rpms/{file[:1].lower()}/{file}"
    return f"files/{file}"


def _with_keys(
    minion: Minion,
    root: Path,
    upstream: dict[str, Any],
    target: dict[str, Any],
    proxy_env: dict[str, str],
    force: bool,
) -> dict[str, Any]:
    """An upstream with its keys in files."""
    where = f"{target['id']}: upstream {upstream['name']}"
    files = []
    if upstream["signed_by"]:
        if not Path(upstream["signed_by"]).is_file():
            raise CommandFailed(f"{where}: there is no file {upstream['signed_by']}")
        _refuse_untrusted(f"{where}: signed_by", upstream["signed_by"])
        files.append(upstream["signed_by"])
    for source in upstream["gpgkey"]:
        source = source.replace("$releasever", target["releasever"])
        source = source.replace("$basearch", target["arch"])
        tag = hashlib.sha256(source.encode()).hexdigest()[:16]
        kept = next(iter(root.glob(f"keys/{tag}.*")), None)
        try:
            if kept is None or force or not source.startswith("http"):
                if source.startswith(("/", "file:")):
                    _refuse_untrusted("expected a file of root's", source)
                data = _key_data(minion, source, proxy_env)
                kept = Path(
                    signing.keyring(data, str(root / "keys" / tag), upstream["fingerprint"])[0]
                )
        except (CommandExecutionError, OSError) as exc:
            raise CommandFailed(f"{where}: gpgkey {source[:80]}: {exc}") from exc
        files.append(str(kept))
    result = {**upstream, "keys": files}
    if target["family"] == "deb" and not upstream["trusted"]:
        # apt takes one file; keys after one another in it are one keyring.
        result["keyring"] = files[0]
        if len(files) > 1:
            raw = [Path(file).read_bytes() for file in files]
            dearmour = signing.dearmour
            joined = root / "keys" / f"{upstream['name']}.all.gpg"
            joined.write_bytes(
                b"".join(dearmour(d) if d.lstrip().startswith(b"-----") else d for d in raw)
            )
            result["keyring"] = str(joined)
    return result


def _refuse_untrusted(where: str, source: str) -> None:
    """A file that nothing verifies is one that only root can write."""
    path = unquote(urlsplit(source).path) if source.startswith("file:") else source
    fault = root_only.fault(path)
    if fault:
        raise CommandFailed(f"{where}: {fault}")


def _key_data(minion: Minion, source: str, proxy_env: dict[str, str]) -> bytes:
    if source.lstrip().startswith("-----BEGIN"):
        return source.encode()
    if source.startswith("/"):
        return Path(source).read_bytes()
    if source.startswith("salt:"):
        cached = minion.call("cp.cache_file", source)
        if not cached:
            raise CommandFailed("the master has no such file")
        return Path(cached).read_bytes()
    data: bytes = fetching.read(source, proxy_env)
    return data


def _raise_missing(found: list[dict[str, Any]]) -> None:
    """All names of all targets that cannot be had, in one error."""
    lines = []
    for target in found:
        if target["missing"]:
            lines.append(
                f"{target['id']}: no upstream has {', '.join(sorted(target['missing']))}"
                f" (asked: {', '.join(u['name'] for u in target['upstreams'])})"
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
    alias = repository_releases.read_json(str(alias_file))
    packages = [package for target in found for package in target["packages"]]
    for package in packages:
        kind, _, digits = package["checksum"].partition(":")
        package["key"] = package["checksum"] or f"url:{package['url']}"
        package["sha256"] = digits if kind == "sha256" else alias.get(package["key"], "")
    wanted = {p["sha256"]: p["size"] for p in packages if p["sha256"]}
    present = set(repository_releases.stored(home, name, wanted))
    todo = {p["key"]: p for p in packages if p["sha256"] not in present}
    for package in todo.values():
        if package["url"].startswith("file:") and not package["checksum"]:
            _refuse_untrusted(f"repo_url_packages: {package['url']}", package["url"])
    items = [
        {
            "url": package["url"],
            "checksum": package["checksum"],
            "size": package["size"],
            "name": package["file"],
        }
        for package in todo.values()
    ]
    result = fetching.fetch(
        minion,
        items,
        str(folder / "store"),
        str(folder / "partial"),
        connections=transfer.get("connections") or 8,
        retries=4 if transfer.get("retries") is None else transfer["retries"],
        timeout=transfer.get("timeout") or 30,
        proxy_env=transfer.get("proxy_env"),
        tag=f"infra/repo/{name}/progress",
        note=str(folder / "progress"),
    )
    digests = dict(zip(todo, result["files"], strict=True))
    for package in packages:
        package["sha256"] = digests.get(package["key"]) or package["sha256"]
    if digests:
        alias.update({k: d for k, d in digests.items() if not k.startswith("sha256:")})
        repository_releases.write_json(str(alias_file), alias)
        repository_releases.note_store(home, name, list(digests.values()))
    for package in packages:
        package["size"] = os.stat(_store_path(folder, package["sha256"])).st_size
    return int(result["bytes"])


def _store_path(folder: Path, sha256: str) -> Path:
    return folder / "store" / sha256[:2] / sha256


def _verify_rpms(
    folder: Path, name: str, found: list[dict[str, Any]], signer: dict[str, str], home: str
) -> dict[str, str]:
    """Check the signatures of rpms; sign with our key those that bear none that clients can check.

    Returns the files with the upstream keys that clients need: published path → file.
    """
    notes_file = folder / "cache" / "rpm.json"
    notes = repository_releases.read_json(str(notes_file))
    keys: dict[str, str] = {}
    for target in found:
        if target["family"] != "rpm":
            continue
        for upstream in [*target["upstreams"], None]:
            own = [
                p
                for p in target["packages"]
                if p["path"].endswith(".rpm")
                and p.get("upstream") == (upstream["name"] if upstream else None)
            ]
            files = upstream["keys"] if upstream else []
            states = _rpm_states(folder, own, files, notes)
            if any(state == "good" for state in states.values()):
                for number, file in enumerate(files):
                    suffix = "" if len(files) == 1 else f"-{number}"
                    keys[f"keys/{upstream['name']}{suffix}{Path(file).suffix}"] = file
            _refuse_rpms(target["id"], upstream, own, states)
            resign = [p for p in own if states[p["sha256"]] in ("unsigned", "unknown")]
            _sign_rpms(folder, resign, signer, notes)
    repository_releases.write_json(str(notes_file), notes)
    return keys


def _rpm_states(
    folder: Path, packages: list[dict[str, Any]], files: list[str], notes: dict[str, Any]
) -> dict[str, str]:
    mark = hashlib.sha256(b"".join(Path(f).read_bytes() for f in files)).hexdigest()[:16]
    todo = {
        str(_store_path(folder, p["sha256"])): p["sha256"]
        for p in packages
        if f"{mark}:{p['sha256']}" not in notes
    }
    if todo:
        states = signing.check_packages(files, list(todo), str(folder / "cache" / "rpmdb"))
        notes.update({f"{mark}:{todo[path]}": state for path, state in states.items()})
    return {p["sha256"]: notes[f"{mark}:{p['sha256']}"] for p in packages}


def _refuse_rpms(
    target: str,
    upstream: dict[str, Any] | None,
    packages: list[dict[str, Any]],
    states: dict[str, str],
) -> None:
    bad = {p["file"]: states[p["sha256"]] for p in packages if states[p["sha256"]] == "bad"}
    if upstream is not None and not upstream["trusted"]:
        unsigned_index = str(upstream["meta"].get("repo_gpgcheck", 1)).lower() in ("0", "false")
        strict = str(upstream["meta"].get("gpgcheck", 0)).lower() not in ("0", "false", "no")
        if unsigned_index or strict:
            bad.update({p["file"]: states[p["sha256"]] for p in packages
                        if states[p["sha256"]] != "good"})  # fmt: skip
    if bad:
        raise CommandFailed(
            f"{target}: packages not signed by the gpgkey of"
            f" {upstream['name'] if upstream else 'anybody'}: "
            + ", ".join(f"{file} ({state})" for file, state in sorted(bad.items()))
        )


def _sign_rpms(
    folder: Path, packages: list[dict[str, Any]], signer: dict[str, str], notes: dict[str, Any]
) -> None:
    work = folder / "partial" / "sign"
    shutil.rmtree(work, ignore_errors=True)
    todo = []
    for package in packages:
        note = f"signed:{signer['fingerprint']}:{package['sha256']}"
        if not _store_path(folder, notes.get(note, "-")).is_file():
            work.mkdir(exist_ok=True)
            copy = work / f"{package['sha256']}.rpm"
            shutil.copyfile(_store_path(folder, package["sha256"]), copy)
            todo.append((note, copy))
    if todo:
        signing.sign_packages(
            signer["home"],
            signer["fingerprint"],
            [str(copy) for _note, copy in todo],
            signer["passphrase_file"],
        )
        for note, copy in todo:
            digest = repository_releases.checksum(str(copy))
            target = _store_path(folder, digest)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            copy.chmod(0o644)
            copy.replace(target)
            notes[note] = digest
        work.rmdir()
    for package in packages:
        digest = notes[f"signed:{signer['fingerprint']}:{package['sha256']}"]
        package["sha256"] = digest
        package["size"] = _store_path(folder, digest).stat().st_size


def _kept(
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
        source = _store_path(folder, package["sha256"])
        repository_releases.link(str(source), str(stage / package["path"]))
        sums[package["path"]] = package["sha256"]
    written, suites = _index_debs(plan, found, packages, stage, folder, state["path"])
    rpm_files, yum = _index_rpms(found, packages, stage, folder, state)
    _write_public(stage, plan["name"], signer)
    for rel, file in keys.items():
        (stage / rel).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, stage / rel)
    info = _info(plan, found, packages, keys, signer, suites, yum)
    (stage / INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
    signatures = []
    for rel in [*written, *rpm_files]:
        if rel.endswith("Release"):
            base = rel.removesuffix("Release")
            signatures.append((rel, f"{base}InRelease", "clear"))
            signatures.append((rel, f"{base}Release.gpg", "detached"))
        elif rel.endswith("/repomd.xml"):
            signatures.append((rel, f"{rel}.asc", "detached"))
    _sign(stage, signer, signatures)
    _seal(stage, sums, signer, folder / "cache")
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
    releases = []
    for suite in suites:
        arches = list(dict.fromkeys(
            _ARCHES[t["arch"]]
            for t in found if t["family"] == "deb" and t["codename"] == suite
        ))  # fmt: skip
        own = {path: texts[path] for path in debs if path.startswith(f"pool/{suite}/")}
        field = indexes.field
        kind = {path: field(text, "Architecture") for path, text in own.items()}
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
        releases.append(write(str(stage), f"dists/{suite}", fields, components, before)[0])
        if suite == suites[0]:
            # The folder itself, too, for the line that Pigsty's clients have: deb URL ./
            flat = {k: v for k, v in fields.items() if k != "Components"}
            releases.append(write(str(stage), ".", flat, {".": own}, before)[0])
    if debs:
        indexes.forget(str(stage), debs, cache)
    return releases, suites


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
        package["name"] = field(text, "Package")
        package["version"] = field(text, "Version")
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


def _signer(name: str, key: dict[str, Any] | None) -> dict[str, str]:
    key = key or {}
    home = key.get("home") or str(Path(KEYS, name, "gnupg"))
    passphrase = key.get("passphrase_file") or ""
    found = signing.key(
        home, key.get("uid") or f"{name} repository", key.get("secret_file") or "", passphrase
    )
    return {**found, "home": home, "passphrase_file": passphrase}


def _sign(base: Path, signer: dict[str, str], files: list[tuple[str, str, str]]) -> None:
    signing.sign(
        signer["home"],
        signer["fingerprint"],
        [
            {"source": str(base / source), "target": str(base / target), "kind": kind}
            for source, target, kind in files
        ],
        signer["passphrase_file"],
    )
