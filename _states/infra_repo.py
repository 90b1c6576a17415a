"""The local software repository as desired conditions; see the execution module of the same name.

Every function works with ``test=True`` on a machine where nothing is installed yet, and then
changes nothing and asks no network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_formula.fileset import root_only
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.repository import (
    catalogue,
    client_sources,
    offline_package,
    other_sources,
    published,
    releases,
)
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_SHOWN = 20


def built(
    name: str,
    request: dict[str, Any],
    home: str = "/www",
    key: dict[str, Any] | None = None,
    transfer: dict[str, Any] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """A complete repository is published.

    name, home
        ``repo_name`` and ``repo_home``.
    request
        What is to be in it; see ``infra_repo_catalogue.plan``.
    key, transfer
        See ``infra_repo.build``.
    force
        Ask the upstreams for newer versions although a complete repository is there.

    A complete repository that was unpacked, or made by somebody else, is taken as it is. One that
    was built from another request is built again; so is a damaged one, after its marker was taken
    off it.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        request = {**request, "name": name, "home": home}
        plan = catalogue.plan(request)
        state = releases.state(home, name)
        problems = published.damage(name, home)
        state["complete"] = state["complete"] and not problems
        if not force and not published.needs_build(state, plan["fingerprint"]):
            if not __opts__["test"] and state["kind"] == "foreign":
                releases.write_seal(home, name, state["path"])
            ret["comment"] = f"{Path(home, name)} is complete ({state['origin']})."
            return ret
        targets = [target["id"] for target in plan["targets"]]
        reason = _reason(state, problems, force)
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {
                "repository": {"old": state["path"] or None, "new": f"built for {targets}"}
            }
            ret["comment"] = f"{Path(home, name)} would be built for {', '.join(targets)}: {reason}"
            return ret
        if problems and state["path"]:
            releases.mark_incomplete(state["path"], problems)
        result = published.build(_minion(), request, key=key, transfer=transfer, force=force)
        checked = published.damage(name, home)
        if checked:
            raise CommandExecutionError("what was built is damaged:\n" + "\n".join(checked))
    except (CommandExecutionError, SaltInvocationError) as exc:
        ret["result"] = False
        ret["comment"] = str(exc)
        return ret
    if not result["changed"]:
        ret["comment"] = f"{Path(home, name)} has the newest versions already."
        return ret
    ret["changes"] = {
        "repository": {"old": state["path"] or None, "new": result["path"]},
        **{k: _short(result[k]) for k in ("added", "removed") if result[k]},
    }
    ret["comment"] = (
        f"{Path(home, name)} was built for {', '.join(targets)}: {result['packages']} packages,"
        f" {result['fetched'] / 2**20:.1f} MiB fetched. Reason: {reason}"
    )
    return ret


def _reason(state: dict[str, Any], problems: list[str], force: bool) -> str:
    if problems:
        return "what is there is not complete:\n" + "\n".join(problems[:_SHOWN])
    if state["kind"] == "none":
        return "there is none yet"
    return "it was asked for" if force else "what is asked for has changed"


def _short(values: list[str]) -> list[str]:
    more = len(values) - _SHOWN
    return values if more <= 0 else [*values[:_SHOWN], f"… and {more} more"]


