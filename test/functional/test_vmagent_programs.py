"""vmagent for real: several stores with credentials, a queue on disk, and shared targets."""

import http.server
import json
import os
import subprocess
import threading
import time

import programs
import pytest
from closing import stop
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags, local_ports
from infra_formula.monitoring import arguments, remote_write, scraping
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from ports import free_port
from support.real_daemon import RealDaemon

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "os_family": "Debian", "kernel": "Linux",
          "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
# The password is "test": the example of Prometheus' own documentation of --web.config.file.
WEB = "basic_auth_users: {berlin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay}\n"


def wait(question, seconds=60):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer


@pytest.fixture
def started():
    running = []
    yield running
    for daemon in running:
        daemon.stop()


@pytest.fixture
def exporter():
    class Metrics(http.server.BaseHTTPRequestHandler):
        """One metric."""

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"shop_up 7\n")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        stop(running)


def victoria(monkeypatch, folder, name, *more, port=None):
    folder.joinpath(name).mkdir()
    return RealDaemon(
        monkeypatch, folder / name, "vmetrics", programs.program("victoria-metrics"),
        ["-storageDataPath=data", "-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s",
         *more],
        **({"port": port} if port else {}), health="/health",
    )  # fmt: skip


def prometheus(monkeypatch, folder):
    (folder / "prometheus.yml").write_text("{}\n")
    (folder / "web.yml").write_text(WEB)
    program = str(programs.unpacked("prometheus", "") / "usr/bin/prometheus")
    return RealDaemon(
        monkeypatch, folder, "vmetrics", program,
        ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--web.config.file=web.yml",
         "--web.enable-remote-write-receiver", "--web.listen-address=127.0.0.1:{port}"],
        health="/-/healthy", answers=401,
    )  # fmt: skip


def site(**parameters):
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    values = {**merging.defaults(GRAINS), "infra_hosts": hosts, "admin_ip": "10.0.0.1"}
    return Site({**values, **parameters}, GRAINS)


def vmagent(monkeypatch, folder, here, targets, *more):
    """vmagent with the flags and files of a site, which lie below a folder of the test."""
    monkeypatch.setattr(remote_write, "ROOT", str(folder / "credentials"))
    for name, file in arguments.remote_write(here).items():
        path = folder / "credentials" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(file["text"])
        path.chmod(0o600)
    job = {"job_name": "shop", "static_configs": [{"targets": targets}]}
    configuration = scraping.config([], {"register_sample_limit": 0, "register_label_limit": 0},
                                    "1s", "1s", [job])  # fmt: skip
    (folder / "prometheus.yml").write_text(scraping.templates.to_yaml(configuration))
    words = flags.command_line(daemon_arguments.daemons(here)["vmagent"])[1:]
    words = [
        word.replace("/infra/", f"{folder}/") for word in words if "httpListenAddr" not in word
    ]
    return RealDaemon(
        monkeypatch, folder, "vmagent", programs.program("vmagent"),
        [*words, "-httpListenAddr=127.0.0.1:{port}", "-remoteWrite.flushInterval=1s", *more],
    )  # fmt: skip


def value(port, login=""):
    url = f"http://127.0.0.1:{port}/api/v1/query?query=shop_up"
    printed = subprocess.run(["curl", "-s", *(["-u", login] if login else []), url],
                             capture_output=True, check=True, timeout=30).stdout  # fmt: skip
    rows = json.loads(printed)["data"]["result"] if printed.startswith(b"{") else []
    return [row["value"][1] for row in rows]


def test_what_is_scraped_arrives_in_two_stores_with_a_login_each(
    monkeypatch, tmp_path, started, exporter
):
    own = victoria(monkeypatch, tmp_path, "own")
    login = ("-httpAuth.username=berlin", '-httpAuth.password=a,"b')
    started += [own, victoria(monkeypatch, tmp_path, "second", *login)]
    started.append(prometheus(monkeypatch, tmp_path))
    stores = [
        {"url": f"http://127.0.0.1:{started[1].port}", "username": "berlin", "password": 'a,"b'},
        {"url": f"http://127.0.0.1:{started[2].port}/", "username": "berlin", "password": "test"},
    ]
    here = site(vmetrics_port=own.port, vmetrics_remote_write=stores)
    started.append(vmagent(monkeypatch, tmp_path, here, [f"127.0.0.1:{exporter}"]))
    assert wait(lambda: value(own.port)) == ["7"]
    assert wait(lambda: value(started[1].port, 'berlin:a,"b')) == ["7"]
    assert wait(lambda: value(started[2].port, "berlin:test")) == ["7"]
    command = ["ps", "-ww", "-o", "args=", "-p", str(started[3].process.pid)]
    listed = subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout
    assert "basicAuth.passwordFile" in listed
    assert 'a,"b' not in listed
    assert 'a,"b' not in started[3].path.read_text()


