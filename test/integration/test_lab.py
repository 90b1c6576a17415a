"""The lab keeps its promises: nothing else in this folder can be believed before that."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab import CommandError, Lab, LabError, MachineSpec, aptconf, snapshot
from lab.paths import CHECKOUT, cache, remove_tree
from lab.paths import state as state_folder

CLI = CHECKOUT / "test" / "lab" / "lab"
TRIVIAL = """
greeting:
  file.managed:
    - name: /root/greeting
    - contents: {{ pillar.get("infra", {}).get("greeting", "none") | tojson }}
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """States that need nothing: the lab is tested, not the formula."""
    folder = tmp_path_factory.mktemp("tree")
    (folder / "infra").mkdir()
    (folder / "infra" / "init.sls").write_text(TRIVIAL)
    return folder


@pytest.fixture(scope="module")
def lab(boot_lab, tree):
    return boot_lab(tree=tree, pillar={"infra": {"greeting": "{{ 'as it is' }}"}})


@pytest.fixture(scope="module")
def machine(lab):
    return lab.machine("infra-1")


def cli(*words, **settings):
    """Run the lab's command line."""
    return subprocess.run(
        [CLI, *words], capture_output=True, text=True, check=False, timeout=300, **settings
    )


def traces(name):
    """Everything on this host that could be of a lab of that name."""

    def lines(*argv):
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    groups = Path("/sys/fs/cgroup")
    return {
        "namespaces": [line for line in lines("ip", "netns", "list") if name in line],
        "tables": [line for line in lines("nft", "list", "tables") if name in line],
        "mounts": [line for line in mounts if name in line],
        "processes": [line for line in lines("ps", "-wweo", "args") if f"--machine={name}" in line],
        "groups": [str(path) for path in groups.rglob(f"infra-lab-{name}*")],
        "containers": [path.name for path in Path("/run/systemd/nspawn").rglob(f"{name}*")],
        "folders": [path.name for path in state_folder().glob(f"*{name}*")],
    }


def nothing(found):
    return not any(found.values())


@pytest.mark.parametrize("status", [0, 1, 37, 255])
def test_exec_has_the_exit_status_of_the_command(lab, machine, status):
    done = cli("exec", "--lab", lab.name, "infra-1", "--", "sh", "-c", f"exit {status}")
    assert done.returncode == status


def test_exec_passes_input_output_and_errors_through_apart(lab, machine):
    script = "cat; echo trouble >&2"
    done = cli("exec", "--lab", lab.name, "infra-1", "--", "sh", "-c", script, input="payload\n")
    assert (done.stdout, done.stderr) == ("payload\n", "trouble\n")


def test_a_command_sees_the_machine_and_nothing_of_the_host(machine):
    environment = machine.run(["env"]).stdout.splitlines()
    names = sorted(line.partition("=")[0] for line in environment)
    assert names == ["HOME", "LANG", "PATH", "USER"]
    assert machine.run(["hostname"]).stdout == "infra-1\n"
    assert machine.salt_call("grains.get", "fqdn") == "infra-1"
    assert machine.run(["systemctl", "is-system-running"], check=False).stdout in (
        "running\n",
        "degraded\n",
    )


def test_a_failing_command_raises_with_what_it_said(machine):
    with pytest.raises(CommandError, match="no such thing") as caught:
        machine.run(["sh", "-c", "echo no such thing >&2; exit 3"])
    assert caught.value.returncode == 3


def test_a_command_out_of_time_is_ended_on_the_machine(machine):
    with pytest.raises(CommandError, match="ran out of time"):
        machine.run(["sh", "-c", "sleep 987654 & sleep 987654"], timeout=1)
    time.sleep(0.2)
    assert machine.run(["pgrep", "-f", "sleep 987654"], check=False).stdout == ""


def test_files_go_there_and_back(machine, tmp_path):
    machine.write("/opt/new folder/file", "two\nlines\n", 0o600)
    assert machine.read("/opt/new folder/file") == "two\nlines\n"
    assert machine.run(["stat", "-c", "%a", "/opt/new folder/file"]).stdout == "600\n"
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "leaf").write_text("leaf")
    machine.put(tmp_path, "/opt/copy")
    assert machine.read("/opt/copy/below/leaf") == "leaf"


def test_data_in_the_pillar_is_data(machine):
    applied = machine.apply()
    assert applied.ok
    assert machine.read("/root/greeting").strip() == "{{ 'as it is' }}"
    assert machine.apply().changes == {}


