"""The portal as nginx's configuration: templates, certificate links, the hash of the whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import salt.utils.path

from infra_formula import process, program_facts
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset.contents import File
from infra_formula.minion import Minion
from infra_formula.parameters import schema
from infra_formula.pki import certificates
from infra_formula.portal import (
    access,
    cards,
    endpoints,
    entries,
    headers,
    hosts,
    http_config,
    included,
    locations,
    named_certificates,
    own_certificates,
    plain_http,
    raw_config,
    raw_directives,
    raw_names,
    streams,
    trusted_proxies,
    upstreams,
)
from infra_formula.portal.entries import Settings
from infra_formula.portal.views import CERTIFICATE_DIR, View, served, views
from infra_formula.registration import generated
from infra_formula.templates import SaltLoader, make_environment

ROOT = included.ROOT
CACHE_DIRECTORY = "/var/cache/infra-nginx"
"""Where answers of endpoints are kept (``proxy_cache``)."""
TEMPLATES = "salt://infra/nginx/files"
SHARED = "conf.d/00-infra.conf"
"""What all entries share; it answers with the hash of the configuration."""
CONFIG_HASH_NAME = hosts.CONFIG_HASH_NAME
"""Server name under which the running nginx answers with that hash (``infra.conf.j2``)."""

_HTTP2_DIRECTIVE = (1, 25, 1)  # from here on `http2 on;`, before it a parameter of `listen`
_HTTP2_UPSTREAM = (1, 29, 4)  # from here on `proxy_http_version 2`


_UPSTREAM = re.compile(r"\bupstream\s+[\"']?([^\s{\"']+)")


def problems(portal: Any, settings: Settings) -> list[str]:
    """Validate a portal, with the certificates on this machine that its entries name.

    Returns one message per error, each beginning with the key path.
    """
    return entries.problems(portal, settings) or [
        *_home_problems(portal, settings),
        *_version_problems(portal),
        *_http_config_problems(portal, settings),
        *_certificate_problems(portal, settings),
        *_client_ca_problems(portal, settings),
    ]


def _home_problems(portal: dict[str, Any], settings: Settings) -> list[str]:
    """Errors in the raw directives of the home page, which has more than an entry beside them."""
    home = portal.get("home", {})
    if not home.get("config") or "conf" in home:
        return []
    auth = entries.auth_method("home", home, hosts.with_portal(portal, settings))
    where = "infra_portal.home.config"
    return list(raw_directives.problems(where, "home", home, auth, settings))


def _version_problems(portal: dict[str, Any]) -> list[str]:
    """Attributes that the installed nginx does not have; none before it is installed."""
    used: dict[str, list[str]] = {}
    for key, entry in portal.items():
        for location in locations.of_entry(entry):
            where = f"infra_portal.{key}"
            if location.number:
                where = schema.join(f"{where}.locations", location.key)
            own = location.own if location.number else entry
            for attribute in ("brotli", "http3"):
                if own.get(attribute) is True:
                    used.setdefault(attribute, []).append(f"{where}.{attribute}")
            if str(own.get("proxy_http_version")) == "2":
                used.setdefault("proxy_http_version", []).append(f"{where}.proxy_http_version")
            if location.attributes.get("scheme", "").startswith("grpc"):
                there = endpoints.addresses(location.attributes.get("endpoint", []))
                names = [e for e in there if hosts.address(e.rpartition(":")[0]) is None]
                if len(there) > 1 and any(not e.startswith("unix:") for e in names):
                    used.setdefault("grpc names", []).append(f"{where}.endpoint")
    if not used or not salt.utils.path.which("nginx"):
        return []
    number = version()
    release = ".".join(map(str, number))
    has = {
        "brotli": "brotli" in modules(),
        "http3": "http3" in modules(),
        "proxy_http_version": tuple(number) >= _HTTP2_UPSTREAM,
        "grpc names": tuple(number) >= upstreams.RESOLVE_PARAMETER,
    }
    expected = {
        "brotli": f"an nginx with the module brotli, which nginx {release} of this machine lacks",
        "http3": f"an nginx with HTTP/3 (1.25 and later), this machine has nginx {release}",
        "proxy_http_version": f"1.0 or 1.1 before nginx 1.29.4, this machine has nginx {release}",
        "grpc names": f"addresses, or one name, with gRPC before nginx 1.27.3; this is {release}",
    }
    return [
        f"{where}: expected {expected[name]}"
        for name, places in used.items()
        if not has[name]
        for where in dict.fromkeys(places)
    ]


def _client_ca_problems(portal: dict[str, Any], settings: Settings) -> list[str]:
    faults = []
    for key, view in served(portal, settings).items():
        ca = view["access"]["client_ca"]
        if access.is_checked_on_disk(ca) and (fault := certificates.file_fault(ca)):
            faults.append(f"infra_portal.{key}.ssl_client_certificate: {fault}")
    return faults


def _certificate_problems(portal: dict[str, Any], settings: Settings) -> list[str]:
    of_entries = [
        f"infra_portal.{key}.{fault}"
        for key, view in served(portal, settings).items()
        if (fault := own_certificates.fault(view)) and not own_certificates.was_applied(key, view)
    ]
    of_streams = [
        f"{schema.join('infra_streams', name)}.{fault}"
        for name, fault in own_certificates.stream_faults(settings).items()
        if not own_certificates.stream_was_applied(name, settings)
    ]
    return of_entries + of_streams


def rendered(
    minion: Minion,
    portal: dict[str, Any],
    settings: Settings,
    registered: dict[str, dict[str, Any]],
) -> dict[str, File]:
    """Validate a portal and render it for this machine.

    portal
        The value of ``infra_portal``.
    registered
        Registered minions, whose HAProxy consoles are shown: minion id → facts.

    Returns path below ``/etc/nginx`` → file.

    Raises InvalidInput with every error in the portal.
    """
    errors = problems(portal, settings)
    if errors:
        raise InvalidInput("\n".join(errors))
    settings = {
        **settings,
        "haproxy": {**generated.haproxy(registered), **settings["haproxy"]},
        "alerts_page": cards.alerts_page(settings),
    }
    return files(portal, settings, facts(portal, settings), SaltLoader(minion, TEMPLATES))


def files(
    portal: dict[str, Any], settings: Settings, facts: dict[str, Any], loader: jinja2.BaseLoader
) -> dict[str, File]:
    """Render the whole configuration of a valid portal.

    facts
        Of this machine: ``nginx_version`` (list of ints), ``ipv6`` (bool), ``lineages`` (names
        below ``/etc/letsencrypt/live``), ``certificates`` (any text that changes when a
        certificate in use does), ``name_service`` (by default that of this machine), ``modules``
        (see :func:`modules`), ``broken_certificates`` (entries that get the portal's own in place
        of theirs; by default none), ``broken_stream_certificates`` (streams that do).

    Returns path below ``/etc/nginx`` → file.

    Raises InvalidInput for a template that is missing or broken, naming the entry.
    """
    environment = make_environment(loader)
    # What is added to them below is for this rendering alone: the views are those of others, too.
    all_views = {key: dict(view) for key, view in views(portal, settings).items()}
    facts = {"name_service": upstreams.name_service(settings), **facts}
    http2 = "directive" if tuple(facts["nginx_version"]) >= _HTTP2_DIRECTIVE else "listen"
    common: dict[str, Any] = {
        "settings": settings,
        "client_certificates": any(v["access"]["client_ca"] for v in all_views.values()),
        "trusted": trusted_proxies.trusted(settings),
        "real_ip_header": trusted_proxies.header(settings),
        "proxy_protocol_ports": trusted_proxies.ports(settings),
        "visitor_variables": trusted_proxies.visitor(settings),
        "facts": facts,
        "http2": http2,
        "acme_name": hosts.ACME_NAME,
        "proxy_headers": included.PROXY_HEADERS,
        "console_headers": included.CONSOLE_HEADERS,
        "raw_config": raw_config,
        "cache_directory": CACHE_DIRECTORY,
        "merged_headers": headers.merged,
        "any_certbot": any(v["certbot"] for v in all_views.values()),
        "any_http3": any(v["http3"] and v["tls"] for v in all_views.values()),
        "included_text": included.text,
        "home_server": re.escape(all_views["home"]["domain"]),
        "home_name": next((n for n in all_views["home"]["names"] if "*" not in n), ""),
        "home_hosts": _home_hosts(all_views["home"], settings),
        "oauth2_proxy": _oauth2_proxy(settings, facts),
        "hsts_ages": sorted({v["hsts"] for v in all_views.values() if v["hsts"] and v["tls"]}),
    }
    out: dict[str, File] = {}

    https: str = common["visitor_variables"]["https"]

    def add(
        target: str,
        template: str,
        where: str = "",
        guard: Callable[[str], str] | None = None,
        **context: Any,
    ) -> None:
        text = _fill(environment, template, context, where or template)
        text = guard(text) if guard else text
        out[target] = {"text": text, "group": settings["nginx_group"]}

    port = settings["nginx_ssl_port"]
    url = f"https://$portal_host{'' if port == 443 else f':{port}'}$request_uri"
    common["https_url"] = url
    # Templates import their macros without context, so that these are made once and not per entry.
    environment.globals.update(common)
    listing = own_certificates.listing(all_views)
    for key in facts.get("broken_certificates", ()):
        all_views[key]["cert"], all_views[key]["cert_key"] = own_certificates.PORTALS_OWN
    for key, view in all_views.items():
        if view["kind"] == "unserved":
            continue
        custom = view["kind"] == "custom"
        template = view["conf"] if custom else f"{view['kind']}.conf.j2"
        where = f"infra_portal.{key}" + (".conf" if custom else "")
        _add_upstreams(view, all_views, settings, facts)
        if "_pass" in view["config"]:
            resolve = raw_names.resolver_of(settings, facts["name_service"])
            text = raw_names.at_run_time(view["config"], _groups(all_views, settings), resolve)
            view["needs_resolver"] = view["needs_resolver"] or text != view["config"]
            view["config"] = text
        guard = None
        if custom and not settings.get("nginx_auth_over_http"):
            listeners = _listeners(settings, view, http2) if view["tls"] else ""
            guard = partial(
                plain_http.guarded, https=https, url=url, listeners=listeners, where=where
            )
        elif view["guards_login"]:
            guard = partial(plain_http.guarded, https=https, url=url)
        add(f"conf.d/{key}.conf", template, where, guard, entry=view, entries=all_views)
        if view["tls"] and not view["own_cert"]:
            out.update(_certificate_links(view, facts["lineages"]))
    for node, address in sorted(settings["haproxy"].items()):
        for part in ("upstream", "location"):
            add(
                f"conf.d/haproxy/{part}-{node}.conf",
                f"haproxy-{part}.conf.j2",
                f"haproxy.{node}",
                node=node,
                address=address,
                entry=all_views["home"],
                login=node in settings["portal_haproxy_logins"],
            )
    if listing:
        out[own_certificates.LIST] = {"text": listing}
    add(own_certificates.AFTER_STOP, "after-stop")
    add(included.PROXY_HEADERS, "proxy-headers.conf.j2")
    add(included.CONSOLE_HEADERS, "console-headers.conf.j2")
    own_text = http_config.text(settings)
    if own_text:
        guard = None
        if not settings.get("nginx_auth_over_http"):
            guard = partial(plain_http.guarded, https=https, url=url, where="nginx_http_config")
        add(http_config.FILE, "http.conf.j2", guard=guard, own_text=own_text)
    all_streams = streams.views(
        settings, facts["name_service"], facts.get("broken_stream_certificates", ())
    )
    if all_streams:
        grouped = streams.by_name(all_streams)
        add(streams.FILE, "streams.conf.j2", streams=all_streams, stream_names=grouped)
    add("nginx.conf", "nginx.conf.j2", own_text=own_text, has_streams=bool(all_streams))
    if own_text:
        remaining = http_config.without_replaced(out["nginx.conf"]["text"], own_text)
        out["nginx.conf"] = {**out["nginx.conf"], "text": remaining}
    config_hash = _hash(out, facts["certificates"])
    add(SHARED, "infra.conf.j2", config_hash=config_hash)
    if own_text:
        http_config.refuse_taken_variables(own_text, out[SHARED]["text"])
    return out


def _add_upstreams(
    view: View, all_views: dict[str, View], settings: Settings, facts: dict[str, Any]
) -> None:
    """Add to a view how the endpoints of each of its locations are reached."""
    blocks = {
        group["group"]: upstreams.upstream(
            group["group"],
            group["endpoints"],
            settings,
            facts["name_service"],
            facts["nginx_version"],
            tls=group["scheme"] == "https",
            is_named_elsewhere=partial(_is_named, group["group"], all_views),
        )
        for group in view["upstreams"]
    }
    for location in view["locations"]:
        location["upstream"] = blocks.get(location["group"])
    view["needs_resolver"] = any(upstream["resolver"] for upstream in blocks.values())


def _listeners(settings: Settings, view: View, http2: str) -> str:
    """Directives by which a template of the site gets the portal's port for HTTPS."""
    port, ways = settings["nginx_ssl_port"], " ssl http2" if http2 == "listen" else " ssl"
    return (
        f"listen {port}{ways};\nssl_certificate {view['cert']};\n"
        f"ssl_certificate_key {view['cert_key']};"
    )


