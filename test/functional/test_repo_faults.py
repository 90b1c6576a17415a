"""Bad input and faults: a clear error each time, and what is published stays and installs."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from infra_formula.repository import client_sources, releases, signing
from infra_formula.repository import published as repository
from repo_samples import REPO, Client, Key, apt_upstream, deb
from salt.exceptions import CommandExecutionError, SaltInvocationError

pytest_plugins = ["repo_fixtures"]


@pytest.fixture
def published(build, modules, spec, tmp_path):
    """A repository that must survive what the test does."""
    before = build(packages=["base"])["path"]

    def check():
        real = Path(spec["home"], "pigsty").resolve()
        assert str(real) == before
        assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]
        text = client_sources.client_files("pigsty", spec["home"], [])
        client = Client(tmp_path / "client", text["pigsty-local.sources"]["text"])
        code, out = client.install("base")
        assert code == 0, out
        assert not list(real.parent.glob(".new-*"))

    return check


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modules": "node,pgsqll"}, "no upstream has the module 'pgsqll'"),
        ({"region": "chna"}, "did you mean 'china'"),
        ({"targets": ["d12.x86-64"]}, "unknown architecture 'x86-64'"),
        ({"targets": ["d99.x86_64"]}, "unknown system 'd99'"),
        ({"targets": ["el9.x86_64"]}, "no upstream of the modules node fits el9.x86_64"),
        ({"packages": ["a;b"]}, "'a;b' cannot be the name of a package"),
        ({"packages": ["-o=x"]}, "cannot be the name"),
        ({"name": "../x"}, "repo_name"),
        ({"keep": 0}, "repo_keep"),
        ({"url_packages": [{"url": "ftp://a/b.deb"}]}, "repo_url_packages[0]"),
        ({"url_packages": [{"url": "http://a/b.deb", "checksum": "zz"}]}, "checksum"),
    ],
)
def test_a_request_that_cannot_be_right_names_key_and_value(change, message, build, published):
    with pytest.raises(SaltInvocationError) as caught:
        build(**change)
    assert message in str(caught.value)
    published()


def test_an_upstream_without_key_has_to_be_called_trusted(build, spec, upstream_key):
    bare = {k: v for k, v in spec["upstream"][0].items() if k != "gpgkey"}
    with pytest.raises(SaltInvocationError, match="trusted: true"):
        build(upstream=[bare])
    assert build(upstream=[{**bare, "trusted": True}])["packages"] == 3
    with pytest.raises(SaltInvocationError, match="which one is meant"):
        build(upstream=[{**spec["upstream"][0], "trusted": True}])


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
def test_a_package_that_the_upstream_refuses(status, build, upstream, published):
    upstream.faults = {"web_1.0": status}
    with pytest.raises(CommandExecutionError) as caught:
        build()
    assert f"web_1.0_all.deb: it answered {status}" in str(caught.value)
    published()


def test_every_file_that_cannot_be_had_is_named(build, upstream, published):
    upstream.faults = {"web_1.0": 404, "mailer-a": 403}
    with pytest.raises(CommandExecutionError) as caught:
        build()
    assert "2 of 2 files" in str(caught.value)
    assert "web_1.0_all.deb" in str(caught.value)
    assert "mailer-a_1.5_all.deb" in str(caught.value)
    published()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_index_that_the_upstream_refuses(status, build, upstream, published):
    upstream.faults = {"/dists/": status}
    with pytest.raises(CommandExecutionError) as caught:
        build()
    assert "d12.x86_64: apt cannot use the upstreams" in str(caught.value)
    published()


def test_an_upstream_that_is_down(build, spec, upstream, published):
    entry = {**spec["upstream"][0], "baseurl": "http://127.0.0.1:9 stable main"}
    with pytest.raises(CommandExecutionError, match="apt cannot use the upstreams"):
        build(upstream=[entry])
    published()


def test_a_checksum_that_is_wrong(build, upstream, published):
    upstream.faults = {"web_1.0": "flip"}
    with pytest.raises(CommandExecutionError, match=r"web_1.0_all.deb: its sha256 is .* says"):
        build()
    published()


def test_a_file_that_is_cut_off_for_ever(build, upstream, published):
    upstream.faults = {"web_1.0": "cut"}
    with pytest.raises(CommandExecutionError) as caught:
        build(retries=0)
    assert "broke off" in str(caught.value)
    published()


def test_a_file_that_is_cut_off_once_is_gone_on_with(build, upstream):
    upstream.faults = {"web_1.0": "cut-once"}
    assert build(retries=2)["packages"] == 3
    assert [path for path, start in upstream.ranges if start > 0] == ["/pool/web_1.0_all.deb"]


def test_redirections_for_ever(build, upstream, published):
    upstream.faults = {"web_1.0": "loop"}
    with pytest.raises(CommandExecutionError, match="more than 5 redirections"):
        build()
    published()


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_an_upstream_that_is_slow_is_given_up(fault, build, upstream, published):
    upstream.faults = {"web_1.0": fault}
    with pytest.raises(CommandExecutionError) as caught:
        build(retries=0, timeout=1)
    why = {"hang": "no answer in time", "drip": "less than 1024 bytes per second"}[fault]
    assert why in str(caught.value)
    published()


def test_a_signature_by_a_foreign_key(build, spec, published):
    other = Key("Foreign <f@example.org>")
    entry = {**spec["upstream"][0], "gpgkey": other.public}
    other.close()
    with pytest.raises(CommandExecutionError, match=r"NO_PUBKEY|not signed"):
        build(upstream=[entry])
    published()


def test_a_key_with_another_fingerprint(build, spec, published):
    entry = {**spec["upstream"][0], "fingerprint": "0" * 40}
    with pytest.raises(CommandExecutionError, match=f"but expected {'0' * 40}"):
        build(upstream=[entry])
    published()


def test_an_index_that_has_expired(build, spec, upstream, upstream_key, published):
    apt_upstream(upstream.root, upstream_key, fields=["Valid-Until: Mon, 01 Jan 2024 00:00:00 UTC"])
    with pytest.raises(CommandExecutionError, match="expired"):
        build()
    published()


def test_an_index_that_was_changed(build, upstream, published):
    index = upstream.root / "dists/stable/InRelease"
    index.write_text(index.read_text().replace("Suite: stable", "Suite: stabIe"))
    with pytest.raises(CommandExecutionError, match=r"BADSIG|not signed|Clearsigned"):
        build()
    published()


def test_a_name_that_cannot_be_installed_says_why(build, upstream, upstream_key, published):
    deb(upstream.root / "pool", "broken", "1", Depends="base (>= 99)")
    apt_upstream(upstream.root, upstream_key)
    with pytest.raises(CommandExecutionError) as caught:
        build(packages=["web broken"])
    assert "d12.x86_64: broken cannot be installed" in str(caught.value)
    assert "99" in str(caught.value)
    published()


def test_a_package_that_is_no_package(build, upstream, published):
    (upstream.root / "junk_1_all.deb").write_bytes(b"junk")
    junk = {
        "url": f"{upstream.url}/junk_1_all.deb",
        "checksum": hashlib.sha256(b"junk").hexdigest(),
    }
    with pytest.raises(CommandExecutionError) as caught:
        build(url_packages=[junk])
    assert "pool/bookworm/j/junk_1_all.deb" in str(caught.value)
    published()


@pytest.fixture
def small(tmp_path):
    """A file system with room for next to nothing."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True, capture_output=True
    )
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    build, upstream, upstream_key, small
):
    deb(upstream.root / "pool", "large", "1", body=os.urandom(2**21))
    apt_upstream(upstream.root, upstream_key)
    upstream.requests.clear()
    with pytest.raises(CommandExecutionError, match="MiB are still to be fetched"):
        build(home=str(small), packages=["large"])
    assert not any(path.endswith(".deb") for path in upstream.requests)


