"""The library in a process that keeps it: taken anew when its files change."""

import ast
import importlib
import importlib.util
import json
import re
import shutil
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import infra_formula
import pytest
import salt.config
import salt.payload
from infra_formula.release import DIGEST

from _modules import infra_pillar
from _states import infra_library
from tools import formula, release

LIBRARY = Path(infra_formula.__file__).parent


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A library of another name, as a process has it that has loaded one release of it."""
    folder = tmp_path / "toy_formula"
    (folder / "part").mkdir(parents=True)
    shutil.copy(LIBRARY / "__init__.py", folder)
    (folder / "part" / "__init__.py").write_text("")
    (folder / "part" / "value.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy_formula"]:
        del sys.modules[name]


def value():
    importlib.import_module("toy_formula").current()
    importlib.invalidate_caches()
    return importlib.import_module("toy_formula.part.value").VALUE


def test_an_unchanged_library_is_loaded_once(copy):
    assert value() == 1
    before = sys.modules["toy_formula.part.value"]
    assert value() == 1
    assert sys.modules["toy_formula.part.value"] is before


def test_a_changed_file_a_new_one_and_a_removed_one_are_noticed(copy):
    assert value() == 1
    (copy / "part" / "value.py").write_text("VALUE = 2\n")
    assert value() == 2
    (copy / "more.py").write_text("X = 1\n")
    before = sys.modules["toy_formula.part.value"]
    assert value() == 2
    assert sys.modules["toy_formula.part.value"] is not before
    (copy / "more.py").unlink()
    before = sys.modules["toy_formula.part.value"]
    assert value() == 2
    assert sys.modules["toy_formula.part.value"] is not before


@pytest.fixture
def cache(tmp_path):
    """Salt's cache of the formula, as a minion has it, beside that of others."""
    for folder in release.FOLDERS:
        shutil.copytree(formula.ROOT / folder, tmp_path / folder.removeprefix("_"))
    (tmp_path / "modules" / "others.py").write_text("")
    return tmp_path


class Salt(dict):
    """Salt's functions, as far as a sync takes them; `calls` has what was called."""

    def __init__(self, cache, source=formula.ROOT):
        self.calls = []
        for folder in release.FOLDERS:
            kind = folder.removeprefix("_")

            def call(saltenv, refresh, kind=kind, folder=folder):
                self.calls.append((kind, saltenv, refresh))
                shutil.copytree(source / folder, cache / kind, dirs_exist_ok=True)
                return [f"{kind}.x"] if kind == "utils" else []

            self[f"saltutil.sync_{kind}"] = call
        self["saltutil.refresh_modules"] = lambda: self.calls.append("refresh")


@pytest.fixture
def sync():
    """infra/map.py as a Python module."""
    loader = SourceFileLoader("map_of_infra", str(release.MAP))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


KINDS = ("utils", "modules", "states")


def test_a_bare_minion_syncs_once_from_the_environment_of_the_run(sync, tmp_path):
    salt = Salt(tmp_path)
    for _ in range(2):
        sync.sync(salt, tmp_path, "dev")
    assert salt.calls == [*((kind, "dev", False) for kind in KINDS), "refresh"]
    assert (tmp_path / "infra_formula.synced").read_text() == f"{release.digest()}\n"


def test_modules_of_others_are_none_of_the_release(sync, tmp_path):
    sync.sync(Salt(tmp_path), tmp_path, "base")
    (tmp_path / "modules" / "others.py").write_text("")
    assert sync.digest(tmp_path) == release.digest()


@pytest.mark.parametrize("damage", ["marker", "another release", "no library"])
def test_what_is_not_this_release_is_synced_again(sync, tmp_path, damage):
    salt = Salt(tmp_path)
    sync.sync(salt, tmp_path, "base")
    if damage == "marker":
        (tmp_path / "infra_formula.synced").write_bytes(b"\xff")
    elif damage == "another release":
        (tmp_path / "utils/infra_formula/release.py").write_text('DIGEST = "0"')
    else:
        shutil.rmtree(tmp_path / "utils")
    sync.sync(salt, tmp_path, "base")
    assert len(salt.calls) == 8


def test_half_a_release_is_synced_again_by_the_next_run(sync, tmp_path):
    """A master that was just given a release lists the files of the one before for 20 seconds."""
    half = tmp_path / "half"
    for folder in release.FOLDERS:
        shutil.copytree(formula.ROOT / folder, half / folder)
    (half / "_utils/infra_formula/process.py").unlink()
    cache = tmp_path / "cache"
    sync.sync(Salt(cache, half), cache, "base")
    assert not (cache / "infra_formula.synced").exists()
    sync.sync(Salt(cache), cache, "base")
    assert (cache / "infra_formula.synced").exists()


