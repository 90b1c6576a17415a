"""Snapshots of machines: which one fits, what is in it, and when it goes."""

import os
import time
from pathlib import Path

import pytest
from lab import record, snapshot
from lab.snapshot import Snapshot
from lab.suites import MachineSpec

IMAGE = Path("/images/debian-12-0123456789ab")


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("INFRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("INFRA_LAB_STATE", str(tmp_path / "state"))


@pytest.fixture
def states(tmp_path):
    folder = tmp_path / "infra"
    (folder / "nginx").mkdir(parents=True)
    (folder / "nginx/init.sls").write_text("nginx: pkg.installed\n")
    return folder


@pytest.fixture
def written(tmp_path):
    upper = tmp_path / "upper"
    for path in ("etc/hosts", "var/log/journal/1/system.journal", "var/cache/apt/archives/a.deb"):
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        (upper / path).write_text("of the first machine\n")
    (upper / "etc/hosts").chmod(0o640)
    return upper


def usable(kept):
    with snapshot.locked():
        return kept.usable()


@pytest.mark.parametrize("change", ["image", "state", "new state", "moved state", "text", "path"])
def test_whatever_leads_to_a_snapshot_makes_it_another(states, change):
    texts = {"/srv/pillar/infra.sls": "infra: {}\n"}
    before = snapshot.digest(IMAGE, [states], texts)
    assert snapshot.digest(IMAGE, [states], dict(texts)) == before
    image = IMAGE
    if change == "image":
        image = IMAGE.with_name("debian-12-ba9876543210")
    elif change == "state":
        (states / "nginx/init.sls").write_text("nginx: pkg.latest\n")
    elif change == "new state":
        (states / "dns.sls").write_text("")
    elif change == "moved state":
        (states / "nginx/init.sls").rename(states / "nginx/other.sls")
    elif change == "text":
        texts = {"/srv/pillar/infra.sls": "infra: {admin_ip: 10.10.10.10}\n"}
    else:
        texts = {"/srv/pillar/other.sls": "infra: {}\n"}
    assert snapshot.digest(image, [states], texts) != before


def test_what_python_compiles_makes_no_difference(states):
    before = snapshot.digest(IMAGE, [states], {})
    (states / "__pycache__").mkdir()
    (states / "__pycache__/map.pyc").write_bytes(b"\0")
    assert snapshot.digest(IMAGE, [states], {}) == before


def test_a_snapshot_has_what_was_written_but_no_journal_and_no_packages(written):
    kept = Snapshot("demo-distro", "0123456789ab")
    assert not usable(kept)
    kept.take(written)
    assert usable(kept)
    files = {str(p.relative_to(kept.folder)) for p in kept.folder.rglob("*") if p.is_file()}
    assert files == {"etc/hosts"}
    assert (kept.folder / "etc/hosts").stat().st_mode & 0o777 == 0o640


def test_only_root_reads_snapshots(written):
    kept = Snapshot("demo-distro", "0123456789ab")
    kept.take(written)
    assert kept.folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_snapshot_that_was_discarded_is_not_used_and_can_be_taken_again(written):
    kept, other = Snapshot("demo-distro", "a" * 12), Snapshot("demo-upstream", "b" * 12)
    kept.take(written)
    other.take(written)
    snapshot.discard("demo-distro")
    assert not usable(kept)
    assert usable(other)
    (written / "etc/hosts").write_text("of the second machine\n")
    kept.take(written)
    assert usable(kept)
    assert (kept.folder / "etc/hosts").read_text() == "of the second machine\n"


def test_a_snapshot_is_used_for_a_week(written):
    kept = Snapshot("demo-distro", "0123456789ab")
    kept.take(written)
    mark = kept.folder.with_name(f"{kept.folder.name}.taken")
    for age, fits in ((snapshot.KEEP_SECONDS - 3600, True), (snapshot.KEEP_SECONDS + 1, False)):
        os.utime(mark, (time.time() - age,) * 2)
        assert usable(kept) is fits


def test_a_new_snapshot_replaces_those_of_its_name_that_no_lab_uses(written):
    unused, used, new = (Snapshot("demo-distro", letter * 12) for letter in "abc")
    other = Snapshot("demo-upstream", "d" * 12)
    for kept in (other, used):
        kept.take(written)
    record.Record(
        name="demo", suite="default", platform="debian-12", link=0, tree="/tree",
        machines={"infra-1": MachineSpec("infra-1", "10.10.10.10")},
        snapshots={"infra-1": str(used.folder)},
    ).save()  # fmt: skip
    unused.take(written)
    new.take(written)
    assert not unused.folder.exists()
    assert used.folder.is_dir()
    assert usable(new)
    assert usable(other)


def test_a_snapshot_that_was_interrupted_is_not_used(written):
    kept = Snapshot("demo-distro", "0123456789ab")
    with snapshot.locked():
        half = kept.folder.with_name("demo-distro.making")
    (half / "etc").mkdir(parents=True)
    (half / "etc/left-over").touch()
    assert not usable(kept)
    kept.take(written)
    assert not (kept.folder / "etc/left-over").exists()
    assert not half.exists()
