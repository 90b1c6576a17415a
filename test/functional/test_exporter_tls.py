"""Exporters with a certificate: their health, their reload and how they are scraped follow it."""

import subprocess
import time

import programs
import pytest
import yaml
from infra_formula.daemon import flags, health, local_ports
from infra_formula.monitoring import scraping
from infra_formula.registration import facts, generated
from support.real_daemon import RealDaemon

MODULES = "modules: {shop: {prober: tcp}}\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that is its own CA."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "crt.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "web.yml").write_text("tls_server_config: {cert_file: crt.pem, key_file: key.pem}\n")
    return folder


@pytest.fixture
def exporter(monkeypatch, tmp_path, certificate):
    (tmp_path / "site.yml").write_text(MODULES)
    running = RealDaemon(
        monkeypatch, tmp_path, "blackbox", programs.program("blackbox_exporter"),
        ["--config.file=site.yml", "--web.listen-address=127.0.0.1:{port}",
         f"--web.config.file={certificate}/web.yml"],
    )  # fmt: skip
    yield running
    running.stop()


def test_health_and_reload_follow_the_certificate(exporter, tmp_path, monkeypatch):
    monkeypatch.setattr(local_ports, "listens", lambda pid, port: True)
    assert health.health_problem(exporter.daemon) == ""
    (tmp_path / "site.yml").write_text(MODULES.replace("shop", "other"))
    health.reload(exporter.daemon)


VALUES = {"tls": ["infra"], "register_sample_limit": 0, "register_label_limit": 0}


@pytest.mark.parametrize("release", programs.variants("victoria-metrics").values())
def test_scraping_follows_the_certificate(exporter, monkeypatch, tmp_path, certificate, release):
    values = {**VALUES, "exporter_tls_config": {"ca_file": f"{certificate}/crt.pem"}}
    nodes = [{"ip": "10.0.0.1", "seq": 1}]
    settings = {"closed_ports": [exporter.port], "dns": False, "repo": None, "blackbox": True,
                "tls": ["blackbox"]}  # fmt: skip
    own = scraping.own_targets(nodes, {"blackbox": exporter.port}, [], settings)
    made = scraping.config([{"job_name": "infra"}], values, "1s", "1s")
    (job,) = made["scrape_configs"]
    job["static_configs"] = own["infra/infra-1.yml"]
    (tmp_path / "scrape.yml").write_text(yaml.safe_dump(made))
    store = RealDaemon(
        monkeypatch, tmp_path, "vmetrics", programs.program("victoria-metrics", release),
        ["-promscrape.config=scrape.yml", "-storageDataPath=data",
         "-httpListenAddr=127.0.0.1:{port}"],
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (found := scraping.status(store.port)) or found[0]["health"] != "up":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found[0]["url"].startswith("https://127.0.0.1:")
    store.stop()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("--web.config.file=/etc/web.yml", True),
        (["--web.config.file", "/etc/web.yml"], True),
        ("-tls -tlsCertFile=a", True),
        ("-tls=true", True),
        ("-tls=false", False),
        ("-tlsCertFile=a", False),
        ("", False),
    ],
)
def test_options_that_give_a_certificate(options, wanted):
    assert flags.has_tls(options) is wanted


def test_a_minion_says_that_its_exporter_has_a_certificate():
    target = {"job": "node", "port": 9100, "scheme": "https"}
    assert facts.target_problem(target) is None
    assert facts.target_problem({**target, "scheme": "file"}).startswith(".scheme: expected http")
    node = {"ip": "10.0.0.2", "ins": "a", "cls": "b", "targets": [target], "haproxy": None}
    (file,) = generated.target_files({"a": node}).values()
    (entry,) = yaml.safe_load(file["text"])
    assert entry["labels"]["__scheme__"] == "https"


def test_no_job_changes_where_no_exporter_has_a_certificate():
    jobs = [{"job_name": "infra"}, {"job_name": "probe", "metrics_path": "/probe"}]
    values = {**VALUES, "exporter_tls_config": {}, "tls": []}
    assert scraping.config(jobs, values, "1s", "1s")["scrape_configs"] == jobs
    made = scraping.config(jobs, {**values, "tls": ["blackbox"]}, "1s", "1s")["scrape_configs"]
    assert [job.get("scheme") for job in made] == [None, "https"]
