"""Orchestrations of a real master whose minions are up, down, or not what they should be.

The states that are applied are stand-ins that leave a line in a file.
"""

import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import stand_in_site as stand_in
from waiting import eventually

HOSTS = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}, "infra-2": {"infra_seq": 2}}
UP = ("infra-1", "node-1")
DOWN = ("infra-2", "node-2")
GROUPS = {"web": "L@node-1,node-2,infra-1", "clients": ["N@web", "and", "not", "infra-1"]}
DEPLOY = ("infra-orch-L@infra-1-applied", "infra-orch-L@infra-2-applied",
          "infra-orch-clients-applied", "infra-orch-clients-registered",
          "infra-orch-clients-answered")  # fmt: skip


@pytest.fixture(scope="module")
def site(salt_factories, tmp_path_factory):
    srv, log = tmp_path_factory.mktemp("srv"), tmp_path_factory.mktemp("log") / "log"
    stand_in.write_states(srv, log)
    roots = {environment: [str(srv)] for environment in ("base", "prod")}
    pillars = {
        environment: [str(stand_in.write_pillar(tmp_path_factory.mktemp(environment), HOSTS, mark))]
        for environment, mark in (("base", "-"), ("prod", "of-prod"))
    }
    master = salt_factories.salt_master_daemon(
        "orch-master",
        overrides={
            **{"auto_accept": True, "file_roots": roots, "pillar_roots": pillars},
            "nodegroups": GROUPS,
        },
        start_timeout=180,
    )
    minions = {
        name: master.salt_minion_daemon(
            name, overrides={"file_client": "remote"}, start_timeout=180
        )
        for name in (*UP, *DOWN)
    }
    with master.started():
        with minions["infra-2"].started(), minions["node-2"].started():
            pass  # their keys are accepted, and they are gone
        with minions["infra-1"].started(), minions["node-1"].started():
            yield stand_in.Site(master, minions, log, srv)


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Each test stands on what the one before it left."""


def run(site, name="deploy", *arguments, more=None, **settings):
    """Run an orchestration; returns its exit code, results and comments of its steps, new lines."""
    timeout = max(3, round(4 * site.answer_time(UP)))
    before = len(site.lines())
    pillar = {"infra_deploy": {"timeout": timeout, **settings}, **(more or {})}
    code, steps, text = site.orchestrate(f"infra.orch.{name}", *arguments, pillar=pillar)
    steps.pop("infra-orch-modules-loaded", None)
    results = {name: step["result"] for name, step in steps.items()}
    comments = {name: step["comment"] for name, step in steps.items()}
    return SimpleNamespace(
        code=code, results=results, comments=comments, text=text, lines=site.lines()[before:]
    )


@pytest.mark.soak
def test_an_infra_node_that_is_down_is_named_and_ends_the_deployment(site):
    done = run(site)
    assert done.code != 0
    assert done.results["infra-orch-L@infra-2-applied"] is False
    assert "did not answer" in done.comments["infra-orch-L@infra-2-applied"]
    assert "infra-2" in done.comments["infra-orch-L@infra-2-applied"]
    assert done.lines == ["applied infra-1"]


def test_a_client_that_is_down_is_named_in_a_step_that_fails_after_the_registration(site):
    done = run(site, **{"from": "clients"})
    assert done.code != 0
    assert done.results["infra-orch-clients-answered"] is False
    assert "did not answer" in done.comments["infra-orch-clients-answered"]
    assert "node-2" in done.comments["infra-orch-clients-answered"]
    assert "infra-2" in done.comments["infra-orch-clients-registered"]
    assert done.lines == ["applied node-1", "registered infra-1"]


def test_missing_minions_are_a_warning_if_the_site_wants_that(site):
    done = run(site, missing="warn")
    assert done.code == 0, done.text
    assert tuple(done.results) == DEPLOY
    assert set(done.results.values()) == {True}
    assert "infra-2" in done.comments["infra-orch-L@infra-2-applied"]
    assert "node-2" in done.comments["infra-orch-clients-answered"]
    assert done.lines == ["applied infra-1", "applied node-1", "registered infra-1"]


@pytest.mark.soak
def test_with_all_clients_down_nothing_succeeds_silently(site):
    done = run(site, **{"from": "clients"}, tgt="node-2")
    assert done.code != 0
    assert done.results["infra-orch-clients-answered"] is False
    assert "node-2" in done.comments["infra-orch-clients-answered"]


def test_a_target_without_an_infra_node_is_deployed(site):
    done = run(site, tgt="node-1", missing="warn")
    assert done.code == 0, done.text
    assert done.lines == ["applied node-1", "registered infra-1"]


@pytest.mark.parametrize("tgt", ["N@clients", pytest.param("* and N@web", marks=pytest.mark.soak)])
def test_a_nodegroup_is_what_the_master_says(site, tgt):
    done = run(site, tgt=tgt, missing="warn", **{"from": "clients"})
    assert done.code == 0, done.text
    assert "node-2" in done.comments["infra-orch-clients-answered"]
    assert done.lines == ["applied node-1", "registered infra-1"]


def test_a_nodegroup_that_the_master_does_not_have_is_an_error(site):
    done = run(site, tgt="N@typo", missing="warn", **{"from": "clients"})
    assert done.code != 0
    assert "tgt: expected a nodegroup" in done.comments["infra-orch-clients-applied"]
    assert done.lines == []


@pytest.mark.parametrize(
    "tgt",
    [
        "nobody",
        *(pytest.param(t, marks=pytest.mark.soak) for t in ("G@os:No", "node-1 and", "X@a")),
    ],
)
def test_a_target_without_any_minion_fails(site, tgt):
    done = run(site, tgt=tgt, missing="warn", **{"from": "clients"})
    assert done.code != 0
    assert f"No accepted minion belongs to the target {tgt}." in done.text
    assert done.lines == ["registered infra-1"]


@pytest.mark.soak
def test_registration_alone_names_infra_nodes_that_are_down(site):
    done = run(site, "register")
    assert done.code != 0
    assert done.results == {"infra-orch-machines-registered": False}
    assert "infra-2" in done.comments["infra-orch-machines-registered"]
    assert done.lines == ["registered infra-1"]
    assert run(site, "register", missing="warn").code == 0


@pytest.mark.soak
@pytest.mark.parametrize(("name", "verb"), [("join", "applied"), ("leave", "cleaned")])
def test_a_machine_that_joins_or_leaves_and_is_down_is_named(site, name, verb):
    done = run(site, name, more={f"infra_{name}": "infra-2"})
    assert done.code != 0
    assert "infra-2" in done.comments[f"infra-orch-infra-2-{verb}"]
    assert done.lines == []
    done = run(site, name, more={f"infra_{name}": "infra-2"}, missing="warn")
    assert done.code == 0, done.text
    assert done.lines == ["registered infra-1"]


@pytest.mark.soak
@pytest.mark.parametrize(("arguments", "settings"), [(["test=True"], {}), ([], {"test": True})])
def test_a_preview_changes_nothing(site, arguments, settings):
    done = run(site, "deploy", *arguments, missing="warn", **settings)
    assert done.code == 0, done.text
    assert tuple(done.results) == DEPLOY
    assert done.results["infra-orch-clients-applied"] is None
    assert "Previewed on 1 minion: 1 would change" in done.comments["infra-orch-clients-applied"]
    assert done.lines == []


def test_the_steps_use_the_environment_of_the_run(site):
    before = len(site.lines())
    done = run(site, "deploy", "saltenv=prod", "pillarenv=prod", tgt="node-1", missing="warn")
    assert done.code == 0, done.text
    assert site.lines(4)[before:] == [
        "applied node-1 prod of-prod",
        "registered infra-1 prod of-prod",
    ]


@pytest.mark.soak
def test_a_client_that_fails_is_named_and_nothing_is_registered(site):
    sls = site.srv / "infra" / "init.sls"
    text = sls.read_text(encoding="utf-8")
    sls.write_text(text + "\nbroken:\n  test.fail_without_changes: []\n", encoding="utf-8")
    try:
        done = run(site, **{"from": "clients"}, missing="warn")
    finally:
        sls.write_text(text, encoding="utf-8")
    assert done.code != 0
    assert "node-1: failed: broken" in done.comments["infra-orch-clients-applied"]
    assert done.lines == ["applied node-1"]


NODES = (
    "infra-orch-nodes-healthy",
    *(f"infra-orch-L@infra-{n}-{verb}"
      for n in (1, 2) for verb in ("upgraded", "applied", "healthy")),
)  # fmt: skip


def sync_modules(site):
    """Give both INFRA nodes the modules that say how they are, whichever test is the first."""
    for name in ("infra-1", "infra-2"):
        minion = site.minions[name].salt_call_cli(timeout=300)
        assert minion.run("saltutil.sync_modules").returncode == 0


def test_infra_nodes_are_upgraded_one_after_the_other_each_healthy_before_the_next(site):
    done = run(site, "upgrade", timeout=20)
    assert done.code != 0, done.text
    assert "infra-2" in done.comments["infra-orch-nodes-healthy"]
    assert done.lines == []  # the others have to serve meanwhile
    unhealthy = site.log.with_name(f"{site.log.name}.unhealthy")
    with site.minions["infra-2"].started():
        sync_modules(site)
        try:
            done = run(site, "upgrade", timeout=20)
            assert done.code == 0, done.text
            assert tuple(done.results) == NODES
            assert done.lines == ["upgraded infra-1", "applied infra-1", "upgraded infra-2",
                                  "applied infra-2"]  # fmt: skip
            assert run(site, "upgrade", timeout=20, packages=False).lines == [
                "applied infra-1", "applied infra-2",
            ]  # fmt: skip
            # One that is unhealthy before anything is done is named, and nothing is.
            unhealthy.write_text("infra-2")
            done = run(site, "upgrade", timeout=20)
            assert done.code != 0
            assert "infra-2 is not healthy: nginx (nginx answers 502)" in done.text
            assert done.lines == []
        finally:
            unhealthy.unlink(missing_ok=True)


# -- minions that hang, die, or have another name, and two runs at once --------------------------


@contextmanager
def appended(site, text):
    """States that minions have besides, behind those that leave a line."""
    sls = site.srv / "infra" / "init.sls"
    before = sls.read_text(encoding="utf-8")
    sls.write_text(f"{before}\n{text}", encoding="utf-8")
    try:
        yield
    finally:
        sls.write_text(before, encoding="utf-8")


@contextmanager
def running(site, name, **settings):
    """An orchestration that runs meanwhile; its outcome is appended to the list at the end."""
    found = []
    thread = threading.Thread(target=lambda: found.append(run(site, name, **settings)))
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def held(path):
    return (
        "held:\n  cmd.run:\n    - order: last\n"
        f"    - name: while [ -e {path} ]; do sleep 0.1; done\n"
    )


def test_a_second_run_is_refused_while_another_works_on_the_infra_nodes(site, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    before = len(site.lines())
    with appended(site, held(gate)), running(site, "deploy", tgt="infra-1") as found:
        try:
            assert eventually(lambda: site.lines()[before:] == ["applied infra-1"])
            for name in ("deploy", "upgrade"):
                done = run(site, name, missing="warn")
                assert done.code != 0
                assert "Another infra.orch.deploy or infra.orch.upgrade works" in done.text
                assert done.lines == []
        finally:
            gate.unlink()
    (first,) = found
    assert first.results["infra-orch-L@infra-1-applied"] is True, first.text
    # It has ended, and another one may begin.
    assert run(site, "deploy", tgt="infra-1", missing="warn").code == 0


@pytest.mark.soak
def test_a_minion_that_dies_during_a_step_is_named(site, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    before = len(site.lines())
    with appended(site, held(gate)):
        settings = {"from": "clients", "tgt": "node-1", "missing": "warn"}
        with running(site, "deploy", **settings) as found:
            try:
                assert eventually(lambda: site.lines()[before:] == ["applied node-1"])
            finally:
                site.minions["node-1"].terminate()
        gate.unlink()
    site.minions["node-1"].start()
    (done,) = found
    assert done.code != 0
    assert done.results["infra-orch-clients-applied"] is False
    comment = done.comments["infra-orch-clients-applied"]
    assert "without a return when the step stopped: node-1" in comment
    assert done.lines == ["applied node-1"]


@pytest.mark.soak
def test_a_minion_that_hangs_in_the_health_check_is_named(site):
    """Asked whether its job still runs, it says that it does."""
    hanging = site.log.with_name(f"{site.log.name}.hanging")
    hanging.write_text("infra-1")
    with site.minions["infra-2"].started():
        try:
            done = run(site, "upgrade", packages=False)
        finally:
            hanging.unlink()
    assert done.code != 0
    assert "infra-1: did not answer" in done.comments["infra-orch-nodes-healthy"]
    assert done.lines == []


@pytest.mark.soak
def test_a_node_that_is_unhealthy_after_its_upgrade_ends_the_run_before_the_next(site):
    unhealthy = site.log.with_name(f"{site.log.name}.unhealthy")
    breaks = f"broken:\n  file.managed:\n    - name: {unhealthy}\n    - contents: infra-1\n"
    with site.minions["infra-2"].started(), appended(site, breaks):
        sync_modules(site)
        try:
            done = run(site, "upgrade", timeout=20)
        finally:
            unhealthy.unlink(missing_ok=True)
    assert done.code != 0
    assert "infra-1 is not healthy" in done.comments["infra-orch-L@infra-1-healthy"]
    assert done.lines == ["upgraded infra-1", "applied infra-1"]


def test_a_key_whose_id_is_a_pattern_is_named_and_matches_nobody(site):
    keys = Path(site.master.config["pki_dir"]) / "minions"
    odd = [keys / name for name in ("node-*", "node-1,infra-1")]
    for path in odd:
        path.write_bytes((keys / "node-1").read_bytes())
    try:
        done = run(site, **{"from": "clients"}, missing="warn")
    finally:
        for path in odd:
            path.unlink()
    assert "'node-*', 'node-1,infra-1'" in done.comments["infra-orch-clients-answered"]
    assert done.lines == ["applied node-1", "registered infra-1"]
