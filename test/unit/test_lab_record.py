"""Records of labs: every checkout on a host reads those of all."""

import json

import pytest
from lab import Lab, network, record
from lab.laboratory import REMOVING
from lab.machine import Machine
from lab.suites import MachineSpec


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.setenv("INFRA_LAB_STATE", str(tmp_path))
    machine = MachineSpec("infra-1", "10.10.10.10")
    kept = record.Record(
        name="mine", suite="default", platform="debian-12", link=0, tree="/tree", master="",
        attached=False, owner=record.Process.me(), machines={"infra-1": machine},
    )  # fmt: skip
    kept.save()
    return kept


def test_a_record_is_read_as_it_was_written(saved):
    assert record.Record.load("mine") == saved


def test_what_another_checkout_writes_besides_is_passed_over(saved):
    path = saved.folder / record.FILE
    data = json.loads(path.read_text())
    data["later"] = 1
    data["machines"]["infra-1"]["later"] = False
    path.write_text(json.dumps(data))
    assert record.Record.load("mine") == saved


def test_a_removal_that_was_interrupted_twice_is_gone_on_with(saved, monkeypatch):
    monkeypatch.setattr(network, "remove", lambda record, last: None)
    monkeypatch.setattr(Machine, "remove", lambda self: None)
    lab = Lab(saved)
    left = saved.folder.with_name(f"{REMOVING}mine")
    (left / "infra-1").mkdir(parents=True)
    lab._remove()
    assert not left.exists()
    assert not saved.folder.exists()
