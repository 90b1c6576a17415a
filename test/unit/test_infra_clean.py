"""The way back: what goes, what comes back, and what has to stay."""

import os
from unittest.mock import create_autospec

import pytest
from infra_formula import paths, process, systemd
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, manifest, originals
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.uninstall import accounts, packages
from infra_formula.uninstall import install_record as infra_before
from infra_formula.uninstall import removal as infra_clean
from salt.exceptions import CommandExecutionError

from _states import infra_clean as state

SERVICE, CONFIG, PACKAGE, DATA = infra_clean.STAGES


class Machine:
    """A machine whose record, files and packages are the test's."""

    def __init__(self, tmp_path, monkeypatch):
        self.root, self.packages, self.did = tmp_path, {}, []
        self.lib = tmp_path / "lib"
        monkeypatch.setattr(paths, "STATE_DIR", self.lib)
        monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "run")
        absent = CommandFailed("systemctl: No such file or directory")
        monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=absent))
        self.functions = {
            "pkg.list_pkgs": lambda: dict.fromkeys(self.packages, "1"),
            "pkg.install": self.install,
            "file.rmdir": os.rmdir,
            "file.directory_exists": os.path.isdir,
            "timezone.get_zone": lambda: "UTC",
        }
        self.minion = Minion(self.functions)
        for module, function, double in (
            (packages, "removable", self.removable),
            (packages, "purge", self.purge),
            (systemd, "systemctl", lambda *words, **_k: self.did.append(" ".join(words))),
        ):
            spec = getattr(module, function)
            monkeypatch.setattr(module, function, create_autospec(spec, side_effect=double))
        monkeypatch.setattr(state, "__salt__", self.functions, raising=False)
        monkeypatch.setattr(state, "__grains__", {"os_family": "Debian"}, raising=False)
        self.monkeypatch = monkeypatch
        self.test(False)

    def test(self, on):
        self.monkeypatch.setattr(state, "__opts__", {"test": on}, raising=False)
        self.monkeypatch.setattr(state, "__context__", {}, raising=False)

    def removable(self, _minion, names, _gone=()):
        return {"remove": sorted(set(names) & set(self.packages)), "required": {}}

    def purge(self, _minion, names):
        self.did.append(f"purge {' '.join(names)}")
        for name in names:
            self.packages.pop(name)

    def install(self, pkgs):
        self.did.append(f"install {' '.join(pkgs)}")

    def note(self, component="dns", **kinds):
        infra_before.add(component, kinds)

    def write(self, rel, text="x"):
        path = self.root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ([SERVICE], None),
        ([SERVICE, DATA], None),
        ([DATA, PACKAGE, CONFIG, SERVICE], None),
        ([], "expected a list out of"),
        ("service", "expected a list out of"),
        ([SERVICE, "all"], "expected a list out of"),
        ([CONFIG], "config requires service"),
        ([SERVICE, PACKAGE], "package requires config"),
        ([DATA], "data requires service"),
    ],
)
def test_how_far_it_may_go(machine, remove, said):
    ret = state.allowed("x", False, remove, [])
    assert ret["result"] is (said is None)
    assert said is None or f"infra_remove: {said}" in ret["comment"]


@pytest.mark.parametrize("test", [True, False])
def test_the_safeguard_refuses_and_says_how_to_go_on(machine, test):
    machine.test(test)
    ret = state.allowed("x", True, [SERVICE, CONFIG], [])
    assert ret["result"] is False
    assert "infra_safeguard is on" in ret["comment"]
    assert '"infra_safeguard": false' in ret["comment"]


def test_data_has_to_be_named_where_it_is_there(machine):
    metrics = machine.write("metrics/part")
    folder = os.path.dirname(metrics)
    paths = [folder, str(machine.root / "nothing")]
    assert state.confirmed("x", paths, [SERVICE], [])["result"] is True
    refused = state.confirmed("x", paths, [SERVICE, DATA], [f"{folder}/part"])
    assert refused["result"] is False
    assert f"infra_remove_confirm: [{folder}]" in refused["comment"]
    assert state.confirmed("x", paths, [SERVICE, DATA], [f"{folder}/"])["result"] is True


