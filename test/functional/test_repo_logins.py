"""An upstream, a proxy or a file that asks for a login: apt, dnf and we have it, nobody else does.

The real apt and dnf resolve; everything that they and we leave on disk, return, log or start is
searched for the password.
"""

import logging
import os
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
from infra_formula import paths, process, redaction
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion
from infra_formula.repository import (
    building,
    catalogue,
    client_apt,
    client_plans,
    client_trust,
    connections,
    logins,
    offline_package,
)
from infra_formula.repository import published as repository
from repo_samples import Server, rpm, yum_upstream

pytest_plugins = ["repo_fixtures"]

USER, PASSWORD = "reader", "cAnArY#9a7f%+/:@é"
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"
SPELLINGS = (PASSWORD, quote(PASSWORD, safe=""), b64encode(f"{USER}:{PASSWORD}".encode()).decode())


class Closed(Server):
    """A server that answers nobody but who has the login."""

    header = "Authorization"
    status = 401

    def answer(self, handler):
        expected = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if handler.headers.get(self.header) != expected:
            handler.send_error(self.status)
            return
        super().answer(handler)

    @property
    def with_login(self):
        return self.url.replace("http://", f"http://{LOGIN}@")


class ClosedProxy(Closed):
    """A proxy that serves nobody but who has the login."""

    header = "Proxy-Authorization"
    status = 407


@pytest.fixture
def closed(upstream):
    server = Closed(upstream.root)
    yield server
    server.close()


@pytest.fixture
def commands(monkeypatch):
    """The command lines and environments of all programs that are run."""
    found = []
    real = process.run

    def run(command, **options):
        found.append(repr((command, options.get("env"))))
        return real(command, **options)

    monkeypatch.setattr(process, "run", run)
    return found


def holders(*folders):
    """Files with the password, and their permissions."""
    found = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and any(s.encode() in path.read_bytes() for s in SPELLINGS):
                found[path] = oct(path.stat().st_mode & 0o777)
    return found


def is_hidden(*texts):
    return not any(spelling in str(text) for text in texts for spelling in SPELLINGS)


def test_apt_and_we_have_the_login_of_an_upstream_and_nothing_else_holds_it(
    build, spec, closed, commands, tmp_path, caplog, modules
):
    entry = {**spec["upstream"][0], "baseurl": f"{closed.with_login} stable main"}
    with caplog.at_level(logging.DEBUG):
        result = build(upstream=[entry])
    assert result["packages"] == 3
    found = holders(tmp_path / "cache", tmp_path / "www", Path(spec["home"]))
    assert {path.name: mode for path, mode in found.items()} == {"upstream.conf": "0o600"}
    root = next(iter(found)).parents[3]
    assert [oct((root / p).stat().st_mode & 0o777) for p in
            ("apt.conf", "etc/apt/sources.list.d/upstream.sources")] == ["0o600"] * 2  # fmt: skip
    status = modules.infra_repo.status("pigsty", spec["home"])
    assert status["upstreams"][0]["url"] == closed.url
    packed = modules.infra_repo.pack("pigsty", spec["home"], folder=str(tmp_path))
    shown = (result, status, packed, modules.infra_repo.summary("pigsty", spec["home"]))
    assert is_hidden(*shown, *commands, caplog.text)
    # Another password is no reason to build again.
    bare = {**entry, "baseurl": f"{closed.url} stable main"}
    assert (
        catalogue.plan({**spec, "upstream": [entry]})["fingerprint"]
        == (catalogue.plan({**spec, "upstream": [bare]})["fingerprint"])
    )


def test_an_upstream_that_refuses_the_login_is_named_without_it(build, spec, closed):
    wrong = closed.with_login.replace(USER, "other")
    for baseurl in (wrong, closed.url):
        entry = {**spec["upstream"][0], "baseurl": f"{baseurl} stable main"}
        with pytest.raises(CommandFailed, match="401") as caught:
            build(upstream=[entry])
        assert is_hidden(caught.value)


def test_a_proxy_with_a_login_is_in_no_file_that_others_can_read(
    minion, spec, upstream, repo_key, tmp_path, commands
):
    proxy = ClosedProxy(upstream.root)
    entry = {**spec["upstream"][0], "baseurl": "http://upstream.invalid stable main"}
    transfer = {
        "cache": str(tmp_path / "cache"),
        "retries": 0,
        "proxy_env": {"http_proxy": proxy.with_login},
    }
    request = {**spec, "upstream": [entry]}
    try:
        result = repository.build(minion, request, key=repo_key, transfer=transfer)
    finally:
        proxy.close()
    assert result["packages"] == 3
    found = holders(tmp_path / "cache", spec["home"])
    assert {path.name: mode for path, mode in found.items()} == {"apt.conf": "0o600"}
    assert is_hidden(result, *commands)
    transfer["proxy_env"] = {"http_proxy": f'http://{LOGIN}@h";x'}
    with pytest.raises(InvalidInput, match="proxy_env") as caught:
        repository.build(minion, request, key=repo_key, transfer=transfer, force=True)
    assert is_hidden(caught.value)


