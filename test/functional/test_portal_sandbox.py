"""A hostile page of a registered machine, in a real Chromium behind a real nginx.

The same page is also put below the portal by the operator's own word (``config``), where it may
do everything: that shows that each attack works where nothing stops it.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from browser import Browser
from closing import stop
from nginx_server import Server
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By

CONSOLE = "/haproxy/node-1/"
OWN = "/own/"
SECRET = "session=of-the-portal"  # noqa: S105
PAGE = """<!doctype html><title>a page</title>
<h1>Statistics Report</h1><style>h1 { color: rgb(1, 2, 3) }</style>
<meta http-equiv="refresh" content="1; url=/tool/refresh">
<img src="/vmetrics/image"><img src="/vmetrics/onerror" onerror="document.title = 'ran'">
<iframe src="/vmetrics/frame"></iframe><object data="/vmetrics/object"></object>
<link rel="stylesheet" href="/vmetrics/style.css"><script src="attack.js"></script>
<iframe srcdoc="<script>parent.document.title = 'ran'</script>"></iframe>
<form id="self" method="post"><button name="s" value="one">Apply</button></form>
<form id="tool" method="post" action="/vmetrics/form"><button name="x">Apply</button></form>
<form id="away" method="post" action="http://localhost:%d/away"><button name="x">x</button></form>
<a href="javascript:document.title = 'ran'">Apply</a>
<script>document.title = 'ran'</script>
"""
ATTACK = """
document.title = 'ran'
fetch('/vmetrics/fetch', { credentials: 'include' })
navigator.serviceWorker.register('worker.js', { scope: '/' })
document.cookie = 'planted=1; path=/'
"""
HEADERS = {
    "Set-Cookie": "planted_by_header=1; Path=/",
    "Service-Worker-Allowed": "/",
    "Refresh": "1; url=/vmetrics/refresh-header",
    "Link": "</vmetrics/preload>; rel=preload; as=fetch",
    "Access-Control-Allow-Origin": "*",
    "Content-Security-Policy": "default-src *",
}
# Chromium's own requests for a page take a moment; nothing is proven by not waiting for them.
QUIET = 2.5


class Machine(ThreadingHTTPServer):
    """Serves the hostile page, or plain text; keeps what it was asked for."""

    daemon_threads = True

    def __init__(self, hostile: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hostile, self.seen = hostile, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Machine

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.seen.append((self.command, path, dict(self.headers)))
        kind, text = "text/plain", "a tool"
        if self.server.hostile:
            js = path.endswith(".js")
            kind = "text/javascript" if js else "text/html"
            text = ATTACK if path.endswith("attack.js") else "" if js else PAGE % self.server.away
        self.send_response(200)
        for name, value in HEADERS.items() if self.server.hostile else ():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""


@pytest.fixture(scope="module")
def tool():
    with Machine(hostile=False) as server:
        yield server
        stop(server)


@pytest.fixture(scope="module")
def machine(tool):
    with Machine(hostile=True) as server:
        server.away = tool.server_port
        yield server
        stop(server)


@pytest.fixture(scope="module")
def portal(tmp_path_factory, machine, tool):
    there = f"http://127.0.0.1:{machine.server_port}"
    server = Server(
        tmp_path_factory.mktemp("nginx"),
        {"home": {"config": f"location {OWN} {{\n    proxy_pass {there};\n}}"}},
        components={"vmetrics": {"port": tool.server_port}},
        haproxy={"node-1": f"127.0.0.1:{machine.server_port}"},
    )
    (server.home / "index.html").write_text("<!doctype html><title>home</title>home")
    yield server
    server.close()


@pytest.fixture
def browser(portal, machine, tool):
    """A visitor of the portal, with a cookie of it; plain HTTP to this machine counts as secure."""
    machine.seen.clear()
    tool.seen.clear()
    with Browser() as opened:
        opened.open(url(portal, "/"))
        opened.run(f"document.cookie = '{SECRET}; path=/'")
        yield opened


def url(portal, path):
    return f"http://127.0.0.1:{portal.port}{path}"


def asked(server):
    return [path for _, path, _ in server.seen]


def visit(browser, portal, path):
    browser.open(url(portal, path))
    deadline = time.monotonic() + QUIET
    while time.monotonic() < deadline:
        time.sleep(0.1)


WORKERS = """
const done = arguments[0];
navigator.serviceWorker.getRegistrations().then((all) => done(all.map((one) => one.scope)));
"""
TRY = """
const [path, done] = arguments;
const outcome = { read: '' };
const tries = [
  navigator.serviceWorker.register(path + 'worker.js').then(() => { outcome.worker = true }),
  import(path + 'module.js').then(() => { outcome.module = true }),
  fetch(path, { credentials: 'include' }).then((got) => { outcome.fetched = got.ok }),
  new Promise((told) => {
    const script = document.createElement('script');
    script.src = path + 'attack.js';
    script.onload = () => { outcome.script = true; told() };
    script.onerror = told;
    document.head.append(script);
  }),
];
Promise.allSettled(tries).then(() => done(outcome));
"""


def test_where_nothing_stops_it_the_page_takes_the_portal_over(browser, portal, machine, tool):
    """The test of the tests below."""
    visit(browser, portal, OWN)
    deadline = time.monotonic() + 20
    while "/fetch" not in asked(tool) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {"/fetch", "/image", "/frame", "/style.css"} <= set(asked(tool))
    assert any(SECRET in headers.get("Cookie", "") for _, _, headers in machine.seen)
    browser.open(url(portal, "/"))
    assert "planted=1" in browser.run("return document.cookie")
    assert browser.driver.execute_async_script(WORKERS) == [url(portal, "/")]
    outcome = browser.driver.execute_async_script(TRY, OWN)
    assert outcome == {"read": "", "worker": True, "module": True, "fetched": True, "script": True}


def test_a_machines_page_is_shown_and_can_do_nothing(browser, portal, machine, tool):
    visit(browser, portal, CONSOLE)
    assert browser.run("return location.href") == url(portal, CONSOLE)
    assert "Statistics Report" in browser.text()
    colour = "return getComputedStyle(document.querySelector('h1')).color"
    assert browser.run(colour) == "rgb(1, 2, 3)"
    assert browser.run("return document.title") == "a page"
    browser.driver.find_element(By.LINK_TEXT, "Apply").click()
    assert browser.run("return document.title") == "a page"
    assert tool.seen == []
    assert asked(machine) == [CONSOLE]
    assert "Cookie" not in machine.seen[0][2]
    with pytest.raises(WebDriverException, match=r"cookie|sandbox|Security"):
        browser.run("return document.cookie")
    assert browser.run("return self.origin") == "null"
    browser.open(url(portal, "/"))
    assert browser.run("return document.cookie") == SECRET
    assert browser.driver.execute_async_script(WORKERS) == []


def test_the_forms_of_a_machines_page_reach_that_machine_only(browser, portal, machine, tool):
    for form, arrives in (("tool", False), ("away", False), ("self", True)):
        visit(browser, portal, CONSOLE)
        machine.seen.clear()
        browser.driver.find_element(By.CSS_SELECTOR, f"#{form} button").click()
        deadline = time.monotonic() + (20 if arrives else QUIET)
        while time.monotonic() < deadline and not machine.seen:
            time.sleep(0.1)
        assert [(method, path) for method, path, _ in machine.seen] == [("POST", CONSOLE)] * arrives
        assert tool.seen == []


def test_the_portals_own_pages_cannot_take_a_script_from_a_machine(browser, portal, machine):
    outcome = browser.driver.execute_async_script(TRY, CONSOLE)
    assert {name: value for name, value in outcome.items() if value} == {}
    assert machine.seen == []
    assert browser.driver.execute_async_script(WORKERS) == []
    browser.run(
        f"const frame = document.createElement('iframe'); frame.src = '{CONSOLE}';"
        "document.body.append(frame)"
    )
    time.sleep(QUIET)
    assert machine.seen == []
