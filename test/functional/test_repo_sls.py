"""The SLS files: rendered for both families, and what the defaults ask for."""

import pytest
import yaml
from infra_formula.repository import catalogue
from repo_samples import REPO

pytest_plugins = ["repo_fixtures"]

HOST = {
    "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
    "infra_packaging": "distro",
    "repo_archive": "/nonexistent/pkg.tgz",
    # The distribution has no package of these.
    **dict.fromkeys(
        ("grafana_enabled", "vlogs_enabled", "vtraces_enabled", "vector_enabled"), False
    ),
}


def low(modules, sls, **infra):
    chunks = modules.state.show_low_sls(sls, pillar={"infra": {**HOST, **infra}})
    assert all(isinstance(chunk, dict) for chunk in chunks), chunks
    return {chunk["__id__"]: chunk for chunk in chunks}


def test_the_repository_is_built_from_the_parameters(modules):
    chunks = low(
        modules,
        "infra.repo",
        nginx_port=8080,
        repo_endpoints=["http://10.10.10.11"],
        repo_targets=["d12.x86_64", "el9.x86_64"],
        repo_aliases={"mine": "a b"},
    )
    built = chunks["infra-repo-packages-published"]
    assert built["request"]["targets"] == ["d12.x86_64", "el9.x86_64"]
    assert built["request"]["aliases"]["mine"] == "a b"
    assert "createrepo-c" in chunks["infra-repo-tools-installed"]["pkgs"]
    assert chunks["infra-repo-definitions-published"]["endpoints"] == [
        "http://10.10.10.10:8080",
        "http://10.10.10.11",
    ]


@pytest.mark.parametrize("packaging", ["upstream", "distro"])
@pytest.mark.parametrize("code", ["d11", "d12", "d13", "u22", "u24", "u26", "el8", "el9", "el10"])
@pytest.mark.parametrize("region", ["default", "china", "europe"])
def test_the_default_catalogue_fits_every_system(packaging, code, region, modules):
    built = low(
        modules,
        "infra.repo",
        infra_packaging=packaging,
        region=region,
        repo_targets=[f"{code}.x86_64", f"{code}.aarch64"],
    )["infra-repo-packages-published"]
    plan = catalogue.plan({"name": "pigsty", "home": "/www", **built["request"]})
    for target in plan["targets"]:
        assert target["upstreams"]
        assert "nginx" in target["names"]
        assert all("$v" not in name and "$" not in name for name in target["names"])
        for upstream in target["upstreams"]:
            assert upstream["gpgkey"] or upstream["signed_by"]
            text = " ".join(upstream.get("baseurls", [upstream.get("url", "")]))
            assert "${" not in text
            if region == "china" and upstream["name"].startswith("pigsty"):
                assert "repo.pigsty.cc" in text


def test_the_catalogue_has_every_upstream_that_pigsty_lists():
    data = yaml.safe_load((REPO / "infra/repo/data/upstream.yaml").read_text(encoding="utf-8"))
    el = {entry["name"] for entry in data if max(entry["releases"]) <= 10}
    deb = {entry["name"] for entry in data if min(entry["releases"]) > 10}
    assert {"pigsty-infra", "nginx", "docker-ce", "baseos", "appstream", "extras", "powertools",
            "crb", "epel", "pigsty-pgsql", "pgdg-common", "pgdg14", "pgdg18", "pgdg-beta",
            "pgdg-extras", "pgdg18-nonfree", "timescaledb", "percona", "groonga", "mysql", "mongo",
            "redis", "grafana", "kubernetes", "gitlab-ee", "clickhouse"} <= el  # fmt: skip
    assert {"pigsty-infra", "nginx", "docker-ce", "base", "updates", "security", "backports",
            "pigsty-pgsql", "pgdg", "pgdg-beta", "timescaledb", "citus", "percona", "groonga",
            "mysql", "mongo", "redis", "llvm", "haproxyd", "haproxyu", "grafana", "kubernetes",
            "gitlab-ce", "clickhouse"} <= deb  # fmt: skip


def test_test_true_on_a_machine_with_nothing_is_honest(states, modules, tmp_path):
    home = str(tmp_path / "www")
    built = low(modules, "infra.repo", repo_home=home)["infra-repo-packages-published"]
    ret = states.infra_repo.built(name="pigsty", home=home, request=built["request"], test=True)
    assert ret.result is None
    assert ret.changes["repository"]["old"] is None
    ret = states.infra_repo.defined(name="pigsty", home=home, endpoints=["http://a"], test=True)
    assert ret.result in (None, True)
    assert not (tmp_path / "www").exists()


def test_clean_keeps_packages_unless_told(modules):
    assert "infra-repo-data-removed" not in low(modules, "infra.repo.clean")
    asked = {"infra_remove": ["service", "config", "data"]}
    found = low(modules, "infra.repo.clean", **asked)["infra-repo-data-removed"]
    assert found["paths"] == ["/www/pigsty", "/www/.pigsty", "/var/lib/infra/repo"]
