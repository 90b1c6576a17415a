"""The portal's own pages: home in English and Chinese, and the page for what is not found.

The pages are Jinja2 templates below ``salt://infra/nginx/files``, with texts, default cards and
icons from ``salt://infra/nginx/pages.yaml``; a copy of any of them in your own file root takes its
place. A page needs nothing but itself: style, script and icons are inside, and its content security
policy allows nothing else.

Every function here is pure: no file, no command, no pillar.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
import markupsafe

from infra_formula.errors import InvalidInput

CARD_KEYS = ("name", "url", "desc", "icon", "name_cn", "desc_cn")
"""What a card may say; ``name`` and ``url`` are required."""

_CONTEXT_KEYS = {"version", "admin_ip", "home", "strings", "icons", "cards", "sites", "nodes"}
_PAGES = (
    ("index.html", "index.html.j2", "en", "zh"),
    ("zh.html", "index.html.j2", "zh", "en"),
    ("404.html", "404.html.j2", "en", "zh"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLAIN_URL = re.compile(r"https?://[a-z0-9.-]*[a-z0-9](?::[0-9]+)?(?:/[!-~]*)?")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SHOWN = 60


def render(context: Mapping[str, Any], load: Callable[[str], str]) -> dict[str, str]:
    """Render the portal's pages.

    For other modules: ``infra_pages.render(context, load)``.

    context
        ``version``, ``admin_ip``, ``home`` (the portal's own name); ``strings`` and ``icons`` of
        ``pages.yaml``; ``cards`` as :func:`cards` returns them; ``sites``, a list of ``{key, names,
        url, kind, auth}`` with kind ``proxy`` or ``static``, shown in the order given; ``nodes``, a
        list of ``{name, address, cluster, admin, links: [{name, url}]}``, shown by address. ``ca``
        tells whether ``/ca.crt`` is there; without it, it is where a card links to it.
    load
        Returns the text of a template by its name, e.g. ``index.html.j2``.

    Returns the text of ``index.html``, ``zh.html`` and ``404.html``; a section that would be empty
    is left out.

    Raises SaltInvocationError where the context lacks a key or holds a link that is neither a path
    nor an http(s) URL, and where a template is at fault.
    """
    missing = sorted(_CONTEXT_KEYS - set(context))
    if missing:
        raise InvalidInput(f"pages: missing in the context: {', '.join(missing)}")
    faults = list(_link_faults(context))
    if faults:
        raise InvalidInput("\n".join(faults))
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _plain(load("pages.css")), _plain(load("pages.js"))
    ca = context.get("ca")
    shared = {
        **{key: context[key] for key in ("version", "admin_ip", "home", "icons")},
        "sites": context["sites"],
        "nodes": sorted(context["nodes"], key=_by_address),
        "ca": any(c["url"] == "/ca.crt" for c in context["cards"]) if ca is None else ca,
        # Ours, and named in the policy by their hashes: put in as they are.
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
        ``infra_services``: takes the place of the catalogue; None keeps it. A card that leads to a
        component that is not enabled does not appear either way.
    extra
        ``infra_extra_services``: appended.
    variables
        Values of ``${name}`` in URLs, e.g. ``{"repo_name": "pigsty"}``; others stay as they are.

    Returns cards that have all of ``name, url, desc, icon, name_cn, desc_cn``, as strings.

    Raises SaltInvocationError with all that :func:`card_problems` finds.
    """
    faults = [] if services is None else card_problems("infra_services", services)
    faults += card_problems("infra_extra_services", extra or [])
    if faults:
        raise InvalidInput("\n".join(faults))
    chosen: list[Mapping[str, Any]]
    if services is None:
        chosen = [c for c in catalogue if c.get("component") in (None, *enabled)]
    else:
        # Defaults pasted into the pillar: a card of what is switched off would lead nowhere.
        off = {
            c["url"].rstrip("/") for c in catalogue if c.get("component") not in (None, *enabled)
        }
        chosen = [c for c in services if c["url"].rstrip("/") not in off]
    known = variables or {}
    return [_card(c, known) for c in [*chosen, *(extra or [])]]


def card_problems(path: str, cards: object) -> list[str]:
    """Check cards that come from pillar.

    path
        Key path of the list, for the messages: ``infra_services`` or ``infra_extra_services``.
    cards
        The list.

    Returns one message for each fault, starting with the key path; empty where there is none.
    """
    if not isinstance(cards, (list, tuple)):
        return [_problem(path, "a list of cards, each with name and url", cards)]
    found = []
    for index, card in enumerate(cards):
        here = f"{path}[{index}]"
        if not isinstance(card, Mapping):
            found.append(_problem(here, "a card, a dictionary with name and url", card))
            continue
        for key, value in card.items():
            if key not in CARD_KEYS:
                found.append(f"{_join(here, key)}: unknown attribute{_nearest(key)}")
            elif key == "url":
                found += _url_problems(f"{here}.url", value)
            elif value is not None or key == "name":
                found += _text_problems(f"{here}.{key}", value, required=key == "name")
        found += [f"{here}.{key}: missing" for key in ("name", "url") if key not in card]
    return found


# -- checks --------------------------------------------------------------------------------------


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _problem(path: str, expected: str, got: object) -> str:
    hint = ""
    if isinstance(got, bool):
        hint = " (YAML reads unquoted on, off, yes and no as booleans; quote them)"
    return f"{path}: expected {expected}, got {_show(got)}{hint}"


def _join(path: str, key: object) -> str:
    if isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return f"{path}.{key}"
    return f"{path}[{_show(key)}]"


def _nearest(key: object) -> str:
    found = difflib.get_close_matches(str(key), CARD_KEYS, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; known are {', '.join(CARD_KEYS)}"


def _text_problems(path: str, value: object, required: bool) -> list[str]:
    if not isinstance(value, str):
        return [_problem(path, "a string", value)]
    # Line breaks come with YAML's block texts, and are only spaces on a page.
    if _CONTROL.search(re.sub(r"[\t\n\r]", "", value)):
        return [_problem(path, "a string without control characters", value)]
    if required and not value.strip():
        return [_problem(path, "a string that is not empty", value)]
    return []


def _url_problems(path: str, value: object) -> list[str]:
    expected = "a path starting with / or an http(s) URL"
    if not isinstance(value, str):
        return [_problem(path, expected, value)]
    if _CONTROL.search(value):
        return [_problem(path, f"{expected}, without control characters", value)]
    if value.startswith("/"):
        # Browsers take // and /\ for the start of another host.
        return [_problem(path, expected, value)] if value[1:2] in ("/", "\\") else []
    if _PLAIN_URL.fullmatch(value):
        return []
    try:
        parts = urlsplit(value)
        good = value.lower().startswith(("http://", "https://")) and bool(parts.hostname)
    except ValueError:
        good = False
    return [] if good else [_problem(path, expected, value)]


def _link_faults(context: Mapping[str, Any]) -> Iterable[str]:
    for kind in ("cards", "sites"):
        for index, item in enumerate(context[kind]):
            yield from _url_problems(f"{kind}[{index}].url", item["url"])
    for index, node in enumerate(context["nodes"]):
        for number, link in enumerate(node["links"]):
            yield from _url_problems(f"nodes[{index}].links[{number}].url", link["url"])


# -- what the templates are given ----------------------------------------------------------------


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
        "name": card[f"name{end}"],
        "desc": card[f"desc{end}"],
    }


def _by_address(node: Mapping[str, Any]) -> tuple[int, int, str]:
    """Numbers sort as numbers, IPv4 before IPv6, and what is no address comes last."""
    try:
        address = ipaddress.ip_address(node["address"])
    except ValueError:
        return (9, 0, str(node["address"]))
    return (address.version, int(address), str(node["name"]))


def _plain(text: str) -> str:
    """A style or script as it stands between its tags; browsers hash it with line feeds only."""
    return "\n" + text.replace("\r\n", "\n").strip() + "\n"


def _policy(style: str, script: str) -> str:
    """A content security policy that allows what is in the page, and nothing from anywhere else."""
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
