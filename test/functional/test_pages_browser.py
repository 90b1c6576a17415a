"""The portal's pages in a real headless Chromium: two widths, both schemes, both languages."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "support"))

from browser import Browser  # noqa: E402
from closing import stop  # noqa: E402
from infra_formula import paths  # noqa: E402
from infra_formula.portal import cards as infra_cards  # noqa: E402
from infra_formula.portal import pages as infra_pages  # noqa: E402
from portal_samples import LOADER, settings  # noqa: E402
from victoriametrics import Store  # noqa: E402

DATA = yaml.safe_load((ROOT / "infra/nginx/pages.yaml").read_text(encoding="utf-8"))
PAGES = {"/": "en", "/zh": "zh-CN", "/no/such/page": "en"}
SHOWN = {"/": "Monitor Targets", "/zh": "监控目标", "/no/such/page": "Page not found"}
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
PAPER = {"light": "rgb(244, 246, 249)", "dark": "rgb(14, 19, 27)"}
SITES = 18


def context() -> dict:
    """A portal like the public demo, with what is hardest to lay out: long names, IPv6."""
    names = ["demo", "p", "a", "api", "adm", "cli", "ddl", "lab"]
    names += ["git", "wiki", "noco", "supa", "dify", "odoo", "mm", "en"]
    sites = [
        {
            "key": name,
            "names": [f"{name}.pigsty.cc"],
            "url": f"https://{name}.pigsty.cc/",
            "kind": "static" if name == "en" else "proxy",
            "auth": name in ("adm", "noco"),
        }
        for name in names
    ]
    longest = ".".join(["a" * 63, "b" * 63, "pigsty.cc"])
    sites += [
        {
            "key": "long",
            "names": [longest, f"www.{longest}"],
            "url": f"https://{longest}/",
            "kind": "proxy",
            "auth": True,
        },
        {
            "key": "port",
            "names": ["p2.cc"],
            "url": "http://p2.cc:8080/",
            "kind": "static",
            "auth": False,
        },
    ]
    nodes = [
        ("infra-1", "10.10.10.10"),
        ("pg-test-1", "10.10.10.11"),
        ("n" * 60, "fd12:3456:789a::1"),
    ]
    return {
        "version": "v4.5.0",
        "admin_ip": "10.10.10.10",
        "home": "home.pigsty.cc",
        "strings": DATA["strings"],
        "icons": DATA["icons"],
        "cards": infra_pages.cards(
            DATA["cards"],
            {card["component"] for card in DATA["cards"]},
            None,
            [{"name": "Wiki & <Notes>", "url": "https://wiki.pigsty.cc/?a=1&b=2", "icon": "file"}],
            {"repo_name": "pigsty"},
        ),
        "sites": sites,
        "nodes": [
            {
                "name": name,
                "address": address,
                "cluster": "infra" if name == "infra-1" else "pg-test",
                "admin": name == "infra-1",
                "links": [
                    {"name": "Dashboard", "url": f"/ui/d/node-instance?var-id={address}"},
                    {"name": "HAProxy", "url": f"/haproxy/{name}/"},
                ],
            }
            for name, address in nodes
        ],
    }


class Portal(ThreadingHTTPServer):
    """What nginx serves, in miniature: the pages, and the programs and consoles behind them.

    A link to Grafana, to HAProxy or to another site is answered with 200: none of these runs here.
    """

    def __init__(self, data: dict, programs: dict[str, int]) -> None:
        self.pages = infra_pages.render(data, LOADER)
        linked = [link["url"] for node in data["nodes"] for link in node["links"]]
        self.paths = {urlsplit(url).path for url in linked}
        self.names = {name for site in data["sites"] for name in site["names"]}
        self.programs = programs
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Portal

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = self.headers.get("Host", "").split(":")[0]
        status, kind, text = 200, "text/html; charset=utf-8", "served"
        for prefix, port in self.server.programs.items():
            if path.startswith(prefix) and name not in self.server.names:
                return self.passed(port, "/" + self.path.removeprefix(prefix))
        if path in ("/", "/zh") and name not in self.server.names:
            text = self.server.pages["index.html" if path == "/" else "zh.html"]
        elif name not in self.server.names and path not in self.server.paths:
            status, text = 404, self.server.pages["404.html"]
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def passed(self, port: int, path: str) -> None:
        """Answer as the program on a port does."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Accept": self.headers.get("Accept", "*/*")})
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(data: dict, programs: dict[str, int]) -> Iterator[Portal]:
    with Portal(data, programs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        stop(server)


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    """A home page with all cards that there can be, to be looked at."""
    with served(context(), {}) as server:
        yield server


@pytest.fixture(scope="module")
def real_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A home page with the cards of a real VictoriaMetrics, which it leads to."""
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "STATE_DIR", tmp_path_factory.mktemp("state"))
        port = int(store.url.rpartition(":")[2])
        known = {"vmetrics": {"port": port, "health": "/health"}}
        data = context()
        urls = [card["url"] for card in data["cards"]]
        answers = infra_cards.asked(urls, settings(components=known))
        data["cards"] = [card for card in data["cards"] if answers[card["url"]]["served"]]
    with served(data, {"/vmetrics/": port}) as server:
        yield server
    store.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(params=[(w, s) for w in WIDTHS for s in SCHEMES], ids=lambda p: f"{p[0]}-{p[1]}")
def view(request: pytest.FixtureRequest, chromium: Browser) -> tuple[Browser, str]:
    width, scheme = request.param
    chromium.show(width, 844 if width < 600 else 900, scheme)
    return chromium, scheme


@pytest.fixture(params=list(PAGES), ids=["en", "zh", "404"])
def page(request: pytest.FixtureRequest) -> str:
    return request.param


def test_looks_right_and_asks_nobody(view, page, portal, tmp_path):
    browser, scheme = view
    browser.open(portal.url + page)
    assert SHOWN[page] in browser.text()
    assert browser.lang() == PAGES[page]
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == PAPER[scheme]
    assert browser.overflow() <= 0
    assert browser.low_contrast(4.5) == []
    assert browser.small_targets(24) == []
    # The only fault allowed is Chromium's note that the page for what is missing came with 404.
    expected = [f"{portal.url}{page} - Failed to load resource"] if "such" in page else []
    faults = browser.faults()
    assert len(faults) == len(expected)
    assert all(f.startswith(e) for f, e in zip(faults, expected, strict=True))
    assert browser.requests() == [portal.url + page]
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 5000


def test_every_stop_of_the_tab_key_is_seen(view, page, portal):
    browser, _scheme = view
    browser.open(portal.url + page)
    texts = browser.focusable()
    stops = browser.tab_through()
    assert [s["index"] for s in stops] == list(range(len(texts)))
    assert stops[0]["text"] in ("Skip to content", "跳到正文")
    assert [s["text"] for s in stops if not s["seen"]] == []
    assert [(s["text"], s["ratio"]) for s in stops if s["ratio"] < 3] == []


def test_assistive_technology_is_told_everything(view, page, portal):
    browser, _scheme = view
    browser.open(portal.url + page)
    assert browser.nameless() == []
    told = browser.accessible()
    roles = [n["role"] for n in told]
    assert {"banner", "main", "navigation"} <= set(roles)
    assert roles.count("main") == 1
    assert all(n["name"] for n in told if n["role"] in ("heading", "navigation", "region"))
    levels = browser.run(
        "return Array.from(document.querySelectorAll('h1,h2,h3'), (h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    if page != "/no/such/page":
        # Also where a phone shows the rows as blocks.
        assert roles.count("row") == 4
        assert roles.count("rowheader") == 3
        assert roles.count("cell") == 9
        assert roles.count("columnheader") == 4
        assert {"contentinfo", "table", "list", "searchbox", "region"} <= set(roles)


def test_every_link_answers(chromium, page, real_portal):
    chromium.open(real_portal.url + page)
    links = chromium.links()
    assert len(links) >= (SITES if page != "/no/such/page" else 3)
    for link in links:
        parts = urlsplit(link)
        if parts.fragment and urlsplit(real_portal.url + page).path == parts.path:
            exists = chromium.run("return !!document.getElementById(arguments[0])", parts.fragment)
            assert exists, link
        # Names of other sites are asked of the same server, as they would be of one nginx.
        connection = http.client.HTTPConnection("127.0.0.1", real_portal.server_port, timeout=20)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "Accept": "text/html"}
        connection.request("GET", path, headers=headers)
        status = connection.getresponse().status
        connection.close()
        # On the page for what is missing, the skip link leads to that very address.
        assert status == (404 if parts.path == "/no/such/page" else 200), link


def test_a_card_is_there_for_what_the_program_serves(chromium, real_portal):
    chromium.open(real_portal.url + "/")
    script = "return Array.from(document.querySelectorAll('.cards a'), (a) => a.href)"
    cards = [link.removeprefix(real_portal.url) for link in chromium.run(script)]
    assert "/vmetrics/targets" in cards
    chromium.open(real_portal.url + "/vmetrics/targets")
    assert "targets" in chromium.text().lower()


def test_skip_link_moves_past_the_header(chromium, portal):
    chromium.show()
    chromium.open(portal.url + "/")
    from selenium.webdriver import ActionChains, Keys

    ActionChains(chromium.driver).send_keys(Keys.TAB, Keys.ENTER, Keys.TAB).perform()
    assert chromium.run("return document.activeElement.getAttribute('href')") == "#tools"


def test_language_switch_goes_there_and_back(chromium, portal):
    chromium.show()
    chromium.open(portal.url + "/")
    for language in ("zh-CN", "en"):
        chromium.driver.find_element("css selector", ".language a").click()
        assert chromium.lang() == language


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_complete_without_javascript(chromium, page, portal, width):
    chromium.show(width)
    chromium.scripts(False)
    try:
        chromium.open(portal.url + page)
        text = chromium.text()
        told = chromium.accessible()
        overflow = chromium.overflow()
    finally:
        chromium.scripts(True)
    assert SHOWN[page] in text
    assert overflow <= 0
    # The filter needs JavaScript: without it, it is not offered.
    assert "searchbox" not in [n["role"] for n in told]
    if page != "/no/such/page":
        assert all(name in text for name in ("wiki.pigsty.cc", "10.10.10.11", "Wiki & <Notes>"))
        assert [n["name"] for n in told if n["role"] == "link"].count("HAProxy infra-1") == 1


def test_filter_narrows_the_list_and_says_so(chromium, portal):
    chromium.show()
    chromium.open(portal.url + "/")
    field = chromium.driver.find_element("css selector", "[data-filter=site-list] input")

    def shown() -> list[str]:
        rows = chromium.driver.find_elements("css selector", "#site-list > li")
        return [row.find_element("css selector", "a").text for row in rows if row.is_displayed()]

    assert len(shown()) == SITES
    field.send_keys("WIKI proxy")
    assert shown() == ["wiki.pigsty.cc"]
    told = chromium.accessible()
    assert f"1 / {SITES}" in [n["name"] for n in told if n["role"] == "StaticText"]
    field.clear()
    field.send_keys("no such site")
    assert shown() == []
    assert chromium.faults() == []


def test_a_thousand_sites_and_two_hundred_nodes(chromium, portal):
    data = context()
    row = data["sites"][0]
    data["sites"] = [{**row, "key": f"s{i}", "names": [f"s{i}.pigsty.cc"]} for i in range(1000)]
    data["nodes"] = [
        {**data["nodes"][0], "name": f"n{i}", "address": f"10.0.0.{i}"} for i in range(200)
    ]
    usual = portal.pages
    portal.pages = infra_pages.render(data, LOADER)
    try:
        for width in WIDTHS:
            chromium.show(width)
            chromium.open(portal.url + "/")
            timing = chromium.run(
                "const t = performance.getEntriesByType('navigation')[0];"
                "return t.loadEventEnd - t.responseStart"
            )
            assert timing < 3000
            assert chromium.overflow() <= 0
            assert chromium.faults() == []
            assert (
                chromium.run("return document.querySelectorAll('#site-list > li').length") == 1000
            )
    finally:
        portal.pages = usual
