"""The home page of a real portal, in a real browser, with each packaging's programs behind it.

Debian's programs are the real ones. Of the vendor's, VictoriaLogs, VictoriaTraces, Vector and
Grafana are stand-ins unless they are given.
"""

import json
import re

import pytest
import vendors
from browser import Browser
from lab import Lab
from waiting import eventually

from .test_portal import ADDRESS, EXAMPLE, SERVED, TOOLS, Portal

PAGES = {"/": "en", "/zh": "zh", "/nothing-is-here": "en"}
HOME = "https://home.pigsty.cc"
ALARM = {"alert": "AlwaysOn", "expr": "vector(1)", "labels": {"severity": "INFO", "level": "2"}}
PARAMETERS = {**EXAMPLE, "vmalert_rules": {"test": [{"name": "test", "rules": [ALARM]}]}}
# Of the vendor's packages, those are stand-ins under release 12.
PLATFORM = {"distro": "debian-13", "upstream": "debian-12"}


@pytest.fixture(scope="module", params=PLATFORM)
def site(request, tmp_path_factory):
    """A portal that a browser in its lab's network reaches, with something behind its entries."""
    packaging = request.param
    name = f"test-browser-{packaging}"
    with Lab.up(name=name, platform=PLATFORM[packaging]) as lab:
        portal = Portal(lab)
        portal.packaging = packaging
        if packaging == "distro":
            portal.start_upstreams(TOOLS)
            portal.machine.set_pillar({"infra": PARAMETERS})
            portal.machine.apply()
            yield _with_sites(portal)
            return
        vendor = vendors.repository(tmp_path_factory.mktemp("vendor"))
        portal.start_upstreams((*TOOLS, "grafana"))
        everything = dict.fromkeys(vendors.NOT_SHIPPED, True)
        parameters = {**PARAMETERS, **vendor.parameters(), **everything}
        portal.machine.set_pillar({"infra": parameters})
        with vendor.served(lab):
            portal.machine.apply()
            yield _with_sites(portal)


def _with_sites(portal):
    for site in ("web.io", "web.cc"):
        portal.machine.write(f"/www/{site}/index.html", "<title>site</title>a site")
    return portal


@pytest.fixture(scope="module")
def browser(site):
    names = [n for e in SERVED.values() for n in [e["domain"], *e.get("domains", [])]]
    resolve = dict.fromkeys(names, ADDRESS)
    # In the lab's network: the way from this host to its addresses may be a demo's.
    with Browser(resolve, insecure=True, within=site.lab.net_command([])) as opened:
        yield opened


@pytest.fixture(scope="module")
def code_of(site):
    """Return a function: what who follows a link gets in the end."""

    def code(url):
        host = url.split("/")[2]
        return site.lab.net(
            ["curl", "--silent", "--insecure", "--location", "--max-time", "20", "--output",
             "/dev/null", "--header", "Accept: text/html", "--write-out", "%{http_code}",
             "--resolve", f"{host}:443:{ADDRESS}", "--resolve", f"{host}:80:{ADDRESS}", url]
        ).stdout  # fmt: skip

    return code


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


def test_every_link_of_every_page_answers(browser, code_of):
    found = set()
    for path in PAGES:
        browser.open(f"{HOME}{path}")
        found.update(link for link in browser.links() if not link.startswith(f"{HOME}{path}#"))
    assert {f"https://{e['domain']}/" for k, e in SERVED.items() if k != "home"} <= found
    assert {url: code_of(url) for url in found} == dict.fromkeys(found, "200")


def test_every_card_leads_to_a_page_that_shows_something(browser, site):
    browser.open(f"{HOME}/")
    script = "return Array.from(document.querySelectorAll('.cards a'), (a) => a.href)"
    cards = browser.run(script)
    paths = {card.removeprefix(HOME) for card in cards}
    assert {"/vmetrics/targets", "/vmalert/vmalert/groups", "/ca.crt"} <= paths
    assert ("/ui/" in paths) is (site.packaging == "upstream")
    for card in set(cards) - {f"{HOME}/ca.crt"}:
        browser.open(card)
        text = browser.text()
        assert text.strip(), card
        assert "not found" not in text, card
        assert "does not include a web" not in text, card


def test_the_cards_are_reported_with_their_codes_and_reasons(site):
    told = site.machine.salt_call("infra_portal.status", "only=[home]")["home"]["cards"]
    rows = {row["url"]: row for row in told}
    assert rows["/vmetrics/targets"] == {
        "card": "Monitor Targets", "url": "/vmetrics/targets", "code": 200, "shown": True,
        "reason": "HTTP 200",
    }  # fmt: skip
    for row in told:
        shown = row["url"] in site.machine.run(["cat", "/www/index.html"]).stdout
        assert row["shown"] is shown
        assert row["reason"]
        assert row["code"] in (200, 302) or not row["shown"]
    stub = rows["/alertmgr/#/alerts"]
    assert (stub["shown"], "without the application" in stub["reason"]) == (False, True)


