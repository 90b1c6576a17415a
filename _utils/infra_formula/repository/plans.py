"""Plans of the repository's states: built, unpacked, signed, defined for clients, used here."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula.errors import CommandFailed
from infra_formula.fileset import root_only
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.repository import (
    arguments,
    catalogue,
    client_sources,
    contents,
    known_archives,
    offline_package,
    other_sources,
    published,
    releases,
    sufficiency,
)
from infra_formula.state import Plan

_LISTED = 20
_SOURCES = {
    "Debian": ("/etc/apt/sources.list.d", "sources"),
    "RedHat": ("/etc/yum.repos.d", "repo"),
}
"""Where a family of systems reads package sources from, and the suffix of the files."""


def sources_directory(os_family: str) -> tuple[str, str]:
    """Directory of package sources on this machine, and the suffix of the files in it."""
    if os_family not in _SOURCES:
        raise CommandFailed(f"expected a system of the family Debian or RedHat, got {os_family}")
    return _SOURCES[os_family]


def plan_built(
    minion: Minion,
    request: dict[str, Any],
    key: dict[str, Any] | None,
    transfer: dict[str, Any] | None,
    force: bool,
    test: bool,
) -> Plan:
    """Plan to have a complete repository; see ``published.build`` for the arguments."""
    plan = catalogue.plan(request)
    name, home = plan["name"], plan["home"]
    releases.refuse_mounts(home, name)
    state = releases.state(home, name)
    problems = published.damage(name, home)
    state["complete"] = state["complete"] and not problems
    place = Path(home, name)
    warnings = _unlisted(state)
    if not force and not published.needs_build(state, plan["fingerprint"]):
        if state["origin"] == "unpacked":
            return _plan_unpacked_already(name, home, request)
        if not test and state["kind"] == "foreign":
            releases.write_seal(home, name, state["path"])
        return Plan(comment=f"{place} is complete ({state['origin']}).", warnings=warnings)
    targets = [target["id"] for target in plan["targets"]]
    reason = _reason(state, problems, force)
    before = state["path"] or None
    changes: dict[str, Any] = {"repository": {"old": before, "new": f"built for {targets}"}}

    def apply() -> str:
        if problems and state["path"]:
            releases.mark_incomplete(state["path"], problems)
        result = published.build(minion, request, key=key, transfer=transfer, force=force)
        damaged = published.damage(name, home)
        if damaged:
            raise CommandFailed("The built repository is damaged:\n" + "\n".join(damaged))
        changes.clear()
        if not result["changed"]:
            return f"{place} has the newest versions already."
        changes["repository"] = {"old": before, "new": result["path"]}
        changes.update({k: _cut(result[k]) for k in ("added", "removed") if result[k]})
        return (
            f"{place} was built for {', '.join(targets)}: {result['packages']} packages,"
            f" {result['fetched'] / 2**20:.1f} MiB fetched. Reason: {reason}"
        )

    would = f"{place} would be built for {', '.join(targets)}: {reason}"
    return Plan(changes, would=would, apply=apply, warnings=warnings)


def _unlisted(state: dict[str, Any]) -> list[str]:
    """A warning of packages that somebody put beside those published; empty if there are none."""
    if state["kind"] != "ours" or state["origin"] != "built":
        return []
    known = {package["path"] for package in state["info"].get("packages", [])}
    files = contents.files_of(state["path"])
    unlisted = [rel for rel in files if rel.endswith((".deb", ".rpm")) and rel not in known]
    if not unlisted:
        return []
    return [
        f"Nothing installs {', '.join(_cut(unlisted))} in {state['path']}: it is in no index, and a"
        " build does not take it along. To publish such a file, name it in repo_url_packages"
        " (file:///…)"
    ]


def _plan_unpacked_already(name: str, home: str, request: dict[str, Any]) -> Plan:
    """Plan for what came out of an archive: it is used as it is, until the parameters change."""
    place = Path(home, name)
    note = offline_package.unpacked_from(name, home)
    # What the operator says; a later release of the formula may have other default lists.
    values = request.get("pillar", request)
    requested = {key: values.get(key) or None for key in arguments.REQUESTED}
    digest = hashlib.sha256(json.dumps(requested, sort_keys=True).encode()).hexdigest()
    if note.get("request", digest) != digest:
        parameters = "repo_packages, repo_targets, repo_upstream, …"
        raise CommandFailed(
            f"{place} was unpacked from {note['archive']}, but what the parameters ask for has"
            f" changed since then ({parameters}). To build it from the upstreams, set repo_build:"
            " true; to keep the content of the archive, restore the parameters; or publish an"
            " archive that was built from these parameters"
        )

    def record() -> None:
        if "request" not in note:
            offline_package.note_request(name, home, digest)

    return Plan(comment=f"{place} is complete (unpacked).", record=record)


def _reason(state: dict[str, Any], problems: list[str], force: bool) -> str:
    if problems:
        return "the published one is not complete:\n" + "\n".join(problems[:_LISTED])
    if state["kind"] == "none":
        return "there is none yet"
    return "force is set" if force else "the request has changed"


def _cut(values: list[str]) -> list[str]:
    more = len(values) - _LISTED
    return values if more <= 0 else [*values[:_LISTED], f"… and {more} more"]


def plan_unpacked(
    minion: Minion,
    name: str,
    archive: str,
    home: str,
    checksum: str,
    fingerprint: str,
    optional: bool,
    unsigned: bool,
    key: dict[str, Any] | None,
    fallback: str,
) -> Plan:
    """Plan to publish the repository in an offline package.

    See the state ``infra_repo.unpacked``.
    """
    place = Path(home, name)
    releases.refuse_mounts(home, name)
    state = releases.state(home, name)
    problems = published.damage(name, home)
    complete = state["complete"] and not problems
    hint = ""
    if not os.path.lexists(archive) and not complete and fallback and os.path.lexists(fallback):
        fault = root_only.fault(fallback, links=False)
        if fault:
            hint = f" {fallback} is not read: {fault}."
        else:
            archive = fallback
    if not os.path.lexists(archive):
        if complete or optional:
            return Plan(comment=f"There is no {archive}; nothing to unpack.{hint}")
        raise CommandFailed(f"{archive}: there is no such file.{hint}")
    note = offline_package.unpacked_from(name, home)
    is_file = os.path.isfile(archive)
    if is_file and complete and offline_package.archive_identity(archive).items() <= note.items():
        return Plan(comment=f"{place} is the content of {archive}.")
    known = known_archives.find(name, home, archive) if is_file else {}
    if known and _is_kept(known, complete, state["kind"]):
        return _plan_known(name, home, archive, known, note, state["origin"])
    offline_package.check_archive(
        archive, name, home, fingerprint, unsigned or bool(note.get("unsigned")), minion
    )
    before = state["path"] or None
    changes: dict[str, Any] = {"repository": {"old": before, "new": archive}}

    def apply() -> str:
        if problems and state["path"]:
            releases.mark_incomplete(state["path"], problems)
        result = offline_package.unpack(
            minion, archive, name, home, checksum, fingerprint, unsigned, key
        )
        changes["repository"] = {"old": before, "new": result["path"]}
        signature = f"signed by {result['key']}" if result["key"] else "not signed"
        if result["signed_here"]:
            signature = f"not signed, so it was signed here with {result['signed_here']}"
        return f"{place} was unpacked from {archive}: {result['files']} files, {signature}."

    would = f"{archive} would be checked and published as {place}."
    return Plan(changes, would=would, apply=apply)


def _is_kept(known: dict[str, Any], complete: bool, kind: str) -> bool:
    """Whether a known archive is left alone: only what is lost is restored from it."""
    return kind != "none" if known["packed"] else complete


def _plan_known(
    name: str,
    home: str,
    archive: str,
    known: dict[str, Any],
    note: dict[str, Any],
    origin: str,
) -> Plan:
    """Plan for an archive that this machine packed, or published before."""
    place = Path(home, name)
    if known["sha256"] == note.get("sha256"):
        comment = f"{place} is the content of {archive}."
    elif known["packed"]:
        comment = f"{archive} was packed by this machine, so it is not unpacked here."
    else:
        comment = (
            f"{archive} was published before, and replaced since: {place} was {origin} later. To"
            f" publish it again: salt-call infra_repo.unpack {archive}"
        )

    def record() -> None:
        # Under its new path or time, it need not be read again.
        identity = known_archives.identity(archive)
        if not identity.items() <= known.items():
            known_archives.remember(name, home, known["sha256"], identity, packed=False)

    return Plan(comment=comment, record=record)


def plan_signed(minion: Minion, name: str, home: str, key: dict[str, Any] | None) -> Plan:
    """Plan to sign or verify what was unpacked before gpg was installed."""
    place = Path(home, name)
    due = offline_package.unpacked_from(name, home).get("due", "")
    word = {"sign": "signed with the key of this node", "verify": "verified"}.get(due)
    if word is None:
        return Plan(comment=f"{place} needs no signature.")
    changes: dict[str, Any] = {"signature": {"old": None, "new": word}}

    def apply() -> str:
        result = offline_package.complete_signature(minion, name, home, key)
        changes["signature"] = {"old": None, "new": result["key"]}
        return f"{place} was {word}: {result['key']}."

    return Plan(changes, would=f"{place} would be {word}.", apply=apply)


def plan_defined(name: str, home: str, endpoints: list[str]) -> Plan:
    """Plan to publish the definitions that clients fetch."""
    files = client_sources.client_files(name, home, endpoints)
    # The definitions may replace those of an earlier release.
    plan = FileSet(f"repo-{name}", home, replace=files).plan(files)

    def apply() -> str:
        plan.apply()
        return f"Definitions below {home} changed."

    return Plan(
        changes=dict(plan.diff) if plan.has_changes else {},
        comment=f"{len(files)} definitions below {home} are up to date.",
        would=f"Definitions below {home} would change.",
        apply=apply,
    )


def plan_used(
    minion: Minion,
    name: str,
    home: str,
    exclusive: bool,
    optional: bool,
    test: bool,
    needs: dict[str, list[str]] | None = None,
) -> Plan:
    """Plan to have this machine install from its own repository.

    See the state ``infra_repo.used``.
    """
    place = Path(home, name)
    folder, suffix = sources_directory(minion.grains["os_family"])
    file = f"{name}-local.{suffix}"
    managed = [file, f"{name}.{suffix}"]
    state = releases.state(home, name)
    if optional and not state["complete"]:
        return Plan(comment=f"There is no complete {place} yet.")
    text = client_sources.of_machine(minion, name, home)
    if not text and not test:
        raise CommandFailed(f"{place} has no packages for this system")
    files: dict[str, File] = {file: {"text": text}} if text else {}
    file_set = FileSet(f"repo-{name}-local", folder, replace=[file])
    plan = file_set.plan(files)
    word = "disabled" if exclusive else "enabled"
    switched = other_sources.switch(not exclusive, managed, test=True)
    changes = {**plan.diff, **dict.fromkeys(switched, word)}
    if not files:
        changes = changes or {file: "created"}
    warnings: list[str] = []
    if exclusive and needs is not None and files and state["complete"]:
        warnings = _compare_needs(minion, name, str(place), state["path"], needs, files, switched)
    beside = "alone" if exclusive else "and its other sources"

    def apply() -> str:
        plan.apply()
        other_sources.switch(not exclusive, managed)
        try:
            other_sources.read_lists(minion)
        except CommandExecutionError as exc:
            other_sources.switch(exclusive, managed)
            file_set.remove()
            raise CommandFailed(
                f"{place} cannot be used, so the sources were restored: {exc}"
            ) from exc
        return f"This machine now installs from {place} {beside}."

    return Plan(
        changes=changes,
        comment=f"This machine installs from {place} {beside}.",
        would=f"This machine would install from {place} {beside}.",
        apply=apply,
        warnings=warnings,
    )


def _compare_needs(
    minion: Minion,
    name: str,
    place: str,
    generation: str,
    needs: dict[str, list[str]],
    files: dict[str, File],
    switched: dict[str, Any],
) -> list[str]:
    """Refuse to disable other sources for a repository that lacks what this machine needs.

    Returns warnings: a machine whose other sources an earlier release disabled goes on as it is.
    """
    known = sufficiency.recorded(name)
    is_known = known.get("generation") == Path(generation).name and known.get("needs") == needs
    if not switched and is_known and known.get("has"):
        return []
    missing = sufficiency.lack(minion, needs, files)
    if not missing.required and not missing.secured:
        if not minion.opts.get("test"):
            sufficiency.record(name, generation, needs, True)
        return []
    message = missing.text(place, "repo_remove: false")
    if switched or known.get("has"):
        raise CommandFailed(message)
    return [message]


def plan_unused(minion: Minion, name: str, home: str) -> Plan:
    """Plan to have this machine install from its other sources again."""
    sets = [
        FileSet(f"repo-{name}-local", folder)
        for folder, _ in _SOURCES.values()
        if Path(folder).is_dir()
    ]
    changes = {f"{s.root}/{rel}": "removed" for s in sets for rel in s.remove(test=True)}
    changes.update(dict.fromkeys(other_sources.switch(True, [], test=True), "enabled"))

    def apply() -> str:
        for file_set in sets:
            file_set.remove()
        other_sources.switch(True, [])
        try:
            other_sources.read_lists(minion)
        except CommandExecutionError as exc:
            # The sources are as requested, even if they cannot be reached at the moment.
            return f"Other sources are enabled again. They cannot be read now: {exc}"
        return "Other sources are enabled again."

    return Plan(
        changes=changes,
        comment=f"This machine does not install from {Path(home, name)} alone.",
        would="Other sources would be enabled again.",
        apply=apply,
    )
