"""What is noted of a machine before it is first changed."""

import json
from unittest.mock import create_autospec

import pytest
from infra_formula import paths, process
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, manifest, originals
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record as before
from salt.exceptions import CommandExecutionError
from salt.states import pkg as salt_pkg

from _states import infra_before as state
from _states import infra_package as packages

MINION = Minion({"pkg.list_pkgs": lambda: {"a": "1"}})


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A record and copies below a directory of the test's."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "lib")
    absent = CommandFailed("systemctl: No such file or directory")
    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=absent))
    for module in (state, packages):
        monkeypatch.setattr(module, "__salt__", MINION.salt, raising=False)
        monkeypatch.setattr(module, "__grains__", {}, raising=False)
        monkeypatch.setattr(module, "__context__", {}, raising=False)
        monkeypatch.setattr(module, "__opts__", {"test": False}, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("sls", "component"),
    [("infra.nginx.config", "nginx"), ("infra.daemon", "daemon"), ("infra.webroot", "webroot"),
     ("infra", None), ("motd", None), ("infrared.nginx", None), ("", None)],
)  # fmt: skip
def test_the_component_of_a_state(sls, component):
    assert before.component_of(sls) == component


def test_it_sees_what_is_there(machine):
    (machine / "mine").write_text("# Managed by Salt (infra formula)\n", encoding="utf-8")
    (machine / "theirs").write_text("x", encoding="utf-8")
    (machine / "link").symlink_to("theirs")
    paths = [str(machine / name) for name in ("mine", "theirs", "link", "new/deep/file", "lib/own")]
    seen = before.inspect(
        MINION,
        {
            "paths": [*paths, str(machine)],
            "accounts": ["root", "no-such-account"],
            "groups": ["root", "no-such-group"],
            "packages": ["a", "b"],
            "units": ["nginx"],
        },
    )
    assert seen["paths"] == {
        str(machine / "mine"): "absent",
        str(machine / "theirs"): "file",
        str(machine / "link"): "link:theirs",
        str(machine / "new/deep/file"): "absent",
        str(machine / "new"): "absent",
        str(machine / "new/deep"): "absent",
        str(machine / "lib/own"): "absent",
        str(machine): "directory",
    }
    assert seen["accounts"] == {"root": True, "no-such-account": False}
    assert seen["groups"] == {"root": True, "no-such-group": False}
    assert seen["packages"] == {"a": True, "b": False}
    assert seen["units"] == {"nginx": {"file": "", "active": False}}


def test_units_are_told_apart_by_their_blocks(machine, monkeypatch):
    said = "ActiveState=inactive\nUnitFileState=\n\nActiveState=active\nUnitFileState=enabled\n"
    process.run.side_effect = lambda _command: {"retcode": 0, "stdout": said, "stderr": ""}
    assert before.inspect(MINION, {"units": ["nginx", "gone"]})["units"] == {
        "nginx": {"file": "enabled", "active": True},
        "gone": {"file": "", "active": False},
    }


def test_what_is_noted_once_stays_until_it_is_forgotten(machine):
    before.add("nginx", {"paths": {"/a": "absent"}})
    before.add("nginx", {"paths": {"/a": "file", "/b": "file"}})
    assert before.record() == {"nginx": {"paths": {"/a": "absent", "/b": "file"}}}
    assert before.missing_from_record("nginx", {"paths": ["/a", "/c"]}) == {"paths": ["/c"]}
    before.forget("nginx", "paths", ["/a"])
    assert before.record() == {"nginx": {"paths": {"/b": "file"}}}
    before.forget("nginx", "paths", ["/b"])
    assert before.record() == {}


@pytest.mark.parametrize("text", ["", "[]", '{"components": 1}', '{"components": {"a": 1}}'])
def test_a_damaged_record_is_an_error_that_names_it(machine, text):
    before.record_path().parent.mkdir()
    before.record_path().write_text(text, encoding="utf-8")
    with pytest.raises(CommandExecutionError, match=r"before\.json is damaged"):
        before.record()
    ret = state.recorded("nginx", paths=["/a"])
    assert ret["result"] is False
    assert "Move the file away to begin anew" in ret["comment"]
    assert before.record_path().read_text(encoding="utf-8") == text


CHANGES = {
    "chrony": {"old": "", "new": "4.3"},
    "libx": {"old": "", "new": "1"},
    "systemd-timesyncd": {"old": "252", "new": ""},
    "upgraded": {"old": "1", "new": "2"},
    "masked": ["theirs"],
}