def unpacked(
    name: str,
    archive: str,
    home: str = "/www",
    checksum: str = "",
    fingerprint: str = "",
    optional: bool = False,
    unsigned: bool = False,
    key: dict[str, Any] | None = None,
    fallback: str = "",
) -> dict[str, Any]:
    """The repository in an offline package is published.

    name, home
        ``repo_name`` and ``repo_home``.
    archive
        The package, made by ``infra_repo.pack`` or by Pigsty. Nobody but root may be able to write
        it.
    checksum
        Checksum that it must have, e.g. ``sha256:…``.
    fingerprint
        Fingerprint of the key that it must be signed with.
    optional
        An archive that is not there is no error.
    unsigned
        Whether an archive that is not signed may replace a repository that is.
    key
        See ``infra_repo.build``: what is not signed is signed with it.
    fallback
        Another path, where Pigsty's users put the archive. It is read where ``archive`` is missing
        and nothing complete is published, if root alone can have written it; otherwise the comment
        says why it is not.

    An archive that is gone after its repository was published is no error either. Nothing is read
    of one that holds what is published.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    place = Path(home, name)
    try:
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
                ret["comment"] = f"There is no {archive}; nothing to unpack.{hint}"
                return ret
            raise CommandExecutionError(f"{archive}: there is no such file.{hint}")
        noted = offline_package.unpacked_from(name, home)
        if complete and noted and os.path.isfile(archive):
            identity = offline_package.archive_identity(archive)
            if identity.items() <= noted.items():
                ret["comment"] = f"{place} is what {archive} holds."
                return ret
        offline_package.check_archive(
            archive, name=name, home=home, fingerprint=fingerprint,
            unsigned=unsigned or bool(noted.get("unsigned")),
        )  # fmt: skip
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {"repository": {"old": state["path"] or None, "new": archive}}
            ret["comment"] = f"{archive} would be checked and published as {place}."
            return ret
        if problems and state["path"]:
            releases.mark_incomplete(state["path"], problems)
        result = offline_package.unpack(
            _minion(),
            archive,
            name=name,
            home=home,
            checksum=checksum,
            fingerprint=fingerprint,
            unsigned=unsigned,
            key=key,
        )
    except (CommandExecutionError, SaltInvocationError) as exc:
        ret["result"] = False
        ret["comment"] = str(exc)
        return ret
    ret["changes"] = {"repository": {"old": state["path"] or None, "new": result["path"]}}
    signed = "not signed"
    if result["key"]:
        signed = f"signed by {result['key']}"
    elif result["signed_here"]:
        signed = f"not signed, so it was signed here with {result['signed_here']}"
    ret["comment"] = f"{place} was unpacked from {archive}: {result['files']} files, {signed}."
    return ret


def signed(name: str, home: str = "/www", key: dict[str, Any] | None = None) -> dict[str, Any]:
    """What was unpacked before gpg was installed is signed, or its signature is verified, now.

    name, home
        ``repo_name`` and ``repo_home``.
    key
        See ``infra_repo.build``.

    A repository that was put there by others, or was unpacked by a release that did not sign, is
    left as it is; ``infra_repo.sign`` signs it.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    place = Path(home, name)
    try:
        due = offline_package.unpacked_from(name, home).get("due", "")
        word = {"sign": "signed with the key of this node", "verify": "verified"}.get(due)
        if word is None:
            ret["comment"] = f"Nothing is due for {place}."
            return ret
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {"signature": {"old": None, "new": word}}
            ret["comment"] = f"{place} would be {word}."
            return ret
        result = offline_package.complete_signature(_minion(), name, home, key)
    except (CommandExecutionError, SaltInvocationError) as exc:
        ret["result"] = False
        ret["comment"] = str(exc)
        return ret
    ret["changes"] = {"signature": {"old": None, "new": result["key"]}}
    ret["comment"] = f"{place} was {word}: {result['key']}."
    return ret


