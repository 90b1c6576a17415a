"""Which cards of the home page are shown: what the programs answer, and what is known of them."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import yaml
from closing import stop
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from infra_formula import paths
from infra_formula.minion import Minion
from infra_formula.portal import cards as infra_cards
from infra_formula.portal import pages as portal_pages
from portal_samples import settings

from _states import infra_portal as state

ROOT = Path(__file__).resolve().parents[2]
PAGES = yaml.safe_load((ROOT / "infra/nginx/pages.yaml").read_text(encoding="utf-8"))
HTML = "text/html; charset=utf-8"
APP = '<!doctype html><script>1</script><script type="module" src="./app.js"></script>'
STUB = "<!DOCTYPE html><title>Alertmanager</title><p>does not include a web application"


class Program(ThreadingHTTPServer):
    """A program whose answers a test sets: path → (status, type, body, Location)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers = {"/health": (200, "text/plain", "OK", "")}
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_port


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers["Accept"]))
        status, kind, body, location = self.server.answers.get(
            self.path, (404, "text/plain", "404 page not found", "")
        )
        data = body.encode("utf-8", "replace")
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with Program() as program:
        yield program
        stop(program)


@pytest.fixture
def program(server, tmp_path, monkeypatch):
    server.answers = {"/health": (200, "text/plain", "OK", "")}
    server.seen.clear()
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    return server


def given_settings(port, tmp_path=Path("/nowhere"), **components):
    known = {"vmetrics": {"port": port, "health": "/health"},
             "alertmanager": {"port": port, "health": "/health"},
             "vmalert": {"port": port, "health": "/health"}, **components}  # fmt: skip
    return settings(components=known, nginx_home=str(tmp_path), repo_home=str(tmp_path))


def asked(program, url, **components):
    return infra_cards.asked([url], given_settings(program.port, **components))[url]


def record(answers):
    path = infra_cards.record_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"asked": answers, "cards": [], "alerts_page": ""}), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("url", "answers", "served", "said"),
    [
        ("/vmetrics/vmui/", {}, False, "HTTP 404"),
        ("/vmetrics/vmui/", {"/vmui/": (400, "text/plain", "", "")}, False, "HTTP 400"),
        ("/vmetrics/vmui/", {"/vmui/": (200, HTML, APP, ""), "/vmui/app.js": (200, "", "", "")},
         True, "HTTP 200"),
        ("/vmetrics/vmui/", {"/vmui/": (200, HTML, APP, "")}, False, "script /vmui/app.js"),
        ("/vmetrics/vmui/", {"/vmui/": (200, HTML, APP, ""), "/vmui/app.js": (503, "", "", "")},
         None, "HTTP 503"),
        ("/vmetrics/vmui/", {"/vmui/": (200, HTML, "<script>run()</script>", "")}, True, "200"),
        ("/vmetrics/vmui/", {"/vmui/": (200, HTML, "<title>vmui</title>", "")}, False, "without"),
        ("/vmetrics/vmui/", {"/vmui/": (200, "text/plain", "x", "")}, False, "no page"),
        ("/vmetrics/vmui/", {"/vmui/": (200, "", "x", "")}, False, "without a type"),
        ("/vmetrics/vmui/", {"/vmui/": (302, "", "", "/x/"), "/x/": (200, HTML, APP, ""),
                             "/x/app.js": (200, "", "", "")}, True, "HTTP 200"),
        ("/vmetrics/vmui/", {"/vmui/": (302, "", "", "https://elsewhere/")}, False, "leads away"),
        ("/vmetrics/vmui/", {"/vmui/": (302, "", "", "//[")}, False, "no URL"),
        ("/vmetrics/vmui/", {"/vmui/": (302, "", "", "/vmui/")}, False, "HTTP 302"),
        ("/vmetrics/vmui", {"/vmui": (301, "", "", "vmui/?"), "/vmui/": (200, HTML, "<script>", "")
                            }, True, "HTTP 200"),
        ("/vmetrics/vmui/", {"/vmui/": (401, "text/plain", "", "")}, True, "login"),
        ("/vmetrics/vmui/", {"/vmui/": (403, "text/plain", "", "")}, False, "HTTP 403"),
        ("/vmetrics/vmui/", {"/vmui/": (500, "text/plain", "", "")}, None, "HTTP 500"),
        ("/vmetrics/vmui/", {"/vmui/": (429, "text/plain", "", "")}, None, "HTTP 429"),
        ("/vmetrics/vmui/", {"/health": (503, "", "", "")}, None, "not healthy"),
        ("/vmetrics/targets", {"/targets": (200, HTML, "<p>up", "")}, True, "HTTP 200"),
        ("/vmetrics", {"/": (200, HTML, "<p>up", "")}, True, "HTTP 200"),
        ("/vmetrics/a?b=1#c", {"/a?b=1": (200, HTML, "<p>up", "")}, True, "HTTP 200"),
        ("/alertmgr/#/alerts", {"/": (200, HTML, STUB, "")}, False, "without the application"),
        ("/vlogs/select/vmui/", {}, False, "vlogs is switched off"),
        ("/wiki/", {}, True, "site's own"),
        ("https://wiki.pigsty/", {}, True, "site's own"),
        ("/ca.crt", {}, False, "does not exist"),
        ("/pigsty/", {}, False, "does not exist"),
        ("/vmetrics/ü ", {}, False, "HTTP 404"),
    ],
)  # fmt: skip
def test_a_page_is_told_from_its_absence_and_from_silence(program, url, answers, served, said):
    program.answers.update(answers)
    told = asked(program, url)
    assert told["served"] is served, told
    assert said in told["reason"]