def _is_named(name: str, all_views: dict[str, View]) -> bool:
    return upstreams.is_named(name, _raw_texts(all_views))


def _oauth2_proxy(settings: Settings, facts: dict[str, Any]) -> upstreams.Upstream | None:
    endpoint = settings["oauth2_proxy_endpoint"]
    service, version = facts["name_service"], facts["nginx_version"]
    if not endpoint:
        return None
    return upstreams.upstream(
        "_oauth2_proxy", [endpoint], settings, service, version, is_named_elsewhere=lambda: True
    )


def _groups(all_views: dict[str, View], settings: Settings) -> set[str]:
    """Names of all groups of endpoints: of entries, of the site's directives and files."""
    groups = {location["group"] for view in all_views.values() for location in view["locations"]}
    groups |= {f"_haproxy_{node}" for node in settings["haproxy"]} | {"_oauth2_proxy", "acme-peers"}
    texts = [http_config.text(settings), *_raw_texts(all_views)]
    return groups | {name for text in texts for name in _UPSTREAM.findall(text)}


def raw_name_warnings(portal: dict[str, Any], settings: Settings) -> Iterator[str]:
    """One line per name in raw directives that nginx resolves only when it starts."""
    resolve = raw_names.resolver_of(settings, upstreams.name_service(settings))
    all_views = served(portal, settings)
    for key, view in all_views.items():
        text = view["config"]
        for name in raw_names.left(text, _groups(all_views, settings), resolve) if text else ():
            yield (
                f"infra_portal.{key}.config: nginx resolves {name} only when it starts, and does "
                "not start without an answer; write an address"
            )


