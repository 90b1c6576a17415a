"""Two INFRA nodes under a master are upgraded one after the other, and the portal serves meanwhile.

The newer packages are Debian's own, packed again under a higher version, in a repository that the
master serves. The tests of this file stand in their order.
"""

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from authority import authority
from lab.suites import MachineSpec
from vendors import DISTRO

pytestmark = pytest.mark.soak
NODES = {"infra-1": "10.10.10.10", "infra-2": "10.10.10.11"}
PACKAGES = r"^(lib)?nginx|^dnsmasq|^victoria-metrics|^prometheus-(alertmanager|blackbox-exporter)"
"""Packages of which there are newer ones, which require each other as Debian's do."""
UPGRADED = {"nginx", "dnsmasq-base", "victoria-metrics", "prometheus-alertmanager",
            "prometheus-blackbox-exporter"}  # fmt: skip
UNITS = ("nginx", "dnsmasq", "vmetrics", "vmalert", "alertmanager", "blackbox_exporter")
NEWER = "+newer"
PORT = 8099
REPOSITORY = f"http://10.10.10.2:{PORT}/"
REQUESTS = 20_000
PACK = f"""
set -eu
mkdir -p /srv/newer /root/pack
cd /root/pack
apt-get update -q
apt-get download -q "$@"
for file in *.deb; do
  dpkg-deb --raw-extract "$file" tree
  version=$(dpkg-deb --field "$file" Version)
  sed -i "s/^Version: .*/&{NEWER}/; s/= $version)/= $version{NEWER})/g" tree/DEBIAN/control
  dpkg-deb -Zgzip -z1 --root-owner-group --build tree "/srv/newer/$file"
  rm -r tree
done
cd /srv/newer
for file in *.deb; do
  dpkg-deb --field "$file"
  printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' \\
    "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done > Packages
"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pillar(ca):
    return {
        "infra": {
            "infra_hosts": {
                name: {"infra_seq": number, "ip": ip}
                for number, (name, ip) in enumerate(NODES.items(), 1)
            },
            **DISTRO,
            "repo_enabled": False,
            "node_repo_remove": False,
            **ca,
        }
    }


@pytest.fixture(scope="module")
def lab(boot_lab, pillar):
    machines = [MachineSpec(name, ip) for name, ip in NODES.items()]
    site = boot_lab("fleet", pillar=pillar, machines=machines)
    done = site.apply()
    assert {name: one.complaint() for name, one in done.items() if not one.ok} == {}
    return site


@pytest.fixture(scope="module")
def newer(lab):
    """Have newer packages in a repository that both nodes know of; returns the older versions."""
    older = versions(lab)["infra-1"]
    chosen = [f"{name}={version}" for name, version in older.items() if re.match(PACKAGES, name)]
    lab.master.run(["sh", "-c", PACK, "pack", *chosen])
    lab.master.run(["systemd-run", "--working-directory=/srv/newer", "/opt/salt/bin/python3", "-m",
                    "http.server", str(PORT)])  # fmt: skip
    for name in NODES:
        machine = lab.machine(name)
        machine.write("/etc/apt/sources.list.d/newer.list", f"deb [trusted=yes] {REPOSITORY} ./\n")
    return dict(word.split("=") for word in chosen)


def versions(lab):
    """Packages of the formula on both nodes: node → name → version."""
    show = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n"]
    return {
        name: dict(line.split() for line in lab.machine(name).run(show).stdout.splitlines())
        for name in NODES
    }


def upgraded(found):
    """Packages with a newer version, by node."""
    return {
        name: {p for p, version in rows.items() if version.endswith(NEWER)}
        for name, rows in found.items()
    }


def started(machine):
    """Unit → process and when it was started, on the clock that all machines share."""
    show = ["systemctl", "show", "--property=Id,MainPID,ExecMainStartTimestampMonotonic", *UNITS]
    found = {}
    for block in machine.run(show).stdout.strip().split("\n\n"):
        row = dict(line.split("=", 1) for line in block.splitlines())
        unit = row["Id"].removesuffix(".service")
        found[unit] = (row["MainPID"], int(row["ExecMainStartTimestampMonotonic"]))
    return found


def orchestrate(lab, **settings):
    """Run the upgrade; returns its exit code and its steps in order."""
    words = ["salt-run", "--out=json", "state.orchestrate", "infra.orch.upgrade"]
    pillar = f"pillar={json.dumps({'infra_deploy': settings})}"
    done = lab.master.run([*words, pillar], check=False, timeout=1800)
    assert "{" in done.stdout, done.stderr
    data = json.loads(done.stdout[done.stdout.index("{") :])["data"]
    steps = sorted(next(iter(data.values())).values(), key=lambda s: s["__run_num__"])
    found = {s["__id__"]: s for s in steps if s["__id__"] != "infra-orch-modules-loaded"}
    return done.returncode, found


@contextmanager
def clients(lab, ca, folder):
    """Clients of the portal; a function that ends them and returns what they report."""
    crt, end = folder / "ca.crt", folder / "end"
    crt.write_text(ca["ca_crt"])
    program = Path(__file__).with_name("portal_clients.py")
    words = [sys.executable, str(program), str(crt), str(REQUESTS), "100", str(end)]
    command = lab.net_command([*words, *NODES.values()])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def finish():
            end.touch()
            return json.loads(process.communicate(timeout=900)[0])

        try:
            yield finish
        finally:
            process.kill()


def test_a_node_that_fails_ends_the_upgrade_and_the_other_is_left_alone(lab, newer):
    """Its program cannot be started any more, which shows when the upgrade restarts it."""
    first, second = (lab.machine(name) for name in NODES)
    drop_in = "/etc/systemd/system/vmetrics.service.d/zz-broken.conf"
    first.write(drop_in, "[Service]\nExecStartPre=/bin/false\n")
    first.run(["systemctl", "daemon-reload"])
    before = started(second)
    code, steps = orchestrate(lab)
    assert code != 0
    results = {name: step["result"] for name, step in steps.items()}
    assert results["infra-orch-nodes-healthy"] is True
    assert results["infra-orch-L@infra-1-upgraded"] is True, steps
    assert results["infra-orch-L@infra-1-applied"] is False
    assert not [name for name in results if "infra-2" in name and results[name]]
    assert "vmetrics" in steps["infra-orch-L@infra-1-applied"]["comment"]
    found = upgraded(versions(lab))
    assert found["infra-1"]
    assert found["infra-2"] == set()
    assert started(second) == before

    # While one of them is unhealthy, nothing is begun.
    code, steps = orchestrate(lab)
    assert code != 0
    comment = steps["infra-orch-nodes-healthy"]["comment"]
    assert re.search(r"infra-1 is not healthy: .*vmetrics", comment)
    assert not [name for name, step in steps.items() if step["result"]]
    first.run(["rm", drop_in])
    first.run(["systemctl", "daemon-reload"])
    lab.salt("--timeout=600", "infra-1", "state.apply", "infra")


def test_an_upgrade_restarts_one_node_after_the_other_and_loses_no_request(
    lab, newer, pillar, ca, tmp_path
):
    first = lab.machine("infra-1")
    # It has the newer packages already.
    older = [f"{package}={version}" for package, version in newer.items()]
    first.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy",
               "--allow-downgrades", *older])  # fmt: skip
    lab.salt("--timeout=600", "infra-1", "state.apply", "infra")
    assert upgraded(versions(lab)) == {name: set() for name in NODES}
    changed = {**pillar["infra"], "vmetrics_options": "-search.maxQueryDuration=31s"}
    lab.master.write("/srv/pillar/infra.sls", "#!json\n" + json.dumps({"infra": changed}))
    lab.salt("*", "saltutil.refresh_pillar", "wait=True")
    before = {name: started(lab.machine(name)) for name in NODES}

    with clients(lab, ca, tmp_path) as finish:
        code, steps = orchestrate(lab)
        reported = finish()
    assert code == 0, {name: step["comment"] for name, step in steps.items()}
    assert list(steps) == [
        "infra-orch-nodes-healthy",
        *(f"infra-orch-L@{name}-{verb}" for name in NODES
          for verb in ("upgraded", "applied", "healthy")),
    ]  # fmt: skip
    assert {step["result"] for step in steps.values()} == {True}

    found = upgraded(versions(lab))
    assert {p for p in newer if p in UPGRADED} == UPGRADED
    for name in NODES:
        assert found[name] >= UPGRADED, name
    after = {name: started(lab.machine(name)) for name in NODES}
    for name in NODES:
        same = {unit for unit in UNITS if after[name][unit] == before[name][unit]}
        assert same == set(), f"{name}: not restarted"
        command = lab.machine(name).run(["pgrep", "-af", "victoria-metrics"]).stdout
        assert "-search.maxQueryDuration=31s" in command
    # All of the first node has started again before anything of the second one.
    last = max(when for _, when in after["infra-1"].values())
    assert last < min(when for _, when in after["infra-2"].values())

    print(json.dumps({key: reported[key] for key in ("requests", "moved")}), len(reported["lost"]))
    assert reported["requests"] >= REQUESTS
    assert reported["lost"] == []
