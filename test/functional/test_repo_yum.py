"""A yum repository for EL, built on Debian from signed and unsigned upstreams, and used by dnf."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from infra_formula.repository import client_sources
from infra_formula.repository import published as repository
from repo_samples import Key, Server, rpm, run, yum_upstream
from salt.exceptions import CommandExecutionError

pytest_plugins = ["repo_fixtures"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory, upstream_key):
    """Signed rpms with a chain of needs, and an unsigned one."""
    root = tmp_path_factory.mktemp("rpms")
    for name, options in {
        "web": {"requires": "base >= 2, mailer"},
        "base": {"arch": "x86_64"},
        "mailer-a": {"provides": "mailer"},
        "lone": {},
    }.items():
        upstream_key.sign_rpm(rpm(root, name, "2.1", **options))
    rpm(root, "plain", "1.0")
    return root


@pytest.fixture
def yum(tmp_path, packages, upstream_key):
    root = tmp_path / "yum"
    root.mkdir()
    for path in packages.iterdir():
        os.link(path, root / path.name)
    yum_upstream(root, upstream_key)
    server = Server(root)
    yield server
    server.close()


@pytest.fixture
def yum_spec(yum, upstream_key, tmp_path):
    return {
        "name": "pigsty",
        "home": str(tmp_path / "www"),
        "targets": ["el9.x86_64"],
        "modules": "node",
        "upstream": [
            {
                "name": "baseos",
                "module": "node",
                "releases": [8, 9],
                "arch": ["x86_64"],
                "baseurl": f"{yum.url}/",
                "gpgkey": upstream_key.public,
            }
        ],
        "packages": ["web"],
    }


@pytest.fixture
def build_yum(minion, yum_spec, repo_key, tmp_path):
    def call(force=False, **changes):
        transfer = {
            "cache": str(tmp_path / "cache"),
            "state": str(tmp_path / "state"),
            "retries": 1,
            "timeout": 10,
        }
        return repository.build(
            minion, {**yum_spec, **changes}, key=repo_key, transfer=transfer, force=force
        )

    return call


class Dnf:
    """dnf with a root of its own, whose only repository is the one in a definition."""

    def __init__(self, folder, definition):
        self.root = Path(folder)
        (self.root / "repos").mkdir(parents=True)
        (self.root / "repos" / "pigsty.repo").write_text(definition)

    def install(self, *names):
        done = subprocess.run(
            ["dnf", "-y", "--installroot", self.root / "root", "--releasever", "9",
             f"--setopt=reposdir={self.root / 'repos'}", f"--setopt=cachedir={self.root / 'cache'}",
             "--setopt=varsdir=/nonexistent", "--setopt=keepcache=1",
             "--setopt=skip_if_unavailable=0", "--setopt=pluginpath=/nonexistent",
             "--setopt=tsflags=nodocs", "--forcearch", "x86_64", "install", *names],
            capture_output=True, text=True, check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(self.root)},
        )  # fmt: skip
        for ring in self.root.glob("cache/*/pubring"):
            subprocess.run(["gpgconf", "--homedir", ring, "--kill", "gpg-agent"], check=True)
        return done.returncode, done.stdout + done.stderr

    def has(self, name):
        return (self.root / "root/usr/share" / name / "body").is_file()


def test_dnf_installs_with_all_signatures_checked(build_yum, modules, yum_spec, tmp_path):
    result = build_yum(packages=["web", "plain"])
    assert sorted(Path(p).name for p in result["added"]) == [
        "base-2.1-1.x86_64.rpm",
        "mailer-a-2.1-1.noarch.rpm",
        "plain-1.0-1.noarch.rpm",
        "web-2.1-1.noarch.rpm",
    ]
    server = Server(yum_spec["home"])
    try:
        files = client_sources.client_files("pigsty", yum_spec["home"], [server.url])
        text = files["pigsty.repo"]["text"]
        assert "gpgcheck = 1\nrepo_gpgcheck = 1\n" in text
        assert "el$releasever.$basearch" in text
        dnf = Dnf(tmp_path / "dnf", text)
        code, out = dnf.install("web", "plain")
        assert code == 0, out
        # plain bore no signature; ours is on it now.
        assert all(dnf.has(name) for name in ("web", "base", "mailer-a", "plain"))
        assert not dnf.has("lone")
    finally:
        server.close()
    assert modules.infra_repo.verify("pigsty", yum_spec["home"])["complete"]


def test_dnf_turns_to_another_node(build_yum, modules, yum_spec, tmp_path):
    build_yum()
    server = Server(yum_spec["home"])
    try:
        files = client_sources.client_files(
            "pigsty", yum_spec["home"], [server.url, "http://127.0.0.1:9"]
        )
        # Keys are read from the first that has them; packages from any.
        text = files["pigsty.repo"]["text"]
        key = f"file://{yum_spec['home']}/pigsty"
        text = text.partition("gpgkey")[0].replace(server.url, "http://127.0.0.1:10")
        text = text.replace("http://127.0.0.1:9", server.url)
        text += f"gpgkey = {key}/pigsty.asc {key}/keys/baseos.asc\n"
        code, out = Dnf(tmp_path / "dnf", text).install("web")
        assert code == 0, out
    finally:
        server.close()


def test_pigstys_own_definition_still_works(build_yum, yum_spec, tmp_path):
    build_yum()
    text = f"[pigsty-local]\nname=x\nbaseurl=file://{yum_spec['home']}/pigsty/\ngpgcheck=0\n"
    code, out = Dnf(tmp_path / "dnf", text).install("web")
    assert code == 0, out


@pytest.mark.parametrize(
    "victim",
    ["rpms/b/base-2.1-1.x86_64.rpm", "repodata/*-primary.xml.gz", "repodata/repomd.xml.asc"],
)
def test_one_byte_changed_is_refused_by_dnf_and_named_by_verify(
    victim, build_yum, modules, yum_spec, tmp_path
):
    build_yum()
    files = client_sources.client_files("pigsty", yum_spec["home"], [])
    path = next(Path(yum_spec["home"], "pigsty", "el9.x86_64").glob(victim))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, out = Dnf(tmp_path / "dnf", files["pigsty-local.repo"]["text"]).install("web")
    assert code != 0, out
    found = modules.infra_repo.verify("pigsty", yum_spec["home"])
    assert any(path.name in problem for problem in found["problems"]), found


def test_a_package_signed_by_somebody_else_is_refused(
    build_yum, yum_spec, yum, packages, upstream_key
):
    other = Key("Foreign <f@example.org>")
    entry = yum_spec["upstream"][0]
    with pytest.raises(CommandExecutionError, match=r"baseos"):
        build_yum(upstream=[{**entry, "gpgkey": other.public}])
    # An upstream whose index is not signed is held to the signatures of its packages.
    loose = {**entry, "meta": {"repo_gpgcheck": 0}}
    (yum.root / "repodata/repomd.xml.asc").unlink()
    with pytest.raises(CommandExecutionError) as caught:
        build_yum(upstream=[{**loose, "gpgkey": other.public}])
    assert "base-2.1-1.x86_64.rpm (unknown)" in str(caught.value)
    with pytest.raises(CommandExecutionError, match=r"plain-1.0-1.noarch.rpm \(unsigned\)"):
        build_yum(upstream=[loose], packages=["plain"])
    assert build_yum(upstream=[loose])["packages"] == 3
    other.close()


def test_no_agent_of_gpg_stays_behind(build_yum, tmp_path, repo_key):
    build_yum(packages=["plain", "base"])
    running = run("ps", "-wweo", "args").splitlines()
    agents = [line for line in running if line.startswith("gpg-agent")]
    assert not [a for a in agents if str(tmp_path) in a or repo_key["home"] in a]


def test_a_trusted_upstream_is_signed_by_us(build_yum, modules, yum_spec, tmp_path):
    entry = {k: v for k, v in yum_spec["upstream"][0].items() if k != "gpgkey"}
    build_yum(upstream=[{**entry, "trusted": True}])
    text = client_sources.client_files("pigsty", yum_spec["home"], [])
    code, out = Dnf(tmp_path / "dnf", text["pigsty-local.repo"]["text"]).install("web")
    assert code == 0, out
    status = modules.infra_repo.status("pigsty", yum_spec["home"])
    assert status["upstreams"][0]["verified"] is False


def test_every_missing_name_is_in_one_error(build_yum):
    with pytest.raises(CommandExecutionError) as caught:
        build_yum(packages=["web", "nosuch1", "nosuch2"])
    assert "el9.x86_64: no upstream has nosuch1, nosuch2" in str(caught.value)


def test_an_upstream_that_is_gone(build_yum, yum):
    yum.faults = {"repodata": 404}
    with pytest.raises(CommandExecutionError, match=r"el9.x86_64: dnf cannot use the upstreams"):
        build_yum()


def test_one_more_package_and_one_less(build_yum, yum_spec, modules):
    build_yum(packages=["base"])
    before = Path(yum_spec["home"], "pigsty/el9.x86_64/repodata")
    told = {p.name for p in before.iterdir()} - {"repomd.xml", "repomd.xml.asc"}
    result = build_yum(packages=["base", "lone"])
    assert [Path(p).name for p in result["added"]] == ["lone-2.1-1.noarch.rpm"]
    # A client in the middle of an update finds what the former index told of.
    assert told < {p.name for p in before.iterdir()}
    result = build_yum(packages=["lone"])
    assert [Path(p).name for p in result["removed"]] == ["base-2.1-1.x86_64.rpm"]
    assert modules.infra_repo.verify("pigsty", yum_spec["home"])["complete"]


def test_apt_and_yum_repositories_from_one_build(build_yum, modules, yum_spec, spec, tmp_path):
    upstreams = [*yum_spec["upstream"], *spec["upstream"]]
    result = build_yum(upstream=upstreams, targets=["d12.x86_64", "d13.x86_64", "el9.x86_64"])
    assert result["packages"] == 9
    files = client_sources.client_files("pigsty", yum_spec["home"], ["http://10.10.10.10"])
    assert {"pigsty.repo", "pigsty.sources", "pigsty-trixie.sources"} <= set(files)


def test_an_older_index_is_refused_with_a_cache_and_without(build_yum, yum, upstream_key, tmp_path):
    build_yum()
    for keep_cache in (True, False):
        if not keep_cache:
            shutil.rmtree(tmp_path / "cache")
        index = ["createrepo_c", "--quiet", "--no-database", "--set-timestamp-to-revision",
                 "--revision=1500000000", yum.root]  # fmt: skip
        run(*index)
        repomd = Path(yum.root, "repodata", "repomd.xml")
        upstream_key.detach(repomd, f"{repomd}.asc")
        with pytest.raises(CommandExecutionError, match="serve an older state again"):
            build_yum(force=True)
    yum_upstream(yum.root, upstream_key)
    build_yum(force=True)