def test_a_single_package_with_a_login_is_fetched_and_published_without_it(
    build, spec, closed, tmp_path, modules
):
    package = next(closed.root.rglob("extra_1_all.deb"))
    url = f"{closed.with_login}/{package.relative_to(closed.root)}"
    digest = process.run(["sha256sum", str(package)])["stdout"].split()[0]
    result = build(packages=[], url_packages=[{"url": url, "checksum": f"sha256:{digest}"}])
    assert [Path(path).name for path in result["added"]] == ["extra_1_all.deb"]
    assert holders(tmp_path / "cache", spec["home"]) == {}
    closed.faults["extra"] = 403
    other = {"url": f"{url}?extra", "name": "y.deb", "checksum": f"sha256:{'0' * 64}"}
    with pytest.raises(CommandFailed, match="403") as caught:
        build(packages=[], url_packages=[other], force=True)
    assert is_hidden(caught.value)


@pytest.mark.skipif(not os.path.exists("/usr/bin/dnf-3"), reason="dnf is not installed")
def test_dnf_has_the_login_of_an_upstream_and_nothing_else_holds_it(
    minion, repo_key, upstream_key, commands, tmp_path
):
    root = tmp_path / "yum"
    root.mkdir()
    upstream_key.sign_rpm(rpm(root, "lone", "2.1"))
    yum_upstream(root, upstream_key)
    server = Closed(root)
    request = {
        "name": "pigsty",
        "home": str(tmp_path / "www"),
        "targets": ["el9.x86_64"],
        "modules": "node",
        "upstream": [
            {
                "name": "baseos",
                "module": "node",
                "releases": [9],
                "arch": ["x86_64"],
                "baseurl": f"{server.with_login}/",
                "gpgkey": upstream_key.public,
            }
        ],
        "packages": ["lone"],
    }
    transfer = {"cache": str(tmp_path / "cache"), "retries": 0}
    try:
        result = repository.build(minion, request, key=repo_key, transfer=transfer)
    finally:
        server.close()
    assert result["packages"] == 1
    assert holders(tmp_path / "cache", request["home"]) == {}
    assert is_hidden(result, *commands)


def test_a_login_does_not_follow_a_redirection_to_another_host(closed):
    asked = []

    class Other(Server):
        def answer(self, handler):
            asked.append(handler.headers.get("Authorization"))
            super().answer(handler)

    class Leading(Closed):
        def answer(self, handler):
            handler.send_response(302)
            handler.send_header("Location", f"{other.url}/x")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    other, leading = Other(closed.root), Leading(closed.root)
    (closed.root / "x").write_text("x")
    session = connections.Session(None, 5)
    try:
        with session.get(f"{leading.url}/x", 0, (USER, PASSWORD)) as (stream, _):
            assert stream.read() == b"x"
        assert asked == [None]
        asked.clear()
        with session.get(f"{other.url}/x", 0, (USER, PASSWORD)) as (stream, _):
            stream.read()
        assert asked == [f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"]
    finally:
        session.close()
        other.close()
        leading.close()


def test_the_cache_of_the_solvers_is_entered_by_root_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path / "var" / "cache")
    (tmp_path / "var" / "cache").mkdir(parents=True, mode=0o755)
    assert building._private_cache() == paths.CACHE_DIR / "repo"
    assert paths.CACHE_DIR.stat().st_mode & 0o777 == 0o700


def test_a_repository_of_a_former_release_that_holds_a_login_is_not_packed(
    build, spec, modules, tmp_path, monkeypatch
):
    real = building._info

    def former(*arguments):
        info = real(*arguments)
        info["upstreams"][0]["url"] = f"http://{LOGIN}@h/x"
        return info

    monkeypatch.setattr(building, "_info", former)
    build()
    assert len(holders(spec["home"])) == 1
    status = modules.infra_repo.status("pigsty", spec["home"])
    assert is_hidden(status, modules.infra_repo.summary("pigsty", spec["home"]))
    with pytest.raises(InvalidInput, match="login of the upstream base") as caught:
        offline_package.pack(Minion(), "pigsty", spec["home"], folder=str(tmp_path))
    assert is_hidden(caught.value)