@pytest.mark.fault(
    "the disk full in the middle of building a repository",
    "an error that says so; what was published stays",
)
def test_a_disk_that_fills_up_in_the_middle(build, modules, upstream, upstream_key, small):
    home = str(small)
    before = build(home=home, packages=["base"])["path"]
    deb(upstream.root / "pool", "large", "1", body=os.urandom(2**19))
    apt_upstream(upstream.root, upstream_key)
    # Sizes of what comes from a URL are not known beforehand.
    content = os.urandom(2**21)
    (upstream.root / "blob.tgz").write_bytes(content)
    blob = {"url": f"{upstream.url}/blob.tgz", "checksum": hashlib.sha256(content).hexdigest()}
    with pytest.raises(CommandExecutionError, match="No space left on device"):
        build(home=home, packages=["base"], url_packages=[blob], retries=0)
    assert os.path.realpath(f"{home}/pigsty") == before
    assert modules.infra_repo.verify("pigsty", home)["complete"]


# What a killed build leaves has to be of use to the next one, and harm nothing.
_STAGES = {
    "fetch": ("package_store", "path"),
    "link": ("contents", "link"),
    "index": ("indexes", "write_suite"),
    "sign": ("signing", "sign"),
    "seal": ("releases", "seal"),
    "publish": ("releases", "publish"),
    "switch": ("releases", "_point"),
    "sweep": ("releases", "_remove_old"),
}

