"""Plans of the states of the portal: its configuration, certificates, static sites and pages."""

from __future__ import annotations

import grp
import ipaddress
import json
import pwd
import re
import stat
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from infra_formula import redaction
from infra_formula.daemon import units
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, contents
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.minion import Minion
from infra_formula.parameters import schema
from infra_formula.portal import (
    applied,
    cards,
    folders,
    htpasswd,
    named_certificates,
    own_certificates,
    pages,
    rendering,
    server,
    streams,
    upstreams,
)
from infra_formula.portal.entries import Settings
from infra_formula.portal.views import served, views
from infra_formula.registration import generated, inventory
from infra_formula.registration.facts import Facts
from infra_formula.state import Plan
from infra_formula.uninstall import install_record

_SET = "portal"
_PACKAGE_DEFAULTS = ("nginx.conf", "conf.d/default.conf")
_VIRTUAL_INTERFACE = re.compile(r"lo$|docker|veth|br-|virbr|cni|flannel|cali|podman")


def certificate_names(portal: dict[str, Any], settings: Settings) -> list[str]:
    """DNS names of the portal's own certificate."""
    names = (name for view in served(portal, settings).values() for name in view["names"])
    return [*dict.fromkeys(names), "localhost"]


def certificate_addresses(interfaces: Mapping[str, Iterable[str]], admin_ip: str) -> list[str]:
    """Addresses in the portal's own certificate: of the real interfaces, and loopback.

    interfaces
        Interface → addresses, the grain ``ip_interfaces``.
    """
    addresses = {"127.0.0.1", "::1", admin_ip}
    for interface, its_addresses in interfaces.items():
        if not _VIRTUAL_INTERFACE.match(interface):
            addresses |= {a for a in its_addresses if not ipaddress.ip_address(a).is_link_local}
    return sorted(addresses, key=lambda a: (":" in a, a))


STATES_DIRECTORY = ".states"
"""Below ``nginx_home``: copies of the pages with what is up, written by home_states.py."""


def plan(
    minion: Minion,
    portal: dict[str, Any],
    settings: Settings,
    registered: dict[str, Facts],
    users: dict[str, str],
    clean: bool,
    certificates: dict[str, dict[str, str]] | None = None,
) -> Plan:
    """Plan nginx's configuration (see ``infra_portal.managed``).

    registered
        The inventory: minion id → accepted facts.
    """
    certificates = certificates or {}
    file_plan = _file_plan(minion, portal, settings, registered, users, clean, certificates)
    files = file_plan.files
    changes: dict[str, Any] = {**file_plan.summary()}
    running = server.served_hash(settings["nginx_port"])
    expected = rendering.config_hash(files[rendering.SHARED]["text"])
    if not changes and running not in (None, expected):
        changes["nginx"] = "reloaded"
    return Plan(
        changes=changes,
        comment=f"The portal is up to date: {len(files)} files.",
        would="The portal would change; a running nginx would be reloaded.",
        apply=partial(_apply, minion, portal, settings, file_plan),
        record=partial(applied.record, portal, settings),
        sub_states=_entry_states(portal, settings, file_plan),
        warnings=[
            *name_warnings(portal, settings),
            *rendering.raw_name_warnings(portal, settings),
            *named_certificates.warnings(certificates),
            *own_certificates.warnings(portal, settings, certificates),
            *own_certificates.broken_warnings(portal, settings),
        ],
    )


def _file_plan(
    minion: Minion,
    portal: dict[str, Any],
    settings: Settings,
    registered: dict[str, Facts],
    users: dict[str, str],
    clean: bool,
    certificates: dict[str, dict[str, str]],
) -> FilePlan:
    redaction.add([*users.values(), *named_certificates.keys(certificates)])
    files = rendering.rendered(minion, portal, settings, registered)
    user_files = htpasswd.files(users, settings["nginx_group"], rendering.ROOT)
    sites = {
        view["access"]["user_file"]: view["given"]["users"]
        for view in served(portal, settings).values()
        if view["given"].get("users")
    }
    files.update({**user_files, **htpasswd.of_sites(user_files, sites)})
    files.update(named_certificates.files(certificates))
    replace = (*_PACKAGE_DEFAULTS, *(_unmanaged(files) if clean else ()))
    file_plan = FileSet(_SET, rendering.ROOT, replace=replace, whole_tree=True).plan(files)
    if file_plan.unmanaged:
        raise CommandFailed("\n".join(map(_unmanaged_error, file_plan.unmanaged)))
    removable = [r for r in replace if r not in files and Path(rendering.ROOT, r).is_file()]
    file_plan.remove = sorted({*file_plan.remove, *removable})
    return file_plan