def test_every_link_of_an_alert_answers(site, code_of):
    ask = ["curl", "-sSf", "http://127.0.0.1:9059/api/v2/alerts"]
    alerts = eventually(lambda: json.loads(site.machine.run(ask).stdout))
    (alarm,) = [a for a in alerts if a["labels"]["alertname"] == "AlwaysOn"]
    assert alarm["generatorURL"].startswith(f"{HOME}/vmalert/")
    assert code_of(alarm["generatorURL"]) == "200"
    # What its message calls "View in Alertmanager".
    assert code_of(f"{HOME}/alertmgr/#/alerts?receiver=default") == "200"
    rules = site.machine.run(["sh", "-c", "cat /infra/rules/*.yml"]).stdout
    boards = set(re.findall(rf"'({HOME}/ui/d/[a-z-]+)", rules))
    assert bool(boards) is (site.packaging == "upstream")
    assert {url: code_of(url) for url in boards} == dict.fromkeys(boards, "200")
    assert rules.count("dashboard:") == rules.count(f"dashboard: '{HOME}/ui/d/")


def test_a_card_survives_that_its_program_is_down_and_a_restart(site):
    machine = site.machine
    machine.run(["systemctl", "stop", "vmetrics"])
    try:
        done = machine.apply("infra.nginx")
        assert done.changes == {}
        assert "/vmetrics/targets" in machine.run(["cat", "/www/index.html"]).stdout
        told = machine.salt_call("infra_portal.status", "only=[home]")["home"]["cards"]
        (row,) = [row for row in told if row["url"] == "/vmetrics/targets"]
        assert (row["shown"], row["code"]) == (True, 502)
        assert "served this page at the last query" in row["reason"]
    finally:
        machine.run(["systemctl", "start", "vmetrics"])
    eventually(
        lambda: machine.run(["curl", "-sf", "http://127.0.0.1:8428/health"], check=False).stdout
    )
    assert machine.apply("infra.nginx", test=True).changes == {}


def test_what_is_switched_off_appears_nowhere(browser, site):
    browser.open(f"{HOME}/")
    links = browser.links()
    off = ["/pev", "/code/", "/jupyter/"]
    off += ["/ui/", "/vlogs/", "/vtraces/"] if site.packaging == "distro" else []
    for prefix in off:
        assert not [link for link in links if f"home.pigsty.cc{prefix}" in link]


def test_the_page_is_readable_without_scripts(browser):
    browser.scripts(False)
    browser.open("https://home.pigsty.cc/")
    assert "wiki.pigsty.cc" in browser.text()
    browser.scripts(True)


def test_the_home_page_shows_what_is_up_by_the_probes_that_run(browser, site):
    machine = site.machine

    def shown():
        """Entry → the words beside it, read without scripts."""
        browser.scripts(False)
        browser.open(f"{HOME}/")
        rows = browser.run(
            "return Array.from(document.querySelectorAll('.sites li'), (row) => ["
            "row.querySelector('.key').innerText, (row.querySelector('.state') || {}).innerText])"
        )
        return dict(rows)

    try:
        assert eventually(lambda: set(shown().values()) == {"Up"}), shown()
        machine.run(["systemctl", "stop", "upstreams"])
        down = {k for k, e in SERVED.items() if "endpoint" in e and k not in TOOLS}
        down -= {"grafana"} if site.packaging == "upstream" else set()
        assert eventually(lambda: {k for k, w in shown().items() if w == "Down"} == down), shown()
        tools = browser.run(
            "return Array.from(document.querySelectorAll('.cards a'), (card) => ["
            "card.getAttribute('href'), card.querySelector('.state').innerText])"
        )
        assert dict(tools)["/vmetrics/targets"] == "Up"
        assert dict(tools)["/ca.crt"] == "Unknown"
        # Nobody fills the states in: none is shown, rather than an old one.
        machine.run(["systemctl", "stop", "infra-home-states"])
        assert set(shown().values()) == {None}
        assert machine.apply("infra.nginx").changes.keys() == {
            "infra-nginx-home-states-running (infra_service.running)"
        }
        assert machine.apply("infra.nginx").changes == {}
    finally:
        browser.scripts(True)
        machine.run(["systemctl", "restart", "infra-home-states"])
        machine.run(["systemctl", "reset-failed", "upstreams"], check=False)
