"""A machine gets packages of its own release and architecture, or an error and its own sources."""

import gzip
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.minion import Minion
from infra_formula.repository import (
    client_plans,
    client_sources,
    offline_package,
    other_sources,
    other_systems,
    plans,
    systems,
)
from infra_formula.repository import published as repository
from repo_samples import Client, Server, deb, rpm, run, yum_upstream
from salt.exceptions import CommandExecutionError

pytest_plugins = ["repo_fixtures"]

OWN = "deb http://deb.debian.org/debian trixie main\n"


def grains_of(target):
    """What Salt says about a machine."""
    code, _, arch = target.partition(".")
    system = systems.OSES[code]
    family = {"deb": "Debian", "rpm": "RedHat"}[system["family"]]
    return {
        "os_family": family,
        "os": {"debian": "Debian", "ubuntu": "Ubuntu", "el": "Rocky"}[system["distro"]],
        "oscodename": system["codename"],
        "osmajorrelease": int("".join(c for c in code if c.isdigit())),
        "cpuarch": arch,
    }


@pytest.fixture
def machine(loaders, tmp_path, monkeypatch):
    """A machine of any system, with source files of its own, whose package manager obeys."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "own.list").write_text(OWN)
    own = {str(folder / "own.list"): "list"}
    monkeypatch.setattr(other_sources, "files", lambda keep=None, root="/": own)
    refreshed = []

    def make(target):
        suffix = "repo" if target.startswith("el") else "sources"
        monkeypatch.setattr(plans, "sources_directory", lambda family: (str(folder), suffix))
        salt = {"pkg.refresh_db": lambda **_: refreshed.append(1)}
        return Minion(salt, {**loaders.opts, "test": False}, grains_of(target), {})

    make.folder = folder
    return make


def is_untouched(machine):
    return (machine.folder / "own.list").read_text() == OWN and len(os.listdir(machine.folder)) == 1


def use(machine, target, spec, **options):
    given = {"exclusive": True, "optional": False, "test": False, **options}
    plan = plans.plan_used(machine(target), "pigsty", spec["home"], **given)
    plan.apply()
    return next(
        p.read_text() for p in machine.folder.iterdir() if p.name.startswith("pigsty-local")
    )


def client(machine, target, server, wait=0):
    nodes = [{"ip": "127.0.0.1", "seq": 1, "key": "infra-1"}]
    port = int(server.url.rpartition(":")[2])
    ports = {"repo": "pigsty", "http": port, "https": 443, "ca": None}
    plan = client_plans.plan_repository(machine(target), "x", nodes, ports, True, wait, None, False)
    plan.apply()
    return (
        machine.folder / ("pigsty-infra-1." + ("repo" if target[0] == "e" else "sources"))
    ).read_text()


@pytest.fixture
def web(spec):
    """The web root of the INFRA node."""
    Path(spec["home"]).mkdir(exist_ok=True)
    server = Server(spec["home"])
    yield server
    server.close()


def publish(web, spec):
    for rel, file in client_sources.client_files("pigsty", spec["home"], [web.url]).items():
        (web.root / rel).write_text(file["text"])


@pytest.mark.parametrize("target", ["d12.x86_64", "d13.x86_64", "d12.aarch64"])
def test_a_machine_gets_its_own_suite(target, machine, build, spec, web, tmp_path):
    build(targets=["d12.x86_64", "d13.x86_64", "d12.aarch64"])
    publish(web, spec)
    _, codename, arch = systems.of_target(target)
    for number, text in enumerate([use(machine, target, spec), client(machine, target, web)]):
        assert f"Suites: {codename}\n" in text
        apt = Client(tmp_path / f"apt-{number}", text, arch)
        code, out = apt.install("base")
        assert code == 0, out


@pytest.mark.parametrize("target", ["d13.x86_64", "d12.aarch64", "d11.x86_64", "u24.x86_64"])
def test_a_machine_of_another_system_keeps_its_sources(target, machine, build, spec, web):
    build(targets=["d12.x86_64"])
    publish(web, spec)
    _, codename, arch = systems.of_target(target)
    for call in (lambda: use(machine, target, spec), lambda: client(machine, target, web, wait=60)):
        with pytest.raises(CommandExecutionError, match=rf"this machine is {codename} {arch}"):
            call()
        assert is_untouched(machine)


def test_a_client_of_el_is_refused_what_is_for_debian(machine, build, spec, web):
    build(targets=["d12.x86_64"])
    publish(web, spec)
    with pytest.raises(CommandExecutionError, match="this machine is el9 x86_64"):
        use(machine, "el9.x86_64", spec)
    with pytest.raises(CommandExecutionError, match=r"no repository within 0 s: .*pigsty.repo"):
        client(machine, "el9.x86_64", web)
    assert is_untouched(machine)


def test_a_definition_of_another_suite_on_a_client_is_no_reason_to_keep_it(
    machine, build, spec, web
):
    build(targets=["d12.x86_64"])
    publish(web, spec)
    client(machine, "d12.x86_64", web)
    other_sources.switch(True, [])
    with pytest.raises(CommandExecutionError, match="this machine is trixie amd64"):
        client(machine, "d13.x86_64", web)


def test_the_other_node_is_used_where_one_is_for_another_system(
    machine, build, spec, web, tmp_path
):
    build(targets=["d12.x86_64"])
    publish(web, spec)
    right = build(targets=["d13.x86_64"], home=str(tmp_path / "right"))
    assert right["changed"]
    text = client_sources.client_files("pigsty", str(tmp_path / "right"), [web.url])
    (web.root / "pigsty-trixie.sources").write_text(text["pigsty.sources"]["text"])
    nodes = [{"ip": "127.0.0.1", "seq": 1, "key": "a"}, {"ip": "localhost", "seq": 2, "key": "b"}]
    ports = {"repo": "pigsty", "http": int(web.url.rpartition(":")[2]), "https": 1, "ca": None}
    plan = client_plans.plan_repository(
        machine("d13.x86_64"), "x", nodes, ports, True, 0, None, False
    )
    plan.apply()
    assert not plan.warnings
    assert "Suites: trixie" in (machine.folder / "pigsty-infra-1.sources").read_text()


# -- archives ------------------------------------------------------------------------------------


@pytest.fixture
def archive(build, minion, spec, tmp_path):
    def make(target):
        build(targets=[target])
        path = str(tmp_path / "pkg.tgz")
        offline_package.pack(minion, "pigsty", spec["home"], archive=path)
        return path

    return make


@pytest.mark.parametrize("machine_is", ["d13.x86_64", "d12.aarch64", "el9.x86_64", "u22.x86_64"])
@pytest.mark.parametrize("test", [True, False], ids=["test", "apply"])
def test_an_archive_for_another_system_is_not_unpacked(
    machine_is, test, archive, machine, place, repo_key
):
    path = place(archive("d12.x86_64"))
    home = str(place.folder / "www")

    def attempt(system):
        plan = plans.plan_unpacked(
            machine(system), "pigsty", path, home, "", "", False, False, repo_key, ""
        )
        if not test:
            plan.apply()

    with pytest.raises(CommandExecutionError, match=r"pkg.tgz: it holds d12.x86_64, but this"):
        attempt(machine_is)
    assert not Path(home, "pigsty").exists()
    attempt("d12.x86_64")
    assert Path(home, "pigsty/repo_complete").is_file() is not test


@pytest.fixture
def place():
    """Copies a file to a folder that only root can write to."""
    with tempfile.TemporaryDirectory(prefix="ra-", dir="/tmp") as tmp:
        Path(tmp).chmod(0o755)

        def put(path):
            return str(run("cp", "-v", path, tmp).split("'")[3])

        put.folder = Path(tmp)
        yield put


def pigstys(path, files):
    """An archive of Pigsty's, with no word about what it is for."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp, "pigsty")
        for name, version, arch in files:
            if arch in ("amd64", "arm64", "all"):
                deb(folder, name, version, arch)
            else:
                rpm(folder, name, version, arch)
        if list(folder.glob("*.deb")):
            text = run("dpkg-scanpackages", "--multiversion", ".", cwd=folder)
            (folder / "Packages.gz").write_bytes(gzip.compress(text.encode()))
        else:
            yum_upstream(folder)
        names = sorted(f.name for f in folder.iterdir() if f.suffix in (".deb", ".rpm"))
        (folder / "repo_complete").write_text(run("sha256sum", *names, cwd=folder))
        run("tar", "-czf", path, "-C", tmp, "pigsty")
    return str(path)


