"""The local software repository as desired conditions; see the execution module of the same name.

Every function works with ``test=True`` on a machine where nothing is installed yet; it then
changes nothing and connects to no upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.repository import plans
from infra_formula.state import converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


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
        Its content, see docs/repository.md: ``targets``, ``modules``, ``region``, ``upstream``,
        ``packages``, ``extra_packages``, ``url_packages``, ``aliases``, ``variables``, ``keep``.
    key
        ``home`` (gpg's directory), ``uid``, ``secret_file``, ``passphrase_file``; all optional.
    transfer
        ``connections`` (8), ``retries`` (4), ``timeout`` (30 s), ``proxy_env``, ``cache`` (folder
        of the solvers), ``state`` (folder of what must outlive it); all optional.
    force
        Look for newer versions although a complete repository is published.

    A complete repository that was unpacked, or is not managed by this formula, is left as it is.
    One that was built from another request is built again; so is a damaged one, after its marker
    was removed.
    """
    test = __opts__["test"]
    request = {**request, "name": name, "home": home}
    return converge(
        name, test, lambda: plans.plan_built(_minion(), request, key, transfer, force, test)
    )


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
        Whether a missing archive is no error.
    unsigned
        Whether an archive that is not signed may replace a repository that is.
    key
        See :func:`built`: an archive that is not signed is signed with it.
    fallback
        Another path, where Pigsty's users put the archive. It is read if ``archive`` is missing,
        nothing complete is published, and nobody but root can have written it; otherwise the
        comment gives the reason.

    A missing archive whose repository is published is no error either. An archive whose content is
    published is not read.
    """
    return converge(
        name,
        __opts__["test"],
        lambda: plans.plan_unpacked(
            _minion(),
            name,
            archive,
            home,
            checksum,
            fingerprint,
            optional,
            unsigned,
            key,
            fallback,
        ),
    )


def signed(name: str, home: str = "/www", key: dict[str, Any] | None = None) -> dict[str, Any]:
    """What was unpacked before gpg was installed is signed, or its signature is verified, now.

    name, home
        ``repo_name`` and ``repo_home``.
    key
        See :func:`built`.

    A repository that is not managed by this formula, or was unpacked by a release that did not
    sign, is left as it is; ``infra_repo.sign`` signs it.
    """
    return converge(name, __opts__["test"], lambda: plans.plan_signed(_minion(), name, home, key))


def defined(name: str, endpoints: list[str], home: str = "/www") -> dict[str, Any]:
    """The definitions that clients fetch are published beside the repository.

    name, home
        ``repo_name`` and ``repo_home``.
    endpoints
        Addresses of the INFRA nodes' web servers, the preferred one first.
    """
    return converge(name, __opts__["test"], lambda: plans.plan_defined(name, home, endpoints))


def used(
    name: str,
    home: str = "/www",
    exclusive: bool = True,
    optional: bool = False,
    needs: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """This machine installs from its own repository.

    name, home
        ``repo_name`` and ``repo_home``.
    exclusive
        Whether other sources are disabled in place; otherwise those that were are enabled.
    optional
        Whether nothing is done while there is no complete repository.
    needs
        Packages without which other sources stay enabled: ``required`` have to be available if they
        are not installed, ``secured`` if they are. None: sources are disabled all the same.

    If a package of ``needs`` is missing, the state fails with its name, and changes nothing. The
    package manager reads the result. If it cannot, everything is restored.
    """
    test = __opts__["test"]
    return converge(
        name, test, lambda: plans.plan_used(_minion(), name, home, exclusive, optional, test, needs)
    )


def unused(name: str, home: str = "/www") -> dict[str, Any]:
    """This machine does not install from its own repository; its other sources are enabled again.

    name, home
        ``repo_name`` and ``repo_home``.
    """
    return converge(name, __opts__["test"], lambda: plans.plan_unused(_minion(), name, home))


redaction.guard(globals())