def _http_config_problems(portal: dict[str, Any], settings: Settings) -> list[str]:
    text = http_config.text(settings)
    if not text:
        return []
    resolve = raw_names.resolver_of(settings, upstreams.name_service(settings))
    groups = set(_UPSTREAM.findall(text))
    keys = [key for key, view in served(portal, settings).items() if view["upstreams"]]
    return raw_names.http_problems(text, groups, keys, resolve)


def _raw_texts(all_views: dict[str, View]) -> Iterator[str]:
    """Directives that no template of the formula writes: ``config``, and files in conf.d."""
    yield from (view["config"] for view in all_views.values())
    written = {SHARED, *(f"conf.d/{key}.conf" for key in all_views)}
    for path in Path(ROOT).glob("conf.d/*.conf"):
        if f"conf.d/{path.name}" not in written and path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def _home_hosts(home: View, settings: Settings) -> list[str]:
    """The names and addresses that lead to the home page, as regular expressions for ``$host``."""
    addresses = [settings["admin_ip"], settings["own_address"], *settings["addresses"]]
    literals = [f"[{a}]" if ":" in a else a for a in addresses if a]
    literals += ["127.0.0.1", "[::1]", "localhost"]
    names = [re.escape(name).replace(r"\*", r"\S+") for name in home["names"]]
    return [*dict.fromkeys([*names, *map(re.escape, literals)])]