def check(
    minion: Minion,
    portal: dict[str, Any],
    settings: Settings,
    users: dict[str, str],
    certificates: dict[str, dict[str, str]],
    packages: list[str],
) -> None:
    """Have nginx check what differs in a portal that was applied before; changes nothing.

    packages
        Packages of nginx and its modules.

    Raises Refused with the faulty entry, and CommandFailed if what the configuration names (its
    account, the certificate, a module) is not there before this very apply.
    """
    registered = inventory.recorded(minion)
    file_plan = _file_plan(minion, portal, settings, registered, users, False, certificates)
    if not file_plan.has_changes:
        return
    certificate = Path(rendering.ROOT, "conf.d/cert/pigsty.crt")
    if (
        not file_plan.file_set.managed_files()
        or contents.owner_ids(settings["nginx_user"], settings["nginx_group"]) is None
        or (settings["nginx_sslmode"] != "disable" and not certificate.exists())
        or not Path(rendering.CACHE_DIRECTORY).is_dir()
    ):
        raise CommandFailed("this portal was not applied before")
    missing = {*packages} - {*minion.call("pkg.list_pkgs")}
    if missing:
        raise CommandFailed(f"not installed: {', '.join(sorted(missing))}")
    file_plan.check(lambda stage: server.check_staged(stage, portal))


def name_warnings(portal: dict[str, Any], settings: Settings) -> list[str]:
    """One line per upstream, of an entry or a stream, that is a name without an address now."""
    named = {
        ".".join(filter(None, ("infra_portal", key, group["key_path"], "endpoint"))): (
            group["endpoints"]
        )
        for key, view in served(portal, settings).items()
        for group in view["upstreams"]
    }
    if settings["oauth2_proxy_endpoint"]:
        named["oauth2_proxy_endpoint"] = [settings["oauth2_proxy_endpoint"]]
    of_streams = {
        schema.join("infra_streams", name) + ".endpoint": streams.listed(stream["endpoint"])
        for name, stream in streams.of_settings(settings).items()
    }
    every = (e for some in (*named.values(), *of_streams.values()) for e in some)
    unresolved = upstreams.unresolved(every, settings)
    effects = (
        (named, "requests are answered with 502 until it does"),
        (of_streams, "connections are closed until it does"),
    )
    return [
        f"{path}: this machine finds no address for {endpoint}; {effect}"
        for places, effect in effects
        for path, some in places.items()
        for endpoint in some
        if endpoint in unresolved
    ]


def certificates_refreshed(minion: Minion, portal: dict[str, Any], settings: Settings) -> Plan:
    """Plan the links to the newest certificates of a portal that is applied.

    The files of users and of named certificates stay as they are, and so do the consoles of the
    minions registered last.
    """
    files = rendering.rendered(minion, portal, settings, inventory.recorded(minion))
    file_set = FileSet(_SET, rendering.ROOT, whole_tree=True)
    files.update(_present_files(set(file_set.managed_files()) - set(files)))
    file_plan = file_set.plan(files)
    return Plan(
        changes={**file_plan.summary()},
        comment="nginx serves the newest certificates.",
        would="nginx would serve other certificates.",
        apply=partial(_apply, minion, portal, settings, file_plan),
    )


def _apply(minion: Minion, portal: dict[str, Any], settings: Settings, file_plan: FilePlan) -> None:
    reload = partial(server.reload, minion, settings["nginx_port"], portal)
    if file_plan.has_changes:
        file_plan.apply(
            check_staged=lambda stage: server.check_staged(stage, portal), reload=reload
        )
    else:
        reload()


def _present_files(rels: set[str]) -> dict[str, File]:
    files: dict[str, File] = {}
    for rel in sorted(rels):
        path = Path(rendering.ROOT, rel)
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            files[rel] = {
                "text": path.read_text(encoding="utf-8"),
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                "user": pwd.getpwuid(status.st_uid).pw_name,
                "group": grp.getgrgid(status.st_gid).gr_name,
                "secret": True,
            }
    return files


def _unmanaged(files: dict[str, File]) -> list[str]:
    """Files in conf.d that no portal of this formula wrote."""
    managed = FileSet(_SET, rendering.ROOT).managed_files()
    present = [f"conf.d/{p.name}" for p in Path(rendering.ROOT, "conf.d").glob("*.conf")]
    return sorted(rel for rel in present if rel not in managed)


def _unmanaged_error(rel: str) -> str:
    return (
        f"infra_portal.{rel[len('conf.d/') : -len('.conf')]}: expected no unmanaged file at "
        f"{rendering.ROOT}/{rel}; rename the entry or the file, or set nginx_clean: true to have "
        "such files moved to /var/lib/infra/replaced"
    )


