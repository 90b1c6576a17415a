"""How a reload is judged, with real programs: by what changed since our signal, by nothing else."""

import os
import signal
import time

import programs
import pytest
from infra_formula.daemon import health, local_ports
from infra_formula.errors import CommandFailed
from infra_formula.parameters import site as site_rows
from support.real_daemon import RealDaemon

RULES = "groups: [{{name: shop, rules: [{{record: shop, expr: vector({})}}]}}]\n"
SCRAPE = "scrape_configs: [{{job_name: shop{}, static_configs: [{{targets: ['127.0.0.1:9']}}]}}]\n"
ROUTE = "route: {{receiver: a{0}}}\nreceivers: [{{name: a{0}}}]\n"
MODULES = "modules: {{shop{}: {{prober: tcp}}}}\n"
BROKEN = "groups: {\n"
CASES = {
    "vmalert": (
        "vmalert",
        RULES,
        ["-rule=site.yml", "-datasource.url=http://127.0.0.1:9", "-notifier.url=http://127.0.0.1:9",
         "-remoteWrite.url=http://127.0.0.1:9", "-httpListenAddr=127.0.0.1:{port}",
         "-evaluationInterval=1s"],
    ),
    "vmetrics": (
        "victoria-metrics",
        SCRAPE,
        ["-promscrape.config=site.yml", "-storageDataPath=data",
         "-httpListenAddr=127.0.0.1:{port}"],
    ),
    "alertmanager": (
        "alertmanager",
        ROUTE,
        ["--config.file=site.yml", "--storage.path=data", "--cluster.listen-address=",
         "--web.listen-address=127.0.0.1:{port}"],
    ),
    "blackbox": (
        "blackbox_exporter",
        MODULES,
        ["--config.file=site.yml", "--web.listen-address=127.0.0.1:{port}"],
    ),
}  # fmt: skip
ROUNDS = [2, pytest.param(20, marks=pytest.mark.soak)]
"""vmalert waits a second after each reload."""


def releases():
    for name, (program, *_rest) in CASES.items():
        for label, release in programs.variants(program).items():
            yield pytest.param(name, release, id=f"{name}, {label}")


@pytest.fixture
def site(request, monkeypatch, tmp_path):
    name, release = request.param
    program, template, flags = CASES[name]
    file = tmp_path / "site.yml"
    file.write_text(template.format(0))
    running = RealDaemon(monkeypatch, tmp_path, name, programs.program(program, release), flags)
    yield name, running, file, template
    running.stop()


def by_hand(running):
    """A reload by somebody's hand, and its end."""
    size = running.path.stat().st_size
    before = health.metrics(running.port)
    os.kill(running.process.pid, signal.SIGHUP)
    verified_by = running.daemon["reload"]
    success, errors = verified_by["success_metric"], verified_by.get("error_counter")
    deadline = time.monotonic() + 20
    while True:
        after = health.metrics(running.port)
        logged = b"error" in running.path.read_bytes()[size:].lower()
        counted = errors not in after or after[errors] != before[errors]
        if logged and counted and after.get(success, 0) == 0:
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def cases(names=CASES):
    return [
        pytest.param((param.values[0], param.values[1]), id=param.id)
        for param in releases()
        if param.values[0] in names
    ]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("site", cases(), indirect=True)
def test_a_repair_after_a_reload_that_failed_by_hand_is_a_success(site, rounds):
    _name, running, file, template = site
    for number in range(rounds):
        file.write_text(BROKEN)
        by_hand(running)
        # Every second repair is to what it runs with; the others change something.
        file.write_text(template.format(number // 2))
        health.reload(running.daemon)


@pytest.mark.parametrize("site", cases(), indirect=True)
def test_two_successful_reloads_in_a_moment_are_both_verified(site):
    _name, running, file, template = site
    for number in (1, 1):
        file.write_text(template.format(number))
        health.reload(running.daemon)


@pytest.mark.parametrize("site", cases(), indirect=True)
def test_a_broken_file_is_a_failure_also_after_a_failure(site):
    _name, running, file, template = site
    file.write_text(BROKEN)
    for _ in range(2):
        with pytest.raises(CommandFailed, match="did not load its new configuration"):
            health.reload(running.daemon, 2.0)
    file.write_text(template.format(1))
    health.reload(running.daemon)
    assert local_ports.request(running.port, running.daemon["health"])[0] == 200


@pytest.mark.parametrize("site", cases(["vmetrics", "vmalert"]), indirect=True)
def test_what_a_program_does_not_log_is_not_waited_for_in_vain(site, monkeypatch):
    _name, running, file, template = site
    monkeypatch.setattr("infra_formula.systemd.journal", lambda unit, since: "")
    if not {*running.daemon["reload"].values()} & {*health.metrics(running.port)} - {
        running.daemon["reload"]["reload_counter"]
    }:
        pytest.skip("this release has neither a metric of success nor one of failures")
    file.write_text(template.format(0))
    health.reload(running.daemon, 2.0)


@pytest.mark.parametrize("site", cases(["vmalert"]), indirect=True)
def test_rules_that_wait_for_their_group_are_loaded(site):
    """A group that evaluates once an hour takes its new rules when it begins to."""
    _name, running, file, template = site
    hourly = template.replace("name: shop, ", "name: shop, interval: 1h, ")
    for number in (1, 2):
        file.write_text(hourly.format(number))
        health.reload(running.daemon, 3.0)


@pytest.mark.parametrize("rules", [0, 1])
@pytest.mark.parametrize("release", programs.variants("vmalert").values())
def test_a_vmalert_without_rules_is_unhealthy(monkeypatch, tmp_path, release, rules):
    (tmp_path / "site.yml").write_text(RULES.format(1) if rules else "groups: []\n")
    name, (program, _template, flags) = "vmalert", CASES["vmalert"]
    row = next(row for found, row, _ in site_rows.daemon_rows() if found == name)
    found = programs.program(program, release)
    running = RealDaemon(monkeypatch, tmp_path, name, found, flags, expects=row["expects"])
    assert health.health_problem(running.daemon) == ("" if rules else "it has loaded no rules")
    running.stop()