@pytest.mark.parametrize(
    ("files", "machine_is", "fits"),
    [
        ([("web", "1", "all")], "d13.x86_64", True),
        ([("web", "1", "amd64")], "d13.x86_64", True),
        ([("web", "1", "amd64")], "d13.aarch64", False),
        ([("postgresql-17", "17.4-1.pgdg12+1", "amd64")], "d13.x86_64", False),
        ([("postgresql-17", "17.4-1.pgdg12+1", "amd64")], "d12.x86_64", True),
        ([("postgresql-17", "17.4-1.pgdg22.04+1", "amd64")], "u24.x86_64", False),
        ([("docker-ce", "5:28.1-1~debian.12~bookworm", "amd64")], "d13.x86_64", False),
        ([("docker-ce", "5:28.1-1~debian.12~bookworm", "amd64")], "d12.x86_64", True),
        ([("libc6", "2.36-9+deb12u10", "amd64")], "d13.x86_64", False),
        ([("libc6", "2.41-12", "amd64"), ("old", "1-1+deb12u1", "all")], "d13.x86_64", True),
        # A release has some packages that its predecessor updated last.
        ([("old", "1-1+deb11u1", "all"), ("web", "1", "all")], "d12.x86_64", True),
    ],
)
def test_an_archive_that_says_nothing_is_known_by_its_packages(
    files, machine_is, fits, machine, place, repo_key
):
    path = pigstys(place.folder / "pkg.tgz", files)
    home = str(place.folder / "www")
    given = (machine(machine_is), path, "pigsty", home, "", "", False, repo_key)
    if fits:
        offline_package.unpack(*given)
        use(machine, machine_is, {"home": home})
        return
    with pytest.raises(CommandExecutionError, match="but this machine is"):
        offline_package.unpack(*given)
    assert not Path(home, "pigsty").exists()
    # Somebody unpacked it by hand.
    run("mkdir", "-p", home)
    run("tar", "-xzf", path, "-C", home)
    with pytest.raises(CommandExecutionError, match="but this machine is"):
        use(machine, machine_is, {"home": home})
    assert is_untouched(machine)


