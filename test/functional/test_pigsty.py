"""infra_pigsty.convert: what the formula makes of the pillars of inventories of many shapes.

Pillars and reports themselves are looked at in test/unit/test_infra_pigsty.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from infra_formula.minion import Minion
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from infra_formula.pigsty import conversion
from infra_formula.portal.views import views as portal_views
from infra_formula.registration import arguments, generated, inventory
from infra_formula.registration import facts as own_facts

REPO = Path(__file__).resolve().parent.parent.parent
CASES = REPO / "test" / "unit" / "cases" / "pigsty"
GRAINS = {"id": "infra-1", "os_family": "Debian"}
INVENTORIES = sorted(CASES.glob("*.yml"))


@pytest.fixture(scope="module")
def minion_overrides():
    """An INFRA node, known by its address."""
    return {"grains": {"ipv4": ["10.10.10.10", "127.0.0.1"], "init": "systemd"}}


@pytest.fixture
def converted(modules):
    def convert(name):
        minion = Minion({"cp.get_file_str": modules.cp.get_file_str}, grains=GRAINS)
        return conversion.convert(minion, str(CASES / f"{name}.yml"))

    return convert


def low(modules, sls, pillar):
    found = modules.state.show_low_sls(sls, pillar=pillar)
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == []
    return found


def one(chunks, state, fun):
    (found,) = [c for c in chunks if (c["state"], c["fun"]) == (state, fun)]
    return found


@pytest.mark.parametrize("name", ["ha", "odd"])
def test_the_pillar_renders(modules, converted, name):
    assert low(modules, "infra", converted(name)["pillar"])


# -- the way round: what the formula makes of it ---------------------------------------------------

NAMES = {
    "single": {"i.pigsty"},
    "four": {"i.pigsty", "m.pigsty", "api.pigsty", "adm.pigsty"},
    "infra-only": {"i.pigsty", "docs.pigsty"},
    "china": {"i.pigsty"},
    "ha": {"i.pigsty"},
    "v2": {"h.pigsty", "g.pigsty", "p.pigsty", "a.pigsty", "my_metrics.pigsty"},
    "v3": {"h.pigsty", "g.pigsty", "p.pigsty", "a.pigsty"},
    "airgap": {"i.pigsty"},
    "ports": {"i.pigsty", "p.pigsty"},
    "odd": {"i.corp.example", "wiki.corp.example", "braces.corp.example"},
    "vault": {"i.pigsty", "hidden.pigsty"},
    "wrong": {"i.pigsty", "good.pigsty", "noport.pigsty"},
    "upstream": {"i.pigsty"},
    "demo": {
        "pigsty.cc",
        *(f"{name}.pigsty.cc" for name in (
            "home", "demo", "p", "a", "api", "adm", "cli", "ddl", "lab", "git", "wiki", "noco",
            "supa", "dify", "odoo", "mm", "en", "zh", "pro",
        )),
    },
}  # fmt: skip


def test_every_inventory_has_its_names():
    assert set(NAMES) == {path.stem for path in INVENTORIES}


def test_the_portal_serves_the_names_of_the_inventory(modules, converted):
    pillars = {name: converted(name)["pillar"]["infra"] for name in NAMES}
    chunk = one(low(modules, "infra.nginx", {"infra": pillars["four"]}), "infra_portal", "managed")
    assert json.loads(chunk["portal"]) == pillars["four"]["infra_portal"]
    for name, pillar in pillars.items():
        views = portal_views(pillar["infra_portal"], chunk["settings"])
        served = {n for view in views.values() if view["kind"] != "unserved" for n in view["names"]}
        assert served == NAMES[name], name


def test_the_name_server_has_the_records_of_the_inventory(modules, converted):
    found = low(modules, "infra.dns", converted("odd")["pillar"])
    expected = ["10.10.10.10 i.corp.example", "10.10.10.77 seven.corp.example  # meta"]
    assert one(found, "infra_dns", "records")["lines"] == expected


def test_the_repository_is_of_the_modules_of_the_inventory(modules, converted):
    found = low(modules, "infra.repo", converted("china")["pillar"])
    request = next(c["request"] for c in found if "request" in c)
    request = json.loads(request) if isinstance(request, str) else request
    assert request["modules"] == "infra,node,pgsql"
    assert request["region"] == "china"
    assert [p if isinstance(p, str) else p["url"] for p in request["url_packages"]] == [
        "https://repo.pigsty.cc/etc/pev.html",
        "https://repo.pigsty.cc/pkg.tgz",
    ]


def published(modules, pillar, ip):
    """Facts that the minion of an address publishes, by what the formula would give it."""
    own = {**pillar["infra"], **pillar["infra"].get("nodes", {}).get(ip, {})}
    base = {
        "ip": ip,
        "ins": own.get("nodename") or ip,
        "cls": own.get("node_cluster", "nodes"),
        "targets": [{"job": "ping"}, {"job": "node", "port": 9100}, {"job": "node", "port": 9101}],
    }
    return own_facts.compose([base, *own.get("register", {}).values()])


def test_targets_and_names_are_those_of_pigsty(modules, converted):
    """Reference: which file Pigsty's registration writes, with which labels and ports."""
    pillar = converted("four")["pillar"]
    ips = [f"10.10.10.{n}" for n in (10, 11, 12, 13)]
    mine = {ip: published(modules, pillar, ip) for ip in ips}
    here = Site(
        {**merging.defaults(GRAINS), **pillar["infra"]}, {**GRAINS, "ipv4": ["10.10.10.10"]}
    )
    found = inventory.accept(mine, arguments.registration(here))
    assert found["refused"] == {}
    files = {
        rel: yaml.safe_load(spec["text"])
        for rel, spec in generated.target_files(found["nodes"]).items()
    }
    of = {"ip": "10.10.10.11", "ins": "pg-test-1", "cls": "pg-test"}
    assert files["targets/pgsql/10.10.10.11.yml"] == [
        {"labels": of, "targets": [f"10.10.10.11:{port}" for port in (9630, 9631, 9854)]}
    ]
    assert files["targets/etcd/10.10.10.11.yml"] == [
        {"labels": {**of, "ins": "etcd-2", "cls": "etcd"}, "targets": ["10.10.10.11:2379"]}
    ]
    assert files["targets/node/10.10.10.11.yml"] == [
        {"labels": of, "targets": ["10.10.10.11:9100", "10.10.10.11:9101"]},
        {"labels": {**of, "vip": "10.10.10.99"}, "targets": ["10.10.10.11:9650"]},
    ]
    meta = {"ip": "10.10.10.10", "ins": "pg-meta-1", "cls": "pg-meta"}
    assert files["targets/minio/10.10.10.10.yml"] == [
        {"labels": {**meta, "ins": "minio-1", "cls": "minio"}, "targets": ["10.10.10.10:9000"]}
    ]
    assert files["targets/docker/10.10.10.10.yml"] == [
        {"labels": meta, "targets": ["10.10.10.10:9323"]}
    ]
    names = {
        name: record["address"]
        for records in generated.records(found["nodes"]).values()
        for record in records
        for name in record["names"]
    }
    assert names == {
        "pg-meta-1": "10.10.10.10",
        "pg-meta": "10.10.10.10",
        "pg-test-1": "10.10.10.11",
        "pg-test-2": "10.10.10.12",
        "pg-test-3": "10.10.10.13",
        "pg-test": "10.10.10.3",
        "pg-test.vip": "10.10.10.99",
        "minio-1": "10.10.10.10",
        "minio-1.pigsty": "10.10.10.10",
    }