def _entry_states(
    portal: dict[str, Any], settings: Settings, file_plan: FilePlan
) -> list[dict[str, Any]]:
    """The outcome of each entry, as states of their own (Salt's ``sub_state_run``)."""
    diffs = {}
    for rel in file_plan.create + file_plan.change + file_plan.remove:
        match = re.fullmatch(r"conf\.d/([^/]+)\.conf", rel)
        if match:
            diffs[match.group(1)] = file_plan.diff.get(rel, "removed")
    diffs.pop("00-infra", None)
    return [
        {
            "name": key,
            "low": {
                "state": "infra_portal",
                "fun": "entry",
                "name": key,
                "__id__": f"infra-nginx-portal-{key}",
                "__sls__": "infra.nginx.config",
            },
            "changes": {f"conf.d/{key}.conf": diffs[key]} if key in diffs else {},
            "result": True,
            "comment": "" if key in diffs else "The entry is up to date.",
        }
        for key in {**views(portal, settings), **diffs}
    ]


def pages_plan(
    minion: Minion,
    portal: dict[str, Any],
    settings: Settings,
    registered: dict[str, Facts],
    version: str,
    services: list[dict[str, Any]] | None,
    extra_services: list[dict[str, Any]],
) -> Plan:
    """Plan the portal's own pages (see ``infra_portal.pages``).

    registered
        The inventory: minion id → accepted facts.
    """
    nodes = generated.page_nodes(registered, settings["admin_ip"])
    files, record = pages.files(minion, portal, settings, nodes, version, services, extra_services)
    file_plan = FileSet("pages", settings["nginx_home"], skip_unmanaged=True).plan(files)
    warnings = [
        f"{path}: an unmanaged page is left untouched; set infra_portal.home.path to another "
        "directory to have the formula's page"
        for path in file_plan.unmanaged_paths()
    ]
    hidden = _hidden_cards(record)
    return Plan(
        changes={**file_plan.summary()},
        comment=f"The pages are up to date{hidden}.",
        would=f"The pages would change{hidden}.",
        apply=partial(_apply_pages, file_plan, settings["nginx_home"]),
        warnings=warnings,
        record=lambda: atomic.write(cards.record_path(), json.dumps(record, indent=1), 0o600),
    )


def _apply_pages(file_plan: FilePlan, home: str) -> None:
    """Write pages; copies with states in them (home_states.py) are of the pages before."""
    file_plan.apply()
    for name in file_plan.create + file_plan.change + file_plan.remove:
        Path(home, STATES_DIRECTORY, name).unlink(missing_ok=True)


def _hidden_cards(record: dict[str, Any]) -> str:
    """Cards that are not shown and the reasons, as the end of a comment."""
    rows = [
        f"{card['name']} ({card['url']}: {record['asked'][card['url']]['reason']})"
        for card in record["cards"]
        if not record["asked"][card["url"]]["served"]
    ]
    return f"; cards without a page, which are not shown: {', '.join(rows)}" if rows else ""


def record_directories(minion: Minion, paths: list[str], home: str) -> None:
    """Add directories to the install record before they are created, with those above them.

    Removal deletes recorded directories that are empty by then.
    """
    parents = (str(up) for path in paths for up in Path(path).parents if Path(home) in up.parents)
    seen = install_record.inspect(minion, {"paths": sorted({*paths, *parents})})
    install_record.add("nginx", seen)


def check_serving(minion: Minion, settings: Settings) -> str:
    """Check that nginx serves the configuration on disk, over HTTP and, if it is on, HTTPS.

    Returns the hash of the configuration.

    Raises CommandFailed if it does not.
    """
    expected = server.hash_on_disk()
    server.wait_until_served(settings["nginx_port"], expected)
    home = applied.status(only=["home"])["home"]
    units.record_healthy(minion, "nginx")
    view = served(*applied.recorded())["home"]
    restricted = bool(view["access"]["rules"] or view["access"]["client_ca"])
    healthy = (200, 301, 401, *((400, 403) if restricted else ()))
    schemes = ("http",) if settings["nginx_sslmode"] == "disable" else ("http", "https")
    healthy += (404,) if _is_home_empty() else ()
    faults = [f"{s} answers {home[s]}" for s in schemes if home[s] not in healthy]
    if faults:
        raise CommandFailed(f"the home page: {', '.join(faults)}")
    return expected


def _is_home_empty() -> bool:
    portal, settings = applied.recorded()
    return folders.is_empty_home(served(portal, settings)["home"], settings)