def test_an_apply_that_fails_names_the_state(boot_lab, tree, tmp_path):
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "init.sls").write_text(
        "doomed: {test.fail_without_changes: [{comment: so it is}]}\n"
    )
    machine = boot_lab(tree=tmp_path).machine("infra-1")
    with pytest.raises(LabError, match=r"doomed \(test\.fail_without_changes\): so it is"):
        machine.apply()
    assert list(machine.apply(check=False).failed.values()) == ["so it is"]
    with pytest.raises(LabError, match="No matching sls found for 'not-there'"):
        machine.apply("not-there")


def test_apply_shows_what_it_is_doing(machine):
    seen = []
    machine.apply(progress=seen.append)
    assert seen == ["file.managed  /root/greeting"]


def test_machines_reach_the_archive_and_the_host_reaches_them(lab, machine):
    machine.run(["apt-get", "--quiet", "update"])
    machine.run(["systemd-run", "--unit=web", "python3", "-m", "http.server", "80", "--bind", "::"])
    address = ["--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--silent", "--fail"]
    lab.net(["curl", *address, "--output", "/dev/null", "http://10.10.10.10/"])
    lab.net(["curl", *address, "--output", "/dev/null", f"http://[{machine.address6}]/"])


def test_two_labs_with_the_same_addresses_do_not_meet(lab, machine, tree):
    with Lab.up("default", name=f"other-{os.getpid()}", tree=tree) as other:
        twin = other.machine("infra-1")
        assert twin.address == machine.address
        machine.write("/root/whose", "first")
        assert twin.run(["test", "-e", "/root/whose"], check=False).returncode == 1
        ids = {each.run(["cat", "/etc/machine-id"]).stdout for each in (machine, twin)}
        assert len(ids) == 2
        twin.run(["systemctl", "start", "systemd-journald"])
        assert machine.running()


def test_a_machine_without_internet_has_no_way_out(lab, machine):
    island = lab.add("island", "10.10.10.99", internet=False)
    assert island.run(["ip", "route", "show", "default"]).stdout == ""
    island.run(["ping", "-c1", "-W5", machine.address])
    machine.run(["ping", "-c1", "-W5", island.address])
    # Not even with a route of its own making.
    island.run(["ip", "route", "add", "default", "via", "10.10.10.1"])
    server = machine.read("/etc/resolv.conf").split()[1]
    probe = f"exec 3<>/dev/tcp/{server}/53"
    machine.run(["timeout", "5", "bash", "-c", probe])
    assert island.run(["timeout", "3", "bash", "-c", probe], check=False).returncode != 0
    assert island.run(["sh", "-c", "ls /var/cache/apt/archives/*.deb"], check=False).stdout == ""


def test_a_power_cut_keeps_what_was_written_and_runs_no_shutdown(machine):
    machine.write("/root/kept", "kept")
    machine.write(
        "/etc/systemd/system/goodbye.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        "ExecStop=/usr/bin/touch /root/goodbye\n",
    )
    machine.run(["systemctl", "start", "goodbye"])
    before = machine.run(["cat", "/etc/machine-id"]).stdout
    machine.kill()
    assert not machine.running()
    with pytest.raises(LabError, match="switched off"):
        machine.run(["true"])
    machine.boot()
    assert machine.read("/root/kept") == "kept"
    assert machine.run(["cat", "/etc/machine-id"]).stdout == before
    assert machine.run(["test", "-e", "/root/goodbye"], check=False).returncode == 1
    machine.run(["ping", "-c1", "-W5", "10.10.10.1"])


def test_a_machine_whose_supervisor_was_killed_boots_again(lab, machine):
    pid = (state_folder() / lab.name / "infra-1" / "pid").read_text().split()[0]
    os.kill(int(pid), signal.SIGKILL)
    while machine.running():
        time.sleep(0.02)
    machine.boot()
    running = [line for line in traces(lab.name)["processes"] if f"{lab.name}.infra-1" in line]
    assert len(running) == 1
    assert machine.run(["systemctl", "is-system-running"], check=False).stdout.strip() == "running"


def test_down_leaves_nothing(tree):
    name = f"gone-{os.getpid()}"
    with Lab.up("default", name=name, tree=tree) as lab:
        machine = lab.machine("infra-1")
        machine.run(["systemd-run", "--unit=busy", "sleep", "1d"])
        found = traces(name)
        assert found["namespaces"]
        assert found["tables"]
        assert found["processes"]
        machine.kill()
        machine.boot()
    assert nothing(traces(name)), traces(name)


