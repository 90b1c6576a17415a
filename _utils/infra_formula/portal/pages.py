"""The portal's own pages: home in English and Chinese, and the page for a missing one (404).

The pages are Jinja templates below ``salt://infra/nginx/files``, with texts, default cards and
icons from ``salt://infra/nginx/pages.yaml``; a copy of any of them in a file root of the site takes
precedence. A page needs no other file: style, script and icons are inside, and its content security
policy allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
import markupsafe
import salt.utils.yaml

from infra_formula import templates
from infra_formula.errors import InvalidInput
from infra_formula.fileset.contents import File
from infra_formula.minion import Minion
from infra_formula.parameters.schema import join, nearest, problem
from infra_formula.portal import cards as portal_cards
from infra_formula.portal import streams
from infra_formula.portal.entries import Settings
from infra_formula.portal.rendering import TEMPLATES
from infra_formula.portal.views import site_url, views

CARD_KEYS = ("name", "url", "desc", "icon", "name_cn", "desc_cn")
"""Attributes of a card; ``name`` and ``url`` are required."""

_CONTEXT_KEYS = {"version", "admin_ip", "home", "strings", "icons", "cards", "sites", "nodes"}
_PAGES = (
    ("index.html", "index.html.j2", "en", "zh"),
    ("zh.html", "index.html.j2", "zh", "en"),
    ("404.html", "404.html.j2", "en", "zh"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLAIN_URL = re.compile(r"https?://[a-z0-9.-]*[a-z0-9](?::[0-9]+)?(?:/[!-~]*)?")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def files(
    minion: Minion,
    portal: dict[str, Any],
    settings: Settings,
    nodes: list[dict[str, Any]],
    version: str,
    services: list[dict[str, Any]] | None,
    extra_services: list[dict[str, Any]],
) -> tuple[dict[str, File], dict[str, Any]]:
    """Render the pages as files below ``nginx_home``, with the cards whose page is served.

    portal, settings, nodes, version
        As for :func:`portal_context`.
    services, extra_services
        Cards that replace the default ones (None: the default ones), and further cards.

    Returns the files, and the record of the cards (see ``cards.record``).

    Raises InvalidInput for a faulty card or template.
    """
    data = salt.utils.yaml.safe_load(templates.read(minion, "salt://infra/nginx/pages.yaml"))
    context = portal_context(portal, settings, nodes, version)
    context["strings"], context["icons"] = data["strings"], data["icons"]
    context["states"] = data.get("states", {})
    variables = {"repo_name": settings["repo_name"]}
    wanted = cards(data["cards"], settings["components"], services, extra_services, variables)
    record = portal_cards.record(wanted, settings)
    context["cards"] = [
        {**card, "state": card_state(card["url"], settings)}
        for card in wanted
        if record["asked"][card["url"]]["served"]
    ]
    rendered = render(context, templates.SaltLoader(minion, TEMPLATES))
    group = settings["nginx_group"]
    return {name: {"text": text, "group": group} for name, text in rendered.items()}, record


def portal_context(
    portal: dict[str, Any], settings: Settings, nodes: list[dict[str, Any]], version: str
) -> dict[str, Any]:
    """What the home page shows of a valid portal.

    nodes
        The inventory: ``name``, ``address``, ``cluster``, ``admin`` and ``links`` of each node.
    version
        Shown on the page.
    """
    all_views = views(portal, settings)
    sites = [
        {
            "key": key,
            "names": view["names"],
            "url": site_url(next(n for n in view["names"] if "*" not in n), view, settings),
            "kind": "static" if view["kind"] == "static" else "proxy",
            "auth": bool(view["auth"]),
            "state": " ".join(["site", key, *(n for n in view["names"] if "*" not in n)]),
        }
        for key, view in all_views.items()
        if key != "home" and view["kind"] != "unserved"
        if any("*" not in n for n in view["names"])
    ]
    sites += [
        {
            "key": name,
            "names": _stream_names(stream, all_views["home"]["domain"]),
            "url": "",
            "kind": "stream",
            "auth": False,
            "state": f"stream {name} {stream['listen']}"
            if streams.protocol(stream) == "tcp"
            else "none",
        }
        for name, stream in streams.of_settings(settings).items()
    ]
    return {
        "version": version,
        "admin_ip": settings["admin_ip"],
        "home": all_views["home"]["domain"],
        "sites": sites,
        "nodes": nodes,
    }


def _stream_names(stream: streams.Stream, home: str) -> list[str]:
    """Where a stream is reached, as people write it."""
    hosts = streams.listed(stream.get("server_name")) or [home]
    kind = " (UDP)" if streams.protocol(stream) == "udp" else ""
    return [f"{host}:{stream['listen']}{kind}" for host in hosts]


def render(context: Mapping[str, Any], loader: jinja2.BaseLoader) -> dict[str, str]:
    """Render the portal's pages.

    context
        ``version``, ``admin_ip``, ``home`` (the portal's own name); ``strings`` and ``icons`` of
        ``pages.yaml``; ``cards`` as :func:`cards` returns them; ``sites``, a list of ``{key, names,
        url, kind, auth}`` with kind ``proxy`` or ``static``, shown in the order given; ``nodes``, a
        list of ``{name, address, cluster, admin, links: [{name, url}]}``, shown by address. ``ca``
        (bool): whether ``/ca.crt`` exists; by default, whether a card links to it.
    loader
        Loads the templates, style and script by name, e.g. ``index.html.j2``.

    Returns the text of ``index.html``, ``zh.html`` and ``404.html``, without empty sections.

    Raises InvalidInput if the context lacks a key or holds a link that is neither a path nor an
    http(s) URL, and for a faulty template.
    """
    missing = sorted(_CONTEXT_KEYS - set(context))
    if missing:
        raise InvalidInput(f"pages: missing in the context: {', '.join(missing)}")
    faults = list(_link_faults(context))
    if faults:
        raise InvalidInput("\n".join(faults))
    environment = templates.make_environment(loader, autoescape=True)
    style, script = (
        _plain(loader.get_source(environment, name)[0]) for name in ("pages.css", "pages.js")
    )
    ca = context.get("ca")
    shared = {
        **{key: context[key] for key in ("version", "admin_ip", "home", "icons")},
        "sites": context["sites"],
        "nodes": sorted(context["nodes"], key=_by_address),
        "ca": any(c["url"] == "/ca.crt" for c in context["cards"]) if ca is None else ca,
        # The formula's own, and named in the policy by their hashes: not escaped.
        "style": markupsafe.Markup(style),  # noqa: S704
        "script": markupsafe.Markup(script),  # noqa: S704
        "csp": _policy(style, script),
        "favicon": _favicon(context["icons"]["portal"]),
    }
    strings = context["strings"]
    pages = {}
    for page, template, language, other in _PAGES:
        try:
            pages[page] = environment.get_template(template).render(
                shared,
                t=strings[language],
                # A copy of the texts that the site has may be older than the states.
                texts=_state_texts(context.get("states", {}).get(language)),
                other=strings[other],
                cards=[_localised(c, language, context["icons"]) for c in context["cards"]],
            )
        except jinja2.TemplateSyntaxError as err:
            raise InvalidInput(f"{err.name}, line {err.lineno}: {err.message}") from err
        except jinja2.TemplateError as err:
            raise InvalidInput(f"{template}: {err}") from err
    return pages


def cards(
    catalogue: Iterable[Mapping[str, Any]],
    enabled: Collection[str],
    services: list[dict[str, Any]] | None = None,
    extra: list[dict[str, Any]] | None = None,
    variables: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Cards of the home page.

    catalogue
        ``cards`` of ``pages.yaml``; a card appears where the ``component`` it names is enabled.
    enabled
        Names of the enabled components.
    services
        ``infra_services``: replaces the catalogue; None: the catalogue. A card that leads to a
        component that is not enabled is left out of both.
    extra
        ``infra_extra_services``: appended.
    variables
        Values of ``${name}`` in URLs, e.g. ``{"repo_name": "pigsty"}``; others stay as they are.

    Returns cards that have all of ``name, url, desc, icon, name_cn, desc_cn``, as strings.

    Raises InvalidInput with every error of :func:`card_problems`.
    """
    faults = [] if services is None else card_problems("infra_services", services)
    faults += card_problems("infra_extra_services", extra or [])
    if faults:
        raise InvalidInput("\n".join(faults))
    chosen: list[Mapping[str, Any]]
    if services is None:
        chosen = [c for c in catalogue if c.get("component") in (None, *enabled)]
    else:
        # Defaults pasted into the pillar: without its component, a card leads nowhere.
        off = {
            c["url"].rstrip("/") for c in catalogue if c.get("component") not in (None, *enabled)
        }
        chosen = [c for c in services if c["url"].rstrip("/") not in off]
    return [_card(c, variables or {}) for c in [*chosen, *(extra or [])]]


def card_problems(path: str, cards: object) -> list[str]:
    """Check cards that come from pillar.

    path
        Key path of the list, for the messages: ``infra_services`` or ``infra_extra_services``.
    cards
        The list.

    Returns one message for each fault, starting with the key path; empty where there is none.
    """
    if not isinstance(cards, (list, tuple)):
        return [problem(path, "a list of cards, each with name and url", cards)]
    errors = []
    for index, card in enumerate(cards):
        here = f"{path}[{index}]"
        if not isinstance(card, Mapping):
            errors.append(problem(here, "a card, a dictionary with name and url", card))
            continue
        for key, value in card.items():
            if key not in CARD_KEYS:
                hint = nearest(key, CARD_KEYS) or f"; known are {', '.join(CARD_KEYS)}"
                errors.append(f"{join(here, key)}: unknown attribute{hint}")
            elif key == "url":
                errors += _url_problems(f"{here}.url", value)
            elif value is not None or key == "name":
                errors += _text_problems(f"{here}.{key}", value, required=key == "name")
        errors += [f"{here}.{key}: missing" for key in ("name", "url") if key not in card]
    return errors


# -- checks --------------------------------------------------------------------------------------


def _text_problems(path: str, value: object, required: bool) -> list[str]:
    if not isinstance(value, str):
        return [problem(path, "a string", value)]
    # Line breaks come with YAML's block texts, and are only spaces on a page.
    if _CONTROL.search(re.sub(r"[\t\n\r]", "", value)):
        return [problem(path, "a string without control characters", value)]
    if required and not value.strip():
        return [problem(path, "a string that is not empty", value)]
    return []


def _url_problems(path: str, value: object) -> list[str]:
    expected = "a path starting with / or an http(s) URL"
    if not isinstance(value, str):
        return [problem(path, expected, value)]
    if _CONTROL.search(value):
        return [problem(path, f"{expected}, without control characters", value)]
    if value.startswith("/"):
        # Browsers take // and /\ for the start of another host.
        return [problem(path, expected, value)] if value[1:2] in ("/", "\\") else []
    if _PLAIN_URL.fullmatch(value):
        return []
    try:
        parts = urlsplit(value)
        good = value.lower().startswith(("http://", "https://")) and bool(parts.hostname)
    except ValueError:
        good = False
    return [] if good else [problem(path, expected, value)]


def _link_faults(context: Mapping[str, Any]) -> Iterable[str]:
    for kind in ("cards", "sites"):
        for index, item in enumerate(context[kind]):
            if item.get("kind") == "stream":  # nothing that a browser opens
                continue
            yield from _url_problems(f"{kind}[{index}].url", item["url"])
    for index, node in enumerate(context["nodes"]):
        for number, link in enumerate(node["links"]):
            yield from _url_problems(f"nodes[{index}].links[{number}].url", link["url"])


# -- context of the templates -------------------------------------------------------------------


def _card(card: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    text = {key: (card.get(key) or "").strip() for key in CARD_KEYS}
    text["url"] = _VARIABLE.sub(lambda m: str(variables.get(m[1], m[0])), text["url"])
    text["name_cn"] = text["name_cn"] or text["name"]
    text["desc_cn"] = text["desc_cn"] or text["desc"]
    return text


def _localised(card: Mapping[str, Any], language: str, icons: Mapping[str, str]) -> dict[str, str]:
    end = "_cn" if language == "zh" else ""
    return {
        "url": card["url"],
        "icon": card["icon"] if card["icon"] in icons else "link",
        "state": card.get("state", ""),
        "name": card[f"name{end}"],
        "desc": card[f"desc{end}"],
    }


def card_state(url: str, settings: Settings) -> str:
    """What a card's state is about, as home_states.py reads it; empty if nothing asks for it."""
    kind, where = portal_cards.target(url, settings)
    if kind == "program":
        return f"tool {where[0]}"
    path = urlsplit(url).path
    return "repo" if kind == "file" and path.strip("/") == settings["repo_name"] else "none"


def _state_texts(texts: Mapping[str, str] | None) -> markupsafe.Markup:
    """The texts of states, as JSON inside of a comment."""
    if not texts:
        return markupsafe.Markup()
    data = json.dumps(texts, ensure_ascii=False)
    for character in "<>&-":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return markupsafe.Markup(data)  # noqa: S704 - nothing in it ends the comment


def _by_address(node: Mapping[str, Any]) -> tuple[int, int, str]:
    """Sort key: addresses by number, IPv4 before IPv6, anything else last."""
    try:
        address = ipaddress.ip_address(node["address"])
    except ValueError:
        return (9, 0, str(node["address"]))
    return (address.version, int(address), str(node["name"]))


def _plain(text: str) -> str:
    """A style or script as it stands between its tags; browsers hash it with line feeds only."""
    return "\n" + text.replace("\r\n", "\n").strip() + "\n"


def _policy(style: str, script: str) -> str:
    """A content security policy that allows the page's own style and script, and no other."""
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _favicon(path: str) -> str:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-3 -3 30 30">'
        '<rect x="-3" y="-3" width="30" height="30" rx="6" fill="#1558b8"/>'
        f'<path d="{markupsafe.escape(path)}" fill="none" stroke="#fff" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    return "data:image/svg+xml," + quote(drawing, safe="")
