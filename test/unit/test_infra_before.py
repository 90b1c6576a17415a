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

from _states import infra_before as state

MINION = Minion({"pkg.list_pkgs": lambda: {"a": "1"}})
LOW = [
    {"state": "file", "fun": "managed", "name": "/etc/a.conf", "__sls__": "infra.nginx.config"},
    {"state": "file", "fun": "directory", "name": "/etc/d", "__sls__": "infra.webroot"},
    {"state": "file", "fun": "managed", "name": "/var/lib/infra/x", "__sls__": "infra.nginx"},
    {"state": "pkg", "fun": "installed", "name": "i", "pkgs": ["a", {"b": "1"}],
     "__sls__": "infra.nginx.package"},
    {"state": "pkg", "fun": "latest", "name": "c", "__sls__": "infra.node.packages"},
    {"state": "infra_daemon", "fun": "installed", "name": "vlogs", "packages": ["v"],
     "others": ["theirs"], "__sls__": "infra.vlogs.package"},
    {"state": "user", "fun": "present", "name": "u", "__sls__": "infra.daemon"},
    {"state": "service", "fun": "running", "name": "nginx", "__sls__": "infra.nginx.service"},
    {"state": "file", "fun": "managed", "name": "/etc/motd", "__sls__": "motd"},
    {"state": "infra_scrape", "fun": "certified", "name": "/etc/pki/infra.crt",
     "private_key": "/etc/pki/infra.key", "__sls__": "infra.vmetrics.certificate"},
    {"state": "infra_cert", "fun": "authority", "name": "/etc/pki/ca.crt",
     "private_key": "/etc/pki/ca/ca.key", "__sls__": "infra.ca.authority"},
    {"state": "file", "fun": "absent", "name": "/etc/gone", "__sls__": "infra.nginx"},
]  # fmt: skip


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A record and copies below a directory of the test's."""
    monkeypatch.setattr(before, "RECORD", tmp_path / "lib" / "before.json")
    monkeypatch.setattr(before, "OURS", f"{tmp_path}/lib/")
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "lib")
    absent = CommandFailed("systemctl: No such file or directory")
    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=absent))
    monkeypatch.setattr(state, "__salt__", MINION.salt, raising=False)
    monkeypatch.setattr(state, "__grains__", {}, raising=False)
    monkeypatch.setattr(state, "__context__", {}, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("sls", "component"),
    [("infra.nginx.config", "nginx"), ("infra.daemon", "daemon"), ("infra.webroot", "repo"),
     ("infra", None), ("motd", None), ("infrared.nginx", None), ("", None)],
)  # fmt: skip
def test_the_component_of_a_state(sls, component):
    assert before.component_of(sls) == component


def test_what_a_run_names_is_read_from_its_low_state():
    assert before.wanted(LOW, {"vlogs": ["/etc/v.conf"], "grafana": ["/etc/g.ini"]}) == {
        "nginx": {"paths": ["/etc/a.conf"], "packages": ["a", "b"], "units": ["nginx"]},
        "repo": {"paths": ["/etc/d"]},
        "node": {"packages": ["c"]},
        "vlogs": {"packages": ["v"], "units": ["theirs"], "paths": ["/etc/v.conf"]},
        "daemon": {"accounts": ["u"], "groups": ["u"]},
        "vmetrics": {"paths": ["/etc/pki/infra.crt", "/etc/pki/infra.key"]},
    }