@pytest.mark.parametrize("patience", [0.15, 0.35, 0.6, 0.9])
def test_an_interrupted_up_is_cleared_away_by_the_next(tree, patience):
    name = f"crash-{os.getpid()}"
    up = [str(CLI), "up", "--no-apply", "--name", name, "--tree", str(tree)]
    started = subprocess.Popen(up, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(patience)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    again = cli(*up[1:])
    if "is up already" in again.stderr:
        # The first one had come to its end before the signal.
        cli("down", name)
        again = cli(*up[1:])
    assert again.returncode == 0, again.stderr
    assert cli("exec", "--lab", name, "infra-1", "--", "true").returncode == 0
    assert cli("down", name).returncode == 0
    assert nothing(traces(name)), traces(name)


@pytest.fixture
def snapshots():
    """A name for snapshots, which go at the end."""
    name = f"test-{os.getpid()}"
    yield name
    snapshot.discard(name)
    for folder in (cache() / "snapshots").glob(f"{name}-*"):
        remove_tree(folder)


def test_a_machine_starts_from_a_snapshot_of_one_that_was_the_same(tree, snapshots):
    def up(greeting="hello"):
        return Lab.up(
            "default",
            name=f"snapshot-{os.getpid()}",
            tree=tree,
            pillar={"infra": {"greeting": greeting}},
            snapshot=snapshots,
        )

    with up() as lab:
        first = lab.machine("infra-1")
        assert not first.from_snapshot
        first.apply()
        first.run(["sh", "-c", "rm /usr/bin/vdir; echo data >/opt/data; chmod 600 /opt/data"])
        first.run(["systemd-run", "--unit=busy", "sh", "-c", "while :; do date >/opt/now; done"])
        first.keep()
        assert first.run(["systemctl", "is-active", "busy"]).stdout == "active\n"
        # What it writes from here on is its own.
        first.write("/opt/later", "")
        of_first = first.read("/etc/machine-id")
    with up() as lab:
        second = lab.machine("infra-1")
        assert second.from_snapshot
        assert second.run(["stat", "-c", "%a", "/opt/data"]).stdout == "600\n"
        for path in ("/usr/bin/vdir", "/opt/later"):
            assert second.run(["test", "-e", path], check=False).returncode == 1, path
        assert second.read("/etc/machine-id") == of_first
        assert second.apply().changes == {}
        second.write("/root/greeting", "changed\n")
        second.kill()
        second.boot()
        assert second.read("/root/greeting") == "changed\n"
    with up() as lab:
        assert lab.machine("infra-1").read("/root/greeting") == "hello\n"
    with up("good evening") as lab:
        other = lab.machine("infra-1")
        assert not other.from_snapshot
        assert other.run(["test", "-e", "/opt/data"], check=False).returncode == 1


def test_the_lab_of_a_process_that_was_killed_is_cleared_away(tree):
    name = f"orphan-{os.getpid()}"
    program = (
        "import os, signal; from pathlib import Path; from lab import Lab\n"
        f"lab = Lab.up('default', name={name!r}, tree=Path({str(tree)!r}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "test")}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert traces(name)["processes"]
    with Lab.up("default", name=f"next-{os.getpid()}", tree=tree):
        assert nothing(traces(name)), traces(name)


def test_a_lab_of_a_running_process_is_left_alone(lab):
    refused = cli("down", lab.name)
    assert refused.returncode == 1
    assert "belongs to process" in refused.stderr
    assert lab.machine("infra-1").running()


def test_json_and_yaml_pillars(tree, tmp_path):
    name = f"pillar-{os.getpid()}"
    as_json = tmp_path / "pillar.json"
    as_json.write_text(json.dumps({"infra": {"greeting": "{% from JSON %}"}}))
    as_yaml = tmp_path / "pillar.yml"
    as_yaml.write_text("infra: {greeting: from YAML}\n")
    for path, expected in ((as_json, "{% from JSON %}"), (as_yaml, "from YAML")):
        done = cli("up", "--name", name, "--tree", str(tree), "--pillar", str(path))
        assert done.returncode == 0, done.stderr
        said = cli("exec", "--lab", name, "infra-1", "--", "cat", "/root/greeting")
        assert said.stdout.strip() == expected
        assert cli("down", name).returncode == 0
    as_json.write_text("{not json")
    refused = cli("up", "--name", name, "--tree", str(tree), "--pillar", str(as_json))
    assert refused.returncode == 1
    assert "is not JSON" in refused.stderr
    assert nothing(traces(name)), traces(name)


def test_every_platform_boots_quickly_and_runs_salt(platform, tree):
    with Lab.up("default", name=f"plat-{os.getpid()}", platform=platform, tree=tree) as lab:
        machine = lab.machine("infra-1")
        assert lab.seconds["boot"] < 10
        assert machine.salt_call("test.ping") is True
        assert re.search(r"3008\.", machine.run(["salt-call", "--version"]).stdout)
        release = platform.removeprefix("debian-")
        assert machine.salt_call("grains.get", "osmajorrelease") == int(release)


def test_machines_under_a_master_all_answer(tree):
    with Lab.up("fleet", name=f"fleet-{os.getpid()}", tree=tree) as lab:
        names = {machine.name for machine in lab.minions}
        assert lab.master.name not in names
        assert lab.salt("*", "test.ping") == dict.fromkeys(names, True)
        assert all(applied.ok for applied in lab.apply().values())
        assert lab.machine("node-1").apply().changes == {}
        lab.add("node-3", "10.10.10.23", internet=False)
        assert set(lab.salt("*", "test.ping")) == names | {"node-3"}


@pytest.mark.parametrize("address", ["10.10.10.1", "10.10.10.0", "192.168.0.1", "nonsense"])
def test_an_address_that_cannot_be_is_refused(address):
    with pytest.raises(LabError, match="infra-9"):
        MachineSpec("infra-9", address)


ATTACHED = """
import subprocess, sys
from pathlib import Path
from lab import Lab, LabError

name, tree = sys.argv[1], Path(sys.argv[2])
with Lab.up("default", name=name, tree=tree, attach=True) as lab:
    machine = lab.machine("infra-1")
    machine.run(["systemd-run", "--unit=web", "python3", "-m", "http.server", "80"])
    curl = ["curl", "--silent", "--fail", "--retry", "20", "--retry-connrefused"]
    subprocess.run([*curl, "--output", "/dev/null", f"http://{machine.address}/"], check=True)
    print("reached")
    try:
        Lab.up("default", name=f"{name}-2", tree=tree, attach=True)
    except LabError as error:
        print(error)
"""


def test_the_host_reaches_an_attached_lab_and_only_one_is_attached(tree):
    # In a network and a state folder of its own, since a demo may be attached to this host.
    name = f"att-{os.getpid()}"
    own = state_folder().with_name(f"infra-lab-{name}")
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT / "test"),
        "INFRA_LAB_STATE": str(own),
    }
    command = ["unshare", "--net", "--", sys.executable, "-c", ATTACHED, name, str(tree)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        shutil.rmtree(own)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"reached\nLab {name} is attached to this host already")
    assert nothing(traces(name)), traces(name)


