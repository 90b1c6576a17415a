"""What infra_portal.explain says, compared with what a real nginx does, over generated portals."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "support"))

from infra_formula.errors import InvalidInput  # noqa: E402
from infra_formula.portal import entries, explanation, nginx_config  # noqa: E402
from nginx_server import Server, Upstream  # noqa: E402
from portal_samples import settings  # noqa: E402

PATHS = (
    "/", "/api", "/api/", "/api/x?a=1", "/API/x", "/admin", "/admin/x", "/open", "/open/x",
    "/a.css", "/x/a.css", "/old", "/old/x", "/files", "/files/one.txt", "/files/", "/files/none",
    "/static/x", "/.git/config", "/a/../api/x", "/a//b", "/%61pi/x", "/exact", "/exact/",
    "/raw/x", "/raw2", "/deep/inner/x", "/moved", "/index.html", "/no/such",
)  # fmt: skip
CASES = 60  # entries of one portal


class Site:
    """A portal of random entries, nginx with it, and servers that say who they are."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.upstreams = [Upstream() for _ in range(4)]
        for upstream in self.upstreams:
            upstream.answer(f"X-Reached: 127.0.0.1:{upstream.port}")
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "one.txt").write_text("one")
        (self.files / "index.html").write_text("index")
        self.changes: dict[str, Any] = {
            "nginx_sslmode": self.random.choice(["enable", "enforce"]),
            "components": {"vmetrics": {"port": self.upstreams[0].port}},
            "portal_auth": self.random.choice(["", "basic"]),
            # The visitor is none of them.
            "nginx_trusted_proxies": ["192.0.2.1"] if seed else [],
        }
        self.entries: dict[str, Any] = {"home": {"domain": "i.test"}}
        self.entries |= {f"e{n}": self.valid_entry(n) for n in range(CASES)}
        self.server = Server(folder, self.entries, **self.changes)
        self.config = nginx_config.read(self.server.root / "etc/nginx.conf")
        self.settings = settings(
            nginx_port=self.server.port, nginx_ssl_port=self.server.tls_port,
            nginx_home=str(self.server.home), repo_home=str(self.server.home), nginx_ipv6=False,
            **self.changes,
        )  # fmt: skip

    def endpoint(self) -> str:
        return f"127.0.0.1:{self.random.choice(self.upstreams).port}"

    def target(self) -> dict[str, Any]:
        return self.random.choice(
            [
                {"endpoint": self.endpoint()},
                {"path": str(self.files)},
                {"redirect": {"to": "https://else.test", "code": 308}},
                {"redirect": "/api/"},
            ]
        )

    def location(self, key: str) -> dict[str, Any]:
        found = self.target() if self.random.random() < 0.7 else {"endpoint": self.endpoint()}
        if key.startswith("~") and "path" in found:
            found = {"endpoint": self.endpoint()}
        if "endpoint" in found and not key.startswith(("~", "=")) and self.random.random() < 0.4:
            found["strip_prefix"] = True
        if self.random.random() < 0.25:
            found["auth"] = self.random.choice([True, False])
        return found

    def valid_entry(self, number: int) -> dict[str, Any]:
        """An entry that the pillar's validation accepts."""
        while True:
            entry = self.entry(number)
            if not entries.problems({f"e{number}": entry}, settings(**self.changes)):
                return entry

    def entry(self, number: int) -> dict[str, Any]:
        pick = self.random.random
        entry: dict[str, Any] = {"domain": f"e{number}.test", **self.target()}
        if pick() < 0.2:
            entry["domain"] = f"*.w{number}.test"
        if pick() < 0.2:
            entry["domains"] = [f"also{number}.test"]
        if pick() < 0.5:
            keys = ["/api", "/api/", "= /exact", "~* \\.css$", "^~ /static/", "/deep", "~ ^/old"]
            chosen = self.random.sample(keys, 3)
            chosen = [k for k in chosen if k != "/api/" or "/api" not in chosen]
            entry["locations"] = {key: self.location(key) for key in chosen}
        elif pick() < 0.4 and "endpoint" in entry:
            entry["auth_paths"] = ["/admin"]
        elif pick() < 0.4 and "endpoint" in entry:
            entry |= {"auth": True, "open_paths": ["/open"]}
        if pick() < 0.2 and "redirect" not in entry and "auth_paths" not in entry:
            entry["auth"] = True
        if pick() < 0.2:
            entry["enforce_https"] = self.random.choice([True, False])
        if pick() < 0.15 and "endpoint" in entry:
            entry["config"] = self.random.choice(
                [
                    "location /raw/ { return 204; }",
                    "rewrite ^/moved$ /api permanent;",
                    f"location = /raw2 {{ proxy_pass http://127.0.0.1:{self.upstreams[1].port}; }}",
                    "location /raw/ { rewrite ^/raw/(.*)$ /api/$1 last; }",
                    "if ($request_uri ~ ^/old) { return 410; }",
                ]
            )
        if pick() < 0.1:
            entry["maintenance"] = True
        if pick() < 0.1 and "endpoint" in entry:
            entry["redirect"] = {"names": [f"www{number}.test"]}
            entry["domains"] = [f"www{number}.test"]
        return entry

    def names(self) -> list[str]:
        found = ["i.test", "unknown.test", "127.0.0.1"]
        for number in range(CASES):
            entry = self.entries[f"e{number}"]
            found.append(entry["domain"].replace("*", "any"))
            found += entry.get("domains", [])
        return found

    def explain(self, name: str, path: str, tls: bool) -> dict[str, Any]:
        scheme = "https" if tls else "http"
        return explanation.explain(
            name, path, scheme, self.entries, self.settings,
            root=str(self.server.root / "etc"), running=False, config=self.config,
        )  # fmt: skip

    def close(self) -> None:
        self.server.close()
        for upstream in self.upstreams:
            upstream.close()