@pytest.mark.parametrize(
    ("names", "machine_is", "fits"),
    [
        (["a-1-1.el9.x86_64.rpm", "b-2-1.noarch.rpm"], "el9.x86_64", True),
        (["a-1-1.el9.x86_64.rpm"], "el8.x86_64", False),
        (["a-1-1.el9_4.2.x86_64.rpm"], "el9.x86_64", True),
        (["a-1-1.module_el8.5.0+1+2.x86_64.rpm"], "el8.x86_64", True),
        (["a-1-1.module_el8.5.0+1+2.x86_64.rpm"], "el9.x86_64", False),
        (["a-1-1.rhel9.x86_64.rpm", "a-1-1PGDG.rhel9.x86_64.rpm"], "el9.x86_64", True),
        (["a-1-1.aarch64.rpm"], "el9.x86_64", False),
        (["a-1-1.x86_64.rpm", "a-1-1.aarch64.rpm"], "el9.x86_64", True),
        (["a_1-1~bpo12+1_amd64.deb"], "d13.x86_64", False),
        (["a_1-1_amd64.deb", "a_1-1_arm64.deb"], "d13.aarch64", True),
        (["a_1-0ubuntu0.22.04.1_amd64.deb"], "u24.x86_64", False),
        (["a_1-0ubuntu0.22.04.1_amd64.deb"], "u22.x86_64", True),
        ([], "d13.x86_64", True),
    ],
)
def test_names_of_packages_tell_their_system(names, machine_is, fits):
    minion = Minion(grains=grains_of(machine_is))
    assert (other_systems.fault(minion, {}, names) == "") is fits


@given(st.lists(st.text(alphabet="ab_-.0~+deblrpm1239amd64", max_size=40)))
def test_no_name_of_a_file_breaks_the_comparison(names):
    for suffix in ("", ".deb", ".rpm"):
        other_systems.fault(Minion(grains=grains_of("d12.x86_64")), {}, [n + suffix for n in names])


# -- yum -----------------------------------------------------------------------------------------


def test_a_machine_at_a_minor_release_finds_the_packages_of_its_major_one(
    minion, spec, upstream_key, repo_key, tmp_path, machine, web
):
    root = tmp_path / "yum"
    upstream_key.sign_rpm(rpm(root, "base", "1"))
    yum_upstream(root, upstream_key)
    entry = {"name": "baseos", "module": "node", "releases": [8, 9], "arch": ["x86_64"],
             "baseurl": root.as_uri(), "gpgkey": upstream_key.public}  # fmt: skip
    transfer = {"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")}
    given = {**spec, "targets": ["el8.x86_64", "el9.x86_64"], "upstream": [entry],
             "packages": ["base"]}  # fmt: skip
    repository.build(minion, given, key=repo_key, transfer=transfer)
    publish(web, spec)
    text = client(machine, "el9.x86_64", web)
    assert "/el9.$basearch/" in text
    assert "/el9.$basearch/" in use(machine, "el9.x86_64", spec)
    with pytest.raises(
        CommandExecutionError, match=r"el8\.x86_64 el9\.x86_64, but this machine is el10"
    ):
        client(machine, "el10.x86_64", web)
    # And one that is no minion.
    (tmp_path / "repos").mkdir()
    (tmp_path / "repos/pigsty.repo").write_text((web.root / "pigsty.repo").read_text())
    for release in ("9.4", "8.10", "9"):
        done = subprocess.run(
            ["dnf", "-q", "-y", f"--releasever={release}", "--forcearch=x86_64",
             f"--setopt=reposdir={tmp_path / 'repos'}", f"--setopt=cachedir={tmp_path / release}",
             "--setopt=pluginpath=/nonexistent", "--setopt=varsdir=/nonexistent",
             f"--installroot={tmp_path / 'root'}", "repoquery", "base"],
            capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        assert "base-0:1-1" in done.stdout, done.stdout + done.stderr
    for ring in tmp_path.glob("*/*/pubring"):
        run("gpgconf", "--homedir", ring, "--kill", "gpg-agent")
