"""Ways of running Salt, each with real masters and minions: the formula is applied, or refused.

Each minion applies the whole formula with ``test=True``, which changes nothing on this machine.
"""

import functools
import itertools
import json
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import salt_processes as sp
from waiting import eventually

HOSTS = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}
PILLAR = {"infra": {"infra_hosts": HOSTS, "node_wait": 0, "node_ip": "10.10.10.21"}}
WRONG = {"infra": {"infra_hosts": "not valid"}}
RELEASES = ("3006", "3007", "3008")


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is loaded in this process."""


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(
        prefix="ways-", dir="/tmp", ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def started(folder):
    """Starts a process of Salt; all are stopped at the end."""
    running = []

    def start(process, **options):
        running.append(process)
        process.start(**options)
        return process

    yield start
    for process in reversed(running):
        process.stop()


@pytest.fixture
def roots(folder):
    (folder / "srv").mkdir()
    return {
        "file_roots": {"base": [str(sp.formula(folder / "srv"))]},
        "pillar_roots": {"base": [str(sp.pillar(folder / "pillar", PILLAR))]},
    }


def applied(master, ids, *words, target=None):
    """Apply the formula on minions; each one has its states, and none of them failed."""
    target = target or "L@" + ",".join(ids)
    master.wait_for(ids, target)
    returned = master.salt(target, "state.apply", "infra", "test=True", *words, timeout=300)
    assert set(returned) == set(ids), returned
    for minion_id, states in returned.items():
        assert sp.failed(states) == [], minion_id
        assert len(states) > 20, (minion_id, states)
    return returned


OPTIONS = {
    "aggregate": {"state_aggregate": True},
    "failhard": {"failhard": True},
    "threads": {"multiprocessing": False},
}


@pytest.mark.soak
def test_options_of_minions_and_pillar_from_outside(folder, started, roots):
    """state_aggregate, failhard, multiprocessing: false; the pillar from ext_pillar."""
    outside = folder / "outside.json"
    outside.write_text(json.dumps(PILLAR), encoding="utf-8")
    empty = folder / "empty"
    empty.mkdir()
    options = {
        "file_roots": roots["file_roots"],
        "pillar_roots": {"base": [str(empty)]},
        "ext_pillar": [{"cmd_json": f"cat {outside}"}],
    }
    master = started(sp.Master(folder / "m", options))
    for name, more in OPTIONS.items():
        started(sp.Minion(folder / name, name, [master], more))
    applied(master, set(OPTIONS))


@pytest.mark.parametrize(
    "release",
    [
        "3008",
        pytest.param("3006", marks=pytest.mark.soak),
        pytest.param("3007", marks=pytest.mark.soak),
    ],
)
def test_an_apply_asks_the_master_once_for_each_file(folder, started, roots, release):
    python = sp.venv(release)
    master = started(sp.Master(folder / "m", roots, python))
    minion = started(sp.Minion(folder / "a", "node-1", [master], python=python))
    applied(master, {"node-1"})
    counted = folder / "counted.json"
    script = sp.REPO / "test/bench/count_calls.py"
    words = ["-c", minion.folder, "-l", "quiet", "state.apply", "infra", "test=True"]
    subprocess.run(
        [python / "bin/python", script, counted, *words], check=True, capture_output=True
    )
    hashed = Counter(json.loads(counted.read_text(encoding="utf-8"))["hashed"])
    # In 3006, what gets the SLS is another client.
    known = {n: c for n, c in hashed.items() if release != "3006" or not n.endswith(".sls")}
    # The first SLS of a run comes before the formula.
    assert {name for name, count in known.items() if count > 1} <= {"infra/map.jinja"}
    assert hashed["infra/map.jinja"] <= 2
    if release != "3006":
        assert len([name for name in hashed if not (sp.REPO / name).exists()]) <= 1, hashed
        assert sum(hashed.values()) <= 40


@pytest.mark.soak
def test_states_in_parallel(folder, started, roots):
    """Every state of the formula with ``parallel: true``, by an SLS of the site."""
    master = started(sp.Master(folder / "m", roots))
    started(sp.Minion(folder / "a", "node-1", [master]))
    (states,) = applied(master, {"node-1"}).values()
    extended = {
        state["__id__"]: {key.partition("_|-")[0]: [{"parallel": True}]}
        for key, state in states.items()
    }
    text = json.dumps({"include": ["infra"], "extend": extended})
    (folder / "srv/parallel.sls").write_text(text, encoding="utf-8")
    found = master.salt("node-1", "state.apply", "parallel", "test=True", timeout=300)["node-1"]
    assert sp.failed(found) == []
    assert set(found) == set(states)
    assert all("Started in a separate process" not in s["comment"] for s in found.values())


@pytest.mark.soak
def test_pillar_roots_and_file_roots_of_an_environment(folder, started, roots):
    """Those of base are not valid: nothing is taken from there."""
    unusable = folder / "base" / "infra"
    unusable.mkdir(parents=True)
    (unusable / "init.sls").write_text("broken:\n  test.fail_without_changes: []\n")
    options = {
        "file_roots": {"base": [str(folder / "base")], "prod": roots["file_roots"]["base"]},
        "pillar_roots": {
            "base": [str(sp.pillar(folder / "wrong", WRONG))],
            "prod": [str(sp.pillar(folder / "right", PILLAR, "prod"))],
        },
    }
    master = started(sp.Master(folder / "m", options))
    own = {"saltenv": "prod", "pillarenv_from_saltenv": True}
    started(sp.Minion(folder / "a", "node-1", [master], own))
    started(sp.Minion(folder / "b", "node-2", [master]))
    applied(master, {"node-1"})
    applied(master, {"node-2"}, "saltenv=prod", "pillarenv=prod")


@pytest.mark.soak
def test_a_branch_of_gitfs_is_an_environment(folder, started, roots):
    pytest.importorskip("pygit2")
    repository = folder / "repository"
    repository.mkdir()
    for name in sp.FOLDERS:
        shutil.copytree(sp.REPO / name, repository / name, ignore=shutil.ignore_patterns("*.pyc"))
    git = functools.partial(subprocess.run, cwd=repository, check=True, capture_output=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    git(["git", "init", "--quiet", "--initial-branch=prod"])
    git(["git", "add", "--all"])
    git(["git", *who, "commit", "--quiet", "--message=formula"])
    options = {
        "file_roots": {}, "pillar_roots": {"__env__": roots["pillar_roots"]["base"]},
        "fileserver_backend": ["gitfs"], "gitfs_remotes": [f"file://{repository}"],
        "gitfs_provider": "pygit2",
    }  # fmt: skip
    sp.pillar(folder / "pillar", PILLAR, "{{ saltenv }}")
    master = started(sp.Master(folder / "m", options))
    started(sp.Minion(folder / "a", "node-1", [master]))
    started(sp.Minion(folder / "b", "node-2", [master], {"saltenv": "prod"}))
    applied(master, {"node-1"}, "saltenv=prod")
    applied(master, {"node-2"})


@pytest.fixture
def masters(folder, started, roots):
    """Two masters with the same keys, so that minions trust both."""
    first = started(sp.Master(folder / "m1", roots))
    assert eventually(lambda: (folder / "m1/pki/master.pub").exists())
    (folder / "m2/pki").mkdir(parents=True)
    for name in ("master.pem", "master.pub"):
        shutil.copy2(folder / "m1/pki" / name, folder / "m2/pki" / name)
    ports = {name: first.options[name] for name in ("publish_port", "ret_port")}
    second = started(sp.Master(folder / "m2", {**roots, **ports, "interface": "127.0.0.2"}))
    return first, second


def mine(master):
    found = json.loads(master.run("mine.get", "*", "infra_register.facts").stdout)
    return set(found)


@pytest.mark.soak
def test_two_hot_masters(folder, started, masters):
    """Each has the facts in its mine, and each can apply."""
    started(sp.Minion(folder / "a", "node-1", masters))
    for master in masters:
        applied(master, {"node-1"})
    masters[0].salt("node-1", "infra_register.send")
    assert eventually(lambda: [mine(master) for master in masters] == [{"node-1"}] * 2, seconds=60)
    masters[0].stop()
    applied(masters[1], {"node-1"})


@pytest.mark.soak
def test_a_master_takes_over(folder, started, masters):
    """After that, the facts have to be published again: an apply of each minion does it."""
    more = {"master_type": "failover", "retry_dns": 0, "master_alive_interval": 5}
    started(sp.Minion(folder / "a", "node-1", masters, more))
    # It starts with the one that answered first.
    assert eventually(lambda: any(m.salt("node-1", "test.ping", timeout=5) for m in masters))
    here, there = sorted(masters, key=lambda m: not m.salt("node-1", "test.ping", timeout=15))
    applied(here, {"node-1"})
    here.stop()
    applied(there, {"node-1"})
    there.salt("node-1", "infra_register.send")
    assert eventually(lambda: mine(there) == {"node-1"}, seconds=60)


@pytest.mark.soak
def test_a_master_below_a_syndic_applies_its_own_minions(folder, started, roots):
    above = started(sp.Master(folder / "above", {**roots, "order_masters": True}))
    options = {
        **roots,
        **{name: above.options[name] for name in ("publish_port", "ret_port")},
        "interface": "127.0.0.2",
        "syndic_master": "127.0.0.1",
        "syndic_master_port": above.options["ret_port"],
        "id": "site-a",
    }
    below = started(sp.Master(folder / "below", options))
    syndic = sp.Syndic(folder / "below", below.options)
    shutil.copy2(folder / "below/syndic", folder / "below/minion")
    below.write()
    started(syndic)
    started(sp.Minion(folder / "a", "node-1", [below]))
    applied(below, {"node-1"})
    below.salt("node-1", "infra_register.send")
    assert eventually(lambda: mine(below) == {"node-1"}, seconds=60)


@pytest.mark.soak
def test_a_minion_that_is_not_root_is_refused_by_name(folder, started, roots):
    master = started(sp.Master(folder / "m", roots))
    minion = sp.Minion(folder / "a", "node-1", [master], {"user": "nobody"})
    for path in (folder / "a", *(folder / "a").rglob("*")):
        shutil.chown(path, "nobody")
    # It may read the virtual environment, wherever that is, and is not root.
    capability = "+dac_read_search"
    started(
        minion,
        prefix=[
            "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
            f"--inh-caps={capability}", f"--ambient-caps={capability}",
        ],
    )  # fmt: skip
    master.wait_for({"node-1"})
    states = master.salt("node-1", "state.apply", "infra", "test=True", timeout=300)["node-1"]
    (error,) = sp.failed(states)
    assert error == (
        "The pillar is not valid; nothing was changed.\nuser: expected a salt-minion that runs as "
        "root, got nobody; remove `user` from its configuration and restart it"
    )


@pytest.mark.soak
@pytest.mark.parametrize(("above", "below"), list(itertools.permutations(RELEASES, 2)))
def test_masters_and_minions_of_different_releases(folder, started, roots, above, below):
    master = started(sp.Master(folder / "m", roots, sp.venv(above)))
    started(sp.Minion(folder / "a", "node-1", [master], python=sp.venv(below)))
    applied(master, {"node-1"})
