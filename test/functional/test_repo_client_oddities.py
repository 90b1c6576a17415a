"""Oddities of clients: their clocks, programs, keys and source files."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from infra_formula.minion import Minion
from infra_formula.repository import (
    client_sources,
    client_trust,
    offline_package,
    other_sources,
    signing,
)
from repo_samples import Key, Server, rpm, run, yum_upstream
from salt.exceptions import CommandExecutionError, MinionError, SaltInvocationError

pytest_plugins = ["repo_fixtures"]


@pytest.fixture(scope="module")
def sqv(tmp_path_factory):
    """Debian 13's verifier; Debian 12 has it as a package."""
    found = shutil.which("sqv")
    if not found:
        folder = tmp_path_factory.mktemp("sqv")
        run("apt-get", "download", "-qq", "sqv", cwd=folder)
        run("dpkg-deb", "-x", next(folder.glob("*.deb")), folder)
        found = folder / "usr/bin/sqv"
    return str(found)


@pytest.mark.parametrize("offset", ["+0d", "-1h", "-1d", "+1d"])
def test_sqv_accepts_a_signature_though_the_clock_is_a_day_off(offset, sqv, build, spec):
    build(packages=["base"])
    home = Path(spec["home"], "pigsty")
    for signature in ("dists/bookworm/Release.gpg", "Release.gpg", "repo_complete.asc"):
        signed = home / signature.removesuffix(".gpg").removesuffix(".asc")
        run(
            "faketime",
            "-f",
            offset,
            sqv,
            "--keyring",
            home / "pigsty.gpg",
            home / signature,
            signed,
        )


def own_key(folder, *options, kind="rsa2048"):
    """An own secret key, as a file."""
    home = tempfile.mkdtemp(prefix="gk-", dir="/tmp")
    base = ["gpg", "--homedir", home, "--batch", "--quiet", *options, "--passphrase", ""]
    run(*base, "--quick-generate-key", "Own <o@example.org>", kind, "sign", "never")
    file = folder / "secret.asc"
    run(*base, "--armor", "--output", file, "--export-secret-keys")
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(home)
    return str(file)


@pytest.fixture
def place():
    """A folder that only root can write to."""
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as tmp:
        Path(tmp).chmod(0o755)
        yield Path(tmp)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ((), "rsa1024", "RSA of 1024 bits, which Debian 13 does not accept"),
        (("--cert-digest-algo", "SHA1"), "rsa2048", "binds its identity by SHA-1"),
    ],
)
def test_a_weak_own_key_is_refused(options, kind, message, place, sqv):
    file = own_key(place, *options, kind=kind)
    with pytest.raises(SaltInvocationError, match=rf"repo_key_file: .*{message}"):
        signing.key(str(place / "g"), secret_file=file)


@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
def test_a_strong_own_key_is_used_at_once(kind, place, sqv):
    file = own_key(place, kind=kind)
    found = signing.key(str(place / "g"), secret_file=file)
    (place / "data").write_text("x")
    item = {"source": str(place / "data"), "target": str(place / "data.asc"), "kind": "detached"}
    signing.sign(str(place / "g"), found["fingerprint"], [item])
    (place / "key.gpg").write_bytes(signing.dearmor(found["public"].encode()))
    run(sqv, "--keyring", place / "key.gpg", place / "data.asc", place / "data")
    assert signing.primary_fingerprint(found["public"].encode()) == found["fingerprint"]


# -- keys of upstreams ---------------------------------------------------------------------------

FORMS = {
    "CR LF": lambda text: text.replace("\n", "\r\n"),
    "blanks": lambda text: "".join(f"  {line} \n" for line in text.splitlines()),
    "leading text": lambda text: f"The key of the vendor:\n\n{text}\nEnd.\n",
    "a byte order mark": lambda text: f"\ufeff{text}",
    "CR": lambda text: text.replace("\n", "\r"),
}


@pytest.mark.parametrize("how", ["gpgkey", "file", "signed_by", "signed_by .gpg"])
@pytest.mark.parametrize("form", list(FORMS))
def test_a_key_is_read_in_any_form(form, how, build, spec, upstream_key, place):
    text = FORMS[form](upstream_key.public)
    file = place / ("key.gpg" if how.endswith(".gpg") else "key.asc")
    file.write_bytes(text.encode())
    entry = {k: v for k, v in spec["upstream"][0].items() if k != "gpgkey"}
    if how == "gpgkey":
        entry["gpgkey"] = text
    elif how == "file":
        entry["gpgkey"] = str(file)
    else:
        entry["signed_by"] = str(file)
    assert build(packages=["base"], upstream=[entry])["packages"] == 1


UPSTREAM = {"name": "x", "signed_by": "", "gpgkey": [], "fingerprint": [], "trusted": False}


def test_a_client_reads_a_key_in_any_form(upstream_key, place):
    (place / "key.asc").write_text(FORMS["CR LF"](upstream_key.public))
    upstream = {**UPSTREAM, "signed_by": str(place / "key.asc")}
    path = client_trust.upstream_key(Minion(), upstream, str(place / "keyrings"))
    assert path != str(place / "key.asc")
    assert Path(path).read_bytes() == upstream_key.public.encode()