def test_files_go_back_to_what_they_were(machine):
    ours, theirs = machine.write("etc/ours"), machine.write("etc/theirs", "theirs")
    untouched = machine.write("etc/untouched", "as it was")
    link, moved = machine.root / "etc/link", machine.root / "etc/moved"
    link.symlink_to("ours")
    moved.symlink_to("here")
    originals.backup([theirs])
    machine.write("etc/theirs", "ours now")
    moved.unlink()
    moved.symlink_to("there")
    machine.note(
        paths={ours: "absent", theirs: "file", untouched: "file", str(link): "absent",
               str(moved): "link:here", str(machine.root / "etc/never"): "absent"}
    )  # fmt: skip
    expected = {ours: "removed", theirs: "restored", str(link): "removed", str(moved): "restored"}
    machine.test(True)
    told = state.config("dns", {}, [])
    assert (told["result"], told["changes"]) == (None, expected)
    assert os.path.exists(ours)
    machine.test(False)
    assert state.config("dns", {}, [])["changes"] == expected
    assert not os.path.lexists(ours)
    assert not os.path.lexists(link)
    assert (machine.root / "etc/theirs").read_text() == "theirs"
    assert os.readlink(moved) == "here"
    assert state.config("dns", {}, [])["changes"] == {}
    assert infra_clean.left(machine.minion) == []


def test_a_set_goes_even_where_its_manifest_is_damaged(machine):
    root = machine.root / "etc/hosts.d"
    files = {"default": {"text": "# Managed by Salt (infra formula)\n10.10.10.10 a\n"}}
    FileSet("dns", root).plan(files).apply()
    machine.write("etc/hosts.d/theirs")
    manifest.manifest_path("dns").write_text("{", encoding="utf-8")
    ret = state.config("dns", {"dns": str(root), "register-names": str(root)}, [])
    assert ret["changes"] == {f"{root}/default": "removed"}
    assert sorted(os.listdir(root)) == ["theirs"]


def test_directories_that_a_set_made_go_with_it(machine):
    root = machine.root / "srv/deep"
    files = {"a/b": {"text": "x"}, "c": {"link": "a/b"}}
    FileSet("dns", root).plan(files).apply()
    state.config("dns", {"dns": str(root)}, [])
    assert not (machine.root / "srv").exists()
    assert (machine.root).exists()


def test_a_cache_goes_with_the_configuration(machine):
    cache = machine.write("var/cache/infra/repo/lists")
    folder = str(machine.root / "var/cache/infra")
    assert state.config("dns", {}, [folder])["changes"] == {folder: "removed"}
    assert not os.path.exists(cache)
    assert state.config("dns", {}, [folder])["changes"] == {}


def test_what_ran_before_runs_again_and_what_we_brought_does_not(machine):
    was = {"file": "enabled", "active": True}
    machine.note(units={"chrony": was, "ours": {"file": "", "active": False}})
    ret = state.config("dns", {}, [])
    assert ret["changes"] == {"chrony": "enabled, started"}
    # What ended with an error would be listed by systemd for ever.
    assert machine.did == [
        "reset-failed chrony.service ours.service",
        "enable chrony.service",
        "restart chrony.service",
    ]


def test_services_are_stopped_and_disabled_where_they_run(machine, monkeypatch):
    runs = {"file": "enabled", "active": True}
    now = {"nginx": runs, "x": {"file": "", "active": False}, "look.timer": runs,
           "try.timer": {"file": "transient", "active": True}}  # fmt: skip
    monkeypatch.setattr(
        infra_before, "inspect", create_autospec(infra_before.inspect, return_value={"units": now})
    )
    machine.note(units={unit: {"file": "", "active": False} for unit in now})
    changes = state.service("dns")["changes"]
    assert changes == dict.fromkeys(["nginx", "look.timer", "try.timer"], "stopped")
    # What a timer has just started would write its files again.
    assert machine.did == [
        "disable --now nginx.service",
        "disable --now look.timer",
        "stop look.service",
        "stop try.timer",
    ]