@pytest.fixture(scope="module", params=range(2))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    # Not below /tmp: nginx has a private one, so that a site there is refused.
    with tempfile.TemporaryDirectory(dir="/var/cache", prefix="infra-explain-") as folder:
        started = Site(Path(folder), request.param)
        yield started
        started.close()


def differences(site: Site, name: str, path: str, tls: bool) -> list[str]:
    """In what the explanation of a request differs from the answer of nginx."""
    said = site.explain(name, path, tls)
    port = site.server.tls_port if tls else site.server.port
    status, headers, body = site.server.get(name, path, tls, Host=f"{name}:{port}")
    real = {"status": status, "location": headers.get("location"), "by": headers.get("x-reached")}
    faults = []
    if said.get("undecided"):
        faults.append("undecided")
    if (said["login"] == "basic") != (status == 401):
        faults.append("login")
    if status == 401:
        return [f"{name}{path} tls={tls}: {faults} {said} {real}"] if faults else []
    if "status" in said:
        if said["status"] != status:
            faults.append("status")
        if said.get("redirect") != headers.get("location"):
            faults.append("redirect")
        if "x-reached" in headers:
            faults.append("reached")
    elif said["upstream"]:
        if headers.get("x-reached") not in said["upstream"]:
            faults.append("upstream")
        if body.removeprefix("upstream ").partition("?")[0] != said["upstream_path"]:
            faults.append(f"upstream_path {body}")
    else:
        there = Path(said["path"])
        if "x-reached" in headers:
            faults.append("reached")
        if there.is_file() and body != there.read_text():
            faults.append(f"file {body[:50]}")
        if there.is_dir() and status not in (200, 301, 403):
            faults.append("folder")
        if not there.exists() and status != 404:
            faults.append("missing file")
    return [f"{name}{path} tls={tls}: {faults} {said} {real}"] if faults else []


def test_nginx_does_what_is_explained(site: Site) -> None:
    pairs = [(n, p, t) for n in site.names() for p in PATHS for t in (True, False)]
    chosen = site.random.sample(pairs, 150)
    found = [line for pair in chosen for line in differences(site, *pair)]
    assert found == [], f"{len(found)} differ\n" + "\n".join(found[:8])


def test_the_line_that_is_named_is_the_one_that_answers(site: Site) -> None:
    for name in site.names():
        said = site.explain(name, "/", True)
        file, _, line = said["file"].rpartition(":")
        text = Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        if said["upstream"]:
            assert "proxy_pass" in text
        elif "status" in said:
            assert "return" in text or "try_files" in text  # `=404` of the home page
        entry = next(
            (
                key
                for key, e in site.entries.items()
                if name in [e["domain"].replace("*", "any"), *e.get("domains", [])]
            ),
            "home",
        )
        assert said["entry"] == entry
        assert file.endswith(f"/conf.d/{entry}.conf")


ENTRIES = {
    "home": {"domain": "i.test"},
    "wiki": {
        "domain": "wiki.test",
        "endpoint": ["10.0.0.1:80", "10.0.0.2:80"],
        "auth": True,
        "allow": ["10.0.0.0/8"],
        "locations": {"/api": {"endpoint": "10.0.0.3:80", "strip_prefix": True}},
        "proxy_set_header": {"X-Tenant": "acme"},
    },
    "own": {
        "domain": "own.test",
        "endpoint": "10.0.0.4:80",
        "config": "location /x { return 410; }",
    },
    "plain": {"domain": "plain.test", "endpoint": "10.0.0.5:80", "enforce_https": True},
}
STREAMS = {
    "pg": {"listen": 5433, "endpoint": ["10.0.0.6:5432", "10.0.0.7:5432"], "allow": "10.0.0.0/8"},
    "mqtt": {"listen": 8883, "endpoint": "10.0.0.8:1883", "ssl": True},
    "log": {"listen": 5514, "endpoint": "10.0.0.9:514", "protocol": "udp"},
    "one": {"listen": 8444, "endpoint": "10.0.0.10:443", "server_name": "one.test"},
    "two": {"listen": 8444, "endpoint": "10.0.0.11:443", "server_name": "*.two.test"},
}