# -- clients ---------------------------------------------------------------------------------------


def upstream_of(baseurl, system="d12"):
    request = {
        "name": "client",
        "home": "/www",
        "targets": [f"{system}.x86_64"],
        "modules": "node",
        "upstream": [
            {"name": "mine", "module": "node", "releases": [12, 9], "arch": ["x86_64"],
             "baseurl": baseurl, "trusted": True}
        ],
        "packages": ["x"],
    }  # fmt: skip
    target = catalogue.plan(request)["targets"][0]
    return target, target["upstreams"][0]


def test_a_client_of_apt_has_the_login_in_a_file_of_apts_own():
    target, upstream = upstream_of(f"https://{LOGIN}@repo.example/debian bookworm main")
    files, _ = client_plans._upstreams(Minion(), target, "sources", True)
    login_files = client_apt.files(target["upstreams"], {}, False)
    assert files == {
        "infra-mine.sources": {"text": client_trust.upstream_text(upstream, "deb", "")}
    }
    assert "URIs: https://repo.example/debian\n" in files["infra-mine.sources"]["text"]
    assert is_hidden(files)
    (file,) = login_files.values()
    assert (file["mode"], file["secret"]) == ("0600", True)
    line = f"machine https://repo.example/debian login {USER} password {PASSWORD}\n"
    assert file["text"].endswith(f"\n{line}")
    # A token alone is a user.
    _, upstream = upstream_of("https://token@repo.example/debian bookworm main")
    text = logins.apt_text([upstream])
    assert text == "machine https://repo.example/debian login token\n"


def test_a_client_of_dnf_has_the_login_in_a_definition_that_others_cannot_read():
    baseurl = f"https://{LOGIN}@a.example/el$releasever https://{LOGIN}@b.example/"
    target, _ = upstream_of(baseurl, "el9")
    files, _ = client_plans._upstreams(Minion(), target, "repo", True)
    (file,) = files.values()
    assert (file["mode"], file["secret"]) == ("0600", True)
    assert f"\nusername = {USER}\npassword = {PASSWORD}\n" in file["text"]
    assert "https://a.example/el$releasever\n" in file["text"]
    target, _ = upstream_of("https://a.example/ https://b.example/", "el9")
    files, _ = client_plans._upstreams(Minion(), target, "repo", True)
    assert list(files["infra-mine.repo"]) == ["text"]
    assert "username" not in files["infra-mine.repo"]["text"]


@pytest.mark.parametrize(
    ("system", "baseurl", "message"),
    [
        ("d12", "https://u:a%20{0}@h/ s c", "without blanks"),
        ("d12", "https://u:%0A{0}@h/ s c", "without blanks"),
        ("d12", "https://:{0}@h/ s c", "without blanks"),
        ("el9", "https://u:{0}@a/ https://b/", "one user and password"),
        ("el9", "https://u:{0}@a/ https://u:x{0}@b/", "one user and password"),
        ("el9", "https://u:%22{0}@a/", "begin with a quote"),
        ("d12", "https://u:{0}@h/", "expected 'URL suite components'"),
        ("d12", "ftp://u:{0}@h/ s c", "expected an http, https or file URL"),
        ("d12", "https://u:{0}@h/;x s c", "characters that no address has"),
    ],
)
def test_a_login_that_apt_or_dnf_cannot_be_given_is_refused_without_it(system, baseurl, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        upstream_of(baseurl.format("cAnArY"), system)
    assert "cAnArY" not in str(caught.value)
    assert "repo_upstream[0] (mine).baseurl" in str(caught.value)


def test_a_login_is_used_below_its_own_address_only():
    upstreams = [
        {"logins": {"http://h:1/a": ["u", "1"], "http://h:1/a/b": ["u", "2"]}},
        {"logins": {"http://y/el$releasever": ["u", "3"]}},
        {},
    ]
    for url, password in (
        ("http://h:1/a/x.deb", "1"),
        ("http://h:1/a/b/x.deb", "2"),
        ("http://h:1/ab/x.deb", None),
        ("http://h:1/a/../x.deb", None),
        ("https://h:1/a/x.deb", None),
        ("http://h/a/x.deb", None),
        ("http://y/el9/x.rpm", "3"),
        ("http://z/el9/x.rpm", None),
    ):
        found = logins.of_url(url, upstreams)
        assert (found and found[1]) == password, url


def test_credentials_of_a_url_are_no_part_of_a_log(caplog):
    log = redaction.logger("infra_formula.repository.test")
    with caplog.at_level(logging.DEBUG):
        log.debug("fetching http://%s@h/x", LOGIN)
    assert is_hidden(caplog.text)
