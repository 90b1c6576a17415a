"""A real master, an INFRA node and a client: the pillars go where the documents assign them."""

import json
from pathlib import Path

import pytest

CANARY = "cAnArY-9a7f"
INFRA = {
    "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
    "infra_packaging": "upstream",
    "infra_portal": {"home": {"domain": "i.pigsty"}},
    "alertmanager_severities": {"CRIT": "ops"},
}
SECRETS = {
    "nginx_users": {"ann": f"{CANARY}-user"},
    "alertmanager_receivers": {"ops": {"slack": {"api_url": f"https://hooks/{CANARY}-hook"}}},
    "grafana_admin_password": f"{CANARY}-grafana",
    "proxy_env": {"https_proxy": f"http://u:{CANARY}-proxy@127.0.0.1:9"},
}
GATE = ("state.sls_id", "infra-pillar-valid", "infra.pillar")


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is loaded in this process."""


@pytest.fixture(scope="module")
def pillar_root(tmp_path_factory):
    return tmp_path_factory.mktemp("pillar")


@pytest.fixture(scope="module")
def master(salt_factories, formula_roots, pillar_root):
    write(pillar_root)
    overrides = {
        "open_mode": True,
        "file_roots": formula_roots["file_roots"],
        "pillar_roots": {"base": [str(pillar_root)]},
    }
    factory = salt_factories.salt_master_daemon("secrets-master", overrides=overrides)
    with factory.started(start_timeout=180):
        yield factory


@pytest.fixture(scope="module")
def minions(master):
    """The folders of both minions, by their names, after an apply of what looks at the pillar."""
    # What a minion is given lies on its disk, and its log has all that there is to log.
    overrides = {"minion_pillar_cache": True, "log_level_logfile": "debug"}
    infra = master.salt_minion_daemon("infra-1", overrides=overrides)
    client = master.salt_minion_daemon("node-1", overrides=overrides)
    with infra.started(start_timeout=180), client.started(start_timeout=180):
        cli = master.salt_cli(timeout=180)
        for name in ("infra-1", "node-1"):
            assert cli.run("saltutil.sync_all", minion_tgt=name).returncode == 0
        yield {factory.id: factory for factory in (infra, client)}, cli


def write(folder, infra=INFRA, secrets=SECRETS):
    files = {
        "top.sls": {"base": {"*": ["infra"], "infra-*": ["infra_secrets"]}},
        "infra.sls": {"infra": infra},
        "infra_secrets.sls": {"infra_secrets": secrets},
    }
    for name, data in files.items():
        folder.joinpath(name).write_text(json.dumps(data), encoding="utf-8")


def applied(cli, name):
    assert cli.run("saltutil.refresh_pillar", "wait=True", minion_tgt=name).returncode == 0
    found = cli.run(*GATE, minion_tgt=name).data
    assert isinstance(found, dict), found
    # Salt 3008 runs what it requires, too: the sync.
    return next(state for key, state in found.items() if "infra-pillar-valid" in key)


def holders(factory):
    """Files of a minion that hold a secret."""
    root = Path(factory.config["root_dir"])
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


def test_each_minion_has_what_it_should_have_and_no_more(minions, pillar_root):
    factories, cli = minions
    states = {name: applied(cli, name) for name in factories}
    for state in states.values():
        assert (state["result"], state["changes"]) == (True, {}), state["comment"]
        assert "warnings" not in state
        assert CANARY not in repr(state)
    given = {name: cli.run("pillar.keys", "infra_secrets", minion_tgt=name) for name in factories}
    assert set(given["infra-1"].data) == set(SECRETS)
    assert not given["node-1"].data or "infra_secrets" in str(given["node-1"].data)
    # What is looked for is found where it is.
    planted = Path(factories["node-1"].config["root_dir"], "planted")
    planted.write_text(CANARY)
    assert holders(factories["node-1"]) == [planted]
    planted.unlink()
    told = cli.run("infra_pillar.validate", minion_tgt="infra-1").data
    assert told == {"valid": True, "errors": [], "warnings": []}


def test_one_pillar_for_all_warns_on_the_client_and_is_refused_where_strict(minions, pillar_root):
    _, cli = minions
    write(pillar_root, {**INFRA, **SECRETS}, {})
    state = applied(cli, "node-1")
    assert (state["result"], state["changes"]) == (True, {}), state["comment"]
    (message,) = state["warnings"]
    for name in SECRETS:
        assert name in message
    assert CANARY not in repr(state)
    assert "warnings" not in applied(cli, "infra-1")
    write(pillar_root, {**INFRA, **SECRETS, "infra_secrets_strict": True}, {})
    state = applied(cli, "node-1")
    assert state["result"] is False
    assert CANARY not in repr(state)
    assert applied(cli, "infra-1")["result"] is True


def planted_at(folder):
    return [p for p in Path(folder).rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]


def test_the_job_cache_of_the_master_has_no_secret_of_an_apply_but_those_that_are_asked_for(
    minions, master, pillar_root
):
    """What docs/security.md says of `state.show_low_sls`, and of what Salt itself holds."""
    _, cli = minions
    write(pillar_root)
    jobs = Path(master.config["cachedir"], "jobs")
    applied(cli, "infra-1")
    assert any(path.is_file() for path in jobs.rglob("*"))
    assert planted_at(jobs) == []
    assert cli.run("state.show_low_sls", "infra.nginx", minion_tgt="infra-1").returncode == 0
    assert planted_at(jobs)
    # The pillars of minions are in the master's cache, whatever is asked.
    others = [p for p in planted_at(master.config["cachedir"]) if jobs not in p.parents]
    folders = {path.relative_to(master.config["cachedir"]).parts[0] for path in others}
    assert folders <= {"minions", "pillar"}  # of Salt 3007 and of 3008
    assert {path.stat().st_mode & 0o777 for path in others} == {0o600}
