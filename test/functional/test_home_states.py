"""States on the home page: a real VictoriaMetrics and nginx, and what fills the states in."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "support"))

import closing  # noqa: E402
from browser import Browser  # noqa: E402
from infra_formula.portal import pages  # noqa: E402
from nginx_server import Server  # noqa: E402
from portal_samples import LOADER, settings  # noqa: E402
from victoriametrics import Store  # noqa: E402

PROGRAM = ROOT / "infra/nginx/files/home_states.py"
DATA = yaml.safe_load((ROOT / "infra/nginx/pages.yaml").read_text(encoding="utf-8"))
ADDRESS = "10.10.10.10"
ENTRIES = {
    "home": {"domain": "i.pigsty"},
    "wiki": {"domain": "wiki.pigsty", "domains": ["w.pigsty"], "endpoint": "10.0.0.1:80"},
    "broken": {"domain": "broken.pigsty", "endpoint": "10.0.0.2:80"},
    "closed": {"domain": "closed.pigsty", "endpoint": "10.0.0.3:80", "auth": True},
    "new": {"domain": "new.pigsty", "endpoint": "10.0.0.4:80"},
    "old": {"domain": "old.pigsty", "endpoint": "10.0.0.5:80"},
}
STREAMS = {
    "pg": {"listen": 5433, "endpoint": "10.0.0.6:5432"},
    "log": {"listen": 5514, "endpoint": "10.0.0.7:514", "protocol": "udp"},
}
COMPONENTS = {"vmetrics": {"port": 8428, "health": "/health"}, "vlogs": {"port": 9428}}
WORDS = {
    "/": {"up": "Up", "down": "Down", "stale": "Stale", "unknown": "Unknown"},
    "/zh": {"up": "正常", "down": "故障", "stale": "过期", "unknown": "未知"},
}
SHOWN = {
    "wiki": "up", "broken": "down", "closed": "down", "new": "unknown", "old": "stale",
    "pg": "up", "log": "unknown",
}  # fmt: skip


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("home_states", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


home_states = program()


def rendered() -> dict[str, str]:
    """The pages of a portal as the state writes them, with all cards of two programs."""
    given = settings(components=COMPONENTS, infra_streams=STREAMS, nginx_sslmode="disable")
    context = pages.portal_context(ENTRIES, given, [], "v1")
    context["strings"], context["icons"] = DATA["strings"], DATA["icons"]
    context["states"] = DATA["states"]
    wanted = pages.cards(DATA["cards"], {*COMPONENTS, "repo", "ca"}, None, [], {"repo_name": "p"})
    context["cards"] = [
        {**card, "state": pages.card_state(card["url"], given | {"repo_name": "p"})}
        for card in wanted
    ]
    return pages.render(context, LOADER)


def probe(name: str, value: int, seconds: float, job: str = "probe", **labels: str) -> dict:
    """A series with one result, which is some seconds old."""
    metric = {"__name__": name, "job": job, "ip": ADDRESS, **labels}
    return {
        "metric": metric,
        "values": [value],
        "timestamps": [int((time.time() - seconds) * 1000)],
    }


def of_site(entry: str, hostname: str, value: int, seconds: float = 1) -> dict:
    return probe("probe_success", value, seconds, cls="portal", entry=entry, hostname=hostname)


def results() -> list[dict]:
    backend = {"cls": "portal", "entry": "closed", "backend": "10.0.0.3:80"}
    return [
        of_site("wiki", "wiki.pigsty", 1),
        of_site("wiki", "w.pigsty", 1),
        # A name that was taken off the entry says nothing about it.
        of_site("wiki", "gone.pigsty", 0),
        of_site("broken", "broken.pigsty", 0),
        # nginx asks for a login, and nobody is behind it.
        of_site("closed", "closed.pigsty", 1),
        probe("probe_success", 0, 1, **backend),
        of_site("old", "old.pigsty", 1, 600),
        # Another INFRA node's own portal.
        of_site("new", "new.pigsty", 0) | {
            "metric": {"__name__": "probe_success", "job": "probe", "ip": "10.10.10.11",
                       "entry": "new", "hostname": "new.pigsty"}
        },
        probe("probe_success", 1, 1, entry="pg", cls="portal", instance="10.10.10.10:5433"),
        probe("probe_success", 1, 1, cls="repo"),
        # Each probe was run, whatever came of it.
        probe("up", 1, 1, cls="portal", entry="wiki", hostname="wiki.pigsty"),
        probe("up", 1, 1, cls="portal", entry="broken", hostname="broken.pigsty"),
        probe("up", 1, 1, job="infra", cls="vmetrics"),
        probe("up", 0, 1, job="infra", cls="vlogs"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    started = Store(tmp_path_factory.mktemp("store"))
    started.put(results())
    yield started
    started.stop()


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The home page of a real nginx, once open and once behind a login."""
    root = tmp_path_factory.mktemp("nginx")
    server = Server(root, {"home": ENTRIES["home"]})
    write_pages(server)
    yield server
    server.close()


