"""Parts that the site has elsewhere: everything that referred to ours goes there."""

import http.server
import threading

import pytest
import yaml
from closing import stop
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags
from infra_formula.daemon import parameters as daemon_parameters
from infra_formula.errors import CommandFailed
from infra_formula.grafana import arguments as grafana_arguments
from infra_formula.grafana import data_sources
from infra_formula.logs import vector
from infra_formula.monitoring import arguments, vmalert
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from infra_formula.status import arguments as status_arguments
from infra_formula.status import health
from support.rule_templates import TEMPLATES

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1", "10.0.0.1"], "os_family": "Debian",
          "kernel": "Linux", "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
OFF = {f"{name}_enabled": False for name in ("vmetrics", "vlogs", "vtraces", "alertmanager",
                                             "grafana")}  # fmt: skip
ELSEWHERE = {
    **OFF,
    "vmetrics_url": "https://metrics.example.com/prom/",
    "vlogs_url": "http://10.9.0.2:9428",
    "vtraces_url": "http://10.9.0.3:10428",
    "alertmanager_urls": ["http://10.9.0.4:9093", "https://am.example.com/"],
    "grafana_url": "https://grafana.example.com",
}


def site(**parameters):
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    values = {**merging.defaults(GRAINS), "infra_hosts": hosts, "admin_ip": "10.0.0.1"}
    return Site({**values, **parameters}, GRAINS)


def command(name, **parameters):
    return flags.command_line(daemon_arguments.daemons(site(**parameters))[name])


def test_vmalert_asks_and_writes_there_and_sends_alerts_there():
    told = command("vmalert", **ELSEWHERE)
    for flag in ("datasource", "remoteRead", "remoteWrite"):
        assert f"-{flag}.url=https://metrics.example.com/prom" in told
    assert [word for word in told if word.startswith("-notifier")] == [
        "-notifier.url=http://10.9.0.4:9093",
        "-notifier.url=https://am.example.com",
    ]


def test_the_rules_over_logs_ask_there_and_their_links_lead_there():
    here = site(**ELSEWHERE)
    assert daemon_arguments.is_active(here, "vmalert_logs")
    told = command("vmalert_logs", **ELSEWHERE)
    assert "-datasource.url=http://10.9.0.2:9428" in told
    assert "-external.url=http://10.9.0.2:9428" in told
    (source,) = [word for word in told if word.startswith("-external.alert.source=")]
    assert source.startswith("-external.alert.source=select/vmui/")
    assert not daemon_arguments.is_active(site(**OFF), "vmalert_logs")


def test_a_site_with_all_parts_here_runs_with_the_flags_that_it_had():
    told = command("vmalert")
    assert "-datasource.url=http://127.0.0.1:8428" in told
    assert "-notifier.url=http://127.0.0.1:9059" in told
    told = command("vmalert_logs")
    assert "-datasource.url=http://127.0.0.1:9428" in told
    assert "-external.url=http://i.pigsty" in told or "-external.url=https://i.pigsty" in told
    assert "-notifier.blackhole" in command("vmalert", alertmanager_enabled=False)


def test_vector_ships_there():
    given = arguments.vector(site(**ELSEWHERE))
    made = vector.receivers(given["endpoints"], given["nodes"], given["admin_ip"])
    assert made == ["http://10.9.0.2:9428/insert/jsonline"]


def test_grafana_asks_there():
    given = grafana_arguments.data_sources(site(**{**ELSEWHERE, "grafana_enabled": True}))
    made = data_sources.sources(**given)
    urls = {source["uid"]: source.get("url") for source in made}
    assert urls["ds-metrics"] == urls["ds-vmetrics"] == "https://metrics.example.com/prom"
    assert urls["ds-vlogs"] == "http://10.9.0.2:9428"
    assert urls["ds-vtraces"] == "http://10.9.0.3:10428/select/jaeger"
    assert "vmetrics-1" not in urls


def test_alerts_link_to_the_grafana_elsewhere():
    files = vmalert.files(arguments.rules(site(**ELSEWHERE)), TEMPLATES)
    groups = yaml.safe_load(files["node.yml"]["text"])["groups"]
    links = {r["annotations"]["dashboard"] for g in groups for r in g["rules"] if "alert" in r}
    assert links
    assert all(link.startswith("https://grafana.example.com/d/") for link in links)


def test_status_asks_there():
    rows = {row["name"]: row for row in status_arguments.components(site(**ELSEWHERE))}
    assert rows["vmetrics"]["check"]["urls"] == [
        "https://metrics.example.com/prom/api/v1/query?query=1"
    ]
    assert len(rows["alertmanager"]["check"]["urls"]) == 2
    for name in ("vmetrics", "vlogs", "vtraces", "alertmanager", "grafana"):
        assert rows[name]["enabled"]
        assert not rows[name]["unit"]


@pytest.fixture
def server():
    class Answer(http.server.BaseHTTPRequestHandler):
        """Answers with the status that its path names."""

        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        stop(running)


def test_what_answers_elsewhere_is_healthy(server):
    assert health.check({"kind": "urls", "urls": [f"{server}/200", f"{server}/401"]})
    with pytest.raises(CommandFailed, match="/503 answers 503"):
        health.check({"kind": "urls", "urls": [f"{server}/200", f"{server}/503"]})
    with pytest.raises(CommandFailed, match=r"http://127\.0\.0\.1:1/x: "):
        health.check({"kind": "urls", "urls": ["http://127.0.0.1:1/x"]})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"vmetrics_url": "http://a:1"}, "vmetrics_enabled: expected false, because vmetrics_url"),
        (
            {**OFF, "vlogs_url": "http://user:pass@a:1"},
            "vlogs_url: expected a URL without a login",
        ),
        (
            {**OFF, "alertmanager_urls": ["http://a:1", "http://b:1/?x"]},
            "alertmanager_urls[1]: expected a URL without ? and #",
        ),
    ],
)
def test_a_fault_is_named_by_its_key_and_quotes_no_login(parameters, message):
    found = daemon_parameters.problems(site(**parameters))
    assert [line for line in found if line.startswith(message)]
    assert "pass@" not in "".join(found)


def test_vmalert_needs_a_store_here_or_elsewhere():
    assert vmalert.problems({"vmetrics_enabled": False})
    assert not vmalert.problems({"vmetrics_enabled": False, "vmetrics_url": "http://a:1"})