def test_packages_of_ours_go_and_those_of_others_stay(machine):
    machine.packages = dict.fromkeys(["ours", "lib", "theirs", "shared"])
    machine.note(packages={"ours": False, "theirs": True, "shared": False},
                 installed={"lib": False}, displaced={"timesyncd": "252"})  # fmt: skip
    machine.note("ntp", packages={"shared": False})
    machine.test(True)
    told = state.package("dns")["changes"]
    machine.test(False)
    ret = state.package("dns")
    assert ret["changes"] == told
    assert told == {"ours": "removed", "lib": "removed", "timesyncd": "installed again"}
    assert machine.did == ["purge lib ours", "install timesyncd"]
    assert "shared stays: another component requires it" in ret["comment"]
    assert state.package("dns")["changes"] == {}
    # With the last component that has it, it goes.
    assert state.package("ntp")["changes"] == {"shared": "removed"}
    assert sorted(machine.packages) == ["theirs"]


def test_what_had_to_make_way_and_cannot_be_had_stays_on_record(machine, monkeypatch):
    def refuse(pkgs):
        raise CommandExecutionError("no network")

    monkeypatch.setitem(machine.functions, "pkg.install", refuse)
    machine.note(displaced={"timesyncd": "252"})
    ret = state.package("dns")
    assert ret["result"] is True
    assert (
        "timesyncd was there before installation and is not available now: no network"
        in ret["warnings"][0]
    )
    last = state.finished("x", [SERVICE, CONFIG, PACKAGE], [])
    assert last["result"] is False
    assert "no network" in last["comment"]
    assert infra_clean.left(machine.minion) == ["timesyncd"]


@pytest.mark.parametrize("test", [True, False])
def test_directories_go_once_they_hold_nothing(machine, test):
    data = machine.write("data/infra/metrics/part")
    kept = machine.write("data/other/file")
    folders = [machine.root / "data", machine.root / "data/infra", machine.root / "data/other"]
    metrics = str(machine.root / "data/infra/metrics")
    machine.note(paths={**{str(f): "absent" for f in folders}, metrics: "absent"})
    machine.test(test)
    assert state.data("dns", [metrics])["changes"] == {metrics: "deleted"}
    remove = [SERVICE, CONFIG, DATA]
    ret = state.rest("dns", remove, [metrics])
    assert ret["changes"][str(folders[1])] == "removed"
    assert str(folders[0]) not in ret["changes"]
    assert os.path.exists(kept)
    assert os.path.exists(data) is test


def test_a_link_stays_while_something_is_reached_through_it(machine):
    page = machine.write("data/nginx/site/index.html")
    www = machine.root / "www"
    www.symlink_to(machine.root / "data/nginx")
    machine.note(paths={str(www): "absent"})
    assert state.config("dns", {}, [])["changes"] == {}
    assert state.rest("dns", [SERVICE, CONFIG], [])["changes"] == {}
    os.unlink(page)
    os.rmdir(machine.root / "data/nginx/site")
    assert state.rest("dns", [SERVICE, CONFIG], [])["changes"] == {str(www): "removed"}


def test_an_account_stays_while_data_is_its_own(machine):
    data = machine.write("metrics")
    owner = [p for p in ("root", "daemon", "nobody") if p != "root"]
    found = accounts.removable([*owner, "no-such-account"], ["no-such-group"], [data])
    assert set(found["accounts"]) == set(owner)
    assert found["accounts"]["daemon"] == ""
    os.chown(data, 1, 1)  # daemon, on every Debian and EL
    found = accounts.removable(["daemon"], ["daemon"], [data])
    assert found == {
        "accounts": {"daemon": "its data stays"},
        "groups": {"daemon": "its data stays"},
    }


def test_at_last_it_forgets_all_but_what_somebody_left_there(machine):
    machine.note(packages={"theirs": True}, paths={"/etc": "directory"})
    atomic.write(machine.lib / "status.json", "[]")
    report = machine.write("lib/textfile/backup.prom")
    machine.test(True)
    assert state.finished("x", [SERVICE, CONFIG], [])["result"] is None
    machine.test(False)
    ret = state.finished("x", [SERVICE, CONFIG], [])
    assert set(ret["changes"]) == {str(machine.lib / n) for n in ("before.json", "status.json")}
    assert os.listdir(machine.lib) == ["textfile"]
    os.unlink(report)
    assert state.finished("x", [SERVICE, CONFIG], [])["changes"]
    assert not machine.lib.exists()
    assert state.finished("x", [SERVICE, CONFIG], [])["changes"] == {}


