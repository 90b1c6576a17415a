"""The portal as states: its certificate, its configuration, its pages, and that it serves them."""

from __future__ import annotations

import grp
import ipaddress
import json
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_formula.daemon import units
from infra_formula.fileset import atomic
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.minion import Minion
from infra_formula.portal import cards as portal_cards
from infra_formula.portal import htpasswd, nginx
from infra_formula.registration import registry
from infra_formula.uninstall import install_record
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_ROOT = "/etc/nginx"
_SET = "portal"
_VIRTUAL_INTERFACE = re.compile(r"lo$|docker|veth|br-|virbr|cni|flannel|cali|podman")
_PACKAGE_DEFAULTS = ("nginx.conf", "conf.d/default.conf")


def _given(portal: Any) -> Any:
    """A portal as it was given; JSON text saves Salt from copying a thousand entries around."""
    return json.loads(portal) if isinstance(portal, str) else portal


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
    """The portal's own certificate is there, for every name of every entry, and not about to end.

    name, private_key
        Absolute paths of the certificate and its key.
    portal, settings
        The portal, as a dictionary or as JSON text (see the execution module infra_portal).
    signing_cert, signing_private_key
        The CA of the site.
    days
        Its life, like ``397d``.
    renew_days
        It is issued anew when fewer days are left, or its names changed.
    """
    views = nginx.views(_given(portal), settings)
    served = [v for v in views.values() if v["kind"] != "known"]
    names = dict.fromkeys(n for v in served for n in v["names"])
    return __states__["infra_cert.managed"](
        name=name,
        private_key=private_key,
        signing_cert=signing_cert,
        signing_private_key=signing_private_key,
        common_name="pigsty",
        organizational_unit="nginx",
        names=[*names, "localhost"],
        addresses=_addresses(settings["admin_ip"]),
        days=int(days.removesuffix("d")),
        renew_days=renew_days,
        group=settings["nginx_group"],
        reload="nginx",
        purpose="the portal",
    )


def _addresses(admin_ip: str) -> list[str]:
    """Addresses under which this node is reached: those of its real interfaces, and loopback."""
    found = {"127.0.0.1", "::1", admin_ip}
    for interface, addresses in __grains__.get("ip_interfaces", {}).items():
        if not _VIRTUAL_INTERFACE.match(interface):
            found.update(a for a in addresses if not ipaddress.ip_address(a).is_link_local)
    return sorted(found, key=lambda a: (":" in a, a))