def test_it_sees_what_is_there(machine):
    (machine / "mine").write_text("# Managed by Salt (infra formula)\n", encoding="utf-8")
    (machine / "theirs").write_text("x", encoding="utf-8")
    (machine / "link").symlink_to("theirs")
    paths = [str(machine / name) for name in ("mine", "theirs", "link", "new/deep/file", "lib/own")]
    seen = before.look(
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
    assert before.look(MINION, {"units": ["nginx", "gone"]})["units"] == {
        "nginx": {"file": "enabled", "active": True},
        "gone": {"file": "", "active": False},
    }


def test_what_is_noted_once_stays_until_it_is_forgotten(machine):
    before.note({"nginx": {"paths": {"/a": "absent"}}})
    before.note({"nginx": {"paths": {"/a": "file", "/b": "file"}}})
    assert before.record() == {"nginx": {"paths": {"/a": "absent", "/b": "file"}}}
    assert before.unnoted({"nginx": {"paths": ["/a", "/c"]}}) == {"nginx": {"paths": ["/c"]}}
    before.forget("nginx", "paths", ["/a"])
    assert before.record() == {"nginx": {"paths": {"/b": "file"}}}
    before.forget("nginx", "paths", ["/b"])
    assert before.record() == {}


@pytest.mark.parametrize("text", ["", "[]", '{"components": 1}', '{"components": {"a": 1}}'])
def test_a_damaged_record_is_an_error_that_names_it(machine, monkeypatch, text):
    before.RECORD.parent.mkdir()
    before.RECORD.write_text(text, encoding="utf-8")
    with pytest.raises(CommandExecutionError, match=r"before\.json is damaged"):
        before.record()
    monkeypatch.setattr(state, "__lowstate__", LOW, raising=False)
    ret = state.noted("x", {})
    assert ret["result"] is False
    assert "Move it away to begin anew" in ret["comment"]
    assert before.RECORD.read_text(encoding="utf-8") == text


def test_what_came_with_a_run_and_what_had_to_go():
    running = {
        "pkg_|-infra-ntp_|-chrony_|-installed": {
            "__sls__": "infra.ntp.package",
            "changes": {
                "chrony": {"old": "", "new": "4.3"},
                "libx": {"old": "", "new": "1"},
                "systemd-timesyncd": {"old": "252", "new": ""},
                "upgraded": {"old": "1", "new": "2"},
            },
        },
        "infra_daemon_|-i_|-vlogs_|-installed": {
            "__sls__": "infra.vlogs.package",
            "changes": {"v": {"old": "", "new": "1"}, "masked": ["theirs"]},
        },
        "infra_daemon_|-i_|-vlogs_|-configured": {
            "__sls__": "infra.vlogs.config",
            "changes": {"x": {"old": "", "new": "1"}},
        },
        "pkg_|-other_|-emacs_|-installed": {
            "__sls__": "desktop",
            "changes": {"emacs": {"old": "", "new": "29"}},
        },
    }
    assert before.came(running) == {
        "ntp": {
            "installed": {"chrony": False, "libx": False},
            "displaced": {"systemd-timesyncd": "252"},
        },
        "vlogs": {"installed": {"v": False}, "displaced": {}},
    }


@pytest.mark.parametrize("test", [True, False])
def test_the_first_run_notes_and_the_second_finds_it_noted(machine, monkeypatch, test):
    theirs = machine / "theirs"
    theirs.write_text("theirs", encoding="utf-8")
    low = [{"state": "file", "fun": "managed", "name": str(theirs), "__sls__": "infra.dns.config"}]
    monkeypatch.setattr(state, "__lowstate__", low, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": test})
    ret = state.noted("x", {})
    assert ret["changes"] == {"noted": ["dns"]}
    assert ret["result"] is (None if test else True)
    assert before.RECORD.exists() is not test
    if not test:
        assert json.loads(before.RECORD.read_text())["components"]["dns"]["paths"] == {
            str(theirs): "file"
        }
        assert originals.backup_path(str(theirs)).read_text() == "theirs"
        assert state.noted("x", {})["changes"] == {}


def test_on_a_machine_of_an_earlier_release_services_count_as_ours(machine, monkeypatch):
    atomic.write(manifest.manifest_path("portal"), '{"root": "/etc/nginx", "files": {}}')
    monkeypatch.setattr(state, "__lowstate__", [LOW[7]], raising=False)
    running = {"nginx": {"file": "enabled", "active": True}}
    look = create_autospec(before.look, return_value={"units": running})
    monkeypatch.setattr(before, "look", look)
    state.noted("x", {})
    assert before.record()["nginx"]["units"] == {"nginx": {"file": "", "active": False}}


def test_packages_that_are_named_are_not_noted_twice(machine, monkeypatch):
    before.note({"ntp": {"packages": {"chrony": False}}})
    changes = {"chrony": {"old": "", "new": "4"}, "lib": {"old": "", "new": "1"}}
    running = {"pkg_|-i_|-chrony_|-installed": {"__sls__": "infra.ntp", "changes": changes}}
    monkeypatch.setattr(state, "__running__", running, raising=False)
    assert state.installed("x")["result"] is True
    assert before.record()["ntp"] == {
        "packages": {"chrony": False},
        "installed": {"lib": False},
    }
