"""The portal's pages: what is in them, what is escaped, which cards appear."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from infra_formula.portal import pages as infra_pages
from salt.exceptions import SaltInvocationError

ROOT = Path(__file__).resolve().parents[2]

DATA = yaml.safe_load((ROOT / "infra/nginx/pages.yaml").read_text(encoding="utf-8"))
TEMPLATES = ROOT / "infra/nginx/files"
LOADER = jinja2.FileSystemLoader(TEMPLATES)
SOURCES = {
    path.name: path.read_text(encoding="utf-8")
    for path in TEMPLATES.iterdir()
    if path.name.endswith((".html.j2", ".css", ".js"))
}
COMPONENTS = {card["component"] for card in DATA["cards"]}
VOID = {"meta", "link", "br", "input"}
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;</style>"


def card(**values):
    text = {"desc": "", "icon": "", "name_cn": "", "desc_cn": "", **values}
    return {**text, "name_cn": text["name_cn"] or text["name"]}


def site(name, **values):
    url = f"https://{name}/"
    return {"key": name, "names": [name], "url": url, "kind": "proxy", "auth": False, **values}


def node(name, address, **values):
    return {
        "name": name, "address": address, "cluster": "c", "admin": False, "links": [], **values,
    }  # fmt: skip


def context(**values):
    return {
        "version": "v4.5.0",
        "admin_ip": "10.10.10.10",
        "home": "i.pigsty",
        "strings": DATA["strings"],
        "icons": DATA["icons"],
        "cards": [],
        "sites": [],
        "nodes": [],
        **values,
    }


class Page(HTMLParser):
    """A parsed page: elements with their attributes, text by element, and whether it nests well."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.faults, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        self.faults += [f"not closed: {tag}" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"attribute twice: {tag} {names}")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"closed out of order: {tag}")

    def handle_data(self, data):
        if data.strip() and self.open[-1:] not in (["style"], ["script"]):
            self.texts.append(data.strip())

    def tags(self):
        return [tag for tag, _ in self.elements]

    def shape(self):
        return [(tag, sorted(attrs)) for tag, attrs in self.elements]

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def pages(**values):
    return {k: Page(v) for k, v in infra_pages.render(context(**values), LOADER).items()}


@pytest.fixture(scope="module")
def full():
    return {
        "cards": infra_pages.cards(DATA["cards"], COMPONENTS, None, [], {"repo_name": "pigsty"}),
        "sites": [
            site("wiki.pigsty.cc", names=["wiki.pigsty.cc", "w.pigsty.cc"], auth=True),
            site("repo.pigsty.cc", kind="static"),
        ],
        "nodes": [
            node("pg-1", "10.10.10.11", links=[{"name": "HAProxy", "url": "/haproxy/pg-1/"}]),
            node("infra-1", "10.10.10.9", admin=True),
        ],
    }


# -- data ----------------------------------------------------------------------------------------


def test_both_languages_have_the_same_strings():
    english, chinese = DATA["strings"]["en"], DATA["strings"]["zh"]
    assert english.keys() == chinese.keys()
    assert all(isinstance(v, str) and v for v in [*english.values(), *chinese.values()])


def test_every_string_is_used_and_every_default_card_is_complete():
    for key in DATA["strings"]["en"].keys() - {"proxy", "static", "stream"}:
        assert any(re.search(rf"\b(t|other)\.{key}\b", text) for text in SOURCES.values()), key
    for entry in DATA["cards"]:
        assert entry.keys() == {*infra_pages.CARD_KEYS, "component"}
        assert entry["icon"] in DATA["icons"]


def test_icons_cover_the_keys_that_pigsty_knows():
    known = (
        "metrics logs traces discovery target alert alertmgr database file activity lock package "
        "search code jupyter claude link"
    )
    assert set(known.split()) <= DATA["icons"].keys()
    for key, path in DATA["icons"].items():
        assert re.fullmatch(r"[MmLlHhVvCcSsAaZz0-9 .-]+", path), key


# -- pages ---------------------------------------------------------------------------------------


def test_pages_are_well_formed_and_marked_as_generated(full):
    texts = infra_pages.render(context(**full), LOADER)
    assert list(texts) == ["index.html", "zh.html", "404.html"]
    for name, text in texts.items():
        page = Page(text)
        assert page.faults == [], name
        assert text.startswith("<!doctype html>")
        assert "Managed by Salt (infra formula)" in text[:512]
        assert text.endswith("</html>\n")
        ids = [a["id"] for _, a in page.elements if "id" in a]
        assert len(ids) == len(set(ids))
        for attrs in page.all("a"):
            assert not attrs["href"].startswith("#") or attrs["href"][1:] in ids
        assert page.tags().count("h1") == 1
        assert {"header", "main", "nav"} <= set(page.tags())