def test_what_one_node_is_given_is_that_node_s(modules, converted):
    """The pillar is the same for all; this minion is 10.10.10.10."""
    chunk = one(low(modules, "infra.register.publish", converted("four")["pillar"]),
                "infra_register", "published")  # fmt: skip
    data = {k: v for row in chunk["data"] for k, v in row.items()} if isinstance(
        chunk["data"], list) else chunk["data"]  # fmt: skip
    assert (data["ins"], data["cls"], data["ip"]) == ("pg-meta-1", "pg-meta", "10.10.10.10")
    assert sorted(chunk["further"]) == ["docker", "etcd", "minio", "pgsql"]


# -- the ways to call it ---------------------------------------------------------------------------


def test_the_makefile_s_command_needs_no_salt_set_up(tmp_path):
    out = tmp_path / "infra.sls"
    command = [sys.executable, str(REPO / "tools" / "convert"), str(CASES / "single.yml")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout == (CASES / "single.sls").read_text(encoding="utf-8")
    assert shown.stderr == (CASES / "single.report").read_text(encoding="utf-8")
    subprocess.run([*command, str(out)], capture_output=True, timeout=120, check=True)
    assert out.read_text(encoding="utf-8") == shown.stdout
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("trap", ["file", "link"])
def test_a_pillar_is_not_written_into_what_somebody_else_put_there(trap, tmp_path):
    """It has passwords; a folder such as /tmp may hold a file of that name already."""
    out, victim = tmp_path / "infra.sls", tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    if trap == "link":
        out.symlink_to(victim)
    else:
        os.link(victim, out)
        os.chown(victim, 12345, 12345)
    command = [sys.executable, str(REPO / "tools" / "convert"), str(CASES / "single.yml"), str(out)]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert victim.read_text(encoding="utf-8") == "precious"
    assert (out.lstat().st_uid, out.lstat().st_mode & 0o777) == (os.geteuid(), 0o600)
    assert not out.is_symlink()


def test_the_makefile_s_command_says_what_is_wrong(tmp_path):
    path = tmp_path / "pigsty.yml"
    path.write_text("infra: {}\n", encoding="utf-8")
    found = subprocess.run(
        [sys.executable, str(REPO / "tools" / "convert"), str(path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == "convert: infra.hosts: expected at least one host\n"


@pytest.fixture(scope="module")
def salt_run(salt_factories, formula_roots):
    """``salt-run`` of a master that has synced nothing yet; it need not be running."""
    return salt_factories.salt_master_daemon("convert", overrides=formula_roots).salt_run_cli()


def test_the_runner_converts_on_the_master_once_it_is_synced(salt_run, tmp_path):
    synced = salt_run.run("saltutil.sync_all").data
    assert "runners.infra_pigsty" in synced["runners"]
    assert "utils.infra_formula" in "".join(synced["utils"])
    out = tmp_path / "infra.sls"
    found = salt_run.run("infra_pigsty.convert", str(CASES / "single.yml"), f"out={out}").data
    assert found["report"]["variables"]
    assert out.read_text(encoding="utf-8") == (CASES / "single.sls").read_text(encoding="utf-8")
    report = salt_run.run("infra_pigsty.report", str(CASES / "single.yml")).stdout
    assert report == (CASES / "single.report").read_text(encoding="utf-8")
