"""The portal as states: its certificate, its configuration, its pages, and its health."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, state
from infra_formula.minion import Minion
from infra_formula.portal import configuration, folders, logs, rendering
from infra_formula.registration import inventory
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def _parsed(portal: dict[str, Any] | str) -> dict[str, Any]:
    """A portal as a dictionary; as JSON text, Salt need not copy a thousand entries around."""
    entries: dict[str, Any] = json.loads(portal) if isinstance(portal, str) else portal
    return entries


def _registered(registration: dict[str, Any] | None) -> dict[str, Any]:
    return inventory.decide(_minion(), registration)["nodes"] if registration is not None else {}


def certified(
    name: str,
    private_key: str,
    portal: dict[str, Any] | str,
    settings: dict[str, Any],
    signing_cert: str,
    signing_private_key: str,
    days: str,
    renew_days: int,
) -> dict[str, Any]:
    """The portal's own certificate exists, holds every name of every entry, and is not expiring.

    name, private_key
        Absolute paths of the certificate and its key.
    portal, settings
        The value of ``infra_portal``, as a dictionary or as JSON text; and the portal's settings
        (infra_formula.portal.arguments).
    signing_cert, signing_private_key
        Absolute paths of the site's CA.
    days
        Validity, like ``397d``.
    renew_days
        It is issued again if fewer days are left, or its names changed.
    """
    return __states__["infra_cert.managed"](
        name=name,
        private_key=private_key,
        signing_cert=signing_cert,
        signing_private_key=signing_private_key,
        common_name="pigsty",
        organizational_unit="nginx",
        names=configuration.certificate_names(_parsed(portal), settings),
        addresses=configuration.certificate_addresses(
            __grains__.get("ip_interfaces", {}), settings["admin_ip"]
        ),
        days=int(days.removesuffix("d")),
        renew_days=renew_days,
        group=settings["nginx_group"],
        reload="nginx",
        purpose="the portal",
        # nginx's master reads it as root; its workers, which visitors talk to, cannot.
        key_mode="0600",
    )


def managed(
    name: str,
    portal: dict[str, Any] | str,
    settings: dict[str, Any],
    registration: dict[str, Any] | None = None,
    users: dict[str, str] | None = None,
    clean: bool = False,
    certificates: dict[str, dict[str, str]] | None = None,
) -> dict[str, Any]:
    """nginx's configuration is the one of the portal.

    name
        Any name for the state.
    portal, settings
        As for :func:`certified`.
    registration
        Which minions are registered (infra_formula.registration.arguments); without it, none is.
    users
        Basic-auth users → password, plain or hashed.
    clean
        Move unmanaged files out of ``conf.d``, to below /var/lib/infra/replaced.
    certificates
        Certificates that entries refer to by name → ``crt`` (with its chain) and ``key``, as PEM.

    One difference is computed for all files. nginx tests a staged copy of the whole of /etc/nginx.
    If it accepts the copy, that is switched in, in one step, and a running nginx reloaded. If nginx
    then does not serve the new configuration, the old one is restored. Each entry is reported as a
    state of its own.
    """
    return state.converge(
        name,
        __opts__["test"],
        lambda: configuration.plan(
            _minion(),
            _parsed(portal),
            settings,
            _registered(registration),
            users or {},
            clean,
            certificates,
        ),
    )


def certificates_refreshed(
    name: str, portal: dict[str, Any] | str, settings: dict[str, Any]
) -> dict[str, Any]:
    """A portal that was applied serves the newest certificates; nothing else of it changes.

    name
        Any name for the state.
    portal, settings
        As :func:`managed` applied them.
    """
    return state.converge(
        name,
        __opts__["test"],
        lambda: configuration.certificates_refreshed(_minion(), _parsed(portal), settings),
    )


def pages(
    name: str,
    portal: dict[str, Any] | str,
    settings: dict[str, Any],
    version: str,
    registration: dict[str, Any] | None = None,
    services: list[dict[str, Any]] | None = None,
    extra_services: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The portal's own pages are up to date; each of their cards leads to a page.

    name
        Any name for the state.
    portal, settings
        As for :func:`certified`.
    version
        Shown on the pages.
    registration
        As for :func:`managed`.
    services, extra_services
        Cards that replace the default ones, and further cards.

    The programs are queried for the pages that they serve, and their answers are recorded. For a
    program that does not answer, the last answer counts.
    """
    return state.converge(
        name,
        __opts__["test"],
        lambda: configuration.pages_plan(
            _minion(),
            _parsed(portal),
            settings,
            _registered(registration),
            version,
            services,
            extra_services or [],
        ),
    )


def sites_present(
    name: str, portal: dict[str, Any] | str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Directories of static sites, and of a home page, exist.

    Those below the web root are created; none is changed. What nginx cannot serve is a warning.

    name
        Any name for the state.
    portal, settings
        As for :func:`certified`.
    """
    below, _elsewhere = folders.missing(_parsed(portal), settings)

    def create() -> None:
        configuration.record_directories(_minion(), below, settings["nginx_home"])
        for path in below:
            created = __states__["file.directory"](
                name=path, user="root", group=settings["nginx_group"], mode="0755", makedirs=True
            )
            if not created["result"]:
                raise CommandExecutionError(created["comment"])

    plan = state.Plan(
        changes={"created": below} if below else {},
        comment="The directories of static sites exist.",
        would="Directories of static sites would be created.",
        apply=create,
        warnings=folders.warnings(_parsed(portal), settings),
    )
    return state.converge(name, __opts__["test"], lambda: plan)


def stream_module_installed(name: str, pkgs: list[str]) -> dict[str, Any]:
    """nginx has its stream module: built in, or from a package.

    name
        Any name for the state.
    pkgs
        Packages that have the module, for an nginx that does not have it built in.
    """
    if not rendering.is_stream_module_apart():
        plan = state.Plan(comment="nginx does not need a package for its stream module.")
        return state.converge(name, __opts__["test"], lambda: plan)
    installed: dict[str, Any] = __states__["infra_package.installed"](
        name=name, component="nginx", pkgs=pkgs
    )
    return installed


def log_closed(name: str) -> dict[str, Any]:
    """A log of nginx, and those of it that were rotated, are not readable by everybody.

    name
        Absolute path of the log.
    """
    return state.converge(name, __opts__["test"], lambda: logs.closed_plan(name))


def serving(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """nginx serves the configuration on disk, over HTTP and, if it is on, HTTPS.

    name
        Any name for the state.
    settings
        The portal's settings.
    """
    if __opts__["test"]:
        return state.converge(name, True, lambda: state.Plan(comment="Not checked with test=True."))

    def check() -> state.Plan:
        served = configuration.check_serving(_minion(), settings)
        port = settings["nginx_port"]
        return state.Plan(comment=f"nginx serves configuration {served} on port {port}.")

    return state.converge(name, False, check)


redaction.guard(globals())
