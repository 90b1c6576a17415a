"""Pigsty's older archives, flat and without a Release file, on a machine without its tools."""

import gzip
import tempfile
from pathlib import Path

import pytest
from infra_formula.minion import Minion
from infra_formula.repository import client_sources, offline_package, other_sources
from repo_samples import Client, Server, deb, run
from salt.exceptions import CommandExecutionError

pytest_plugins = ["repo_fixtures"]


@pytest.fixture(params=["Packages.gz", "Packages", "both"])
def old(request, minion, monkeypatch):
    """The home of a repository that was unpacked from such an archive."""
    monkeypatch.setattr(offline_package, "_can_sign", lambda stage: False)
    with tempfile.TemporaryDirectory(prefix="ra-", dir="/tmp") as tmp:
        Path(tmp).chmod(0o755)
        folder = Path(tmp, "in/pigsty")
        deb(folder, "web", "1.0")
        text = run("dpkg-scanpackages", "--multiversion", ".", cwd=folder).encode()
        if request.param != "Packages":
            (folder / "Packages.gz").write_bytes(gzip.compress(text))
        if request.param != "Packages.gz":
            (folder / "Packages").write_bytes(text)
        (folder / "repo_complete").write_text(run("md5sum", "web_1.0_all.deb", cwd=folder))
        run("tar", "-czf", f"{tmp}/pkg.tgz", "-C", f"{tmp}/in", "pigsty")
        home = f"{tmp}/www"
        offline_package.unpack(minion, f"{tmp}/pkg.tgz", "pigsty", home)
        yield home


def update(folder, text):
    """What apt says with the languages that a machine has by default."""
    client = Client(folder, text)
    config = client.root / "apt.conf"
    config.write_text(
        config.read_text().replace('Acquire::Languages "none";', "")
        + 'Acquire::Languages { "de"; "en"; };'
    )
    done = client.apt("update", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    code, out = client.install("web")
    assert code == 0, out
    return done.stdout


@pytest.mark.parametrize("kind", ["file", "http"])
def test_it_is_installed_from_without_an_error(kind, old, tmp_path):
    server = Server(old)
    files = client_sources.client_files("pigsty", old, [server.url])
    name = "pigsty-local.sources" if kind == "file" else "pigsty.sources"
    out = update(tmp_path / "apt", files[name]["text"])
    # Salt's refresh_db takes lines with Err for an error; whether apt says Err or Ign of what is
    # missing depends on time.
    assert not [line for line in out.splitlines() if "Translation" in line], out
    assert not [line for line in out.splitlines() if line.startswith("Err")], out
    server.close()


@pytest.mark.parametrize("kind", ["file", "http"])
def test_the_line_of_pigstys_clients_works(kind, old, tmp_path):
    server = Server(old)
    url = server.url if kind == "http" else f"file:{old}"
    out = update(tmp_path / "apt", f"deb [trusted=yes] {url}/pigsty ./\n")
    assert "Translation" not in out
    server.close()


@pytest.mark.parametrize("usable", [True, False])
def test_what_apt_passes_over_is_no_error(usable, tmp_path, monkeypatch):
    """Somebody put a folder there, which is used as it is."""
    folder = tmp_path / "www/pigsty"
    deb(folder, "web", "1.0")
    text = run("dpkg-scanpackages", "--multiversion", ".", cwd=folder).encode()
    (folder / "Packages.gz").write_bytes(gzip.compress(text) if usable else b"no gzip")
    (folder / "repo_complete").write_text(run("md5sum", "web_1.0_all.deb", cwd=folder))
    before = sorted(folder.iterdir())
    files = client_sources.client_files("pigsty", str(tmp_path / "www"), [])
    client = Client(tmp_path / "apt", files["pigsty-local.sources"]["text"])
    monkeypatch.setenv("APT_CONFIG", str(client.root / "apt.conf"))

    def refresh_db(failhard):
        assert failhard
        raise CommandExecutionError("Error getting repos: file:/www/pigsty ./ Translation-en")

    minion = Minion({"pkg.refresh_db": refresh_db}, grains={"os_family": "Debian"})
    if usable:
        other_sources.read_lists(minion)
    else:
        with pytest.raises(CommandExecutionError, match="Packages"):
            other_sources.read_lists(minion)
    assert sorted(folder.iterdir()) == before
