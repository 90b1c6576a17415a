"""What breaks while nginx is stopped costs its own entry or stream only, as after a reboot.

nginx does not start with it; systemd runs infra-after-stop, and starts nginx again.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "support"))

import pem  # noqa: E402
from infra_formula.portal import server as nginx  # noqa: E402
from nginx_server import Server, Upstream  # noqa: E402
from real_entries import real_entries  # noqa: E402

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PAIR, OTHER = pem.pair("own.p"), pem.pair("other.p")
ERROR = 503


class Site:
    """A portal whose files a test may break, and another entry and stream that have to stay."""

    def __init__(self, folder: Path) -> None:
        self.upstream = Upstream()
        there = f"127.0.0.1:{self.upstream.port}"
        self.files = folder / "files"
        self.files.mkdir()
        for name in ("own", "named", "tls"):
            (self.files / f"{name}.crt").write_text(PAIR.crt)
            (self.files / f"{name}.key").write_text(PAIR.key)
        (self.files / "more.conf").write_text("add_header X-More yes;\n")
        (self.files / "named.crt.old").write_text(PAIR.crt)
        self.port = free_port()
        self.streams: dict[str, Any] = {
            "kept": {"listen": self.port, "endpoint": there},
            "db": {"listen": free_port(), "endpoint": there},
            "udp": {"listen": free_port(), "endpoint": there, "protocol": "udp"},
            "tls": {"listen": free_port(), "endpoint": there, "ssl": True,
                    "cert": self.path("tls.crt"), "key": self.path("tls.key")},
            "sni": {"listen": free_port(), "endpoint": there, "server_name": "sni.p"},
        }  # fmt: skip
        self.entries: dict[str, Any] = {
            "plain": {"domain": "plain.p", "endpoint": there},
            "app": {"domain": "app.p", "endpoint": there},
            "own": {"domain": "own.p", "endpoint": there,
                    "cert": self.path("own.crt"), "key": self.path("own.key")},
            "named": {"domain": "named.p", "endpoint": there, "cert": "named"},
            "badge": {"domain": "badge.p", "endpoint": there,
                      "ssl_client_certificate": self.path("named.crt"),
                      "ssl_verify_client": "optional"},
            "verified": {"domain": "verified.p", "endpoint": there, "locations": {
                "/tls": {"endpoint": there, "scheme": "https", "proxy_ssl_verify": True,
                         "proxy_ssl_trusted_certificate": self.path("named.crt")}}},
            "raw": {"domain": "raw.p", "endpoint": there,
                    "config": f"include {self.path('more.conf')};"},
            "alike": {"domain": "alike.p", "endpoint": there,
                      "config": f"include {self.path('more.conf.d')}/*;",
                      "locations": {"/tls": {"endpoint": there, "scheme": "https",
                                             "proxy_ssl_verify": True,
                                             "proxy_ssl_trusted_certificate":
                                                 self.path("named.crt.old")}}},
            "cached": {"domain": "cached.p", "endpoint": there, "proxy_cache": True},
            "log": {"domain": "log.p", "endpoint": there, "log": "of-its-own.log"},
        }  # fmt: skip
        modules = folder / "etc/modules-enabled"
        modules.mkdir(parents=True)
        (modules / "50-stream.conf").write_text(f"load_module {MODULE};\n")
        self.server = Server(
            folder, self.entries, certificates={"named": PAIR.as_pillar()},
            infra_streams=self.streams,
        )  # fmt: skip
        self.etc, self.saved = folder / "etc", folder / "saved"

    def path(self, name: str) -> str:
        return str(self.files / name)

    def edit(self, rel: str, old: str, new: str) -> None:
        text = (self.etc / rel).read_text()
        assert old in text
        (self.etc / rel).write_text(text.replace(old, new))

    def after_stop(self, result: str = "exit-code", *words: str) -> str:
        """Run what systemd runs after nginx stopped; returns its lines for the journal."""
        done = subprocess.run(
            ["sh", self.etc / "infra-after-stop", self.etc, self.saved, *words], check=True,
            capture_output=True, text=True, env={**os.environ, "SERVICE_RESULT": result},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    def put_back(self) -> str:
        """What the timer runs."""
        return self.after_stop("success", "put-back")

    def files_of_nginx(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in self.etc.rglob("*") if p.is_file()}

    def answers(self, port: int) -> bool:
        """Whether a stream leads to its endpoint."""
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as channel:
                channel.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
                return b"upstream /stream" in channel.recv(65536)
        except OSError:
            return False


@pytest.fixture
def site() -> Iterator[Site]:
    # Not below /tmp: nginx has a private one, so that a site there is refused.
    with tempfile.TemporaryDirectory(dir="/var/cache", prefix="infra-boot-") as folder:
        started = Site(Path(folder))
        yield started
        started.server.close()
        started.upstream.close()


def gone(*names: str) -> Callable[[Site], None]:
    return lambda site: [Path(site.path(name)).unlink() for name in names] and None


def written(name: str, text: str) -> Callable[[Site], None]:
    return lambda site: Path(site.path(name)).write_text(text) and None


def edited(rel: str, old: str, new: str) -> Callable[[Site], None]:
    return lambda site: site.edit(rel, old.format(site.upstream.port), new)


def dangling(site: Site) -> None:
    """Certbot's link, whose lineage was deleted."""
    found = re.search(r"ssl_certificate (\S+);", (site.etc / "conf.d/app.conf").read_text())
    assert found
    link = site.etc / found[1]
    assert link.is_symlink()
    link.unlink()
    link.symlink_to("/etc/letsencrypt/live/none-such/fullchain.pem")


