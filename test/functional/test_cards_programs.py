"""Which cards real programs get: Debian's of two releases, and those that are given.

`INFRA_PROGRAMS` may name a folder of further programs under the vendor's names, whose packages have
the web applications that Debian's lack.
"""

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import programs
import pytest
from closing import stop
from infra_formula import paths
from infra_formula.portal import cards as infra_cards
from portal_samples import settings
from ports import free_port

GIVEN = Path(os.environ.get("INFRA_PROGRAMS", "/nonexistent"))
RELEASES = {"Debian, own release": "", "Debian 13": "trixie"}
APPS = {
    "victoria-metrics": ("vmetrics", "/vmetrics/vmui/"),
    "victoria-logs": ("vlogs", "/vlogs/select/vmui/"),
    "victoria-traces": ("vtraces", "/vtraces/select/vmui/"),
}


@pytest.fixture(autouse=True)
def _no_record(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)


def path_of(name, release):
    """Path of a program of Debian's package, whichever other is given; of a given one for None."""
    if release is None:
        return GIVEN / name
    return programs.unpacked("victoria-metrics", release) / "usr/bin" / name


@contextmanager
def running(folder, program, *flags):
    """A program on a port of its own, as long as this is entered; gives the port."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        command = [str(program), f"-httpListenAddr=127.0.0.1:{port}", *flags]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise RuntimeError((folder / "log").read_text()) from None
                    time.sleep(0.05)
            yield port
        finally:
            process.kill()
            process.wait()


def served(component, port, *urls):
    known = {component: {"port": port, "health": "/health"}}
    told = infra_cards.asked(urls, settings(components=known))
    return [told[url]["served"] for url in urls]


def cases():
    """Programs with the pages that they are known to serve and to lack."""
    for name, release in RELEASES.items():
        pages = {"/vmetrics/targets": True, "/vmetrics/vmui/": False, "/vmetrics/vmui": False}
        yield f"victoria-metrics, {name}", ("victoria-metrics", release), "vmetrics", pages
        pages = {"/vmalert/vmalert/groups": True, infra_cards.ALERTS_PAGE: True}
        yield f"vmalert, {name}", ("vmalert", release), "vmalert", pages
    for name, (component, url) in APPS.items():
        if (GIVEN / name).exists():
            yield f"{name}, given", (name, None), component, {url: True, url + "#/?query=x": True}


CASES = {name: case for name, *case in cases()}
FLAGS = {
    "vmalert": ("-datasource.url=http://127.0.0.1:9", "-notifier.url=http://127.0.0.1:9",
                "-rule=none*.yml"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "component", "pages"), CASES.values(), ids=CASES)
def test_a_card_is_for_a_page_that_the_program_serves(tmp_path, program, component, pages):
    flags = FLAGS.get(component, ("-storageDataPath=x",))
    with running(tmp_path, path_of(*program), *flags) as port:
        assert served(component, port, *pages) == list(pages.values())


class Page(BaseHTTPRequestHandler):
    """Alertmanager's page as its package has it; it runs only where that is installed."""

    text = b""

    def do_GET(self):
        found = self.path in ("/", "/-/healthy")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.text if found else b"404 page not found")

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_debians_page_in_the_place_of_alertmanagers_is_none(release):
    folder = programs.unpacked("prometheus-alertmanager", release)
    (page,) = (folder / "usr/share/prometheus/alertmanager").glob("*/index.html")
    handler = type("Stub", (Page,), {"text": page.read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        known = {"alertmanager": {"port": server.server_port, "health": "/-/healthy"}}
        told = infra_cards.asked(["/alertmgr/#/alerts"], settings(components=known))
        stop(server)
    assert told["/alertmgr/#/alerts"]["served"] is False
    assert "without the application" in told["/alertmgr/#/alerts"]["reason"]