def test_under_salt_ssh_the_library_is_the_master_s_and_a_state_syncs(sync, monkeypatch, tmp_path):
    roots = {"file_roots": {"dev": [str(formula.ROOT)]}, "cachedir": str(tmp_path / "cache")}
    opts = {**salt.config.master_config(None), **roots, "fileserver_backend": ["roots"]}
    found = sync.library_on_master(opts, "dev")
    assert (found / "infra_formula/data/schema.py").is_file()
    functions = Salt(tmp_path)
    monkeypatch.setattr(infra_library, "__salt__", functions, raising=False)
    assert infra_library.synced("x", "dev")["changes"] == {"synced": ["utils.x"]}
    assert functions.calls == [(kind, "dev", False) for kind in KINDS]


def test_the_digest_is_that_of_the_files_and_changes_with_each(monkeypatch, tmp_path):
    assert release.stale() == [], "run `make generate`"
    before = release.digest()
    copy = tmp_path / "copy"
    for folder in release.FOLDERS:
        shutil.copytree(formula.ROOT / folder, copy / folder)
    monkeypatch.setattr(formula, "ROOT", copy)
    monkeypatch.setattr(release, "RELEASE", copy / "_utils/infra_formula/release.py")
    assert release.digest() == before
    (copy / "_states/infra_library.py").write_text("")
    assert release.digest() != before
    changed = release.digest()
    (copy / "_utils/infra_formula/more.py").write_text("")
    assert release.digest() != changed


def test_what_is_served_and_what_is_in_the_library_have_one_digest():
    text = release.MAP.read_text(encoding="utf-8")
    (served,) = re.findall(r'DIGEST = "([0-9a-f]{64})"', text)
    assert served in release.RELEASE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("_modules", "_states", "_runners")
        for path in sorted((formula.ROOT / folder).glob("*.py"))
    ],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_what_salt_loads_takes_the_library_that_is_on_disk(path):
    """Before all else of the library, and at the top: Salt's paths are not there later."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    of_library = [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("infra_formula"))
        or (isinstance(node, ast.Import) and node.names[0].name.startswith("infra_formula"))
    ]
    if path.name == "infra_library.py":
        assert of_library == []
        return
    assert all(node in tree.body for node in of_library)
    if of_library:
        lines = [ast.unparse(node) for node in tree.body]
        call = lines.index("infra_formula.current()")
        assert [n.lineno < tree.body[call].lineno for n in of_library].count(True) == 1
        assert "import infra_formula" in lines[:call]


def test_a_digest_stands_in_what_every_sls_imports():
    """By it a minion knows, without a request of its own, that it has this release."""
    assert f'digest = "{release.digest()}"' in release.IMPORTED.read_text(encoding="utf-8")


@pytest.fixture
def pillar_module(monkeypatch):
    grains = {"id": "infra-1", "os_family": "Debian", "os": "Debian", "osmajorrelease": 12}
    grains |= {"cpuarch": "x86_64", "ipv4": ["10.10.10.10"], "ipv6": []}
    monkeypatch.setattr(infra_pillar, "__grains__", grains, raising=False)
    for name in ("__salt__", "__opts__", "__context__"):
        monkeypatch.setattr(infra_pillar, name, {}, raising=False)
    return infra_pillar


SECRET = "hunter2-hunter2"  # noqa: S105
SITE = ({"infra_hosts": {"10.10.10.10": {"infra_seq": 1}}}, {"grafana_admin_password": SECRET})


def test_what_the_state_tree_is_given_neither_prints_nor_leaves_the_process(pillar_module):
    found = pillar_module.site(*SITE, digest=DIGEST)
    assert found.parameters["grafana_admin_password"] == SECRET
    assert (found.is_infra_node, found.by_ssh, found.errors) == (True, False, [])
    assert found.yaml(["a"]).strip() == '["a"]'
    assert SECRET not in f"{found} {found!r}"
    for send in (json.dumps, salt.payload.dumps):
        with pytest.raises(TypeError):
            send(found)


def test_what_a_person_is_told_of_it_has_no_secret(pillar_module):
    found = pillar_module.site(*SITE)
    assert found["parameters"]["admin_ip"] == "10.10.10.10"
    assert SECRET not in json.dumps(found)


def test_a_minion_with_another_release_answers_nothing(pillar_module):
    assert pillar_module.site(*SITE, digest="0" * 64) is None