def no_cache(site: Site) -> None:
    shutil.rmtree(site.server.root / "cache")


def no_logs(site: Site) -> None:
    shutil.rmtree(site.server.root / "log")


BREAKS: dict[str, tuple[Callable[[Site], None], str, dict[str, int]]] = {
    # How it breaks, what the journal says of it, and how the entries answer that differ.
    "its CA for clients is gone": (
        gone("named.crt"), "infra_portal.badge: nginx refuses it: ",
        {"badge": ERROR, "verified": ERROR}),
    "its CA for clients is empty": (
        written("named.crt", ""), "infra_portal.badge: nginx refuses it: ",
        {"badge": ERROR, "verified": ERROR}),
    "a file that it includes is gone": (
        gone("more.conf"), "infra_portal.raw: nginx refuses it: open() ", {"raw": ERROR}),
    "a file that it includes is broken": (
        written("more.conf", "retrun 1;"),
        "infra_portal.raw: nginx refuses it: unknown directive", {"raw": ERROR}),
    "a name is in /etc/hosts no more": (
        edited("conf.d/app.conf", "server 127.0.0.1:{}", "server gone.invalid:80"),
        "infra_portal.app: nginx refuses it: host not found in upstream", {"app": ERROR}),
    "a newer nginx lacks a directive": (
        edited("conf.d/app.conf", "    client_max_body_size", "    http2_push_of_old on;\n    cli"
               "ent_max_body_size"),
        "infra_portal.app: nginx refuses it: unknown directive", {"app": ERROR}),
    "certbot's lineage was deleted": (
        dangling, "infra_portal.app.cert: ", {}),
    "a certificate by name is gone": (
        lambda site: (site.etc / "certificates/named.key").unlink(), "infra_portal.named.cert: ",
        {}),
    "a certificate by name is another's": (
        lambda site: (site.etc / "certificates/named.key").write_text(OTHER.key) and None,
        "infra_portal.named.cert: ", {}),
    "the cache was cleaned": (no_cache, "/cache was missing; it is created", {}),
    "the logs were cleaned": (no_logs, "/log was missing; it is created", {}),
}  # fmt: skip

STREAM_BREAKS: dict[str, tuple[Callable[[Site], Any], str, set[str]]] = {
    # How it breaks, what the journal says of it, and the streams that it costs.
    "its certificate is gone": (
        gone("tls.crt"), "infra_streams.tls.cert: ", set()),
    "its key is another's": (
        written("tls.key", OTHER.key), "infra_streams.tls.cert: ", set()),
    "its name is in /etc/hosts no more": (
        lambda site: edit_stream(site, "db", "gone.invalid:80"),
        "infra_streams.db: nginx refuses it: host not found in upstream", {"db"}),
    "the name of one by SNI is in /etc/hosts no more": (
        lambda site: edit_stream(site, "sni", "gone.invalid:80"),
        "infra_streams.sni: nginx refuses it: host not found in upstream", {"sni"}),
    "the module was removed": (
        lambda site: (site.etc / "modules-enabled/50-stream.conf").unlink(),
        'infra_streams: nginx refuses it: unknown directive "stream"',
        {"kept", "db", "udp", "tls", "sni"}),
}  # fmt: skip