def test_packages_that_a_state_installed_and_displaced_are_told_apart():
    assert before.packages_changed_by(CHANGES) == {
        "installed": {"chrony": False, "libx": False},
        "displaced": {"systemd-timesyncd": "252"},
    }


@pytest.mark.parametrize("test", [True, False])
def test_the_first_run_records_and_the_second_has_nothing_to_record(machine, monkeypatch, test):
    theirs = machine / "theirs"
    theirs.write_text("theirs", encoding="utf-8")
    monkeypatch.setattr(state, "__opts__", {"test": test})
    ret = state.recorded("dns", paths=[str(theirs)])
    assert ret["changes"] == {"recorded": ["paths"]}
    assert ret["result"] is (None if test else True)
    assert before.record_path().exists() is not test
    if not test:
        recorded = json.loads(before.record_path().read_text())["components"]
        assert recorded["dns"]["paths"] == {str(theirs): "file"}
        assert originals.backup_path(str(theirs)).read_text() == "theirs"
        assert state.recorded("dns", paths=[str(theirs)])["changes"] == {}


def test_on_a_machine_of_an_earlier_release_services_count_as_ours(machine, monkeypatch):
    atomic.write(manifest.manifest_path("portal"), '{"root": "/etc/nginx", "files": {}}')
    running = {"file": "enabled", "active": True}
    inspect = create_autospec(before.inspect, side_effect=lambda _minion, names: {
        "units": dict.fromkeys(names["units"], running)})  # fmt: skip
    monkeypatch.setattr(before, "inspect", inspect)
    # All that is recorded in the first run with a record, not its first component alone.
    for component in ("nginx", "dns"):
        state.recorded(component, units=[component])
        assert before.record()[component]["units"] == {component: {"file": "", "active": False}}
    monkeypatch.setattr(state, "__context__", {})
    state.recorded("ntp", units=["chrony"])
    assert before.record()["ntp"]["units"] == {"chrony": running}


@pytest.fixture
def pkg(machine, monkeypatch):
    """Salt's own states of packages, which change what a test says."""
    did = create_autospec(salt_pkg.installed, return_value={"result": True, "changes": CHANGES})
    monkeypatch.setattr(packages, "__states__", {"pkg.installed": did}, raising=False)
    return did


def test_packages_are_recorded_with_what_they_bring_along(pkg):
    ret = packages.installed(
        "infra-ntp", "ntp", pkgs=["chrony", "a"], reload_modules=True, __id__="x"
    )
    assert ret == pkg.return_value
    pkg.assert_called_once_with(name="infra-ntp", pkgs=["chrony", "a"], reload_modules=True)
    assert before.record()["ntp"] == {
        "packages": {"chrony": False, "a": True},
        "installed": {"libx": False},
        "displaced": {"systemd-timesyncd": "252"},
    }


def test_packages_that_another_component_installed_were_not_there_before(pkg):
    packages.installed("chrony", "ntp")
    packages.installed("libx", "node")
    assert before.record()["node"]["packages"] == {"libx": False}


def test_an_installation_that_fails_leaves_the_record_as_it_was_before(pkg, monkeypatch):
    pkg.return_value = {"result": False, "changes": {}, "comment": "no network"}
    assert packages.installed("chrony", "ntp") == pkg.return_value
    assert before.record() == {"ntp": {"packages": {"chrony": False}}}


def test_in_a_test_run_nothing_is_recorded(pkg, monkeypatch):
    monkeypatch.setattr(packages, "__opts__", {"test": True})
    packages.installed("chrony", "ntp")
    assert before.record() == {}


@pytest.mark.parametrize("apart", [True, False])
def test_an_unknown_package_costs_no_other(machine, monkeypatch, apart):
    """apt and dnf install all of a list, or none."""

    def install(name, pkgs, **_options):
        if "unknown" in pkgs:
            said = "Problem encountered installing package(s).\n\n    - E: Unable to locate unknown"
            return {"name": name, "result": False, "changes": {}, "comment": said}
        changes = {pkg: {"old": "", "new": "1"} for pkg in pkgs}
        return {"name": name, "result": True, "changes": changes, "comment": "installed"}

    pkg = create_autospec(salt_pkg.installed, side_effect=install)
    monkeypatch.setattr(packages, "__states__", {"pkg.installed": pkg}, raising=False)
    ret = packages.installed("x", "node", ["tree", "unknown", "jq"], apart=apart)
    assert ret["result"] is False
    if apart:
        assert set(ret["changes"]) == {"tree", "jq"}
        assert ret["comment"] == (
            "1 of 3 packages cannot be installed: unknown: E: Unable to locate unknown"
        )
    else:
        assert ret["changes"] == {}