def test_the_archive_of_another_release_is_found_in_sources_of_either_form(tmp_path):
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    host = aptconf.codename()
    (tmp_path / "sources.list").write_text(
        f"# a comment\ndeb cdrom:[Debian]/ {host} main\n"
        f"deb [arch=amd64 signed-by=/etc/key.gpg] http://mirror/debian/ {host} main contrib # x\n"
        f"deb-src http://mirror/debian {host} main\n"
    )
    (parts / "more.sources").write_text(
        f"Types: deb deb-src\nURIs: http://mirror/security\nSuites: {host}-security\n"
        "Components: main\n\n"
        f"Types: deb\nEnabled: no\nURIs: http://off\nSuites: {host}\nComponents: main\n"
    )
    (parts / "other.list").write_text("deb http://elsewhere/apt nodistro main\n")
    assert aptconf.for_release("trixie", tmp_path) == [
        aptconf.Source("http://mirror/debian", "trixie", "main contrib", "/etc/key.gpg"),
        aptconf.Source("http://mirror/security", "trixie-security", "main"),
    ]
    (tmp_path / "sources.list").write_text("")
    with pytest.raises(LabError, match="name no archive of Debian trixie"):
        aptconf.for_release("trixie", tmp_path)


def test_a_machine_with_a_disk_of_its_own_has_no_more_room_and_keeps_what_it_wrote(tree):
    spec = MachineSpec("infra-1", "10.10.10.10", disk=200)
    with Lab.up(name=f"disk-{os.getpid()}", tree=tree, machines=[spec]) as lab:
        machine = lab.machine("infra-1")
        told = machine.run(["df", "--output=size", "--block-size=1M", "/"]).stdout
        assert int(told.split()[-1]) <= 200
        filled = machine.run(["sh", "-c", "cat /dev/zero > /filling"], check=False)
        assert "No space left on device" in filled.stderr
        size = machine.run(["stat", "-c", "%s", "/filling"]).stdout
        machine.kill()
        machine.boot()
        assert machine.run(["stat", "-c", "%s", "/filling"]).stdout == size
        folder = lab.record.folder
    loops = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True)
    assert str(folder) not in loops.stdout
