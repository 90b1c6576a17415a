"""Other package sources are disabled where they lie, and found again by that alone."""

import pytest
from infra_formula.repository import other_sources

LIST = """# a comment
deb http://a.example/debian bookworm main
deb-src [arch=amd64] http://a.example/debian bookworm main
# deb http://off.example/ x y
"""
SOURCES = """# head
Types: deb
URIs: http://a.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://b.example/debian
Suites: x
Components: main
Enabled: no

Enabled: yes
Types: deb
URIs: http://c.example/
Suites: y
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""
REPO = """[main]
x=1
[a]
name=a
enabled=1
baseurl=http://a.example/
[b]
name=b
[c]
enabled = 0
name=c
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/yum.repos.d").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(LIST)
    (tmp_path / "etc/apt/sources.list.d/a.sources").write_text(SOURCES)
    (tmp_path / "etc/apt/sources.list.d/pigsty-local.sources").write_text(SOURCES)
    (tmp_path / "etc/yum.repos.d/a.repo").write_text(REPO)
    return tmp_path


def test_off_and_on_again(root, modules):
    keep = ["pigsty-local.sources"]
    planned = other_sources.switch(False, keep, str(root), test=True)
    assert len(planned) == 3
    assert (root / "etc/apt/sources.list").read_text() == LIST
    other_sources.switch(False, keep, str(root))
    text = (root / "etc/apt/sources.list").read_text()
    assert not any(line.startswith("deb") for line in text.splitlines())
    stanzas = (root / "etc/apt/sources.list.d/a.sources").read_text().split("\n\n")
    assert all("Enabled: no" in stanza for stanza in stanzas)
    yum = (root / "etc/yum.repos.d/a.repo").read_text()
    assert yum.count("enabled=0") == 2
    assert (root / "etc/apt/sources.list.d/pigsty-local.sources").read_text() == SOURCES
    assert other_sources.switch(False, keep, str(root)) == {}
    # What was added since then stays when the others come back.
    with (root / "etc/apt/sources.list").open("a") as stream:
        stream.write("deb http://new.example/ x y\n")
    other_sources.switch(True, [], str(root))
    assert (root / "etc/apt/sources.list").read_text() == LIST + "deb http://new.example/ x y\n"
    assert (root / "etc/apt/sources.list.d/a.sources").read_text() == SOURCES
    assert (root / "etc/yum.repos.d/a.repo").read_text() == REPO
    assert other_sources.switch(True, [], str(root)) == {}