def test_what_a_store_does_not_take_is_written_when_it_is_back(
    monkeypatch, tmp_path, started, exporter
):
    port = free_port()
    here = site(vmetrics_port=port, vmagent_enabled=True)
    agent = vmagent(monkeypatch, tmp_path, here, [f"127.0.0.1:{exporter}"])
    started.append(agent)
    pending = 'vmagent_remotewrite_pending_data_bytes{path="'

    def queued():
        _code, body = local_ports.request(agent.port, "/metrics")
        lines = [line for line in body.splitlines() if line.startswith(pending)]
        return sum(float(line.rpartition(" ")[2]) for line in lines) > 100

    wait(queued)
    agent.process.terminate()
    agent.process.wait(timeout=60)
    # Nothing scrapes now: what is found is of the queue on disk.
    started.append(victoria(monkeypatch, tmp_path, "own", port=port))
    assert not value(port)
    started.append(vmagent(monkeypatch, tmp_path, here, []))

    def arrived():
        query = "/api/v1/query?query=count_over_time(shop_up[10m])"
        _code, body = local_ports.request(port, query)
        return json.loads(body)["data"]["result"]

    wait(arrived)


def test_targets_are_shared_by_two_of_three_and_a_lost_one_leaves_no_gap(
    monkeypatch, tmp_path, started, exporter
):
    """Each of three nodes scrapes its share; each target stays with one when a node is lost."""
    hosts = {f"infra-{n}": {"infra_seq": n, "ip": f"127.0.0.{n}"} for n in (1, 2, 3)}
    targets = [f"127.0.0.{n}:{exporter}" for n in range(1, 2)]
    targets += [f"localhost:{exporter}", f"127.0.0.1:0{exporter}"]
    agents = []
    for number in (1, 2, 3):
        folder = tmp_path / f"node-{number}"
        folder.mkdir()
        values = site(infra_hosts=hosts, vmagent_enabled=True, vmagent_replicas=2).parameters
        here = Site(values, {**GRAINS, "id": f"infra-{number}", "ipv4": []})
        agents.append(vmagent(monkeypatch, folder, here, targets))
    started += agents

    def scraped(agent):
        _code, body = local_ports.request(agent.port, "/api/v1/targets")
        return {t["labels"]["instance"] for t in json.loads(body)["data"]["activeTargets"]}

    wait(lambda: sum(len(scraped(agent)) for agent in agents) == 2 * len(targets))
    for lost in agents:
        left = set().union(*(scraped(agent) for agent in agents if agent is not lost))
        assert len(left) == len(targets)


def test_the_configuration_is_checked_by_vmagent_as_by_victoriametrics():
    def check(**more):
        jobs = [{"job_name": "a", "static_configs": [{"targets": ["a:1"]}], **more}]
        values = {"register_sample_limit": 0, "register_label_limit": 0}
        configuration = scraping.config([], values, "1s", "1s", jobs)
        scraping.check(configuration, programs.program("vmagent"), jobs)

    check()
    with pytest.raises(scraping.Refused, match="no_such_key"):
        check(no_such_key=1)


def test_the_program_knows_all_flags():
    here = site(
        vmagent_enabled=True, vmagent_replicas=1,
        infra_hosts={f"infra-{n}": {"infra_seq": n, "ip": f"10.0.0.{n}"} for n in (1, 2)},
        vmetrics_remote_write=[{"url": "http://a", "token": "t"},
                               {"url": "https://b", "username": "u", "password": "p",
                                "ca_file": "/a", "cert_file": "/b", "key_file": "/c"}],
    )  # fmt: skip
    daemon = {**daemon_arguments.daemons(here)["vmagent"], "program": programs.program("vmagent")}
    flags.validate_flags(daemon)
    assert os.access(daemon["program"], os.X_OK)
