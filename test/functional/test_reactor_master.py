"""The reactor of a real master with real minions, which lie: what runs, and where.

The states that are applied are stand-ins that leave a line in a file; the reactor's files, the
orchestrations and the module are the formula's. A site of machines is in test_fleet.py.
"""

import shutil
import time

import pytest
import stand_in_site as stand_in
from waiting import eventually

INJECTED = (
    "x-applied:\n  salt.function:\n    - name: cmd.run\n    - tgt: '*'\n"
    "    - arg: ['echo attacked >> LOG']\n\ny"
)


@pytest.fixture(scope="module")
def site(salt_factories, tmp_path_factory):
    srv, log = tmp_path_factory.mktemp("srv"), tmp_path_factory.mktemp("log") / "log"
    stand_in.write_states(srv, log)
    # The reactor does one event after the other: those before this one are done then.
    touched = str(log.with_name("marker"))
    (srv / "marker.sls").write_text(
        f"#!py\nimport pathlib\ndef run():\n  pathlib.Path({touched!r}).touch()\n  return {{}}\n",
        encoding="utf-8",
    )
    hosts = {"infra-1": {"infra_seq": 1}}
    pillar = stand_in.write_pillar(tmp_path_factory.mktemp("pillar"), hosts)
    master = salt_factories.salt_master_daemon(
        "fleet-master",
        overrides={
            "auto_accept": True,
            "file_roots": {"base": [str(srv)]},
            "pillar_roots": {"base": [str(pillar)]},
            "reactor": [
                {"salt/minion/*/start": ["salt://infra/orch/reactor/join.sls"]},
                {"salt/key": ["salt://infra/orch/reactor/leave.sls"]},
                {"test/marker": ["salt://marker.sls"]},
            ],
        },
        start_timeout=180,
    )
    minions = {
        name: master.salt_minion_daemon(
            name, overrides={"file_client": "remote"}, start_timeout=180
        )
        for name in ("infra-1", "node-1", "node-2")
    }
    with master.started(), minions["infra-1"].started(), minions["node-1"].started():
        yield stand_in.Site(master, minions, log, srv)


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Each test stands on what the one before it left."""


def test_minions_that_start_are_applied_once_and_registered(site):
    done = {"applied infra-1", "applied node-1", "registered infra-1"}
    assert eventually(lambda: done <= set(site.lines()) and site.idle(), seconds=240)
    assert sorted(set(site.lines())) == sorted(done)
    assert site.lines().count("applied node-1") == 1


def test_a_storm_of_forged_events_runs_nothing_on_others_and_few_jobs(site):
    before, runs = site.lines(), len(site.orchestrations())
    injected = INJECTED.replace("LOG", str(site.log))
    ids = [injected, "*", "infra-1,node-1", "node-1 or *", "E@.*", "infra-1\n", "nobody", "node-1"]
    storm = [("salt/minion/x/start", {"id": ids[number % len(ids)]}) for number in range(200)]
    storm += [("salt/minion/y/start", {"id": f"node-{number}"}) for number in range(50)]
    site.send(site.minions["node-1"], storm)
    call = site.minions["node-1"].salt_call_cli(timeout=300)
    # One at a time, with the id that the master sets; this way `salt/key` can be sent, too.
    call.run("event.send", "salt/minion/infra-1/start", id=injected)
    for forged in ({"act": "delete", "result": True}, {"act": "delete", "id": injected}):
        call.run("event.send", "salt/key", preload=forged)
    site.send(site.minions["node-1"], [("test/marker", {})])
    assert eventually(site.marker.exists, seconds=240)
    assert eventually(lambda: "attacked" in site.lines() or site.idle(), seconds=240)
    # Nothing had changed, so that nobody is applied, and nothing is registered.
    assert site.lines() == before
    assert len(site.orchestrations()) - runs <= 4


def test_a_minion_that_joins_in_a_storm_is_applied_once_and_registered_behind_it(site):
    assert eventually(site.idle, seconds=240)
    before = len(site.lines())
    with site.minions["node-2"].started():
        site.send(
            site.minions["node-1"], [("salt/minion/x/start", {"id": "node-2"}) for _ in range(50)]
        )
        done = {"applied node-2", "registered infra-1"}
        assert eventually(lambda: done <= set(site.lines()[before:]) and site.idle(), seconds=240)
        assert site.lines()[before:] == ["applied node-2", "registered infra-1"]


def test_a_minion_whose_key_is_deleted_is_forgotten(site):
    before = len(site.lines())
    assert site.master.salt_key_cli(timeout=300).run("-y", "-d", "node-2").returncode == 0
    assert eventually(
        lambda: "registered infra-1" in site.lines()[before:] and site.idle(), seconds=240
    )
    assert site.lines()[before:] == ["registered infra-1"]


def test_an_orchestration_by_hand_goes_the_same_way(site):
    run = site.master.salt_run_cli(timeout=300)
    before = len(site.lines())
    for value in (INJECTED, "*", "infra-1,node-1", "nobody"):
        done = run.run("state.orchestrate", "infra.orch.join", pillar={"infra_join": value})
        assert done.returncode != 0
        assert "infra_join: expected " in done.stdout + done.stderr
    assert site.lines()[before:] == []
    done = run.run("state.orchestrate", "infra.orch.join", pillar={"infra_join": "node-1"})
    assert done.returncode == 0, done
    assert site.lines()[before:] == ["registered infra-1"]


def test_a_hundred_starts_within_a_second_end_in_one_registration(site):
    """As after a restart of the master, which has lost its mine besides: nobody is applied."""
    assert eventually(site.idle, seconds=240)
    shutil.rmtree(site.cache / "minions", ignore_errors=True)
    shutil.rmtree(site.cache / "mine", ignore_errors=True)
    assert site.mine() == {}
    (site.cache / "infra_fleet" / "record.json").unlink()  # so that there is something to register
    before, runs = len(site.lines()), len(site.orchestrations())
    begun = time.monotonic()
    ids = ("infra-1", "node-1")
    site.send(
        site.minions["node-1"],
        [("salt/minion/x/start", {"id": ids[number % 2]}) for number in range(100)],
    )
    assert eventually(lambda: "registered infra-1" in site.lines()[before:], seconds=240)
    assert eventually(site.idle, seconds=240)
    # None lost: the mine has the facts of both again; nobody was applied.
    assert set(site.mine()) == set(ids)
    assert set(site.lines()[before:]) == {"registered infra-1"}
    # One run and its registration; another one for each interval of 30 s that this took.
    assert len(site.lines()) - before <= 1 + (time.monotonic() - begun) // 30
    assert site.failed_runs(runs) == []
