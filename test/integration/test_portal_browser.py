"""The home page of a real portal, in a real browser."""

import subprocess

import pytest
from browser import Browser

from .test_portal import ADDRESS, SERVED, STATES, Portal

PAGES = {"/": "en", "/zh": "zh", "/nothing-is-here": "en"}


@pytest.fixture(scope="module")
def attached(boot_lab):
    """A portal that this host's browser reaches; the demo's consoles have something behind them."""
    portal = Portal(boot_lab(attach=True))
    portal.start_upstreams()
    portal.machine.apply(STATES)
    for site in ("web.io", "web.cc"):
        portal.machine.write(f"/www/{site}/index.html", "<title>site</title>a site")
    return portal


@pytest.fixture(scope="module")
def browser(attached):
    names = [n for e in SERVED.values() for n in [e["domain"], *e.get("domains", [])]]
    with Browser(resolve=dict.fromkeys(names, ADDRESS), insecure=True) as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_as_people_see_it(browser, path, width, scheme):
    browser.show(width=width, scheme=scheme)
    browser.open(f"https://home.pigsty.cc{path}")
    assert browser.lang().startswith(PAGES[path])
    missing = "nothing-is-here" in path
    assert [f for f in browser.faults() if not (missing and "404" in f)] == []
    assert {r.split("/")[2] for r in browser.requests() if "//" in r} == {"home.pigsty.cc"}
    assert browser.overflow() == 0
    assert browser.low_contrast() == []
    assert browser.nameless() == []


def test_every_link_of_the_home_page_answers(browser):
    found = set()
    for path in ("/", "/zh"):
        browser.open(f"https://home.pigsty.cc{path}")
        found.update(browser.links())
    assert {f"https://{e['domain']}/" for k, e in SERVED.items() if k != "home"} <= found
    for url in sorted(found):
        host = url.split("/")[2]
        done = subprocess.run(
            ["curl", "--silent", "--insecure", "--location", "--max-time", "20", "--output",
             "/dev/null", "--write-out", "%{http_code}", "--resolve", f"{host}:443:{ADDRESS}",
             "--resolve", f"{host}:80:{ADDRESS}", url],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "200", url


def test_what_is_switched_off_appears_nowhere(browser):
    browser.open("https://home.pigsty.cc/")
    links = browser.links()
    for prefix in ("/ui/", "/vlogs/", "/vtraces/", "/pev", "/code/", "/jupyter/"):
        assert not [link for link in links if f"home.pigsty.cc{prefix}" in link]


def test_the_page_is_readable_without_scripts(browser):
    browser.scripts(False)
    browser.open("https://home.pigsty.cc/")
    assert "wiki.pigsty.cc" in browser.text()
    browser.scripts(True)
