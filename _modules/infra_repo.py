"""The local software repository: built, verified, rolled back, packed, described.

One INFRA node builds a repository for any number of operating systems and architectures
(*targets*); see docs/repository.md for the request that says what is to be in it, and for the
layout of what is published. The parts lie in modules of their own: ``infra_repo_catalogue`` (what
is wanted), ``infra_repo_apt`` and ``infra_repo_dnf`` (what that needs), ``infra_repo_fetch``,
``infra_repo_index``, ``infra_repo_sign``, ``infra_repo_tree`` (what is published),
``infra_repo_pack`` and ``infra_repo_client``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __grains__: dict[str, Any]

log = logging.getLogger(__name__)

CACHE = "/var/cache/infra/repo"
"""What the solvers keep; may be removed at any time."""
KEYS = "/var/lib/infra/repo"
"""The signing key; must not be lost."""
INFO = "repo_info.json"
MARKER = "repo_complete"


# -- building ------------------------------------------------------------------------------------


def build(
    request: dict[str, Any],
    key: dict[str, Any] | None = None,
    transfer: dict[str, Any] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Build a repository and publish it; nothing is published unless all of it succeeds.

    request
        What is to be in it; see ``infra_repo_catalogue.plan``.
    key
        ``home`` (gpg's directory), ``uid``, ``secret_file``, ``passphrase_file``; all optional.
    transfer
        ``connections`` (8), ``retries`` (4), ``timeout`` (30 s), ``proxy_env``, ``cache`` (where
        the solvers keep what they know); all optional.
    force
        Build although a complete repository made from the same request is published: asks the
        upstreams for newer versions.

    Returns ``changed``, ``path``, ``packages`` (how many), ``fetched`` (bytes), ``added`` and
    ``removed`` (paths, compared with what was published before).

    Raises SaltInvocationError for a request that cannot be right, CommandExecutionError when
    something fails. What was published then is published still.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.build '{name: pigsty, home: /www, targets: [d12.x86_64], …}'
    """
    plan = __salt__["infra_repo_catalogue.plan"](request)
    home, name = plan["home"], plan["name"]
    with _working(home, name, "build"):
        state = __salt__["infra_repo_tree.state"](home, name)
        if not force and not needs_build(state, plan["fingerprint"]):
            return _outcome(state["path"], state["info"], state["info"], False, 0)
        signer = _signer(name, key)
        return _build(plan, state, signer, transfer or {}, force)


def needs_build(state: dict[str, Any], fingerprint: str) -> bool:
    """Whether what is published has to be built (again).

    state
        What ``infra_repo_tree.state`` says.
    fingerprint
        Of the plan.

    A complete repository is taken as it is: always, where it was unpacked or made by somebody else;
    for as long as the request stays the same, where we built it.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.needs_build '{complete: false}' abc
    """
    if not state["complete"]:
        return True
    return bool(state["origin"] == "built" and state["info"].get("request") != fingerprint)


def _outcome(
    path: str, info: dict[str, Any], before: dict[str, Any], changed: bool, fetched: int
) -> dict[str, Any]:
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


def _build(
    plan: dict[str, Any],
    state: dict[str, Any],
    signer: dict[str, str],
    transfer: dict[str, Any],
    force: bool,
) -> dict[str, Any]:
    home, name = plan["home"], plan["name"]
    folder = Path(__salt__["infra_repo_tree.work"](home, name))
    proxy_env = transfer.get("proxy_env") or {}
    cache = Path(transfer.get("cache") or CACHE, name)
    found = [_resolved(cache, target, proxy_env, force) for target in plan["targets"]]
    _raise_missing(found)
    fetched = _fetch(home, name, folder, found, transfer)
    packages = [package for target in found for package in target["packages"]]
    keys = _verify_rpms(folder, name, found, signer, home)
    former = _kept(packages, state["info"].get("packages", []), plan["keep"])
    have = __salt__["infra_repo_tree.stored"](home, name, {p["sha256"]: p["size"] for p in former})
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
        return _outcome(state["path"], before, before, False, fetched)
    stage = __salt__["infra_repo_tree.stage"](home, name)
    try:
        info = _assemble(plan, found, packages, keys, signer, state, Path(stage), folder)
        path = __salt__["infra_repo_tree.publish"](home, name, stage)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    __salt__["infra_repo_tree.sweep"](home, name)
    return _outcome(path, info, before, True, fetched)