def test_languages_and_the_switch_between_them(full):
    found = pages(**full)
    assert found["index.html"].all("html") == [{"lang": "en"}]
    assert found["zh.html"].all("html") == [{"lang": "zh-CN"}]
    assert {"href": "/zh", "lang": "zh-CN", "hreflang": "zh-CN"} in found["index.html"].all("a")
    assert {"href": "/", "lang": "en", "hreflang": "en"} in found["zh.html"].all("a")
    assert {"Monitor Targets", "Sites"} <= set(found["index.html"].texts)
    assert {"监控目标", "站点"} <= set(found["zh.html"].texts)
    assert {"Page not found", "页面不存在"} <= set(found["404.html"].texts)


def test_nothing_is_fetched_and_nothing_runs_inline(full):
    for text in infra_pages.render(context(**full), LOADER).values():
        page = Page(text)
        assert not {"img", "iframe", "object", "embed"} & set(page.tags())
        for tag, attrs in page.elements:
            assert not [a for a in attrs if a.startswith("on") or a in ("src", "style")], tag
        for attrs in page.all("link"):
            assert attrs["rel"] == "alternate" or attrs["href"].startswith("data:")
        assert "url(" not in text
        assert "@import" not in text


def test_policy_names_what_stands_in_the_page():
    many = infra_pages.render(context(sites=[site(f"s{i}.x") for i in range(13)]), LOADER)
    text = many["index.html"]
    policy = Page(text).all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_home_shows_version_admin_node_sites_and_nodes(full):
    text = pages(**full)["index.html"].texts
    assert {"v4.5.0", "10.10.10.10", "i.pigsty", "Also: w.pigsty.cc", "Sign-in required"} <= {*text}
    assert {"static", "proxy", "admin", "HAProxy", "Download ca.crt"} <= {*text}


def test_nodes_are_sorted_by_address_as_numbers():
    addresses = ["10.10.10.100", "fd00::1", "host.name", "10.10.10.9", "10.9.0.1"]
    found = pages(nodes=[node(f"n{i}", a) for i, a in enumerate(addresses)])["index.html"].texts
    assert [t for t in found if t in addresses] == [
        "10.9.0.1", "10.10.10.9", "10.10.10.100", "fd00::1", "host.name",
    ]  # fmt: skip


def test_empty_sections_are_not_shown():
    page = pages()["index.html"]
    assert not {"section", "table", "footer", "script"} & set(page.tags())
    assert "Nothing is published on this portal yet." in page.texts
    page = pages(cards=[card(name="A", url="/a")])["index.html"]
    assert [a["id"] for a in page.all("section")] == ["tools"]
    assert "/ca.crt" not in [a["href"] for a in page.all("a")]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"ca": True}, True),
        ({"ca": False, "cards": [card(name="CA", url="/ca.crt")]}, False),
        ({"cards": [card(name="CA", url="/ca.crt")]}, True),
    ],
)
def test_certificate_hint(values, shown):
    assert ("footer" in pages(**values)["index.html"].tags()) is shown


def test_filter_comes_with_long_lists_only():
    for count, boxes in ((12, 0), (13, 1)):
        page = pages(sites=[site(f"s{i}.x") for i in range(count)])["index.html"]
        assert len([a for a in page.all("div") if "data-filter" in a]) == boxes
        assert len(page.all("script")) == boxes
        assert all("hidden" in a for a in page.all("div") if "data-filter" in a)


def test_a_thousand_sites_and_their_nodes_are_all_there(full):
    sites = [site(f"s{i}.pigsty.cc", auth=True) for i in range(1000)]
    nodes = [node(f"n{i}", f"10.10.{i // 250}.{i % 250}") for i in range(200)]
    page = infra_pages.render(context(**{**full, "sites": sites, "nodes": nodes}), LOADER)
    assert all(f"s{i}.pigsty.cc" in page["index.html"] for i in range(1000))
    assert all(f"10.10.0.{i}" in page["zh.html"] for i in range(200))


def test_rendering_is_repeatable_and_leaves_its_input_alone(full):
    given_context = context(**full)
    before = copy.deepcopy(given_context)
    first = infra_pages.render(given_context, LOADER)
    assert infra_pages.render(given_context, LOADER) == first
    assert given_context == before