def write_pages(server: Server) -> Path:
    for name, text in rendered().items():
        (server.home / name).write_text(text, encoding="utf-8")
    output = server.home / ".states"
    output.mkdir(exist_ok=True)
    return output


def fill(server: Server, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the program for one round, without the rights of the formula's unit."""
    return subprocess.run(
        [sys.executable, "-I", PROGRAM, f"--url={url}", f"--address={ADDRESS}",
         f"--pages={server.home}", f"--output={server.home}/.states", "--rounds=1", *more],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def filled(portal: Server, store: Store) -> Server:
    done = fill(portal, store.url)
    assert done.returncode == 0, done.stderr
    return portal


def states(page: str) -> dict[str, str]:
    """Site → class of the state beside it, and tools by their card's link."""
    found = {}
    for row in page.split("<li>")[1:]:
        key = row.partition('<span class="key">')[2].partition("<")[0]
        key = key or row.partition('href="')[2].partition('"')[0]
        state = row.partition('<span class="state ')[2].partition('"')[0]
        if not key.startswith("#"):
            found[key] = state
    return found


def test_each_site_and_tool_has_the_state_of_its_last_result(filled: Server) -> None:
    status, headers, page = filled.get("i.pigsty", tls=False)
    shown = states(page)
    assert status == 200
    assert {key: shown[key] for key in SHOWN} == SHOWN
    assert shown["/vmetrics/vmui/"] == shown["/vmetrics/targets"] == "up"
    assert shown["/vlogs/select/vmui/"] == "down"
    assert shown["/p/"] == "up"
    assert shown["/ca.crt"] == "unknown"
    assert headers["cache-control"] == "no-cache"
    assert "<!--state " not in page


def test_a_stale_state_says_its_age(filled: Server) -> None:
    page = filled.get("i.pigsty", tls=False)[2]
    chinese = filled.get("i.pigsty", "/zh", tls=False)[2]
    assert "Stale: up 10 min ago" in page
    assert "过期: 正常 10 分钟前" in chinese


def test_no_visitor_reaches_the_copies_by_their_own_path(filled: Server) -> None:
    for path in (
        "/.states/index.html",
        "/.states/",
        "/%2estates/index.html",
        "/x/../.states/zh.html",
    ):
        assert filled.get("i.pigsty", path, tls=False)[0] == 404


def test_a_login_of_the_portal_covers_the_states(store: Store, tmp_path: Path) -> None:
    closed = Server(tmp_path, {"home": ENTRIES["home"]}, portal_auth="basic")
    try:
        write_pages(closed)
        assert fill(closed, store.url).returncode == 0
        for path in ("/", "/zh", "/.states/index.html", "/index.html", "/zh.html"):
            status, _headers, body = closed.get("i.pigsty", path)
            assert status in (401, 404), path
            assert 'class="state' not in body
        import base64

        from nginx_server import PASSWORD

        login = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
        status, _headers, body = closed.get("i.pigsty", Authorization=f"Basic {login}")
        assert (status, states(body)["broken"]) == (200, "down")
        assert closed.get("i.pigsty", tls=False)[0] == 301
    finally:
        closed.close()


def test_what_nobody_answers_is_unknown(portal: Server, store: Store) -> None:
    try:
        done = fill(portal, f"http://127.0.0.1:{free_port()}")
        page = portal.get("i.pigsty", tls=False)[2]
        assert done.returncode == 0
        assert "does not answer" in done.stdout
        assert set(states(page).values()) == {"unknown"}
    finally:
        fill(portal, store.url)


def test_a_store_that_ends_leaves_states_that_grow_old(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name, text in rendered().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    store = Store(tmp_path)
    store.put(results())
    writer = home_states.Writer(tmp_path, tmp_path / "out", 60.0)
    rounds = home_states.rounds(home_states.Store(store.url, ADDRESS), writer, 60.0)
    assert next(rounds) == ""
    store.stop()
    assert next(rounds)
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert states(page)["broken"] == "down"
    known = rounds.gi_frame.f_locals["results"]
    writer.write(known, time.time() + 900)
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert states(page)["broken"] == "stale"
    assert "Stale: down 15 min ago" in page


def test_no_copy_is_left_when_the_program_ends(portal: Server, store: Store) -> None:
    output = portal.home / ".states"
    running = subprocess.Popen(
        [sys.executable, "-I", PROGRAM, f"--url={store.url}", f"--address={ADDRESS}",
         f"--pages={portal.home}", f"--output={output}", "--interval=0.05"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        # A page that an apply writes anew is seen in its copy, too.
        page = (portal.home / "index.html").read_text(encoding="utf-8")
        (portal.home / "index.html").write_text(
            page.replace(">v1<", ">the next<"), encoding="utf-8"
        )

        def is_filled() -> bool:
            shown = portal.get("i.pigsty", tls=False)[2]
            return "the next" in shown and states(shown)["broken"] == "down"

        eventually(is_filled)
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        assert os.listdir(output) == []
        page = portal.get("i.pigsty", tls=False)[2]
        assert 'class="state' not in page
        assert "wiki.pigsty" in page
    finally:
        running.kill()
        running.communicate()
        write_pages(portal)
        fill(portal, store.url)


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer", ["", "[]", "null", '{"data": {"result": [{"metric": 1}]}}', "\x00"]
)
def test_an_answer_that_is_none_changes_no_page(answer: str, tmp_path: Path) -> None:
    from nginx_server import Upstream

    strange = Upstream()
    strange.answer(body=answer)
    store = home_states.Store(f"http://127.0.0.1:{strange.port}", ADDRESS)
    with pytest.raises((OSError, ValueError)):
        store.results(60)
    strange.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200000,
        b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["not HTTP", "chunks", "long line", "many headers", "deep", "a file"],
)
def test_what_is_no_answer_of_http_ends_nothing(answer: bytes, tmp_path: Path) -> None:
    """The states grow old, and the unit goes on."""
    server = socket.create_server(("127.0.0.1", 0))

    def lie() -> None:
        while True:
            channel, _ = server.accept()
            with channel, contextlib.suppress(OSError):
                channel.recv(65536)
                channel.sendall(answer)

    waiting = closing.Waiting(server, lie)
    store = home_states.Store(f"http://127.0.0.1:{server.getsockname()[1]}", ADDRESS)
    rounds = home_states.rounds(store, home_states.Writer(tmp_path, tmp_path, 60.0), 60.0)
    assert next(rounds)
    assert next(rounds)
    waiting.end()


def test_what_a_page_says_of_itself_is_all_that_is_filled() -> None:
    texts = json.dumps(DATA["states"]["en"])
    places = "<!--state site <script>--><!--state site a b-->&lt;!--state none--&gt;"
    page = f"<!--states {texts}-->{places}"
    text, _shown = home_states.filled(page, [], 0.0, 60.0)
    assert "<!--state site <script>-->" in text
    assert "&lt;!--state none--&gt;" in text
    assert text.count('class="state unknown"') == 1


def test_texts_cannot_end_their_comment() -> None:
    texts = json.loads(json.dumps(DATA["states"]))
    texts["en"]["up"] = "--><script>alert(1)</script>"
    given = settings(components={}, nginx_sslmode="disable")
    context = pages.portal_context(ENTRIES, given, [], "v1")
    context |= {"strings": DATA["strings"], "icons": DATA["icons"], "cards": [], "states": texts}
    page = pages.render(context, LOADER)["index.html"]
    result = [
        home_states.Result({"job": "probe", "entry": "wiki", "hostname": "w.pigsty"}, True, 0.0)
    ]
    text, _shown = home_states.filled(page, result, 0.0, 60.0)
    assert "<script>alert" not in page + text
    assert "--&gt;&lt;script&gt;" in text


def test_a_site_with_texts_of_an_older_release_has_no_states() -> None:
    context = pages.portal_context(
        ENTRIES, settings(components={}, nginx_sslmode="disable"), [], "v1"
    )
    context |= {"strings": DATA["strings"], "icons": DATA["icons"], "cards": []}
    page = pages.render(context, LOADER)["index.html"]
    assert home_states.filled(page, [], 0.0, 60.0) == (page, [])
    assert "<!--state" not in page


@pytest.fixture(scope="module")
def browser(filled: Server) -> Iterator[Browser]:
    with Browser({"i.pigsty": "127.0.0.1"}) as started:
        yield started


@pytest.mark.parametrize("path", WORDS)
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_states_are_read_by_everybody(
    filled: Server, browser: Browser, path: str, width: int, scheme: str
) -> None:
    browser.show(width, 844, scheme)
    browser.scripts(False)
    browser.open(f"http://i.pigsty:{filled.port}{path}")
    text = browser.text()
    for word in WORDS[path].values():
        assert word in text
    assert browser.faults() == []
    assert browser.overflow() <= 0
    assert browser.low_contrast() == []
    # A shape for each: what is seen of the mark without colours differs.
    shapes = browser.run(
        """
        return ["up", "down", "stale", "unknown"].map((word) => {
          const style = getComputedStyle(document.querySelector(".state." + word), "::before");
          return [style.clipPath, style.borderTopWidth, style.backgroundImage,
                  style.backgroundColor === "rgba(0, 0, 0, 0)"].join(" ");
        });
        """
    )
    assert len(set(shapes)) == 4
    # The state of a tool is part of the name of its link, for who hears the page.
    links = [node["name"] for node in browser.accessible() if node["role"] == "link"]
    assert any(name.startswith(("Logs", "日志")) and WORDS[path]["down"] in name for name in links)
    stops = browser.tab_through()
    assert len(stops) == len(browser.focusable())
    assert all(stop["seen"] and stop["ratio"] >= 3 for stop in stops)