def _resolved(
    cache: Path, target: dict[str, Any], proxy_env: dict[str, str], force: bool
) -> dict[str, Any]:
    """A target with the packages that it needs."""
    root = cache / target["id"]
    root.mkdir(parents=True, exist_ok=True)
    upstreams = [_with_keys(root, upstream, target, proxy_env, force)
                 for upstream in target["upstreams"]]  # fmt: skip
    proxy_for = __salt__["infra_repo_fetch.proxy_for"]
    answer: dict[str, Any] = {"packages": [], "missing": [], "broken": {}}
    try:
        if target["names"] and target["family"] == "deb":
            proxies = {
                str(urlsplit(u["url"]).hostname): proxy_for(u["url"], proxy_env) or "DIRECT"
                for u in upstreams
                if u["url"].startswith("http")
            }
            answer = __salt__["infra_repo_apt.resolve"](
                str(root), upstreams, target["arch"], target["names"], proxies
            )
        elif target["names"]:
            proxies = {u["name"]: proxy_for(u["baseurls"][0], proxy_env) for u in upstreams}
            answer = __salt__["infra_repo_dnf.resolve"](
                str(root), upstreams, target["arch"], target["releasever"], target["names"], proxies
            )
    except CommandExecutionError as exc:
        raise CommandExecutionError(f"{target['id']}: {exc}") from exc
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
            raise CommandExecutionError(f"{where}: there is no file {upstream['signed_by']}")
        files.append(upstream["signed_by"])
    blocks = []
    for source in upstream["gpgkey"]:
        source = source.replace("$releasever", target["releasever"])
        source = source.replace("$basearch", target["arch"])
        tag = hashlib.sha256(source.encode()).hexdigest()[:16]
        kept = next(iter(root.glob(f"keys/{tag}.*")), None)
        try:
            if kept is None or force or not source.startswith("http"):
                data = _key_data(source, proxy_env)
                kept = Path(
                    __salt__["infra_repo_sign.keyring"](
                        data, str(root / "keys" / tag), upstream["fingerprint"]
                    )[0]
                )
        except (CommandExecutionError, OSError) as exc:
            raise CommandExecutionError(f"{where}: gpgkey {source[:80]}: {exc}") from exc
        files.append(str(kept))
        blocks.append(kept.read_bytes())
    result = {**upstream, "keys": files}
    if target["family"] == "deb" and not upstream["trusted"]:
        # apt takes one file; keys after one another in it are one keyring.
        result["keyring"] = files[0]
        if len(files) > 1:
            raw = [Path(file).read_bytes() for file in files]
            dearmour = __salt__["infra_repo_sign.dearmour"]
            joined = root / "keys" / f"{upstream['name']}.all.gpg"
            joined.write_bytes(
                b"".join(dearmour(d) if d.lstrip().startswith(b"-----") else d for d in raw)
            )
            result["keyring"] = str(joined)
    return result


def _key_data(source: str, proxy_env: dict[str, str]) -> bytes:
    if source.lstrip().startswith("-----BEGIN"):
        return source.encode()
    if source.startswith("/"):
        return Path(source).read_bytes()
    if source.startswith("salt:"):
        cached = __salt__["cp.cache_file"](source)
        if not cached:
            raise CommandExecutionError("the master has no such file")
        return Path(cached).read_bytes()
    data: bytes = __salt__["infra_repo_fetch.read"](source, proxy_env)
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
        raise CommandExecutionError("\n".join(lines))


