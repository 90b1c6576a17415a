"""What Pigsty 2 and 3 left is copied once to a successor that can read it, and stays in place."""

import grp
import os
import pwd
import shutil
from pathlib import Path

import pytest
from doubles import double
from infra_formula import paths, systemd
from infra_formula.fileset import takeover
from infra_formula.monitoring import vmalert
from infra_formula.uninstall import carried

from _states import infra_legacy as state

USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A directory of Prometheus', on a machine that is taken over."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "lib")
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    idle = {"active": False, "command": []}
    double(monkeypatch, systemd, "unit_state", return_value=idle)
    double(monkeypatch, systemd, "systemctl")
    double(monkeypatch, takeover, "overwritable", return_value={"rules": []})
    folder = tmp_path / "old"
    for name in ("node/a.yml", "pgsql/b.yml", "infra/c.yml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def rows(old):
    return [{"below": str(old), "from": "*/*.yml", "to": str(old.parent / "new"),
             "except": ["infra/*.yml"]}]  # fmt: skip


def copy(files, restart=None):
    carried.copy(files, USER, GROUP, 0o640, restart)


def test_each_file_is_copied_once_and_stays_removed(old):
    new = old.parent / "new"
    (new / "node").mkdir(parents=True)
    found = carried.compare(rows(old))
    assert set(found.files) == {str(old / "node/a.yml"), str(old / "pgsql/b.yml")}
    copy(found.files)
    assert (new / "pgsql/b.yml").read_text(encoding="utf-8") == "pgsql/b.yml"
    assert (new / "pgsql/b.yml").stat().st_mode & 0o777 == 0o640
    assert not (new / "infra").exists()
    assert (old / "pgsql/b.yml").exists()
    (new / "pgsql/b.yml").unlink()
    assert carried.compare(rows(old)).files == {}
    # What Pigsty's playbooks register afterwards is taken along, too.
    (old / "node/later.yml").write_text("x", encoding="utf-8")
    assert set(carried.compare(rows(old)).files) == {str(old / "node/later.yml")}


def test_what_is_there_is_not_overwritten(old):
    new = old.parent / "new/node/a.yml"
    new.parent.mkdir(parents=True)
    new.write_text("ours", encoding="utf-8")
    copy(carried.compare(rows(old)).files)
    assert new.read_text(encoding="utf-8") == "ours"


def test_a_link_gives_nothing_away(old, tmp_path):
    """The directories belong to an account; root copies."""
    secret = tmp_path / "shadow"
    secret.write_text("secret", encoding="utf-8")
    (old / "node/a.yml").unlink()
    (old / "node/a.yml").symlink_to(secret)
    away = tmp_path / "away"
    away.mkdir()
    (away / "b.yml").write_text("secret", encoding="utf-8")
    (old / "pgsql/b.yml").unlink()
    (old / "pgsql").rmdir()
    (old / "pgsql").symlink_to(away)
    os.mkfifo(old / "node/fifo.yml")
    found = carried.compare(rows(old))
    assert found.files == {}
    assert found.refused == {
        str(old / "node/a.yml"): "it is a symbolic link",
        str(old / "node/fifo.yml"): "it is no plain file",
        str(old / "pgsql/b.yml"): "it is a symbolic link",
    }


@pytest.mark.skipif(os.getuid() != 0, reason="needs another account")
def test_a_hard_link_to_a_file_of_another_gives_nothing_away(old):
    secret = old / "node/a.yml"
    secret.chmod(0o600)
    os.chown(old, 65534, -1)
    assert carried.compare(rows(old)).refused[str(secret)] == "another account owns it"


def test_a_file_that_the_successor_refuses_costs_no_other(old):
    found = carried.compare(rows(old), lambda name, text: "bad" if "pgsql" in text else None)
    assert set(found.files) == {str(old / "node/a.yml")}
    assert found.refused == {str(old / "pgsql/b.yml"): "bad"}


def test_a_program_writes_what_it_has_in_memory_before(old, monkeypatch):
    """Alertmanager has written no silences yet: it does when it ends."""
    row = [{"below": str(old), "from": "silences", "to": str(old.parent / "new"),
            "restart": "alertmanager"}]  # fmt: skip
    assert carried.compare(row).files == {}  # another runs, or none
    running = {"active": True, "command": ["x", f"--storage.path={old}"]}
    double(monkeypatch, systemd, "unit_state", return_value=running)
    found = carried.compare(row)
    assert found.files == {str(old / "silences"): str(old.parent / "new/silences")}

    def written(*words, must=True):
        assert words == ("restart", "alertmanager")
        (old / "silences").write_text("one", encoding="utf-8")

    double(monkeypatch, systemd, "systemctl", side_effect=written)
    copy(found.files, "alertmanager")
    assert (old.parent / "new/silences").read_text(encoding="utf-8") == "one"


@pytest.mark.parametrize("test", [True, False])
def test_the_state_copies_on_a_machine_that_is_taken_over_and_no_other(old, monkeypatch, test):
    monkeypatch.setattr(state, "__opts__", {"test": test})
    double(monkeypatch, shutil, "chown")
    double(monkeypatch, vmalert, "refusal_of", return_value=lambda name, text: None)
    ret = state.carried("vmalert", rows(old), USER, {"program": "vmalert"})
    assert ret["result"] is (None if test else True)
    assert len(ret["changes"]) == 2
    assert Path(old.parent, "new/node/a.yml").exists() is not test
    double(monkeypatch, takeover, "overwritable", return_value={})
    other = state.carried("vmetrics", rows(old), USER, {})
    assert (other["result"], other["changes"]) == (True, {})