def test_metrics_that_we_left_there_are_told_of_and_go(machine):
    ours = machine.write("lib/textfile/infra_certs.prom")
    machine.note(paths={ours: "absent"})
    folder = str(machine.lib / "textfile")
    machine.test(True)
    state.config("dns", {}, [])
    assert folder in state.finished("x", [SERVICE, CONFIG, PACKAGE], [])["changes"]
    machine.test(False)
    assert state.config("dns", {}, [])["changes"] == {ours: "removed"}
    assert folder in state.finished("x", [SERVICE, CONFIG, PACKAGE], [])["changes"]
    assert not machine.lib.exists()


@pytest.mark.parametrize("test", [True, False])
def test_an_empty_directory_of_data_stays_unless_data_is_to_go(machine, test):
    """The daemon that is stopped may write there once more."""
    folder = machine.root / "data/alertmgr"
    folder.mkdir(parents=True)
    machine.note(paths={str(folder): "absent"})
    machine.test(test)
    assert state.rest("dns", [SERVICE, CONFIG], [str(folder)])["changes"] == {}
    ret = state.rest("dns", [SERVICE, CONFIG, DATA], [str(folder)])
    assert ret["changes"] == {str(folder): "removed"}


def test_what_is_kept_stays_on_record(machine):
    machine.packages = {"ours": "1"}
    machine.note(packages={"ours": False})
    ret = state.finished("x", [SERVICE, CONFIG], [])
    assert ret["changes"] == {}
    assert "stay in the install record: ours" in ret["comment"]
    assert infra_before.record()["dns"]["packages"] == {"ours": False}


DPKG = """dpkg: dependency problems prevent removal of libssl3:amd64:
 openssl depends on libssl3 (>= 3.0.9).
 curl depends on libssl3 (>= 3.0).

dpkg: error processing package libssl3:amd64 (--purge):
 dependency problems - not removing
dpkg: dependency problems prevent removal of nginx-common:
 nginx-light depends on nginx-common (= 1.22.1-9).

Errors were encountered while processing:
 libssl3:amd64
"""
RPM = """error: Failed dependencies:
\tlibpcre2-8.so.0()(64bit) is needed by (installed) grep-3.6-5.el9.x86_64
\tnginx-core = 1:1.20.1 is needed by (installed) nginx-1:1.20.1-14.el9.x86_64
"""


def test_who_needs_what_is_read_from_the_package_managers_words():
    assert packages.required_by("Debian", DPKG) == {
        "libssl3:amd64": "openssl",
        "nginx-common": "nginx-light",
    }
    assert packages.required_by("RedHat", RPM) == {
        "libpcre2-8.so.0()(64bit)": "grep-3.6-5.el9.x86_64",
        "nginx-core = 1:1.20.1": "nginx-1:1.20.1-14.el9.x86_64",
    }
    assert packages.required_by("Debian", "") == {}


def test_what_another_package_needs_is_not_removed(monkeypatch):
    answers = {
        "curl libssl3": (1, DPKG),
        "curl": (0, ""),
    }

    def run(command, **_options):
        assert command[:3] == ["dpkg", "--no-act", "--purge"]
        code, said = answers[" ".join(command[3:])]
        return {"retcode": code, "stdout": "", "stderr": said}

    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=run))
    functions = {"pkg.list_pkgs": lambda: dict.fromkeys(["curl", "libssl3", "openssl"], "1")}
    minion = Minion(functions, grains={"os_family": "Debian"})
    assert packages.removable(minion, ["curl", "libssl3", "never-installed"]) == {
        "remove": ["curl"],
        "required": {"libssl3": "openssl"},
    }


def test_an_answer_that_is_not_understood_is_an_error(monkeypatch):
    said = {"retcode": 2, "stdout": "", "stderr": "dpkg: error: requires superuser"}
    monkeypatch.setattr(process, "run", create_autospec(process.run, return_value=said))
    minion = Minion({"pkg.list_pkgs": lambda: {"curl": "1"}}, grains={"os_family": "Debian"})
    with pytest.raises(CommandExecutionError, match="requires superuser"):
        packages.removable(minion, ["curl"])
