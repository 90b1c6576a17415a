"""Metrics written from outside: through the portal and its login, while the port is closed."""

import json
import socket
import subprocess
import time

import programs
import pytest
from infra_formula.daemon import arguments, flags, local_ports
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from nginx_server import PASSWORD, Server
from support.real_daemon import RealDaemon

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "os_family": "Debian", "kernel": "Linux",
          "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
WRITE = "/vmetrics/api/v1/write"


@pytest.fixture
def store(monkeypatch, tmp_path):
    """VictoriaMetrics, listening as the flags of a site with one INFRA node say."""
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    values = {**merging.defaults(GRAINS), "infra_hosts": hosts, "admin_ip": "10.0.0.1"}
    words = flags.command_line(arguments.daemons(Site(values, GRAINS))["vmetrics"])
    (listen,) = [word for word in words if word.startswith("-httpListenAddr=")]
    running = RealDaemon(
        monkeypatch, tmp_path, "vmetrics", programs.program("victoria-metrics"),
        ["-storageDataPath=data", "-search.latencyOffset=0s", listen.replace("8428", "{port}")],
    )  # fmt: skip
    yield running
    running.stop()


@pytest.fixture
def portal(tmp_path_factory, store):
    server = Server(
        tmp_path_factory.mktemp("nginx"), {"home": {"domain": "i.pigsty"}},
        components={"vmetrics": {"port": store.port}}, portal_auth="basic",
    )  # fmt: skip
    yield server
    server.close()


def test_the_port_is_closed_to_others_on_a_single_node(store):
    assert local_ports.request(store.port, "/health")[0] == 200
    # Any other address of this machine stands for the one that others reach it by.
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", store.port))


def test_a_program_writes_through_the_portal_with_its_login(monkeypatch, tmp_path, store, portal):
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "jobs.yml").write_text("{}\n")
    url = f"https://127.0.0.1:{portal.tls_port}{WRITE}"
    agent = RealDaemon(
        monkeypatch, tmp_path, "vmagent", programs.program("vmagent"),
        [f"-remoteWrite.url={url}", "-remoteWrite.tlsInsecureSkipVerify=true",
         "-remoteWrite.basicAuth.username=ann", "-remoteWrite.basicAuth.passwordFile=password",
         "-remoteWrite.flushInterval=1s", "-remoteWrite.tmpDataPath=queue",
         "-httpListenAddr=127.0.0.1:{port}"],
    )  # fmt: skip
    try:
        code, answer = local_ports.request(
            agent.port, "/api/v1/import/prometheus", method="POST", body="outside_orders 42\n"
        )
        assert code == 204, answer
        deadline = time.monotonic() + 60
        path, found = "/api/v1/query?query=outside_orders", []
        while not found and time.monotonic() < deadline:
            found = json.loads(local_ports.request(store.port, path)[1])["data"]["result"]
            time.sleep(0.2)
        assert found[0]["value"][1] == "42"
    finally:
        agent.stop()


@pytest.mark.parametrize("login", [None, "ann:wrong"])
def test_nobody_writes_without_the_login(store, portal, login):
    url = f"https://127.0.0.1:{portal.tls_port}/vmetrics/api/v1/import/prometheus"
    words = ["curl", "-ks", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "forged 1"]
    words += ["-u", login] if login else []
    done = subprocess.run([*words, url], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "401"
    local_ports.request(store.port, "/internal/force_flush")
    body = local_ports.request(store.port, "/api/v1/query?query=forged")[1]
    assert json.loads(body)["data"]["result"] == []