def _fetch(
    home: str,
    name: str,
    folder: Path,
    found: list[dict[str, Any]],
    transfer: dict[str, Any],
) -> int:
    """Have every package in the store; sets ``sha256`` and ``size`` of each. Returns the bytes."""
    alias_file = folder / "cache" / "alias.json"
    alias = _read_json(alias_file)
    packages = [package for target in found for package in target["packages"]]
    for package in packages:
        kind, _, digits = package["checksum"].partition(":")
        package["key"] = package["checksum"] or f"url:{package['url']}"
        package["sha256"] = digits if kind == "sha256" else alias.get(package["key"], "")
    wanted = {p["sha256"]: p["size"] for p in packages if p["sha256"]}
    present = set(__salt__["infra_repo_tree.stored"](home, name, wanted))
    todo = {p["key"]: p for p in packages if p["sha256"] not in present}
    items = [
        {
            "url": package["url"],
            "checksum": package["checksum"],
            "size": package["size"],
            "name": package["file"],
        }
        for package in todo.values()
    ]
    result = __salt__["infra_repo_fetch.fetch"](
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
        _write_json(alias_file, alias)
        __salt__["infra_repo_tree.note_store"](home, name, list(digests.values()))
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
    notes = _read_json(notes_file)
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
    _write_json(notes_file, notes)
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
        states = __salt__["infra_repo_sign.check_packages"](
            files, list(todo), str(folder / "cache" / "rpmdb")
        )
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
        raise CommandExecutionError(
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
        __salt__["infra_repo_sign.sign_packages"](
            signer["home"],
            signer["fingerprint"],
            [str(copy) for _note, copy in todo],
            signer["passphrase_file"],
        )
        for note, copy in todo:
            digest = __salt__["infra_repo_tree.checksum"](str(copy))
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
                raise CommandExecutionError(
                    f"{package['path']}: two upstreams have different packages of this name"
                )
            continue
        source = _store_path(folder, package["sha256"])
        __salt__["infra_repo_tree.link"](str(source), str(stage / package["path"]))
        sums[package["path"]] = package["sha256"]
    written, suites = _index_debs(plan, found, packages, stage, folder, state["path"])
    rpm_files, yum = _index_rpms(found, packages, stage, folder, state)
    (stage / f"{plan['name']}.asc").write_text(signer["public"], encoding="utf-8")
    binary = __salt__["infra_repo_sign.dearmour"](signer["public"].encode())
    (stage / f"{plan['name']}.gpg").write_bytes(binary)
    for rel, file in keys.items():
        (stage / rel).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, stage / rel)
    info = _info(plan, found, packages, keys, signer, suites, yum)
    (stage / INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
    signatures = []
    for rel in [*written, *rel_repomd(rpm_files)]:
        if rel.endswith("Release"):
            base = rel.removesuffix("Release")
            signatures.append((rel, f"{base}InRelease", "clear"))
            signatures.append((rel, f"{base}Release.gpg", "detached"))
        elif rel.endswith("repomd.xml"):
            signatures.append((rel, f"{rel}.asc", "detached"))
    _sign(stage, signer, signatures)
    for rel in __salt__["infra_repo_tree.files_of"](str(stage)):
        if rel not in sums:
            sums[rel] = __salt__["infra_repo_tree.checksum"](str(stage / rel))
    marker = folder / "cache" / "marker"
    marker.write_text(__salt__["infra_repo_tree.marker_text"](sums), encoding="utf-8")
    _sign(folder / "cache", signer, [("marker", "marker.asc", "detached")])
    __salt__["infra_repo_tree.seal"](str(stage), sums, str(folder / "cache" / "marker.asc"))
    return info


def rel_repomd(files: list[str]) -> list[str]:
    """The ``repomd.xml`` files among others.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.rel_repomd '[a/repodata/repomd.xml]'
    """
    return [rel for rel in files if rel.endswith("/repomd.xml")]


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
    texts = __salt__["infra_repo_index.paragraphs"](str(stage), debs, cache) if debs else {}
    _check_texts(packages, texts)
    releases = []
    for suite in suites:
        arches = list(dict.fromkeys(
            {"x86_64": "amd64", "aarch64": "arm64"}[t["arch"]]
            for t in found if t["family"] == "deb" and t["codename"] == suite
        ))  # fmt: skip
        own = {path: texts[path] for path in debs if path.startswith(f"pool/{suite}/")}
        field = __salt__["infra_repo_index.field"]
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
        write = __salt__["infra_repo_index.write_suite"]
        releases.append(write(str(stage), f"dists/{suite}", fields, components, before)[0])
        if suite == suites[0]:
            # The folder itself, too, for the line that Pigsty's clients have: deb URL ./
            flat = {k: v for k, v in fields.items() if k != "Components"}
            releases.append(write(str(stage), ".", flat, {".": own}, before)[0])
    if debs:
        __salt__["infra_repo_index.forget"](str(stage), debs, cache)
    return releases, suites


def _check_texts(packages: list[dict[str, Any]], texts: dict[str, str]) -> None:
    """What the index tool read must be what was verified when it was fetched."""
    field = __salt__["infra_repo_index.field"]
    for package in packages:
        text = texts.get(package["path"])
        if text is None:
            continue
        if field(text, "SHA256") != package["sha256"]:
            raise CommandExecutionError(
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
        files += __salt__["infra_repo_index.write_repodata"](
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
    found = __salt__["infra_repo_sign.key"](
        home, key.get("uid") or f"{name} repository", key.get("secret_file") or "", passphrase
    )
    return {**found, "home": home, "passphrase_file": passphrase}


def _sign(base: Path, signer: dict[str, str], files: list[tuple[str, str, str]]) -> None:
    __salt__["infra_repo_sign.sign"](
        signer["home"],
        signer["fingerprint"],
        [
            {"source": str(base / source), "target": str(base / target), "kind": kind}
            for source, target, kind in files
        ],
        signer["passphrase_file"],
    )


# -- one at a time -------------------------------------------------------------------------------


@contextlib.contextmanager
def _working(home: str, name: str, what: str) -> Iterator[None]:
    """Keep others from changing the repository; and let a full disk be told in plain words."""
    # What is published has to be readable for the web server, whatever the minion's own umask is.
    umask = os.umask(0o022)
    try:
        folder = Path(__salt__["infra_repo_tree.work"](home, name))
        with (folder / "lock").open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise CommandExecutionError(
                    f"{Path(home, name)}: {_holder(stream)} is changing it; try again later"
                ) from exc
            stream.truncate(0)
            stream.write(json.dumps({"pid": os.getpid(), "what": what, "since": int(time.time())}))
            stream.flush()
            try:
                yield
            finally:
                stream.truncate(0)
                (folder / "progress").unlink(missing_ok=True)
    except OSError as exc:
        place = f" ({exc.filename})" if exc.filename else ""
        raise CommandExecutionError(
            f"{Path(home, name)}: {exc.strerror or exc}{place}; what was published is unchanged"
        ) from exc
    finally:
        os.umask(umask)


def _holder(stream: Any) -> str:
    stream.seek(0)
    try:
        held = json.loads(stream.read())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
        return f"process {held['pid']} ({held['what']}, since {since})"
    except (ValueError, KeyError):
        return "another process"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_json(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(data), encoding="utf-8")
    temporary.replace(path)


# -- asking --------------------------------------------------------------------------------------


def status(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """What is published, as data.

    name, home
        ``repo_name`` and ``repo_home``.

    Returns ``published``, ``path``, ``kind``, ``complete``, ``problems``, ``packages``, ``bytes``,
    ``built`` and ``age`` (seconds), ``targets``, ``upstreams``, ``signature`` (``key`` and
    ``problems``), ``previous`` and ``busy`` (what is going on with it just now).

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.status
    """
    state = __salt__["infra_repo_tree.state"](home, name)
    info = state["info"]
    real = Path(state["path"]) if state["path"] else None
    packages = info.get("packages")
    if packages is None and real is not None:
        packages = [
            {"size": (real / rel).stat().st_size}
            for rel in __salt__["infra_repo_tree.files_of"](str(real))
            if rel.endswith((".deb", ".rpm"))
        ]
    built = info.get("built")
    if built is None and real is not None and (real / MARKER).exists():
        built = int((real / MARKER).stat().st_mtime)
    return {
        "published": str(Path(home, name)),
        "path": state["path"],
        "kind": state["kind"],
        "origin": state["origin"],
        "complete": state["complete"],
        "problems": state["problems"],
        "packages": len(packages or []),
        "bytes": sum(p["size"] for p in packages or []),
        "built": built,
        "age": int(time.time()) - built if built else None,
        "targets": info.get("targets", []),
        "upstreams": info.get("upstreams", []),
        "signature": _signatures(real, name) if real else {"key": "", "problems": []},
        "previous": state["previous"],
        "busy": _busy(Path(home).resolve() / f".{name}"),
    }


def summary(name: str = "pigsty", home: str = "/www") -> str:
    """What is published, for people.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.summary --out=newline_values_only
    """
    return describe(status(name, home))


def describe(data: dict[str, Any]) -> str:
    """What :func:`status` says, for people.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.describe '{…}'
    """
    if data["kind"] == "none":
        lines = [f"{data['published']}: no repository"]
    else:
        age = data["age"] or 0
        ago = f"{age // 86400} d {age % 86400 // 3600} h" if age >= 3600 else f"{age // 60} min"
        word = "complete" if data["complete"] else "NOT COMPLETE"
        lines = [
            f"{data['published']}: {word}, {data['packages']} packages,"
            f" {data['bytes'] / 2**20:.0f} MiB, {data['origin']} {ago} ago",
            f"  targets:   {', '.join(data['targets']) or 'unknown'}",
            f"  signed by: {data['signature']['key'] or 'nobody'}",
            f"  previous:  {data['previous'] or 'none'}",
        ]
        for upstream in data["upstreams"]:
            trust = "verified" if upstream["verified"] else "NOT VERIFIED (trusted: true)"
            lines.append(f"  upstream:  {upstream['target']} {upstream['name']}"
                         f" {upstream['url']} {trust}")  # fmt: skip
    lines += [f"  problem:   {p}" for p in [*data["problems"], *data["signature"]["problems"]]]
    if data["busy"]:
        lines.append(f"  now:       {data['busy']}")
    return "\n".join(lines)


def _busy(folder: Path) -> str:
    lock = folder / "lock"
    if not lock.exists():
        return ""
    with lock.open("r", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            text = _holder(stream)
    progress = folder / "progress"
    with contextlib.suppress(FileNotFoundError):
        text += ": " + progress.read_text(encoding="utf-8")
    return text


def _signatures(real: Path, name: str) -> dict[str, Any]:
    """Check all signatures of a repository against the key that is published in it."""
    public = real / f"{name}.asc"
    files = __salt__["infra_repo_tree.files_of"](str(real))
    pairs = []
    for rel in files:
        if rel.endswith("InRelease"):
            pairs.append((rel, ""))
        elif rel.endswith("Release.gpg") or rel.endswith((f"{MARKER}.asc", "repomd.xml.asc")):
            pairs.append((rel, rel.removesuffix(".gpg").removesuffix(".asc")))
    if not public.is_file():
        return {"key": "", "problems": [f"{rel}: no key to check it" for rel, _ in pairs]}
    key = ""
    problems = []
    for rel, source in pairs:
        found = __salt__["infra_repo_sign.verify"](
            [str(public)], str(real / rel), str(real / source) if source else ""
        )
        key = key or found["key"]
        if found["reason"]:
            problems.append(f"{rel}: {found['reason']}")
    if not pairs:
        problems.append("nothing in it is signed")
    return {"key": key, "problems": problems}


def verify(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """Read everything that is published, and check every checksum and signature.

    What is found changed is dropped from the store, and ``infra_repo.built`` will see it too: the
    next build fetches it again.

    Returns ``complete``, ``files``, ``bytes`` (read) and ``problems``, each naming its file.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.verify
    """
    found = __salt__["infra_repo_tree.verify"](home, name)
    real = (Path(home) / name).resolve()
    problems = list(found["problems"])
    if (real / INFO).is_file():
        problems += _signatures(real, name)["problems"]
    if problems:
        __salt__["infra_repo_tree.distrust"](home, name, [p.partition(":")[0] for p in problems])
    return {
        "complete": not problems,
        "files": found["files"],
        "bytes": found["bytes"],
        "problems": problems,
    }


def damage(name: str, home: str) -> list[str]:
    """What is wrong with what is published, found without reading packages that were not touched.

    A repository that somebody else made is read in full once.

    Returns problems; empty for a complete repository, or where there is none.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.damage pigsty /www
    """
    state = __salt__["infra_repo_tree.state"](home, name)
    if state["kind"] == "none":
        return []
    if state["kind"] == "foreign" and state["complete"]:
        seal = Path(home).resolve() / f".{name}" / "seals" / f"{Path(state['path']).name}.json"
        if not seal.exists():
            return list(__salt__["infra_repo_tree.verify"](home, name)["problems"])
    return list(state["problems"])


# -- going back, packing, unpacking --------------------------------------------------------------


def rollback(name: str = "pigsty", home: str = "/www") -> dict[str, str]:
    """Publish the repository that was published before; called again, it goes forth again.

    Returns ``old`` and ``new`` (paths).

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.rollback
    """
    with _working(home, name, "rollback"):
        result: dict[str, str] = __salt__["infra_repo_tree.rollback"](home, name)
    return result


def pack(
    name: str = "pigsty",
    home: str = "/www",
    version: str = "v4.5.0",
    archive: str = "",
    folder: str = "/tmp",  # noqa: S108  (where Pigsty's bootstrap looks for it)
    compression: str = "gzip",
) -> dict[str, Any]:
    """Pack what is published into one archive.

    version
        For the archive's name: ``pigsty-pkg-<version>.<os>.<arch>.tgz``.
    archive
        Path of the archive; made of folder and that name where empty.
    folder
        Where to put it.
    compression
        ``gzip`` (as Pigsty's) or ``zstd``.

    Returns ``archive``, ``files``, ``bytes`` and ``sha256``.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.pack version=v4.5.0 folder=/srv
    """
    if compression not in ("gzip", "zstd"):
        raise SaltInvocationError(f"compression: expected gzip or zstd, got {compression!r}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", version):
        raise SaltInvocationError(f"version: expected something like v4.5.0, got {version!r}")
    with _working(home, name, "pack"):
        state = __salt__["infra_repo_tree.state"](home, name)
        if not state["complete"]:
            raise CommandExecutionError(
                f"{Path(home, name)}: not complete, so it is not packed:\n"
                + "\n".join(state["problems"] or ["there is no repository"])
            )
        real = Path(state["path"])
        if not archive:
            targets = state["info"].get("targets") or [__salt__["infra_repo.machine"]()]
            code, _, arch = targets[0].partition(".")
            archive = str(
                Path(
                    folder,
                    __salt__["infra_repo_pack.archive_name"](version, code, arch, compression),
                )
            )
        sums = _all_sums(real)
        result: dict[str, Any] = __salt__["infra_repo_pack.pack"](
            str(real), name, archive, {**state["info"], "packages": None}, sums
        )
    return result


def _all_sums(real: Path) -> dict[str, str]:
    """SHA-256 of every file: those of the marker as it says, the others read now."""
    text = (real / MARKER).read_text(encoding="utf-8")
    listed = __salt__["infra_repo_tree.read_marker"](text)
    return {
        rel: listed[rel]
        if len(listed.get(rel, "")) == 64
        else __salt__["infra_repo_tree.checksum"](str(real / rel))
        for rel in __salt__["infra_repo_tree.files_of"](str(real))
    }


def machine() -> str:
    """The target that this machine is.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.machine
    """
    result: str = __salt__["infra_repo_catalogue.target_of"](
        __grains__["os_family"],
        __grains__["os"],
        int(__grains__["osmajorrelease"]),
        __grains__["cpuarch"],
    )
    return result


def unpack(
    archive: str,
    name: str = "pigsty",
    home: str = "/www",
    checksum: str = "",
    fingerprint: str = "",
) -> dict[str, Any]:
    """Check an archive, and publish the repository in it.

    archive
        File made by :func:`pack`, or one of Pigsty's.
    checksum
        Checksum that the archive must have, e.g. ``sha256:…``; empty for any.
    fingerprint
        Fingerprint of the key that must have signed it; empty for the key in the archive.

    Returns ``path``, ``files``, ``bytes`` and ``key`` (empty where it is not signed).

    Raises CommandExecutionError; what was published is then unchanged.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.unpack /tmp/pkg.tgz
    """
    wanted = __salt__["infra_repo_catalogue.normal_checksum"](checksum)
    if wanted is None:
        raise SaltInvocationError(f"checksum: expected e.g. sha256:<64 digits>, got {checksum!r}")
    with _working(home, name, "unpack"):
        if not Path(archive).is_file():
            raise CommandExecutionError(f"{archive}: there is no such file")
        before = archive_identity(archive)
        if wanted:
            kind, _, digits = wanted.partition(":")
            actual = __salt__["infra_repo_tree.checksum"](archive, kind)
            if actual != digits:
                raise CommandExecutionError(
                    f"{archive}: its {kind} is {actual}, but expected {digits}"
                )
        stage = Path(__salt__["infra_repo_tree.stage"](home, name))
        try:
            result = __salt__["infra_repo_pack.unpack"](archive, str(stage))
            key = _check_unpacked(stage, name, archive, fingerprint, result["manifest"])
            folder = Path(__salt__["infra_repo_tree.work"](home, name))
            # Before it is published: an archive must never look like something that we built.
            note = folder / "seals" / f"{stage.name.removeprefix('.new-')}.origin"
            note.write_text(json.dumps(before), encoding="utf-8")
            path = __salt__["infra_repo_tree.publish"](home, name, str(stage))
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
    return {"path": path, "files": result["files"], "bytes": result["bytes"], "key": key}


def archive_identity(archive: str) -> dict[str, Any]:
    """What tells whether an archive is the one that was unpacked: path, size and time.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.archive_identity /tmp/pkg.tgz
    """
    st = os.stat(archive)
    return {"archive": archive, "size": st.st_size, "mtime": st.st_mtime_ns}


def unpacked_from(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """The archive that what is published was unpacked from; empty for none.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.unpacked_from
    """
    base = Path(home).resolve()
    live = (base / name).resolve()
    return _read_json(base / f".{name}" / "seals" / f"{live.name}.origin")


def _check_unpacked(stage: Path, name: str, archive: str, fingerprint: str, manifest: bool) -> str:
    """Check what came out of an archive; returns the fingerprint that it is signed with."""
    ours = (stage / INFO).is_file()
    if not manifest or not ours:
        checked = __salt__["infra_repo_tree.verify_folder"](str(stage), strict=ours)
        if checked["problems"]:
            raise CommandExecutionError(
                f"{archive}: is not complete:\n" + "\n".join(checked["problems"])
            )
    if not ours:
        if fingerprint:
            raise CommandExecutionError(f"{archive}: is not signed, but {fingerprint} was expected")
        return ""
    inside = json.loads((stage / INFO).read_text(encoding="utf-8"))["name"]
    if inside != name:
        raise CommandExecutionError(f"{archive}: holds the repository {inside!r}, not {name!r}")
    state: dict[str, Any] = {"key": "", "problems": []}
    if fingerprint or shutil.which("gpgv"):
        # A bare machine may have no gpgv before it has a repository to install it from.
        state = _signatures(stage, name)
    if state["problems"]:
        raise CommandExecutionError(f"{archive}: " + "\n".join(state["problems"]))
    wanted = re.sub(r"\s", "", fingerprint).upper()
    if wanted and not state["key"].endswith(wanted):
        raise CommandExecutionError(
            f"{archive}: is signed by {state['key']}, but {wanted} was expected"
        )
    listed = __salt__["infra_repo_tree.read_marker"]((stage / MARKER).read_text(encoding="utf-8"))
    present = set(__salt__["infra_repo_tree.files_of"](str(stage)))
    if set(listed) - present or present - set(listed) - {MARKER, f"{MARKER}.asc"}:
        raise CommandExecutionError(f"{archive}: its {MARKER} does not list what is in it")
    for rel in sorted(present - {MARKER, f"{MARKER}.asc"}):
        if __salt__["infra_repo_tree.checksum"](str(stage / rel)) != listed[rel]:
            raise CommandExecutionError(f"{archive}: {rel} is not what its {MARKER} says")
    return str(state["key"])


# -- clients -------------------------------------------------------------------------------------


def client_files(
    name: str = "pigsty",
    home: str = "/www",
    endpoints: list[str] | None = None,
) -> dict[str, dict[str, str]]:
    """The files that tell clients how to use the repository, for ``infra_files``.

    endpoints
        Addresses of the INFRA nodes, the preferred one first: ``http://10.10.10.10:8080``.

    Returns file name below home → ``text``.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.client_files pigsty /www '["http://10.10.10.10"]'
    """
    normal = __salt__["infra_repo_client.endpoint"]
    bases = [f"{normal(address)}/{name}" for address in endpoints or []]
    define = __salt__["infra_repo_client.definitions"]
    info, public = _client_info(name, home)
    files: dict[str, str] = {}
    local = define(name, [f"file://{home}/{name}"], info, public, section=f"{name}-local")
    files[f"{name}-local.repo"], files[f"{name}-local.sources"] = local["repo"], local["sources"]
    if bases:
        remote = define(name, bases, info, public)
        files[f"{name}.repo"], files[f"{name}.sources"] = remote["repo"], remote["sources"]
        for suite in info["suites"]:
            files[f"{name}-{suite}.sources"] = define(name, bases, info, public, codename=suite)[
                "sources"
            ]
    files[f"{name}.asc"] = public
    return {rel: {"text": text} for rel, text in files.items() if text}


def _client_info(name: str, home: str) -> tuple[dict[str, Any], str]:
    state = __salt__["infra_repo_tree.state"](home, name)
    if state["kind"] == "none":
        return {"suites": [], "flat": False, "yum": []}, ""
    real = Path(state["path"])
    if state["kind"] == "ours":
        return state["info"], (real / f"{name}.asc").read_text(encoding="utf-8")
    flat = any((real / file).is_file() for file in ("Packages", "Packages.gz"))
    yum = ["."] if (real / "repodata" / "repomd.xml").is_file() else []
    return {"suites": [], "flat": flat, "yum": yum}, ""


# -- other sources -------------------------------------------------------------------------------


def sources(keep: list[str] | None = None, root: str = "/") -> dict[str, str]:
    """Files with package sources of this machine, and what kind they are.

    keep
        File names that are left out: our own.
    root
        Root of the file system.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.sources
    """
    base = Path(root)
    found = {}
    for pattern, kind in (
        ("etc/apt/sources.list", "list"),
        ("etc/apt/sources.list.d/*.list", "list"),
        ("etc/apt/sources.list.d/*.sources", "sources"),
        ("etc/yum.repos.d/*.repo", "repo"),
    ):
        for path in sorted(base.glob(pattern)):
            if path.is_file() and path.name not in (keep or []):
                found[str(path)] = kind
    return found


def switch_sources(
    on: bool, keep: list[str] | None = None, root: str = "/", test: bool = False
) -> dict[str, dict[str, str]]:
    """Disable the machine's package sources in place, or enable again those that we disabled.

    on
        True enables, False disables.
    keep, root
        See :func:`sources`.
    test
        Only tell.

    Returns path → ``old`` and ``new`` (content) of the files that are, or would be, changed.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.switch_sources True
    """
    changes = {}
    for path, kind in sources(keep, root).items():
        old = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        if on:
            new = __salt__["infra_repo_client.enabled"](old)
        else:
            new = __salt__["infra_repo_client.disabled"](old, kind)
        if new == old:
            continue
        changes[path] = {"old": old, "new": new}
        if not test:
            st = os.stat(path)
            temporary = Path(f"{path}.infra-new")
            temporary.write_text(new, encoding="utf-8", errors="surrogateescape")
            os.chown(temporary, st.st_uid, st.st_gid)
            temporary.chmod(st.st_mode & 0o7777)
            temporary.replace(path)
    return changes