def managed(
    name: str,
    portal: dict[str, Any] | str,
    settings: dict[str, Any],
    users: dict[str, str] | None = None,
    clean: bool = False,
) -> dict[str, Any]:
    """nginx's configuration is what the portal says, tested before it is switched in.

    name
        Any name for the state.
    portal, settings
        The portal, as a dictionary or as JSON text (see the execution module infra_portal).
    users
        Basic-auth users → password, plain or hashed.
    clean
        Move foreign files out of ``conf.d``, to below /var/lib/infra/replaced.

    One difference is computed for all files. nginx tests a staged copy of the whole of /etc/nginx;
    only if it accepts that copy is the copy switched in, in one step, and a running nginx reloaded.
    If nginx then does not serve the new configuration, the old one is put back. Each entry is
    reported as a state of its own.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    port = settings["nginx_port"]
    entries: dict[str, Any] = _given(portal)
    try:
        files = nginx.rendered(_minion(), entries, settings)
        group = settings["nginx_group"]
        files.update(htpasswd.files(users or {}, group, _ROOT))
        replace = (*_PACKAGE_DEFAULTS, *(_foreign(files) if clean else ()))
        plan = FileSet(_SET, _ROOT, replace=replace, whole_tree=True).plan(files)
        if plan.unmanaged:
            return {**ret, "result": False, "comment": _foreign_comment(plan.unmanaged)}
        plan.remove = sorted({*plan.remove, *_left_over(replace, files)})
        generation = nginx.generation(files)
        running = nginx.served_generation(port)
        stale = running is not None and running != generation
        differs = plan.has_changes
        if not differs and not stale:
            if not __opts__["test"]:
                _remember(entries, settings)
            ret["sub_state_run"] = _per_entry(entries, settings, plan, True)
            return {**ret, "comment": f"{len(files)} files are as they should be"}
        ret["changes"] = plan.summary() if differs else {"nginx": "reloaded"}
        if __opts__["test"]:
            ret["sub_state_run"] = _per_entry(entries, settings, plan, None)
            return {**ret, "result": None, "comment": "the portal would change"}
        if differs:
            plan.apply(
                check_staged=lambda stage: nginx.check_staged(stage, entries),
                reload=lambda: _reload(port),
            )
        else:
            _reload(port)
        _remember(entries, settings)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    ret["sub_state_run"] = _per_entry(entries, settings, plan, True)
    return {**ret, "comment": "the portal is as it should be"}


def followed(name: str, portal: dict[str, Any] | str, settings: dict[str, Any]) -> dict[str, Any]:
    """A portal that is applied serves the newest certificates that there are.

    name
        Any name for the state.
    portal, settings
        As for :func:`managed`, and as that applied them.

    What a public certificate replaces, and nothing else, changes; nginx is reloaded.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        entries = _given(portal)
        files = nginx.rendered(_minion(), entries, settings)
        # Its users are not asked for here: their file stays as it is.
        file_set = FileSet(_SET, _ROOT, whole_tree=True)
        files.update(_as_they_are(set(file_set.managed_files()) - set(files)))
        plan = file_set.plan(files)
        if not plan.has_changes:
            return {**ret, "comment": "nginx serves the newest certificates"}
        ret["changes"] = plan.summary()
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "nginx would serve other certificates"}
        plan.apply(
            check_staged=lambda stage: nginx.check_staged(stage, entries),
            reload=lambda: _reload(settings["nginx_port"]),
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": "nginx serves the newest certificates"}


def _as_they_are(rels: set[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for rel in sorted(rels):
        path = Path(_ROOT, rel)
        if path.is_file() and not path.is_symlink():
            st = path.stat()
            found[rel] = {
                "text": path.read_text(encoding="utf-8"),
                "mode": f"{stat.S_IMODE(st.st_mode):04o}",
                "user": pwd.getpwuid(st.st_uid).pw_name,
                "group": grp.getgrgid(st.st_gid).gr_name,
                "secret": True,
            }
    return found


def pages(
    name: str,
    portal: dict[str, Any] | str,
    settings: dict[str, Any],
    version: str,
    nodes: list[dict[str, Any]] | None = None,
    services: list[dict[str, Any]] | None = None,
    extra_services: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The portal's own pages show what there is, and link to nothing that does not answer.

    name
        Any name for the state.
    portal, settings, version, nodes, services, extra_services
        See ``infra_portal.pages`` among the execution modules. Nodes are by default the machines
        that are registered here (see infra_register).

    The programs are asked which pages they serve, and their answers are recorded: of one that does
    not answer, what it served last is shown.
    """
    root = settings["nginx_home"]
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        if nodes is None:
            registered = registry.nodes(_minion())
            nodes = registry.page_nodes(registered, settings["admin_ip"])
        files, cards = nginx.pages(
            _minion(), _given(portal), settings, nodes, version, services, extra_services or []
        )
        plan = FileSet("pages", root, skip_unmanaged=True).plan(files)
        if plan.unmanaged:
            told = ", ".join(plan.unmanaged_paths())
            comment = f"{told}: a page of somebody else's is kept; set infra_portal.home.path"
            ret["warnings"] = [comment]
        hidden = _hidden_cards(cards)
        last = portal_cards.remembered()
        if not __opts__["test"]:
            _record_cards(cards)
        if cards["alerts_page"] != last["alerts_page"]:
            # The portal's configuration follows this, where the pages themselves stay as they are.
            ret["changes"] = {"alerts lead to": cards["alerts_page"] or "Alertmanager"}
        if not plan.has_changes:
            if ret["changes"] and __opts__["test"]:
                return {**ret, "result": None, "comment": f"alerts would lead elsewhere{hidden}"}
            return {**ret, "comment": f"the pages are as they should be{hidden}"}
        ret["changes"].update(plan.summary())
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"the pages would change{hidden}"}
        plan.apply()
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"the pages are as they should be{hidden}"}


def _hidden_cards(cards: dict[str, Any]) -> str:
    """Which cards are not shown and why, as the end of a comment."""
    rows = [
        f"{card['name']} ({card['url']}: {cards['asked'][card['url']]['reason']})"
        for card in cards["cards"]
        if not cards["asked"][card["url"]]["served"]
    ]
    return f"; cards without a page, which are not shown: {', '.join(rows)}" if rows else ""


def _record_cards(cards: dict[str, Any]) -> None:
    path = portal_cards.remembered_path()
    atomic.write(str(path), json.dumps(cards, indent=1), 0o600)


def sites_present(
    name: str, portal: dict[str, Any] | str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Directories of static sites are there; made below the web root only, never changed.

    name
        Any name for the state.
    portal, settings
        The portal, as a dictionary or as JSON text (see the execution module infra_portal).
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    views = nginx.views(_given(portal), settings)
    paths = sorted({v["path"] for v in views.values() if v["kind"] == "static"})
    missing = [p for p in paths if not Path(p).is_dir()]
    home = Path(settings["nginx_home"])
    below = [p for p in missing if home in Path(p).parents]
    elsewhere = [p for p in missing if p not in below]
    if elsewhere:
        ret["warnings"] = [f"there is no {', '.join(elsewhere)} yet; put the site there"]
    if not below:
        return {**ret, "comment": "the directories are there"}
    ret["changes"] = {"made": below}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "directories would be made"}
    try:
        # Known to be ours before they are made; the way back takes those that are empty by then.
        between = {str(up) for p in below for up in Path(p).parents if home in up.parents}
        seen = install_record.inspect(_minion(), {"paths": sorted({*below, *between})})
        install_record.add("nginx", seen)
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    for path in below:
        made = __states__["file.directory"](
            name=path, user="root", group=settings["nginx_group"], mode="0755", makedirs=True
        )
        if not made["result"]:
            return {**ret, "result": False, "comment": made["comment"]}
    return {**ret, "comment": "the directories are there"}


def serving(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """nginx serves the configuration that lies on disk, over HTTP (and HTTPS where it is on).

    name
        Any name for the state.
    settings
        The portal's settings.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if __opts__["test"]:
        return {**ret, "comment": "health is asked only in a real run"}
    try:
        wanted = _generation_on_disk()
        nginx.wait_for_generation(settings["nginx_port"], wanted)
        home = nginx.status(only=["home"])["home"]
        units.record_healthy(_minion(), "nginx")
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    wrong = [
        f"{scheme} answers {home[scheme]}"
        for scheme in ("http", "https")
        if (scheme == "http" or settings["nginx_sslmode"] != "disable")
        and home[scheme] not in (200, 301, 401)
    ]
    if wrong:
        return {**ret, "result": False, "comment": f"the home page: {', '.join(wrong)}"}
    return {**ret, "comment": f"serves generation {wanted} on port {settings['nginx_port']}"}


def _reload(port: int) -> None:
    """Have a running nginx take up what lies on disk, and see that it did."""
    answers = nginx.served_generation(port) is not None
    if not answers and not _minion().call("service.status", "nginx"):
        return  # not started yet: the service's own state comes next
    wanted = _generation_on_disk()
    since = nginx.error_log_size()
    if not _minion().call("service.reload", "nginx"):
        raise CommandExecutionError("systemctl reload nginx failed; see journalctl -u nginx")
    nginx.wait_for_generation(port, wanted, since=since)


def _generation_on_disk() -> str:
    shared = Path(_ROOT, "conf.d/00-infra.conf")
    if not shared.exists():
        raise CommandExecutionError(f"{shared} is not there; nothing of the portal runs yet")
    text = shared.read_text(encoding="utf-8")
    return nginx.generation({"conf.d/00-infra.conf": {"text": text}})


def _foreign(files: dict[str, Any]) -> list[str]:
    """Files in conf.d that neither this portal nor an earlier one wrote."""
    mine = FileSet(_SET, _ROOT).managed_files()
    present = [f"conf.d/{p.name}" for p in Path(_ROOT, "conf.d").glob("*.conf")]
    return sorted(rel for rel in present if rel not in mine)


def _left_over(replace: tuple[str, ...], files: dict[str, Any]) -> list[str]:
    """Replaceable files of others that lie there and have no successor."""
    return [r for r in replace if r not in files and Path(_ROOT, r).is_file()]


def _foreign_comment(foreign: list[str]) -> str:
    told = [
        f"infra_portal.{rel[len('conf.d/') : -len('.conf')]}: expected no file of somebody else's "
        f"at {_ROOT}/{rel}; rename the entry or the file, or set nginx_clean: true to have such "
        "files moved to /var/lib/infra/replaced"
        for rel in foreign
    ]
    return "\n".join(told)


def _remember(portal: dict[str, Any], settings: dict[str, Any]) -> None:
    path = nginx.remembered_path()
    text = json.dumps(nginx.remember(portal, settings), indent=1)
    atomic.write(str(path), text, 0o644)


def _per_entry(
    portal: dict[str, Any], settings: dict[str, Any], plan: FilePlan, result: bool | None
) -> list[dict[str, Any]]:
    """The outcome of each entry, as states of their own (Salt's ``sub_state_run``)."""
    changed = {}
    for rel in plan.create + plan.change + plan.remove:
        key = re.fullmatch(r"conf\.d/([^/]+)\.conf", rel)
        if key:
            changed[key.group(1)] = plan.diff.get(rel, "removed")
    runs = []
    for key in {**nginx.views(portal, settings), **dict.fromkeys(changed)}:
        if key == "00-infra":
            continue
        diff = changed.get(key)
        runs.append(
            {
                "name": key,
                "low": {
                    "state": "infra_portal",
                    "fun": "entry",
                    "name": key,
                    "__id__": f"infra-nginx-portal-{key}",
                    "__sls__": "infra.nginx.config",
                },
                "changes": {f"conf.d/{key}.conf": diff} if diff else {},
                "result": result if diff else True,
                "comment": "" if diff else "as it should be",
            }
        )
    return runs