@pytest.mark.parametrize("error", [MinionError("no route"), OSError("no route"), ValueError("x")])
def test_a_key_that_cannot_be_fetched_is_one_error(error, place):
    def fail(url):
        raise error

    upstream = {**UPSTREAM, "gpgkey": ["https://example.org/key"]}
    with pytest.raises(CommandExecutionError, match=r"example\.org/key: the key of x cannot"):
        client_trust.upstream_key(Minion({"cp.cache_file": fail}), upstream, str(place))


# -- source files --------------------------------------------------------------------------------

DEB822 = """# own
Types: deb
URIs: http://a.example/debian
Suites: bookworm
Components: main

Enabled: yes
Types: deb
URIs: http://b.example/debian
Suites: bookworm
Components: main
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("apt", "etc/apt/sources.list.d/a.sources", DEB822),
        ("apt", "etc/apt/sources.list", "deb http://c.example/debian x main\n# x\n"),
        ("yum", "etc/yum.repos.d/a.repo", "[a]\nname=a\nbaseurl=http://a\n\n[b]\nenabled = 1\n"),
    ],
)
def test_a_file_with_cr_lf_is_switched_off_whole_and_restored(end, kind, path, text, tmp_path):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_bytes(text.replace("\n", end).encode())
    before = file.read_bytes()
    other_sources.switch(False, [], str(tmp_path))
    if kind == "apt":
        done = subprocess.run(
            ["apt-get", "indextargets", "-o", f"Dir={tmp_path}", "--format", "$(REPO_URI)"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout == ""
    else:
        assert file.read_text().count("enabled=0") == 2
    assert other_sources.switch(False, [], str(tmp_path)) == {}
    other_sources.switch(True, [], str(tmp_path))
    assert file.read_bytes() == before


# -- one of two INFRA nodes is down --------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
def test_a_new_yum_client_installs_though_one_node_is_down(
    order, build, spec, upstream_key, tmp_path
):
    root = tmp_path / "yum"
    upstream_key.sign_rpm(rpm(root, "base", "1"))
    yum_upstream(root, upstream_key)
    entry = {"name": "baseos", "module": "node", "releases": [9], "arch": ["x86_64"],
             "baseurl": root.as_uri(), "gpgkey": upstream_key.public}  # fmt: skip
    build(targets=["el9.x86_64"], upstream=[entry], packages=["base"])
    server = Server(spec["home"])
    addresses = [server.url, "http://127.0.0.1:9"]
    files = client_sources.client_files("pigsty", spec["home"], addresses[:: 1 - 2 * order])
    server_text = files["pigsty.repo"]["text"]
    (tmp_path / "repos").mkdir()
    (tmp_path / "repos/pigsty.repo").write_text(server_text)
    done = subprocess.run(
        ["dnf", "-y", "--installroot", tmp_path / "root", "--releasever", "9",
         f"--setopt=reposdir={tmp_path / 'repos'}", f"--setopt=cachedir={tmp_path / 'cache'}",
         "--setopt=varsdir=/nonexistent", "--setopt=pluginpath=/nonexistent", "--setopt=retries=1",
         "--setopt=tsflags=nodocs", "--forcearch", "x86_64", "install", "base"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)},
    )  # fmt: skip
    for ring in tmp_path.glob("cache/*/pubring"):
        subprocess.run(["gpgconf", "--homedir", ring, "--kill", "gpg-agent"], check=True)
    server.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "root/usr/share/base/body").is_file()
    # A minion takes the section of each node by itself.
    text = client_trust.definition_of(server_text, "pigsty-infra-1", f"{server.url}/pigsty", "repo")
    assert text.count("[") == 1
    assert text.count("gpgkey") == 1


# -- without gpgv --------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch):
    """A machine without gpgv, until it is installed."""
    real = shutil.which
    monkeypatch.setattr(
        offline_package.shutil, "which", lambda name: None if name == "gpgv" else real(name)
    )
    return lambda: monkeypatch.setattr(offline_package.shutil, "which", real)


@pytest.fixture
def archive(build, minion, spec, place):
    build(packages=["base"])
    offline_package.pack(minion, "pigsty", spec["home"], archive=str(place / "pkg.tgz"))
    return str(place / "pkg.tgz")


def test_a_signed_archive_is_taken_before_gpgv_is_there(bare, archive, minion, place, repo_key):
    home = str(place / "www")
    fingerprint = signing.key(repo_key["home"])["fingerprint"]
    # Twice: the second one replaces what is signed by the same key.
    for _ in range(2):
        found = offline_package.unpack(minion, archive, "pigsty", home, fingerprint=fingerprint)
        assert found["key"] == fingerprint
        assert offline_package.unpacked_from("pigsty", home)["due"] == "verify"
    with pytest.raises(CommandExecutionError, match="was expected"):
        offline_package.unpack(minion, archive, "pigsty", home, fingerprint="A" * 40)
    bare()
    assert offline_package.complete_signature(minion, "pigsty", home)["key"] == fingerprint


def test_an_archive_of_another_key_is_refused_without_gpgv(bare, archive, minion, spec, place):
    other = Key("Other <o@example.org>")
    home = Path(place, "www")
    home.mkdir()
    (home / "pigsty.asc").write_text(other.public)
    with pytest.raises(CommandExecutionError, match=f"is signed by {other.fingerprint}"):
        offline_package.unpack(minion, archive, "pigsty", str(home))
    other.close()