def config_hash(shared: str) -> str:
    """The hash of the configuration, from the text of ``conf.d/00-infra.conf``."""
    match = re.search(r'return 200 "([0-9a-f]{16})"', shared)
    if not match:
        raise CommandFailed(f"{SHARED}: expected it to return the hash of the configuration")
    return match.group(1)


def _hash(files: dict[str, File], certificates: str) -> str:
    digest = hashlib.sha256(certificates.encode())
    for rel in sorted(files):
        file = files[rel]
        digest.update(f"\0{rel}\0{file.get('text', '')}\0{file.get('link', '')}".encode())
    return digest.hexdigest()[:16]


def _certificate_links(view: View, lineages: Iterable[str]) -> dict[str, File]:
    if view["certbot"] and view["certbot"] in lineages:
        live = f"/etc/letsencrypt/live/{view['certbot']}"
        crt, key = f"{live}/fullchain.pem", f"{live}/privkey.pem"
    else:
        crt, key = "pigsty.crt", "pigsty.key"
    stem = f"{CERTIFICATE_DIR}/{view['cert_stem']}"
    return {f"{stem}.crt": {"link": crt}, f"{stem}.key": {"link": key}}


def _fill(environment: jinja2.Environment, name: str, context: dict[str, Any], where: str) -> str:
    try:
        return environment.get_template(name).render(context)
    except jinja2.TemplateNotFound as err:
        raise InvalidInput(
            f"{where}: expected a template below {TEMPLATES}/, there is no {err.name!r}"
        ) from None
    except jinja2.TemplateError as err:
        raise InvalidInput(f"{where}: template {name!r} fails: {err}") from None