def defined(name: str, endpoints: list[str], home: str = "/www") -> dict[str, Any]:
    """The definitions that clients fetch lie beside the repository.

    name, home
        ``repo_name`` and ``repo_home``.
    endpoints
        Addresses of the INFRA nodes' web servers, the preferred one first.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        files = client_sources.client_files(name, home, endpoints)
        return _set(ret, f"repo-{name}", home, files)
    except (CommandExecutionError, SaltInvocationError) as exc:
        ret["result"] = False
        ret["comment"] = str(exc)
        return ret


def _set(ret: dict[str, Any], owner: str, root: str, files: dict[str, Any]) -> dict[str, Any]:
    """Publish a set of files; the definitions may replace those of an earlier release."""
    plan = FileSet(owner, root, replace=files).plan(files)
    if not plan.has_changes:
        ret["comment"] = f"{len(files)} definitions below {root} are as they should be."
        return ret
    ret["changes"] = plan.diff
    if __opts__["test"]:
        ret["result"] = None
        ret["comment"] = f"Definitions below {root} would change."
        return ret
    plan.apply()
    ret["comment"] = f"Definitions below {root} changed."
    return ret


def used(
    name: str, home: str = "/www", exclusive: bool = True, optional: bool = False
) -> dict[str, Any]:
    """This machine installs from its own repository.

    name, home
        ``repo_name`` and ``repo_home``.
    exclusive
        Other sources are disabled, in place; otherwise those that we had disabled are enabled.
    optional
        While there is no complete repository yet, nothing is done.

    The package manager is asked to read the result. Where it cannot, everything is put back.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    family = __grains__["os_family"]
    folder, kind = {
        "Debian": ("/etc/apt/sources.list.d", "sources"),
        "RedHat": ("/etc/yum.repos.d", "repo"),
    }.get(family, ("", ""))
    if not folder:
        ret["result"] = False
        ret["comment"] = f"expected a system of the family Debian or RedHat, this is {family}"
        return ret
    file = f"{name}-local.{kind}"
    own = [file, f"{name}.{kind}"]
    try:
        if optional and not releases.state(home, name)["complete"]:
            ret["comment"] = f"There is no complete {Path(home, name)} yet."
            return ret
        definitions = client_sources.client_files(name, home, [])
        if file not in definitions and not __opts__["test"]:
            raise CommandExecutionError(f"{Path(home, name)} has no packages for this system")
        files = {file: definitions[file]} if file in definitions else {}
        file_set = FileSet(f"repo-{name}-local", folder, replace=[file])
        plan = file_set.plan(files)
        switched = other_sources.switch(not exclusive, own, test=True)
        ret["changes"] = {**plan.diff}
        word = "disabled" if exclusive else "enabled"
        for path in switched:
            ret["changes"][path] = word
        if not ret["changes"] and not (__opts__["test"] and not files):
            ret["comment"] = f"This machine installs from {Path(home, name)}."
            return ret
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = ret["changes"] or {file: "created"}
            ret["comment"] = f"This machine would install from {Path(home, name)}."
            return ret
        plan.apply()
        other_sources.switch(not exclusive, own)
        try:
            _minion().call("pkg.refresh_db", failhard=True)
        except CommandExecutionError as exc:
            other_sources.switch(exclusive, own)
            file_set.remove()
            ret["changes"] = {}
            raise CommandExecutionError(
                f"the repository cannot be used, so the sources are as they were: {exc}"
            ) from exc
    except (CommandExecutionError, SaltInvocationError) as exc:
        ret["result"] = False
        ret["comment"] = str(exc)
        return ret
    ret["comment"] = f"This machine now installs from {Path(home, name)}."
    return ret


def unused(name: str, home: str = "/www") -> dict[str, Any]:
    """This machine does not install from its own repository; its other sources are enabled again.

    name, home
        ``repo_name`` and ``repo_home``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        for folder in ("/etc/apt/sources.list.d", "/etc/yum.repos.d"):
            # Each set belongs to one folder; asked about the other one, it owns nothing.
            gone = (
                FileSet(f"repo-{name}-local", folder).remove(test=__opts__["test"])
                if Path(folder).is_dir()
                else []
            )
            for rel in gone:
                ret["changes"][str(Path(folder, rel))] = "removed"
        switched = other_sources.switch(True, [], test=__opts__["test"])
    except (CommandExecutionError, SaltInvocationError) as exc:
        ret["result"] = False
        ret["comment"] = str(exc)
        return ret
    for path in switched:
        ret["changes"][path] = "enabled"
    if not ret["changes"]:
        ret["comment"] = f"This machine does not use {Path(home, name)} alone."
    elif __opts__["test"]:
        ret["result"] = None
        ret["comment"] = "Other sources would be enabled again."
    else:
        ret["comment"] = "Other sources are enabled again."
        try:
            _minion().call("pkg.refresh_db", failhard=True)
        except CommandExecutionError as exc:
            # They are what was asked for; whether they can be reached just now is another matter.
            ret["comment"] += f" They cannot be read now: {exc}"
    return ret
