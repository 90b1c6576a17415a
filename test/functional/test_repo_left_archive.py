"""An archive that is left in its place neither freezes a builder nor undoes a build."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from repo_samples import apt_upstream, deb

pytest_plugins = ["repo_fixtures"]


@pytest.fixture
def place():
    """A folder that only root can write to."""
    with tempfile.TemporaryDirectory(prefix="ra-", dir="/tmp") as tmp:
        Path(tmp).chmod(0o755)
        yield Path(tmp)


class Node:
    """An INFRA node that is applied again and again: archive, then build."""

    def __init__(self, states, modules, spec, key, folder):
        self.states, self.modules, self.spec, self.key = states, modules, spec, key
        self.home = str(folder / "www")
        self.archive = str(folder / "pkg.tgz")
        self.folder = folder

    def apply(self, force=False, test=False, **changes):
        request = {k: v for k, v in {**self.spec, **changes}.items() if k not in ("name", "home")}
        transfer = {"cache": str(self.folder / "cache"), "state": str(self.folder / "state"),
                    "retries": 0, "timeout": 10}  # fmt: skip
        unpacked = self.states.infra_repo.unpacked(
            name="pigsty", home=self.home, archive=self.archive, optional=True, key=self.key,
            test=test,
        )  # fmt: skip
        built = self.states.infra_repo.built(
            name="pigsty", home=self.home, request=request, key=self.key, transfer=transfer,
            force=force, test=test,
        )  # fmt: skip
        return unpacked, built

    def packages(self):
        return sorted(p.name for p in Path(self.home, "pigsty/pool").rglob("*.deb"))

    def origin(self):
        return self.modules.infra_repo.status("pigsty", self.home)["origin"]

    def pack(self):
        return self.modules.infra_repo.pack("pigsty", self.home, archive=self.archive)


@pytest.fixture
def node(states, modules, spec, repo_key, place):
    return Node(states, modules, spec, repo_key, place)


def settled(results):
    return all(ret.result is True and not ret.changes for ret in results)


def test_what_this_node_packed_does_not_freeze_it(node, modules):
    assert node.apply(packages=["base"])[1].changes
    node.pack()
    unpacked, built = node.apply(packages=["base"])
    assert settled((unpacked, built))
    assert "was packed by this machine" in unpacked.comment
    assert node.origin() == "built"
    # The pillar's changes hold.
    assert node.apply(packages=["extra"])[1].changes
    assert node.packages() == ["extra_1_all.deb"]
    # Under another name and time as well.
    shutil.copy(node.archive, f"{node.archive}.copy")
    os.replace(f"{node.archive}.copy", node.archive)
    assert settled(node.apply(packages=["extra"]))
    assert settled(node.apply(packages=["extra"]))
    assert node.packages() == ["extra_1_all.deb"]
    modules.infra_repo.rollback("pigsty", node.home)
    unpacked, built = node.apply(packages=["extra"])
    assert not unpacked.changes


@pytest.fixture
def archive_of(build, minion, modules, spec, place):
    """An archive that another machine packed."""

    def make(**changes):
        build(**changes)
        modules.infra_repo.pack("pigsty", spec["home"], archive=str(place / "pkg.tgz"))

    return make


def test_an_archive_that_is_left_does_not_revert_a_build(
    node, archive_of, upstream, upstream_key, modules
):
    archive_of(packages=["base"])
    unpacked, built = node.apply(packages=["base"])
    assert unpacked.changes
    assert not built.changes
    status = modules.infra_repo.status("pigsty", node.home)
    digest = modules.file.get_hash(node.archive, "sha256")
    assert status["archive"]["sha256"] == digest
    text = modules.infra_repo.summary("pigsty", node.home)
    assert f"archive:   {node.archive} sha256:{digest}" in text
    deb(upstream.root / "pool", "base", "3.0", arch="amd64")
    apt_upstream(upstream.root, upstream_key)
    unpacked, built = node.apply(packages=["base"], force=True)
    assert not unpacked.changes
    assert built.changes
    assert node.packages() == ["base_3.0_amd64.deb"]
    for _ in range(2):
        unpacked, built = node.apply(packages=["base"])
        assert settled((unpacked, built))
        assert "infra_repo.unpack" in unpacked.comment
    os.utime(node.archive)
    assert settled(node.apply(packages=["base"]))
    assert node.packages() == ["base_3.0_amd64.deb"]
    assert "archive:" not in modules.infra_repo.summary("pigsty", node.home)


def test_a_pillar_that_changed_after_an_archive_is_a_conflict(node, archive_of):
    archive_of(packages=["base"])
    node.apply(packages=["base"])
    assert settled(node.apply(packages=["base"]))
    for changes in ({"packages": ["extra"]}, {"targets": ["d12.x86_64", "d13.x86_64"]},
                    {"url_packages": ["https://example.org/a_1_all.deb"]}):  # fmt: skip
        for test in (True, False):
            _, built = node.apply(**{"packages": ["base"], **changes}, test=test)
            assert built.result is False
            assert "was unpacked from" in built.comment
            assert "repo_build: true" in built.comment
    assert settled(node.apply(packages=["base"]))
    assert node.apply(packages=["extra"], force=True)[1].changes
    assert settled(node.apply(packages=["extra"]))
    assert node.packages() == ["extra_1_all.deb"]


def test_a_new_archive_is_taken_with_what_the_pillar_asks_for_then(node, archive_of):
    archive_of(packages=["base"])
    node.apply(packages=["base"])
    archive_of(packages=["extra"])
    unpacked, built = node.apply(packages=["extra"])
    assert unpacked.changes
    assert built.result is True
    assert node.packages() == ["extra_1_all.deb"]


def test_a_lost_repository_is_restored_from_its_archive(node, archive_of):
    archive_of(packages=["base"])
    node.apply(packages=["base"])
    next(Path(node.home, "pigsty/pool").rglob("*.deb")).unlink()
    unpacked, built = node.apply(packages=["base"])
    assert unpacked.changes
    assert built.result is True
    assert node.packages() == ["base_2.1_amd64.deb"]
    assert settled(node.apply(packages=["base"]))