@pytest.fixture(scope="module")
def explain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Explain a URL of a portal whose files are rendered; no nginx runs."""
    from infra_formula.portal import rendering
    from portal_samples import LOADER, facts

    given = settings(infra_streams=STREAMS, nginx_ipv6=False, portal_auth="basic")
    known = facts(ipv6=False, nginx_version=[1, 22, 1])
    known["name_service"] = {"servers": ["127.0.0.1"], "ipv6": False}
    root = tmp_path_factory.mktemp("etc")
    for rel, spec in rendering.files(ENTRIES, given, known, LOADER).items():
        path = root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in spec:
            path.symlink_to(spec["link"])
        else:
            path.write_text(spec["text"], encoding="utf-8")

    def explain(name: str, path: str = "/", scheme: str = "") -> dict[str, Any]:
        return explanation.explain(name, path, scheme, ENTRIES, given, str(root), running=False)

    return explain


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("wiki.test",), {"entry": "wiki", "attribute": "infra_portal.wiki.endpoint",
                          "login": "basic", "upstream": ["10.0.0.1:80", "10.0.0.2:80"],
                          "addresses": ["allow 10.0.0.0/8", "deny all"]}),
        (("wiki",), {"url": "https://wiki.test/"}),
        (("wiki.test", "/api/x?a=1"), {"attribute": "infra_portal.wiki.locations./api",
                                       "upstream": ["10.0.0.3:80"], "upstream_path": "/x"}),
        (("https://wiki.test/api/x",), {"upstream_path": "/x"}),
        (("own.test", "/x"), {"attribute": "infra_portal.own.config", "status": 410}),
        (("plain.test", "/a", "http"), {"redirect": "https://plain.test/a", "status": 301,
                                        "attribute": "infra_portal.plain.enforce_https"}),
        (("10.10.10.10",), {"entry": "home", "login": "basic",
                            "certificate": "conf.d/cert/pigsty.crt"}),
        (("nobody.test", "/", "http"), {"entry": "home"}),
        (("pg",), {"entry": "pg", "attribute": "infra_streams.pg.endpoint",
                   "upstream": ["10.0.0.6:5432", "10.0.0.7:5432"],
                   "addresses": ["allow 10.0.0.0/8", "deny all"]}),
        (("8883", "/", "tcp"), {"entry": "mqtt", "certificate": "conf.d/cert/pigsty.crt"}),
        (("5514", "/", "udp"), {"entry": "log"}),
        (("one.test:8444", "/", "tcp"), {"entry": "one", "upstream": ["10.0.0.10:443"]}),
        (("a.two.test:8444", "/", "tcp"), {"entry": "two", "upstream": ["10.0.0.11:443"]}),
    ],
)  # fmt: skip
def test_questions_that_are_asked_often(
    explain: Any, words: tuple[str, ...], expected: dict[str, Any]
) -> None:
    said = explain(*words)
    found = {key: said.get(key) for key in expected}
    if "certificate" in expected:
        found["certificate"] = "conf.d" + said["certificate"].rpartition("/conf.d")[2]
    assert found == expected
    file, _, line = said["file"].rpartition(":")
    assert Path(file).is_file()
    assert int(line) > 0


def test_an_unknown_name_is_said_to_be_nobodys(explain: Any) -> None:
    assert "no entry has the name nobody.test" in explain("nobody.test")["matched_by"]
    assert explain("10.10.10.10")["matched_by"].startswith("no entry has the name 10.10.10.10")


def test_the_headers_to_the_upstream_are_there_without_those_that_are_removed(explain: Any) -> None:
    headers = explain("wiki.test")["request_headers"]
    assert headers["X-Tenant"] == "acme"
    assert headers["X-Forwarded-For"] == "$remote_addr"
    assert "X-Remote-User" not in headers


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("wiki test",), "name: expected"),
        (("",), "name: expected"),
        (("ftp://wiki.test/",), "name: expected"),
        (("wiki.test", "api"), "path: expected"),
        (("wiki.test", "/a\r\nb"), "path: expected"),
        (("wiki.test", "/", "gopher"), "scheme: expected"),
        (("1", "/", "tcp"), "infra_streams"),
    ],
)
def test_what_no_visitor_can_send_is_refused(
    explain: Any, words: tuple[str, ...], error: str
) -> None:
    with pytest.raises(InvalidInput, match=error):
        explain(*words)