_CHILD = """
import json, os, signal, sys, threading
import salt.config, salt.loader
from infra_formula.minion import Minion
from infra_formula.repository import published
opts, module, function, times, arguments = map(json.loads, sys.argv[1:])
options = salt.config.minion_config(None)
options.update(opts)
calls = []
def hook(frame, event, _argument):
    if event == "call" and frame.f_code.co_name == function:
        if frame.f_code.co_filename.endswith(f"repository/{module}.py"):
            calls.append(1)
            if len(calls) == times:
                os.kill(os.getpid(), signal.SIGKILL)
modules = salt.loader.minion_mods(options)
threading.setprofile(hook)
sys.setprofile(hook)
published.build(Minion(modules, options), **arguments)
"""


@pytest.mark.fault(
    "`kill -9` at each stage of building a repository",
    "never half-published; the next run completes it",
)
@pytest.mark.parametrize("stage", _STAGES)
def test_kill_9_and_run_again(stage, build, modules, loaders, spec, upstream, repo_key, tmp_path):
    published = build(packages=["base"])
    upstream.requests.clear()
    module, function = _STAGES[stage]
    opts = {
        key: loaders.opts[key]
        for key in ("root_dir", "cachedir", "extension_modules", "module_dirs")
    }
    arguments = {
        "request": spec,
        "key": repo_key,
        "transfer": {
            "cache": str(tmp_path / "cache"),
            "state": str(tmp_path / "state"),
            "connections": 1,
        },
    }
    child = subprocess.run(
        [sys.executable, "-c", _CHILD]
        + [
            json.dumps(a) for a in (opts, module, function, 2 if stage == "fetch" else 1, arguments)
        ],
        env={**os.environ, "PYTHONPATH": str(REPO / "_utils")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr
    live = Path(spec["home"], "pigsty")
    if stage != "sweep":
        assert str(live.resolve()) == published["path"]
    assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]
    fetched = {p for p in upstream.requests if p.endswith(".deb")}
    upstream.requests.clear()
    result = build()
    assert result["packages"] == 3
    again = {p for p in upstream.requests if p.endswith(".deb")}
    assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]
    assert not list(live.resolve().parent.glob(".new-*"))
    if stage == "fetch":
        assert len(again) < 3
    else:
        assert not again & fetched


def test_kill_9_in_the_middle_of_a_file_costs_only_its_rest(
    build, spec, upstream, upstream_key, repo_key, tmp_path
):
    body = os.urandom(400_000)
    deb(upstream.root / "pool", "large", "1", body=body)
    apt_upstream(upstream.root, upstream_key)
    upstream.faults = {"large_1": "cut"}
    with pytest.raises(CommandExecutionError, match="broke off"):
        build(packages=["large"], retries=0)
    upstream.faults = {}
    assert build(packages=["large"])["packages"] == 1
    ((path, start),) = upstream.ranges
    assert path.endswith("large_1_all.deb")
    assert 100_000 < start < 400_000


@pytest.mark.fault("what apt had fetched of an upstream damaged", "built as if it were not there")
@pytest.mark.parametrize("damage", [b"", b"\x00\xff garbage", b"Package: x\nVersion"])
def test_what_apt_had_fetched_of_an_upstream_is_damaged(
    damage, build, upstream, upstream_key, tmp_path
):
    build(packages=["base"])
    damaged = 0
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file() and ("/lists/" in str(path) or path.suffix == ".bin"):
            path.write_bytes(damage)
            damaged += 1
    assert damaged >= 2
    deb(upstream.root / "pool", "later", "1")
    assert build(packages=["base", "web"])["packages"] == 3