def test_programs_are_asked_as_a_browser_asks(program):
    program.answers["/targets"] = (200, HTML, "", "")
    asked(program, "/vmetrics/targets")
    assert ("/targets", "text/html") in program.seen


def test_files_that_nginx_serves_are_looked_for_on_disk(program, tmp_path):
    for name in ("ca.crt", "pigsty/x.deb", "pev.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    urls = ["/ca.crt", "/pigsty/", "/pev"]
    told = infra_cards.asked(urls, given_settings(program.port, tmp_path))
    assert [told[url]["served"] for url in urls] == [True] * 3


@pytest.mark.parametrize("last", [True, False])
def test_a_program_that_is_down_keeps_what_it_last_served(program, last):
    record({"/vmetrics/vmui/": {"served": last, "code": 200, "reason": "HTTP 200"}})
    told = asked(program, "/vmetrics/vmui/", vmetrics={"port": 1, "health": "/health"})
    assert told["served"] is last
    assert "at the last query" in told["reason"]
    program.answers["/health"] = (503, "", "", "")
    assert asked(program, "/vmetrics/vmui/")["served"] is last


def test_a_healthy_program_overrules_what_was_recorded(program):
    record({"/vmetrics/vmui/": {"served": True, "code": 200, "reason": "HTTP 200"}})
    assert asked(program, "/vmetrics/vmui/")["served"] is False


def test_a_program_that_was_never_asked_has_no_page_yet(program):
    down = {"port": 1, "health": "/health"}
    assert asked(program, "/vmetrics/vmui/", vmetrics=down)["served"] is None


@pytest.mark.parametrize(
    "damage", [b"", b"[1]", b"3", b"\xff\xfe", b'{"asked": 1, "cards": []}', b'{"asked": {"a": 1}}']
)
def test_a_damaged_record_is_an_empty_one(program, damage):
    path = infra_cards.record_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damage)
    assert infra_cards.recorded() == {"asked": {}, "cards": [], "alerts_page": ""}
    assert asked(program, "/vmetrics/vmui/")["served"] is False


@pytest.mark.parametrize(
    ("answers", "page"),
    [
        ({"/": (200, HTML, STUB, ""), "/vmalert/alerts": (200, HTML, "x", "")}, True),
        ({"/": (200, HTML, STUB, "")}, False),
        ({"/": (200, HTML, "<script>", ""), "/vmalert/alerts": (200, HTML, "x", "")}, False),
        ({"/health": (503, "", "", "")}, False),
    ],
)
def test_alerts_lead_to_vmalert_where_alertmanager_is_known_to_have_no_page(program, answers, page):
    program.answers.update(answers)
    told = infra_cards.alerts_page(given_settings(program.port))
    assert told == (infra_cards.ALERTS_PAGE if page else "")


def test_alerts_still_lead_to_vmalert_while_both_are_down(program):
    program.answers.update({"/": (200, HTML, STUB, ""), "/vmalert/alerts": (200, HTML, "x", "")})
    found = infra_cards.record([], given_settings(program.port))
    record(found["asked"])
    down = {"port": 1, "health": "/health"}
    given = given_settings(program.port, alertmanager=down, vmalert=down)
    assert infra_cards.alerts_page(given) == infra_cards.ALERTS_PAGE


def test_an_alertmanager_that_is_switched_off_has_no_page_to_stand_in_for(program):
    given = settings(components={"vmalert": {"port": program.port, "health": "/health"}})
    assert infra_cards.alerts_page(given) == ""
    assert program.seen == []
    assert list(infra_cards.record([], given)["asked"]) == [infra_cards.ALERTS_PAGE]


