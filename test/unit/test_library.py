"""The library in a process that keeps it: taken anew when its files change."""

import ast
import importlib
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import infra_formula
import pytest

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


def test_the_state_reports_what_was_synced_while_the_run_was_rendered(cache):
    marker = cache / "infra_formula.synced"
    digest = release.digest()
    synced = partial(infra_library.synced, "x", "base", marker=str(marker), digest=digest)
    ret = synced(["utils.infra_formula.dns"])
    assert (ret["result"], ret["changes"]) == (True, {"synced": ["utils.infra_formula.dns"]})
    assert marker.read_text() == f"{digest}\n"
    marker.write_bytes(b"\xff")
    assert synced([])["changes"] == {}
    assert marker.read_text() == f"{digest}\n"


@pytest.mark.parametrize("damage", ["missing", "changed", "more"])
def test_what_is_not_the_whole_release_is_synced_again_by_the_next_run(cache, damage):
    """A master that was just given a release lists the files of the one before for 20 seconds."""
    marker = cache / "infra_formula.synced"
    digest = release.digest()
    marker.write_text(f"{digest}\n")
    if damage == "missing":
        (cache / "utils/infra_formula/process.py").unlink()
    else:
        name = "process" if damage == "changed" else "another"
        (cache / f"utils/infra_formula/{name}.py").write_text("")
    assert infra_library.synced("x", "base", [], str(marker), digest)["result"] is True
    assert not marker.exists()


def test_under_salt_ssh_the_state_syncs_from_the_environment_of_the_run(monkeypatch, tmp_path):
    calls = []

    def sync(kind):
        def called(saltenv=None, refresh=True):
            calls.append((kind, saltenv, refresh))
            return [f"{kind}.x"] if kind == "utils" else []

        return called

    functions = {f"saltutil.sync_{kind}": sync(kind) for kind in ("utils", "modules", "states")}
    monkeypatch.setattr(infra_library, "__salt__", functions, raising=False)
    ret = infra_library.synced("x", "dev", None, str(tmp_path / "marker"), "ab12")
    assert ret["changes"] == {"synced": ["utils.x"]}
    assert calls == [(kind, "dev", False) for kind in ("utils", "modules", "states")]


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
    text = release.SYNC.read_text(encoding="utf-8")
    (served,) = re.findall(r"set digest = '([0-9a-f]{64})'", text)
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
