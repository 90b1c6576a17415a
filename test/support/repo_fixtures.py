"""Fixtures of the tests that build repositories; imported by name into each of their modules."""

import shutil
import tempfile

import pytest
from infra_formula.repository import published as repository
from repo_samples import Key, Server, apt_upstream, deb


@pytest.fixture(scope="module")
def upstream_key():
    key = Key()
    yield key
    key.close()


@pytest.fixture(scope="module")
def repo_key():
    """The repository's own key is made once; making one takes a second."""
    home = tempfile.mkdtemp(prefix="gr-", dir="/tmp")
    yield {"home": home}
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def upstream_tree(tmp_path_factory, upstream_key):
    """An apt upstream with a chain of needs, a virtual package and two that exclude each other."""
    root = tmp_path_factory.mktemp("upstream") / "up"
    pool = root / "pool"
    deb(pool, "web", "1.0", Depends="base (>= 2), mailer", Recommends="extra")
    deb(pool, "base", "2.1", arch="amd64")
    deb(pool, "base", "2.1", arch="arm64")
    deb(pool, "mailer-a", "1:1.5", Provides="mailer", Conflicts="mailer")
    deb(pool, "extra", "1")
    deb(pool, "left", "1", Conflicts="right", Depends="mailer-a")
    deb(pool, "right", "1", Depends="base")
    return apt_upstream(root, upstream_key)


@pytest.fixture
def upstream(tmp_path, upstream_tree):
    """A server of a copy of ``upstream_tree``, which a test may change."""
    root = tmp_path / "up"
    shutil.copytree(upstream_tree, root)
    server = Server(root)
    yield server
    server.close()


@pytest.fixture
def spec(upstream, upstream_key, tmp_path):
    """A request for that upstream."""
    return {
        "name": "pigsty",
        "home": str(tmp_path / "www"),
        "targets": ["d12.x86_64"],
        "modules": "node",
        "upstream": [
            {
                "name": "base",
                "module": "node",
                "releases": [12, 13],
                "arch": ["x86_64", "aarch64"],
                "baseurl": f"{upstream.url} stable main",
                "gpgkey": upstream_key.public,
            }
        ],
        "packages": ["web"],
        "keep": 1,
    }


@pytest.fixture
def build(minion, spec, repo_key, tmp_path):
    def call(force=False, retries=1, timeout=10, **changes):
        transfer = {
            "cache": str(tmp_path / "cache"),
            "state": str(tmp_path / "state"),
            "retries": retries,
            "timeout": timeout,
        }
        return repository.build(
            minion, {**spec, **changes}, key=repo_key, transfer=transfer, force=force
        )

    return call