@bounds(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    status=st.integers(200, 599),
    kind=st.sampled_from(["", HTML, "text/plain", "TEXT/HTML"]),
    body=st.text(max_size=200) | st.sampled_from([APP, STUB, "<script src=//[>", "<script src=>"]),
    location=st.sampled_from(["", "/", "x", "//[", "https://a/", "?", "/vmui/", "/\xfc"]),
    url=st.sampled_from(["/vmetrics/vmui/", "/vmetrics/targets", "/alertmgr/#/alerts"]),
)
def test_no_answer_of_a_program_fails_the_rest(program, status, kind, body, location, url):
    wanted = status if status not in (204, 205, 304) else 404  # these have no body
    program.answers[infra_cards.target(url, given_settings(1))[1][1]] = (
        wanted,
        kind,
        body,
        location,
    )
    told = asked(program, url)
    assert told["served"] in (True, False, None)
    if told["served"]:
        assert wanted == 401 or told["code"] == 200
    if wanted in (404, 400, 403):
        assert told["served"] is False


@given(st.text(max_size=60))
def test_any_link_has_one_target(link):
    kind, there = infra_cards.target("/" + link.lstrip("/\\"), given_settings(1))
    assert kind in ("program", "off", "file", "site")
    assert (there is None) == (kind == "site")


def test_the_programs_are_where_the_portal_has_them():
    template = (ROOT / "infra/nginx/files/home.conf.j2").read_text(encoding="utf-8")
    there = dict(re.findall(r"\('(\w+)', '(/\w+/)'\)", template))
    # The page of a cluster is in the place of VictoriaMetrics'.
    assert there.pop("vmselect") == infra_cards.TOOLS["vmetrics"][0]
    assert there == {k: v[0] for k, v in infra_cards.TOOLS.items() if k != "grafana"}
    assert "tool('/ui/'" in template
    known = {card["component"] for card in PAGES["cards"]} - {"ca", "repo", "pev"}
    assert known <= set(infra_cards.TOOLS)


def rendered(program, services=None, extra=()):
    given = given_settings(program.port)
    minion = Minion(
        {"cp.get_file_str": lambda url: (ROOT / url.removeprefix("salt://")).read_text("utf-8")}
    )
    files, found = portal_pages.files(minion, {}, given, [], "v1", services, list(extra))
    return [files[name]["text"] for name in ("index.html", "zh.html", "404.html")], found


def test_a_home_page_links_to_nothing_that_its_programs_do_not_serve(program):
    program.answers["/targets"] = (200, HTML, "x", "")
    program.answers["/"] = (200, HTML, STUB, "")
    texts, found = rendered(program)
    assert [card["url"] for card in found["cards"]] == [
        "/vmetrics/vmui/", "/vmetrics/targets", "/vmalert/vmalert/groups", "/alertmgr/#/alerts"
    ]  # fmt: skip
    for text in texts:
        links = set(re.findall(r'href="(/[^"#]+)', text))
        assert links <= {"/vmetrics/targets", "/zh", "/ca.crt"}
    assert "/vmetrics/targets" in texts[0]


def test_where_alerts_lead_is_recorded_even_if_no_page_changes(program, tmp_path, monkeypatch):
    program.answers.update({"/": (200, HTML, STUB, ""), "/vmalert/alerts": (200, HTML, "x", "")})
    given = given_settings(program.port) | {"nginx_group": "root"}
    asked_again = create_autospec(
        portal_pages.files, side_effect=lambda *_: ({}, infra_cards.record([], given))
    )
    monkeypatch.setattr(portal_pages, "files", asked_again)
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    for name in ("__salt__", "__grains__", "__context__"):
        monkeypatch.setattr(state, name, {}, raising=False)

    def apply(test=False):
        monkeypatch.setattr(state, "__opts__", {"test": test}, raising=False)
        told = state.pages("x", {}, given, "v1")
        return told["result"], told["changes"], infra_cards.recorded()["alerts_page"]

    assert apply(test=True) == (True, {}, "")
    assert apply() == (True, {}, infra_cards.ALERTS_PAGE)
    program.answers["/health"] = (503, "", "", "")
    assert apply() == (True, {}, infra_cards.ALERTS_PAGE)  # no answer: the last one counts


def test_cards_that_the_site_gives_are_asked_for_as_well(program):
    program.answers["/"] = (200, HTML, STUB, "")
    cards = [{"name": n, "url": u} for n, u in (("A", "/vmetrics/vmui/#/x"), ("B", "/docs/"))]
    texts, found = rendered(program, cards, [{"name": "C", "url": "/vmalert/api/"}])
    assert [found["asked"][c["url"]]["served"] for c in found["cards"]] == [False, True, False]
    assert re.findall(r'<li><a href="([^"]+)">', texts[0]) == ["/docs/"]