def edit_stream(site: Site, name: str, address: str) -> None:
    text = (site.etc / "infra-streams.conf").read_text()
    pattern = rf"(upstream {name} \{{\n\s+server )[^ ;]+"
    found, count = re.subn(pattern, rf"\g<1>{address}", text)
    assert count == 1
    (site.etc / "infra-streams.conf").write_text(found)


def served(site: Site, but: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Entries that answer other than they should: what they answer, and what they should."""
    found = {}
    for key, entry in site.entries.items():
        if (site.etc / f"conf.d/{key}.conf").exists():
            code, wanted = site.server.get(entry["domain"])[0], but.get(key, 200)
            if code != wanted:
                found[key] = (code, wanted)
    return found


def fails_to_start(site: Site) -> None:
    try:
        site.server.start()
    except RuntimeError:
        return
    # It had opened its own ports before it failed at one of a stream.
    assert site.server.process.wait(20) != 0
    site.server.process.stderr.close()


@pytest.mark.parametrize("way", BREAKS)
def test_nginx_starts_again_for_all_others(site: Site, way: str) -> None:
    break_it, journal, differ = BREAKS[way]
    assert served(site, {}) == {}
    site.server.close()
    before = nginx_hash(site)
    break_it(site)
    fails_to_start(site)
    said = site.after_stop()
    assert journal in said, said
    site.server.start()
    assert served(site, differ) == {}
    assert site.answers(site.port)
    # What was taken out is not what was applied, and the next apply is to notice.
    assert (nginx_hash(site) == before) is ("it is created" in said)


@pytest.mark.parametrize("way", STREAM_BREAKS)
def test_nginx_starts_again_although_a_stream_broke(site: Site, way: str) -> None:
    break_it, journal, lost = STREAM_BREAKS[way]
    assert site.answers(site.port)
    site.server.close()
    break_it(site)
    fails_to_start(site)
    said = site.after_stop()
    assert journal in said, said
    site.server.start()
    assert served(site, {}) == {}
    for name in ("kept", "db"):
        assert site.answers(site.streams[name]["listen"]) is (name not in lost), name


@pytest.mark.parametrize("name", ["db", "udp", "sni"])
def test_a_port_that_another_program_took_costs_its_own_stream_only(site: Site, name: str) -> None:
    site.server.close()
    port, is_udp = site.streams[name]["listen"], name == "udp"
    kind = socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", port))
        if not is_udp:
            other.listen()
        fails_to_start(site)
        said = site.after_stop()
        assert f"another program has port {port}/{'udp' if is_udp else 'tcp'}" in said
        assert said.count("\n") == 1
        assert name in said
        site.server.start()
        assert served(site, {}) == {}
        assert site.answers(site.port)


def test_what_stopped_well_or_starts_is_left_as_it_is(site: Site) -> None:
    site.server.close()
    before = site.files_of_nginx()
    for result in ("success", "exit-code", "signal"):
        assert site.after_stop(result) == ""
        assert site.files_of_nginx() == before
    gone("more.conf")(site)
    before = site.files_of_nginx()
    assert site.after_stop("success") == ""
    assert site.files_of_nginx() == before
    assert "infra_portal.raw: " in site.after_stop()
    before = site.files_of_nginx()
    assert site.after_stop() == ""
    assert site.files_of_nginx() == before
    Path(site.path("more.conf")).write_text("")
    site.server.start()


def test_an_entry_is_put_back_as_soon_as_nginx_accepts_it(site: Site) -> None:
    site.server.close()
    before = (site.etc / "conf.d/raw.conf").read_text()
    badge = (site.etc / "conf.d/badge.conf").read_text()
    gone("more.conf", "named.crt")(site)
    site.after_stop()
    out = (site.etc / "conf.d/raw.conf").read_text()
    assert out != before
    assert site.put_back() == ""
    assert (site.etc / "conf.d/raw.conf").read_text() == out
    written("more.conf", "")(site)
    assert site.put_back() == "conf.d/raw.conf is put back\n"
    assert (site.etc / "conf.d/raw.conf").read_text() == before
    assert (site.etc / "conf.d/badge.conf").read_text() != badge
    # An apply wrote it before the timer came.
    (site.etc / "conf.d/badge.conf").write_text("# by an apply\n")
    written("named.crt", PAIR.crt)(site)
    assert site.put_back() == "conf.d/verified.conf is put back\n"
    assert (site.etc / "conf.d/badge.conf").read_text() == "# by an apply\n"
    assert list(site.saved.iterdir()) == []
    site.server.start()
    assert served(site, {"badge": 404}) == {}


def test_streams_are_put_back_when_their_port_is_free(site: Site) -> None:
    site.server.close()
    before = (site.etc / "infra-streams.conf").read_text()
    with socket.create_server(("127.0.0.1", site.streams["db"]["listen"])):
        assert "infra_streams.db: another program has port" in site.after_stop()
        assert (site.etc / "infra-streams.conf").read_text() != before
        assert site.put_back() == ""
        assert (site.etc / "infra-streams.conf").read_text() != before
    assert site.put_back() == "infra-streams.conf is put back\n"
    assert (site.etc / "infra-streams.conf").read_text() == before
    site.server.start()
    assert site.answers(site.streams["db"]["listen"])


def test_what_is_not_the_portals_is_left_to_the_operator(site: Site) -> None:
    """A fault of a file that is no entry's: nothing is taken out, and nginx says what is wrong."""
    site.server.close()
    site.edit("nginx.conf", "    sendfile", "    none_such on;\n    sendfile")
    before = site.files_of_nginx()
    assert site.after_stop() == ""
    assert site.files_of_nginx() == before
    site.edit("nginx.conf", "    none_such on;\n", "")
    site.server.start()


def nginx_hash(site: Site) -> str:
    found = re.search(r'return 200 "(\w{16})"', (site.etc / "conf.d/00-infra.conf").read_text())
    assert found
    return found[1]


def test_many_that_break_at_once_are_all_taken_out() -> None:
    with tempfile.TemporaryDirectory(dir="/var/cache", prefix="infra-boot-") as folder:
        upstream = Upstream()
        there = f"127.0.0.1:{upstream.port}"
        pages = Path(folder, "site")
        pages.mkdir()
        (pages / "index.html").write_text("a file of the site")
        include = pages / "more.conf"
        include.write_text("")
        others = real_entries(300, there, str(pages))
        broken = {
            f"broken-{n}": {"domain": f"broken-{n}.p", "endpoint": there,
                            "config": f"include {include};"}
            for n in range(12)
        }  # fmt: skip
        server = Server(Path(folder), {**others, **broken})
        try:
            server.close()
            include.unlink()
            for number in range(6):
                path = Path(folder, f"etc/conf.d/broken-{number}.conf")
                path.write_text(path.read_text().replace(f"include {include};", "retrun 1;"))
            done = subprocess.run(
                ["sh", f"{folder}/etc/infra-after-stop", f"{folder}/etc", f"{folder}/saved"],
                check=True, capture_output=True, text=True,
                env={**os.environ, "SERVICE_RESULT": "exit-code"},
            )  # fmt: skip
            named = re.findall(r"^infra_portal\.([\w-]+): ", done.stdout, re.MULTILINE)
            assert sorted(named) == sorted(broken)
            server.start()
            for key in broken:
                assert server.get(f"{key}.p")[0] == ERROR
            kinds = {"moved": 308, "closed": 401}
            wrong = {
                key: code
                for key, entry in others.items()
                if (code := server.get(entry["domain"])[0])
                != kinds.get(key.rpartition("-")[0], 200)
            }
            assert wrong == {}
        finally:
            server.close()
            upstream.close()


def test_a_port_that_is_taken_is_led_back_to_its_stream(tmp_path: Path) -> None:
    (tmp_path / "infra-streams.conf").write_text(
        "stream {\n    # infra_streams.pg\n    server {\n        listen 5433;\n"
        "        listen [::]:5433;\n    }\n\n    # infra_streams.log\n    server {\n"
        "        listen 5514 udp;\n    }\n\n"
        "    # By the name that a connection asks for: one, two\n"
        "    server {\n        listen 8444;\n    }\n}\n"
    )
    for port, expected in {
        5433: "infra_streams.pg.listen: ", 5514: "infra_streams.log.listen: ",
        8444: "infra_streams.one.listen: ", 80: "", 543: "",
    }.items():  # fmt: skip
        line = f"bind() to 0.0.0.0:{port} failed (98: Address already in use)"
        assert nginx.faults.stream_of_port(line, str(tmp_path)) == expected
