"""What another product left: found, allowed to be replaced, and removed when ours runs."""

import json
import os
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import yaml
from doubles import double
from infra_formula import paths, process, systemd
from infra_formula.fileset import contents, originals
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.uninstall import pigsty_takeover as infra_legacy

from _states import infra_legacy as state

DATA = Path(__file__).resolve().parent.parent.parent / "infra" / "legacy.yaml"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine below a directory of the test's, on which no file is of a package."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "lib")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "run")
    unknown = {"retcode": 1, "stdout": "", "stderr": ""}
    monkeypatch.setattr(process, "run", create_autospec(process.run, return_value=unknown))
    monkeypatch.setattr(systemd, "systemctl", create_autospec(systemd.systemctl))
    for name, value in (("salt", {}), ("grains", {"os_family": "Debian"}), ("context", {})):
        monkeypatch.setattr(state, f"__{name}__", value, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    return tmp_path


def rows(machine):
    return {
        "traces": ["{root}/nginx/link-cert"],
        "replaced": {"portal": ["nginx.conf", "conf.d/*.conf"]},
        "last": [
            {"paths": ["{root}/nginx/link-cert"], "why": "a helper"},
            {"paths": ["{root}/hosts/default", "{root}/hosts"], "why": "moved"},
        ],
    }, {"root": str(machine)}


def write(path, text="theirs"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_machine_without_a_trace_is_left_alone(machine):
    write(machine / "hosts/default")
    for run in (state.taken_over, state.tidied):
        ret = run("x", *rows(machine))
        assert (ret["result"], ret["changes"]) == (True, {})
    assert not (machine / "lib").exists()


def test_programs_of_pigsty_3_are_named_and_stay(machine, monkeypatch):
    """Prometheus and Loki go on running beside their successors, and no data is touched."""
    units, data = machine / "units", machine / "prometheus"
    write(units / "prometheus.service")
    write(data / "chunk")
    write(units / "loki.service")
    before = [
        {"unit": "prometheus", "data": str(data), "successor": "VictoriaMetrics"},
        {"unit": "loki", "data": str(machine / "absent"), "successor": "VictoriaLogs"},
        {"unit": "promtail", "data": str(data), "successor": "Vector"},
    ]
    found = infra_legacy.predecessors(before, [str(units)])
    assert len(found) == 2
    assert found[0].startswith(f"prometheus.service stays as it is, and its data in {data};")
    assert found[1].startswith("loki.service stays as it is; VictoriaLogs takes its place")
    monkeypatch.setattr(infra_legacy.predecessors, "__defaults__", ([str(units)],))
    write(machine / "nginx/link-cert")
    monkeypatch.setattr(state, "load", lambda name: {"predecessors": before})
    for _ in range(2):
        ret = state.taken_over("x", *rows(machine))
        assert ret["result"] is True
        assert ret["warnings"] == found
    assert (data / "chunk").read_text(encoding="utf-8") == "theirs"
    (machine / "nginx/link-cert").unlink()
    assert state.taken_over("x", *rows(machine)).get("warnings", []) == []


@pytest.mark.parametrize("test", [True, False])
def test_what_is_found_may_be_replaced_and_no_more(machine, monkeypatch, test):
    monkeypatch.setattr(state, "__opts__", {"test": test})
    root = machine / "nginx"
    write(root / "link-cert")
    for name in ("nginx.conf", "conf.d/home.conf", "mime.types"):
        write(root / name)
    ret = state.taken_over("x", *rows(machine))
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {"found": [str(root / "link-cert")]}
    assert (machine / "lib/legacy.json").exists() is not test
    files = {name: {"text": "ours", "user": "root"}
             for name in ("nginx.conf", "conf.d/home.conf", "mime.types")}  # fmt: skip
    found = FileSet("portal", root).plan(files)
    assert found.unmanaged == ["mime.types"]
    # Another set is not its heir.
    assert len(FileSet("other", root).plan(files).unmanaged) == 3
    state.tidied("x", *rows(machine))
    # What was only assumed is so no longer than the run.
    found = FileSet("portal", root).plan(files)
    assert (found.unmanaged == ["mime.types"]) is not test


def test_it_is_taken_over_once(machine):
    write(machine / "nginx/link-cert")
    assert state.taken_over("x", *rows(machine))["changes"]
    assert state.taken_over("x", *rows(machine))["changes"] == {}


def test_left_overs_go_last_and_a_copy_of_each_is_kept(machine):
    write(machine / "nginx/link-cert", "helper")
    write(machine / "hosts/default")
    state.taken_over("x", *rows(machine))
    ret = state.tidied("x", *rows(machine))
    paths = [str(machine / name) for name in ("nginx/link-cert", "hosts/default", "hosts")]
    assert list(ret["changes"]) == paths
    assert [p for p in paths if os.path.exists(p)] == []
    assert originals.backup_path(paths[0]).read_text(encoding="utf-8") == "helper"
    assert state.tidied("x", *rows(machine))["changes"] == {}


def test_a_directory_with_something_of_others_stays(machine):
    write(machine / "nginx/link-cert")
    write(machine / "hosts/default")
    write(machine / "hosts/pg-test")
    state.taken_over("x", *rows(machine))
    state.tidied("x", *rows(machine))
    assert os.listdir(machine / "hosts") == ["pg-test"]


def test_a_unit_stays_as_long_as_its_successor_is_not_there(machine, monkeypatch):
    old, new = machine / "usr", machine / "etc"
    monkeypatch.setattr(infra_legacy, "_PACKAGE_UNITS", old)
    monkeypatch.setattr(infra_legacy, "_OWN_UNITS", new)
    unit = write(old / "alertmanager.service")
    found = [{"paths": [str(unit)], "why": "x"}]
    minion = Minion(grains={"os_family": "Debian"})
    assert infra_legacy.leftovers(minion, found) == {}
    write(new / "alertmanager.service")
    assert infra_legacy.leftovers(minion, found) == {str(unit): "x"}


def test_what_a_package_brought_stays(machine):
    asked = []

    def known(command, **_options):
        asked.append(command)
        return {"retcode": 0, "stdout": "vmetrics: /x", "stderr": ""}

    unit = write(machine / "nginx/link-cert")
    process.run.side_effect = known
    debian, el = (Minion(grains={"os_family": family}) for family in ("Debian", "RedHat"))
    assert infra_legacy.leftovers(debian, [{"paths": [str(unit)], "why": "x"}]) == {}
    assert asked[0][:2] == ["dpkg", "--search"]
    infra_legacy.leftovers(el, [{"paths": [str(unit)], "why": "x"}])
    assert asked[-1][:3] == ["rpm", "--query", "--file"]


def targets(path, *addresses, header=False):
    text = f"- labels: {{ip: 10.1.0.2}}\n  targets: {json.dumps(list(addresses))}\n"
    return write(path, f"# {contents.MANAGED_BY}.\n{text}" if header else text)


def test_targets_that_a_machine_registered_itself_are_not_scraped_twice(machine):
    """Pigsty names the file after the instance, and the formula after the address."""
    root = machine / "data/targets"
    targets(root / "pgsql/10.1.0.2.yml", "10.1.0.2:9630", "10.1.0.2:9631", header=True)
    gone = targets(root / "pgsql/pg-a-1.yml", "10.1.0.2:9630")
    more = targets(root / "pgsql/pg-b-1.yml", "10.1.0.2:9630", "10.1.0.3:9630")
    other = targets(root / "node/10.1.0.2.yml", "10.1.0.2:9100")
    odd = write(root / "pgsql/odd.yml", "- 1")
    write(root / "pgsql/bad.yml", "a: [")
    (root / "pgsql/link.yml").symlink_to(gone)
    write(machine / "nginx/link-cert")
    data, parameters = rows(machine)
    parameters["infra_data"] = str(machine / "data")
    assert state.tidied("x", data, parameters)["changes"] == {}  # nothing was taken over
    state.taken_over("x", data, parameters)
    ret = state.tidied("x", data, parameters)
    assert ret["changes"][str(gone)] == "removed: its machine registered the same targets itself"
    assert not gone.exists()
    assert all(path.exists() for path in (more, other, odd))
    assert originals.backup_path(str(gone)).exists()
    assert state.tidied("x", data, parameters)["changes"] == {}


def test_a_program_that_is_off_is_no_longer_named(machine, monkeypatch):
    units = machine / "units"
    write(units / "loki.service")
    before = [{"unit": "loki", "data": "/nowhere", "successor": "VictoriaLogs"}]
    for active, enabled, expected in (
        ("active", "enabled", 1), ("active", "disabled", 1), ("inactive", "enabled", 1),
        ("inactive", "disabled", 0), ("inactive", "masked", 0), ("failed", "disabled", 1),
    ):  # fmt: skip
        answer = {"ActiveState": active, "UnitFileState": enabled}
        double(monkeypatch, systemd.Snapshot, "show", return_value=answer)
        assert len(infra_legacy.predecessors(before, [str(units)])) == expected


def test_the_data_says_of_each_why_and_since_when():
    data = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    assert set(data) == {"traces", "replaced", "last", "carried"}
    for row in data["last"]:
        assert set(row) == {"paths", "why", "versions"}
    text = json.dumps(infra_legacy.substitute(data, dict.fromkeys(
        ("infra_data", "nginx_home"), "/x")))  # fmt: skip
    assert "{infra" not in text
    assert "{nginx" not in text
