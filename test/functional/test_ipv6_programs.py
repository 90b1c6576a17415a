"""Two INFRA nodes without IPv4, and with both: the real programs find each other.

Each node is a network of its own on one bridge. The flags and the targets are the formula's.
"""

import json
import os
import re
import subprocess
import time

import programs
import pytest
import yaml
from infra_formula.daemon import arguments, flags
from infra_formula.monitoring import arguments as monitoring
from infra_formula.monitoring import scraping
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from support.own_network import own_network
from support.real_daemon import DEBIANS

GRAINS = {"ipv4": [], "ipv6": [], "os_family": "Debian", "kernel": "Linux", "cpuarch": "x86_64",
          "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
BRIDGE = f"v6{os.getpid() % 100000}"
# The second site has an INFRA node of each kind, and both addresses on each machine.
SITES = {
    "IPv6 alone": {1: "fd77::1", 2: "fd77::2"},
    "both": {1: "fd77::1", 2: "10.78.0.2"},
}
_OFF = ("grafana", "vlogs", "vtraces", "vector", "nginx", "nginx_exporter", "dns", "repo",
        "blackbox")  # fmt: skip
OFF = {f"{name}_enabled": False for name in _OFF}
RULES = {"groups": [{"name": "g", "rules": [{"alert": "Always", "expr": "vector(1)"}]}]}


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=30)


@pytest.fixture(params=SITES)
def nodes(request, tmp_path):
    """The addresses of a site whose programs run, each by the number of its node."""
    with own_network():
        yield from _running(request, tmp_path)


def _running(request, tmp_path):
    found, running = SITES[request.param], []
    has_ipv4 = request.param == "both"
    ip("link", "add", BRIDGE, "up", "type", "bridge")
    try:
        for n in found:
            space, outer = f"{BRIDGE}-{n}", f"{BRIDGE}v{n}"
            ip("netns", "add", space)
            ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", outer, "master", BRIDGE, "up")
            ip("-n", space, "address", "add", f"fd77::{n}/64", "dev", "eth0", "nodad")
            if has_ipv4:
                ip("-n", space, "address", "add", f"10.78.0.{n}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
        for n in found:
            running += start(n, found, tmp_path / f"node-{n}")
        yield found
    finally:
        for process in running:
            process.kill()
            process.wait()
        for n in found:
            subprocess.run(["ip", "netns", "delete", f"{BRIDGE}-{n}"], check=False, timeout=30)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, timeout=30)


def _below(folder, text):
    return re.sub(r"(?<!\w)/infra/", f"{folder}/", text)


def start(number, found, folder):
    """The programs of a node."""
    hosts = {f"infra-{n}": {"infra_seq": n, "ip": address} for n, address in found.items()}
    values = {**merging.defaults(GRAINS), **OFF, "infra_hosts": hosts, "admin_ip": found[1]}
    here = Site(values, {**GRAINS, "id": f"infra-{number}"})
    jobs = [{"job_name": "infra", "targets": "infra"}]
    limits = {"register_sample_limit": 0, "register_label_limit": 0}
    made = scraping.files(
        scraping.config(jobs, limits, "1s", "1s"),
        scraping.own_targets(**monitoring.infra_targets(here)),
    )
    contents = {rel: _below(folder, file["text"]) for rel, file in made.items()}
    contents["rules/own.yml"] = yaml.safe_dump(RULES)
    contents["alertmanager.yml"] = "route: {receiver: a}\nreceivers: [{name: a}]\n"
    for rel, text in contents.items():
        path = folder / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    share = programs.unpacked(DEBIANS["alertmanager"], "trixie") / "usr/share"
    mount = 'mount --bind "$0" /usr/share && exec "$@"'
    started = []
    for name, program in (("vmetrics", "victoria-metrics"), ("alertmanager", "alertmanager"),
                          ("vmalert", "vmalert"), ("node_exporter", "node_exporter")):  # fmt: skip
        words = flags.command_line(arguments.daemons(here)[name])[1:]
        words = [
            _below(folder, word).replace("/etc/", f"{folder}/")
            for word in words
            if "textfile" not in word
        ]
        inside = ["ip", "netns", "exec", f"{BRIDGE}-{number}"]
        command = [*inside, "unshare", "--mount", "sh", "-c", mount, str(share),
                   programs.program(program), *words]  # fmt: skip
        with (folder / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
    return started


def ask(number, address, port, path):
    """What a program answers to its own node; None if it does not."""
    host = f"[{address}]" if ":" in address else address
    command = ["ip", "netns", "exec", f"{BRIDGE}-{number}", "curl", "-sg", "--max-time", "5"]
    done = subprocess.run(
        [*command, f"http://{host}:{port}{path}"], capture_output=True, check=False, timeout=30
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None


def wait(question, about=None, seconds=90):
    deadline = time.monotonic() + seconds
    while not (found := question()):
        assert time.monotonic() < deadline, (about or question)()
        time.sleep(0.3)
    return found


def scraped(number, address):
    answer = ask(number, address, 8428, "/api/v1/query?query=up") or {"data": {"result": []}}
    return {
        (row["metric"]["cls"], row["metric"]["ip"]): row["value"][1]
        for row in answer["data"]["result"]
    }


def _is_all_up(found, expected):
    return set(found.values()) == {"1"} and set(found) >= expected


def test_each_node_scrapes_both_and_alerts_reach_both_alertmanagers(nodes):
    expected = {(name, address) for address in nodes.values()
                for name in ("vmetrics", "vmalert", "alertmanager")}  # fmt: skip
    for number, address in nodes.items():
        wait(lambda n=number, a=address: _is_all_up(scraped(n, a), expected),
             lambda n=number, a=address: scraped(n, a))  # fmt: skip
        status = wait(lambda n=number, a=address: ask(n, a, 9059, "/api/v2/status"))
        wait(lambda n=number, a=address: len(
            ask(n, a, 9059, "/api/v2/status")["cluster"]["peers"]) == 2)  # fmt: skip
        assert status["cluster"]["name"]
        alerts = wait(lambda n=number, a=address: ask(n, a, 9059, "/api/v2/alerts"))
        assert {alert["labels"]["alertname"] for alert in alerts} == {"Always"}