def test_missing_context_is_named():
    short = context()
    del short["home"], short["nodes"]
    with pytest.raises(SaltInvocationError, match="missing in the context: home, nodes"):
        infra_pages.render(short, LOADER)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{{ nothing }}", "404.html.j2: 'nothing' is undefined"), ("\n{% if", "404.html.j2, line 2")],
)
def test_fault_in_a_template_is_named(text, message):
    with pytest.raises(SaltInvocationError, match=re.escape(message)):
        infra_pages.render(context(), jinja2.DictLoader({**SOURCES, "404.html.j2": text}))


# -- hostile input -------------------------------------------------------------------------------


def hostile_context(text, url):
    link = {"name": text, "url": url}
    return {
        "version": text,
        "admin_ip": text,
        "home": text,
        "cards": [
            {"name": text, "url": url, "desc": text, "icon": text, "name_cn": text, "desc_cn": text}
        ],
        "sites": [
            {"key": text, "names": [text, text], "url": url, "kind": kind, "auth": True}
            for kind in ("proxy", "static")
        ],
        "nodes": [
            {"name": text, "address": text, "cluster": text, "admin": True, "links": [link, link]}
        ],
        "ca": True,
    }


HARMLESS = {k: Page(v).shape() for k, v in infra_pages.render(
    context(**hostile_context("x", "/x")), LOADER
).items()}  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1) | st.sampled_from(
    [HOSTILE, "</title><script>", "{{ 7 * 7 }}", "{% raw %}", "--><script>", "' onfocus='x", "\0<"]
)


@settings(max_examples=150, deadline=None)
@given(text=TEXT, rest=TEXT, start=st.sampled_from(["/x", "https://a.b/", "HTTP://[::1]:80/"]))
def test_no_text_changes_the_structure_of_a_page(text, rest, start):
    url = start + re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "", rest)
    texts = infra_pages.render(context(**hostile_context(text, url)), LOADER)
    for name, page in texts.items():
        parsed = Page(page)
        assert parsed.faults == []
        # Element for element and attribute for attribute what harmless text gives.
        assert parsed.shape() == HARMLESS[name]
        assert "<script" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
        hrefs = {a["href"] for a in parsed.all("a")}
        assert all(h.lower().startswith(("/", "#", "http://", "https://")) for h in hrefs)


def test_hostile_text_is_shown_as_it_is():
    page = pages(cards=[card(name=HOSTILE, url="/?a=1&b=2")])["index.html"]
    assert HOSTILE in page.texts
    assert {"href": "/?a=1&b=2"} in page.all("a")


BAD_URLS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>",
    "vbscript:x",
    "ftp://host/",
    "//evil.example/",
    "/\\evil.example/",
    "/a\nb",
    "/a\x00",
    "https://",
    "https:/path",
    "http://[::1/",
    "i.pigsty",
    "",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_urls_are_refused_everywhere(url):
    message = infra_pages.card_problems("infra_services", [{"name": "x", "url": url}])
    assert len(message) == 1
    assert message[0].startswith(
        "infra_services[0].url: expected a path starting with / or an http(s) URL"
    )
    link = {"name": "x", "url": url}
    for values, path in (
        ({"cards": [card(name="x", url=url)]}, "cards[0].url"),
        ({"sites": [site("x", url=url)]}, "sites[0].url"),
        ({"nodes": [node("x", "x", links=[link])]}, "nodes[0].links[0].url"),
    ):
        with pytest.raises(SaltInvocationError, match=re.escape(path)):
            infra_pages.render(context(**values), LOADER)


# -- cards ---------------------------------------------------------------------------------------


def urls(found):
    return [c["url"] for c in found]


def test_cards_appear_with_their_component():
    assert infra_pages.cards(DATA["cards"], set()) == []
    found = infra_pages.cards(DATA["cards"], ["vmetrics", "ca"], None, [])
    assert urls(found) == ["/vmetrics/vmui/", "/vmetrics/targets", "/ca.crt"]
    assert all(set(c) == set(infra_pages.CARD_KEYS) for c in found)


def test_default_cards_lead_where_the_reference_says():
    found = infra_pages.cards(DATA["cards"], COMPONENTS, None, [], {"repo_name": "local"})
    assert sorted(urls(found)) == [
        "/alertmgr/#/alerts", "/ca.crt", "/local/", "/pev", "/ui/", "/vlogs/select/vmui/",
        "/vmalert/vmalert/groups", "/vmetrics/targets", "/vmetrics/vmui/", "/vtraces/select/vmui/",
    ]  # fmt: skip