def facts(portal: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What rendering needs to know of this machine (see :func:`files`)."""
    live = Path("/etc/letsencrypt/live")
    lineages = sorted(p.parent.name for p in live.glob("*/fullchain.pem"))
    return {
        "nginx_version": version(),
        "modules": modules(),
        "ipv6": settings["nginx_ipv6"] and Path("/proc/net/if_inet6").exists(),
        "lineages": lineages,
        "broken_certificates": list(own_certificates.broken(portal, settings)),
        "broken_stream_certificates": list(own_certificates.broken_streams(settings)),
        "certificates": _certificates_digest(portal, settings, lineages),
        "name_service": upstreams.name_service(settings),
    }


def _certificates_digest(portal: dict[str, Any], settings: Settings, lineages: list[str]) -> str:
    """Changes with each certificate that nginx serves, so that nginx is reloaded then."""
    all_views = views(portal, settings).values()
    public = {view["certbot"] for view in all_views} & set(lineages)
    paths = {Path(ROOT, CERTIFICATE_DIR, "pigsty.crt")}
    paths |= {Path(f"/etc/letsencrypt/live/{name}/fullchain.pem") for name in public}
    paths |= {
        Path(view["cert"]) for view in all_views if view["own_cert"] and not view["named_cert"]
    }
    paths |= {Path(ROOT, ca) for view in all_views if (ca := view["access"]["client_ca"])}
    paths |= {Path(cert) for cert, _key in streams.own_certificates(settings).values()}
    digest = hashlib.sha256()
    for name, chain in sorted(named_certificates.of_settings(settings).items()):
        digest.update(f"{name}\0{chain}\0".encode())
    for path in sorted(paths):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _build_options() -> str:
    """What the installed nginx says of how it was built; empty without one."""
    if not salt.utils.path.which("nginx"):
        return ""
    output = program_facts.recall("nginx", "-V")
    if output is None:
        output = process.run(["nginx", "-V"])["stderr"]
        program_facts.remember("nginx", "-V", output)
    return output


def is_stream_module_apart() -> bool:
    """Whether the installed nginx has its stream module in a package of its own, as Debian's."""
    return "--with-stream=dynamic" in _build_options()


def modules() -> list[str]:
    """Those of ``brotli`` and ``http3`` that the installed nginx has, built in or loaded."""
    output = _build_options()
    if not output:
        return []
    loaded = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for folder in ("modules-enabled", "/usr/share/nginx/modules")
        for path in Path(ROOT, folder).glob("*.conf")
    )
    has_brotli = "brotli" in loaded or "brotli" in output
    return [*(["brotli"] if has_brotli else []), *(["http3"] if "http_v3_module" in output else [])]


def version() -> list[int]:
    """Version of the installed nginx; before its installation, a current one."""
    if not salt.utils.path.which("nginx"):
        return list(_HTTP2_DIRECTIVE)
    known = program_facts.recall("nginx", "-v")
    output = process.run(["nginx", "-v"])["stderr"] if known is None else known
    match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", output)
    if not match:
        raise CommandFailed(f"nginx -v: expected a version, got {output!r}")
    if known is None:
        program_facts.remember("nginx", "-v", output)
    return [int(n) for n in match.groups()]