@pytest.mark.fault("the caches and seals of a repository damaged", "built anew; whole")
@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[3]"])
def test_what_is_remembered_of_a_repository_is_damaged(damage, build, modules, spec):
    build(packages=["base"])
    work = Path(spec["home"], ".pigsty")
    damaged = [
        path
        for folder in ("cache", "seals")
        for path in (work / folder).rglob("*")
        if path.is_file() and path.suffix in (".json", ".db")
    ]
    assert len(damaged) >= 3
    for path in damaged:
        path.write_bytes(damage)
    assert repository.damage("pigsty", spec["home"]) == []
    assert build(packages=["base", "web"])["packages"] == 3
    assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]


@pytest.mark.fault(
    "a repository's marker or note damaged", "not served as complete; published anew"
)
@pytest.mark.parametrize("name", ["repo_complete", "repo_info.json"])
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe{"])
def test_a_damaged_marker_is_no_complete_repository_and_is_made_anew(
    name, damage, build, modules, spec
):
    before = build(packages=["base"])["path"]
    Path(before, name).write_bytes(damage)
    assert repository.damage("pigsty", spec["home"])
    assert not releases.state(spec["home"], "pigsty")["complete"]
    assert build(packages=["base"])["path"] != before
    assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]


@pytest.mark.fault("a client's clock a day off, installing from the repository", "it installs")
@pytest.mark.parametrize("offset", ["-1d", "+1d"])
def test_a_client_whose_clock_is_a_day_off_installs(
    offset, build, modules, spec, tmp_path, monkeypatch
):
    build(packages=["base"])
    text = client_sources.client_files("pigsty", spec["home"], [])
    client = Client(tmp_path / "client", text["pigsty-local.sources"]["text"])
    real = subprocess.run
    another = ["faketime", "-f", offset]
    monkeypatch.setattr(subprocess, "run", lambda argv, **more: real([*another, *argv], **more))
    code, out = client.install("base")
    assert code == 0, out


@pytest.fixture
def home():
    """A home directory of gpg, whose path a socket fits below."""
    with tempfile.TemporaryDirectory(prefix="gk-", dir="/tmp") as folder:
        yield Path(folder, "gnupg")


@pytest.mark.fault("the repository's signing key damaged", "refused by name; no other is made")
@pytest.mark.parametrize("damage", [b"", b"\x00\xff garbage"])
def test_a_damaged_ring_is_refused_and_no_other_key_is_made(damage, home, modules):
    kept = signing.key(str(home))
    ring = home / "pubring.kbx"
    whole = ring.read_bytes()
    ring.write_bytes(damage)
    with pytest.raises(CommandExecutionError, match=f"{home} is damaged"):
        signing.key(str(home))
    ring.write_bytes(whole)
    assert signing.key(str(home)) == kept


@pytest.mark.fault("the repository's signing key damaged", "refused by name; no other is made")
@pytest.mark.parametrize("damage", [b"", b"\x00\xff garbage"])
def test_a_damaged_secret_key_is_named_and_nothing_is_published(
    damage, home, modules, minion, spec, tmp_path
):
    def build(*packages):
        transfer = {
            "cache": str(tmp_path / "cache"),
            "state": str(tmp_path / "state"),
            "retries": 1,
            "timeout": 10,
        }
        asked = {**spec, "packages": list(packages)}
        return repository.build(minion, asked, key={"home": str(home)}, transfer=transfer)["path"]

    before = build("base")
    (path,) = home.glob("private-keys-v1.d/*.key")
    whole = path.read_bytes()
    path.write_bytes(damage)
    with pytest.raises(CommandExecutionError, match=f"gpg with {home} failed"):
        build("base", "web")
    assert str(Path(spec["home"], "pigsty").resolve()) == before
    assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]
    path.write_bytes(whole)
    assert build("base", "web") != before


def test_a_key_whose_making_was_interrupted_is_made_anew(home, modules):
    left = home.with_name(".gnupg-new")
    left.mkdir(parents=True)
    (left / "private-keys-v1.d").mkdir()
    home.mkdir()
    key = signing.key(str(home))
    assert signing.key(str(home)) == key
    assert [path.name for path in home.parent.iterdir()] == ["gnupg"]


def test_an_older_signed_index_is_refused_without_a_cache_too(
    build, upstream, upstream_key, published, tmp_path
):
    record = tmp_path / "state/pigsty/upstream-dates.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    shutil.rmtree(tmp_path / "cache")
    apt_upstream(upstream.root, upstream_key, moment=time.time() - 86400)
    with pytest.raises(CommandExecutionError, match="serve an older state again"):
        build(force=True)
    published()
    shutil.rmtree(tmp_path / "cache")
    apt_upstream(upstream.root, upstream_key)
    build(force=True)