def test_services_replace_and_extra_is_appended():
    mine = [{"name": "Mine", "url": "/mine/"}]
    more = [{"name": "More", "url": "https://more.example/", "name_cn": "更多", "desc": None}]
    assert urls(infra_pages.cards(DATA["cards"], COMPONENTS, mine, more)) == [
        "/mine/", "https://more.example/",
    ]  # fmt: skip
    assert urls(infra_pages.cards(DATA["cards"], {"ca"}, None, more))[0] == "/ca.crt"
    assert infra_pages.cards(DATA["cards"], COMPONENTS, [], None) == []


def test_chinese_falls_back_to_english():
    found = infra_pages.cards([], [], [{"name": "N", "url": "/n", "desc": "D"}], [])
    assert found == [
        {"name": "N", "url": "/n", "desc": "D", "icon": "", "name_cn": "N", "desc_cn": "D"}
    ]


def test_variables_are_filled_into_urls_and_unknown_ones_left():
    extra = [{"name": "${repo_name}", "url": "/${repo_name}/${other}/"}]
    found = infra_pages.cards([], [], None, extra, {"repo_name": "pigsty"})
    assert (found[0]["name"], found[0]["url"]) == ("${repo_name}", "/pigsty/${other}/")


def test_unknown_icon_becomes_the_link_icon():
    page = pages(cards=[card(name="x", url="/x", icon="bogus")])["index.html"]
    assert {"d": DATA["icons"]["link"]} in page.all("path")


def test_cards_refuse_what_card_problems_finds():
    with pytest.raises(SaltInvocationError) as caught:
        infra_pages.cards([], [], [{"name": "x"}], [{"url": "/x"}])
    assert str(caught.value).splitlines() == [
        "infra_services[0].url: missing",
        "infra_extra_services[0].name: missing",
    ]


@pytest.mark.parametrize(
    ("given_cards", "messages"),
    [
        ([], []),
        ([{"name": "x", "url": "/", "icon": "bogus", "desc": "a\nb\n", "name_cn": None}], []),
        ([{"name": "x", "url": "https://[::1]:8443/a b"}, {"name": "y", "url": "HTTPS://h"}], []),
        ("x", ["p: expected a list of cards, each with name and url, got 'x'"]),
        ({"a": 1}, ["p: expected a list of cards, each with name and url, got {'a': 1}"]),
        (["x"], ["p[0]: expected a card, a dictionary with name and url, got 'x'"]),
        (
            [{"name": "x", "url": "/", "nmae_cn": "y"}],
            ["p[0].nmae_cn: unknown attribute; did you mean 'name_cn'?"],
        ),
        (
            [{"name": "x", "url": "/", "zzz": 1}],
            [
                "p[0].zzz: unknown attribute; known are name, url, desc, icon, name_cn, desc_cn",
            ],
        ),
        (
            [{"name": "x", "url": "/", True: "y"}],
            ["p[0][True]: unknown attribute; known are name, url, desc, icon, name_cn, desc_cn"],
        ),
        (
            [{"name": True, "url": "/"}],
            [
                "p[0].name: expected a string, got True (YAML reads unquoted on, off, yes and no "
                "as booleans; quote them)"
            ],
        ),
        ([{"name": " ", "url": "/"}], ["p[0].name: expected a string that is not empty, got ' '"]),
        (
            [{"name": "x", "url": "/", "desc": "\x1b[2J"}],
            ["p[0].desc: expected a string without control characters, got '\\x1b[2J'"],
        ),
        (
            [{"name": None, "url": 5}],
            [
                "p[0].name: expected a string, got None",
                "p[0].url: expected a path starting with / or an http(s) URL, got 5",
            ],
        ),
    ],
)
def test_card_problems(given_cards, messages):
    assert infra_pages.card_problems("p", given_cards) == messages


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.booleans(), inner),
    max_leaves=8,
)
CARDS = JSON | st.lists(
    st.dictionaries(st.sampled_from([*infra_pages.CARD_KEYS, "nmae"]), JSON | st.just("/x"))
)


@settings(max_examples=200, deadline=None)
@given(given_cards=CARDS)
def test_cards_are_either_refused_by_name_or_rendered(given_cards):
    found = infra_pages.card_problems("infra_extra_services", given_cards)
    assert all(re.match(r"infra_extra_services(\[\d+\].*)?: ", m) for m in found)
    if not found:
        chosen = infra_pages.cards([], [], None, given_cards)
        for text in infra_pages.render(context(cards=chosen), LOADER).values():
            text.encode("utf-8")
            assert Page(text).faults == []


def test_templates_are_valid_jinja():
    for name, text in SOURCES.items():
        if name.endswith(".j2"):
            jinja2.Environment(autoescape=True).parse(text, name)
