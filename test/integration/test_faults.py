"""Faults that a site has to survive, each once; `make soak` does some of them many times over.

One site goes through the tests of this file in their order. After each fault: what was served is
still served or comes back within half a minute, nothing is half-written, and the next apply is
clean. Unless real ones are given, VictoriaLogs, VictoriaTraces and Vector are stand-ins
(test/lab/standins), which read the real configuration: what is said of logs here is then said of
the configuration and of these stand-ins.
"""

import json
import os
import re
import time
from contextlib import contextmanager

import filled
import programs
import pytest
from fault_site import SERVED
from fault_site import site as boot_site
from waiting import eventually

LASTING = tuple(name for name in SERVED if name != "node_exporter")
FULL = "No space left on device"
LINES = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    name = f"faults-{os.getpid()}"  # two runs on one machine do not meet
    with boot_site(tmp_path_factory.mktemp("faults"), client=True, name=name) as found:
        yield found


@pytest.fixture(scope="module")
def applied(site):
    site.vary(0)
    begun = time.monotonic()
    assert site.infra.apply().ok
    site.seconds = (time.monotonic() - begun) / 2
    site.back_after()
    return site


@pytest.fixture(scope="module")
def client(applied):
    """The client, as far as packages and logs take it."""
    assert applied.node.apply("infra.node.repo,infra.vector").ok
    return applied.node


@contextmanager
def small(machine, path, megabytes):
    """Put a folder on a full file system of its own, with what it holds; undone at the end."""
    kept = "/root/kept"
    path = machine.run(["readlink", "--canonicalize", path]).stdout.strip()
    machine.run(["cp", "--archive", path, kept])
    machine.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", path])
    try:
        machine.run(["cp", "--archive", f"{kept}/.", path])
        machine.run(["sh", "-c", f"cat /dev/zero > {path}/filling || true"])
        yield path
    finally:
        machine.run(["umount", "--lazy", path])
        machine.run(["rm", "--recursive", kept])


# -- ended in the middle ---------------------------------------------------------------------------


@pytest.mark.fault(
    "`kill -9` of salt-call in the middle of an apply", "all is served, the next apply converges"
)
def test_kill_9_in_the_middle_of_an_apply(applied):
    applied.vary(1)
    running = applied.start_apply()
    applied.moment()
    applied.infra.run(["pkill", "-KILL", "-f", "bin/salt-call"], check=False)
    running.communicate()
    applied.back_after()  # a daemon that was just being restarted takes its moment
    applied.mended(steady=False)


@pytest.mark.fault(
    "power cut in the middle of an apply", "it boots, serves, and the next apply converges"
)
def test_a_power_cut_in_the_middle_of_an_apply(applied):
    applied.vary(2)
    running = applied.start_apply()
    applied.moment()
    applied.infra.kill()
    running.communicate()
    applied.infra.boot()
    applied.back_after()
    applied.mended()


@pytest.mark.fault(
    "power cut with data in every store",
    "each service starts at once, none a second time; nothing that was on disk is lost",
)
def test_a_power_cut_on_filled_data(applied):
    machine = applied.infra
    filled.fill(machine, "cut")
    machine.run(["systemctl", "restart", *filled.PORTS])  # then it is on disk, not in memory alone
    applied.back_after()
    filled.fill(machine, "late")
    machine.kill()
    machine.boot()
    applied.back_after()
    filled.assert_steady(machine)
    assert filled.missing(machine, "cut") == []


# -- at the same time ------------------------------------------------------------------------------


@pytest.mark.fault(
    "an apply and a highstate at the same time",
    "one runs, the other is refused with the process that runs",
)
def test_of_two_applies_at_once_one_is_refused_and_says_who_runs(applied):
    applied.infra.write("/srv/salt/top.sls", "base:\n  '*':\n    - infra\n")
    first = applied.start_apply()
    second = applied.start_apply(function=["state.highstate"])
    said = [process.communicate()[0] for process in (first, second)]
    codes = [first.returncode, second.returncode]
    assert sorted(codes)[0] == 0, said
    assert sorted(codes)[1] != 0, said
    assert "is running as PID" in said[codes.index(max(codes))]
    applied.infra.run(["rm", "/srv/salt/top.sls"])
    assert applied.silent() == []


@pytest.mark.fault(
    "the pillar changes while it is applied",
    "the run ends with the one that it began with; the next takes up the other",
)
def test_a_pillar_that_changes_meanwhile_is_taken_up_by_the_next_apply(applied):
    machine = applied.infra
    applied.vary(3)
    lines = []
    running = applied.start_apply(level="info")
    for line in running.stderr:  # the states are rendered, and the first of them runs
        lines.append(line)
        if "Executing state" in line:
            break
    applied.vary(4)
    running.communicate()
    assert running.returncode == 0, lines
    names = machine.run(["grep", "-rhoE", r"r[0-9]+\.pigsty", "/etc/nginx/conf.d", "/etc/hosts.d"])
    assert set(names.stdout.split()) == {"r3.pigsty"}
    applied.mended(steady=False)
    names = machine.run(["grep", "-rhoE", r"r[0-9]+\.pigsty", "/etc/nginx/conf.d", "/etc/hosts.d"])
    assert set(names.stdout.split()) == {"r4.pigsty"}


@pytest.mark.fault("somebody else has dpkg's lock", "the apply waits, and says for whom")
def test_a_lock_of_the_package_manager_that_somebody_has_is_waited_for(applied):
    machine = applied.infra
    machine.run(["dpkg", "--purge", "node-exporter"])
    hold = (
        "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, "
        "fcntl.LOCK_EX); time.sleep(600)"
    )
    machine.run(["systemd-run", "--collect", "--unit=holder", "python3", "-c", hold])
    running = applied.start_apply(function=["state.apply", "infra.node_exporter"])
    said = []
    for line in running.stderr:
        said.append(line)
        if "Waiting for process" in line and "which holds the package manager" in line:
            break
    assert "(python3)" in said[-1], said
    assert applied.silent(LASTING) == []
    machine.run(["systemctl", "stop", "holder"])
    told, _ = running.communicate()
    assert running.returncode == 0, told
    assert applied.silent() == []


# -- a daemon that does not stay up ----------------------------------------------------------------


@pytest.mark.fault(
    "a daemon that answers and dies five seconds after each start (VictoriaMetrics; nginx)",
    "the apply fails and names it; the restarts are counted, and a metric tells of them",
)
@pytest.mark.parametrize("unit", ["vmetrics", "nginx"])
def test_a_daemon_that_dies_after_its_start_fails_the_apply(applied, unit):
    machine = applied.infra
    dropin = f"/etc/systemd/system/{unit}.service.d/dies.conf"
    dies = "[Unit]\nStartLimitIntervalSec=0\n"
    dies += "[Service]\nRuntimeMaxSec=5\nRestart=always\nRestartSec=1\n"
    machine.write(dropin, dies)
    try:
        machine.run(["systemctl", "daemon-reload"])
        machine.run(["systemctl", "restart", unit])
        for _ in range(2):  # just started, and with some restarts behind it
            failed = machine.apply(f"infra.{unit}", check=False).failed
            assert list(failed) == ["infra-daemon-units-stable (infra_units.stable)"]
            (comment,) = failed.values()
            assert comment.startswith(f"{unit}: ")
            assert "timeout" in comment

        def restarts():
            return machine.salt_call("infra_status.services", check=False)[unit]["restarts"]

        assert eventually(lambda: restarts() >= 2)
        machine.run(["systemctl", "start", "infra-units.service"])
        metrics = machine.read("/var/lib/infra/textfile/infra_units.prom")
        assert re.search(
            rf'^infra_unit_restarts_total{{unit="{unit}.service"}} [1-9]', metrics, re.M
        )
    finally:
        machine.run(["rm", dropin])
        machine.run(["systemctl", "daemon-reload"])
        machine.run(["systemctl", "restart", unit])
    applied.mended()


# -- disks -----------------------------------------------------------------------------------------


@contextmanager
def full(machine):
    """Keep the root file system full: what a program gives back is taken at once."""
    fill = "while :; do cat /dev/zero >> /filling; sleep 0.1; done 2>/dev/null"
    machine.run(["systemd-run", "--collect", "--unit=filler", "sh", "-c", fill])
    free = ["df", "--output=avail", "--block-size=1M", "/"]
    try:
        while int(machine.run(free).stdout.split()[-1]) > 0:
            time.sleep(0.5)
        yield
    finally:
        machine.run(["systemctl", "stop", "filler"])
        machine.run(["rm", "/filling"])


@pytest.mark.fault(
    "`/` full",
    "an error that says so; all but VictoriaMetrics is served, which is back once there is room",
)
def test_a_full_root_file_system_changes_nothing_that_is_served(applied):
    machine = applied.infra
    applied.vary(5)
    # VictoriaMetrics takes no samples in below a reserve, but dies when it is just merging its
    # index, which it does whatever is left. It is back once there is room.
    lasting = tuple(name for name in SERVED if name != "vmetrics")
    with full(machine):
        done = machine.apply(check=False)
        assert not done.ok
        assert FULL in done.complaint()
        assert applied.silent(lasting) == []
    applied.back_after()
    applied.mended(steady=False)


@pytest.mark.fault(
    "the file system of `/data/infra/rules` full, that of `/www`",
    "an error that says so and where; all is served",
)
@pytest.mark.parametrize(
    ("path", "megabytes", "state"),
    [("/data/infra/rules", 1, "infra.vmalert"), ("/www", 1, "infra.nginx")],
)
def test_a_full_file_system_below_is_named(applied, path, megabytes, state):
    machine = applied.infra
    applied.vary(
        6, infra_extra_services=[{"name": "W", "url": "https://w.pigsty/", "desc": "x" * 900}] * 40
    )
    with small(machine, path, megabytes) as real:
        done = machine.apply(state, check=False)
        assert not done.ok
        assert FULL in done.complaint()
        assert real in done.complaint()
        assert applied.silent() == []
    assert machine.apply(state).ok


@pytest.mark.fault(
    "a daemon's data directory on a read-only file system, on a full one",
    "an error that names `infra_data` and the directory",
)
@pytest.mark.parametrize(
    ("options", "fault"), [("ro", "read-only file system"), ("size=4k", "full file system")]
)
def test_a_daemon_that_cannot_write_its_data_is_named_with_the_parameter(applied, options, fault):
    machine = applied.infra
    path = "/data/infra/metrics"  # of a real program
    user = machine.run(["id", "-u", "victoria"]).stdout.strip()
    group = machine.run(["getent", "group", "infra"]).stdout.split(":")[2]
    machine.run(["systemctl", "stop", "vmetrics"])
    owner = f"mode=0750,uid={user},gid={group}"
    machine.run(["mount", "-t", "tmpfs", "-o", f"{options},{owner}", "tmpfs", path])
    try:
        if options != "ro":
            machine.run(["sh", "-c", f"cat /dev/zero > {path}/filling || true"])
        complaint = machine.apply("infra.vmetrics", check=False).complaint()
        assert f"infra_data: {path} is on a {fault}" in complaint
    finally:
        machine.run(["umount", "--lazy", path])
    assert machine.apply("infra.vmetrics").ok
    assert applied.silent() == []


# -- what we keep ----------------------------------------------------------------------------------


@pytest.mark.fault(
    "every state file damaged at once (empty, cut off, not text, a list), a key, a certificate",
    "mended by one apply; no file of others lost",
)
def test_every_state_file_that_is_damaged_is_mended(applied):
    machine = applied.infra
    applied.mended(steady=False)
    listed = machine.run(["find", "/var/lib/infra", "-name", "*.json", "-type", "f"]).stdout.split()
    assert len(listed) > 20
    kept = ("/register.json", "/before.json")  # of which nothing else tells: the next tests
    for number, path in enumerate(listed):
        if not path.endswith(kept):
            damage = (b"", b'{"files": {', b"\xff\x00\xfe", b"[]")[number % 4]
            machine.write(path, damage)
    machine.write("/etc/nginx/conf.d/cert/pigsty.key", b"no key")
    machine.write("/etc/pki/infra.crt", b"")
    before = machine.run(["sh", "-c", "cd /etc; find nginx default systemd -type f | sort"]).stdout
    applied.mended()
    after = machine.run(["sh", "-c", "cd /etc; find nginx default systemd -type f | sort"]).stdout
    assert after == before
    assert applied.silent() == []


@pytest.mark.fault(
    "one manifest damaged, where states that are no sets write, too", "no file of another lost"
)
def test_one_damaged_manifest_costs_no_file_of_another_set(applied):
    machine = applied.infra
    machine.write("/var/lib/infra/manifest/blackbox.json", "{")
    before = machine.run(["sh", "-c", "find /etc -type f | sort"]).stdout
    done = machine.apply("infra.blackbox")
    assert "corrupt; rebuilt" in json.dumps(done.changes)
    assert machine.run(["sh", "-c", "find /etc -type f | sort"]).stdout == before
    assert machine.apply("infra.blackbox").changes == {}


@pytest.mark.fault(
    "the inventory of registered machines damaged, without a master",
    "refused by name; what is scraped stays",
)
def test_an_inventory_that_is_damaged_is_refused_where_nobody_can_tell_it_anew(applied):
    machine = applied.infra
    path = "/var/lib/infra/register.json"
    kept, targets = machine.read(path), machine.run(["ls", "-R", "/infra/targets"]).stdout
    machine.write(path, "{")
    complaint = machine.apply("infra.register", check=False).complaint()
    assert f"{path} is corrupt" in complaint
    assert machine.run(["ls", "-R", "/infra/targets"]).stdout == targets
    machine.write(path, kept)
    assert machine.apply("infra.register").changes == {}


@pytest.mark.fault("the record of the machine before damaged", "refused by name; all is served")
def test_a_damaged_record_of_the_machine_before_is_refused_by_name(applied):
    machine, path = applied.infra, "/var/lib/infra/before.json"
    kept = machine.read(path)
    machine.write(path, kept[:100])
    done = machine.apply("infra.blackbox", check=False)
    assert f"{path} is damaged" in done.complaint()
    assert done.changes == {}
    assert applied.silent() == []
    machine.write(path, kept)
    assert machine.apply("infra.blackbox").changes == {}


@pytest.mark.fault("the CA's certificate damaged", "refused by name; what it signed is served")
def test_a_damaged_ca_is_refused_and_what_it_signed_is_served_on(applied):
    machine = applied.infra
    kept = machine.read("/etc/pki/ca.crt")
    machine.write("/etc/pki/ca.crt", kept[:200])
    complaint = machine.apply("infra.nginx", check=False).complaint()
    assert "The CA is not usable: cert: expected a PEM certificate in /etc/pki/ca.crt" in complaint
    assert applied.silent() == []
    machine.write("/etc/pki/ca.crt", kept)
    assert machine.apply("infra.nginx").changes == {}


# -- clocks ----------------------------------------------------------------------------------------

# A container cannot set its clock; the programs that decide by it are told another time.


def by_the_clock(applied, offset, state="infra.nginx,infra.vmetrics"):
    """Apply by another clock; returns what changed."""
    words = ["faketime", "-f", offset, "env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"]
    running = applied.start_apply(function=["state.apply", state], before=words)
    told, said = running.communicate()
    assert running.returncode == 0, told + said
    results = json.loads(told)["local"]
    return {key: some["changes"] for key, some in results.items() if some["changes"]}


@pytest.fixture(scope="module")
def faketime(applied):
    applied.infra.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "faketime"])


@pytest.mark.fault("the clock a day ahead, a day behind", "nothing changes, nothing is renewed")
@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_clock_that_jumps_by_a_day_is_no_reason_to_change_anything(applied, faketime, offset):
    assert by_the_clock(applied, offset) == {}
    assert applied.silent() == []


@pytest.mark.fault(
    "a certificate issued by a clock that was a day, and ten days, ahead",
    "of use by the right clock; the second is issued anew",
)
@pytest.mark.parametrize(("offset", "of_use"), [("+1d", True), ("+10d", False)])
def test_a_certificate_issued_by_a_clock_that_was_wrong_is_of_use_or_issued_anew(
    applied, faketime, offset, of_use
):
    machine, state, crt = applied.infra, "infra.vmetrics", "/etc/pki/infra.crt"
    verify = ["openssl", "verify", "-CAfile", "/etc/pki/ca.crt", crt]
    machine.run(["rm", crt])
    assert by_the_clock(applied, offset, state)
    assert (machine.run(verify, check=False).returncode == 0) is of_use
    assert (machine.apply(state).changes == {}) is of_use
    machine.run(verify)


# -- the network between a client and its INFRA node -----------------------------------------------


@contextmanager
def cut(site, machine):
    """Pull a machine's cable, and put it in again at the end."""
    port = f"m{machine.spec.host_part}"
    site.lab.net(["ip", "link", "set", port, "down"])
    try:
        yield
    finally:
        site.lab.net(["ip", "link", "set", port, "up"])


@pytest.mark.fault(
    "the network between a client and its INFRA node cut while logs are shipped", "no line lost"
)
def test_a_network_cut_while_logs_are_shipped_loses_no_line(applied, client, record_property):
    query = "http://10.10.10.10:9428/select/logsql/query?limit=100000&query=app%3Acounted"
    with cut(applied, client):
        client.run(
            ["sh", "-c", f"for i in $(seq {LINES}); do echo line-$i; done | logger -t counted"]
        )
        time.sleep(6)
    client.run(["sh", "-c", f"for i in $(seq {LINES}); do echo more-$i; done | logger -t counted"])
    wanted = {f"{word}-{i}" for word in ("line", "more") for i in range(1, LINES + 1)}

    def arrived():
        told = applied.infra.run(["curl", "-sf", query], check=False).stdout.splitlines()
        return {json.loads(line)["_msg"] for line in told}

    eventually(lambda: wanted <= arrived())
    found = arrived()
    assert found == wanted
    kinds = [f"{name} {'real' if programs.is_real(name) else 'a stand-in'}"
             for name in ("vector", "victoria-logs")]  # fmt: skip
    seen = f"{len(wanted)} lines written, {len(found)} arrived ({', '.join(kinds)})"
    record_property("seen", seen)


@pytest.mark.fault(
    "the network cut while a client installs a package",
    "an error that names the package; dpkg is whole; the next apply installs it",
)
def test_a_network_cut_while_packages_are_installed_is_said_and_gone_on_with(applied, client):
    client.run(["dpkg", "--purge", "vector"])
    client.run(["apt-get", "clean"])
    with cut(applied, client):
        complaint = client.apply("infra.vector", check=False, timeout=300).complaint()
        assert "vector cannot be installed" in complaint or "does not answer" in complaint
    assert client.run(["dpkg", "--audit"]).stdout == ""
    assert client.apply("infra.vector").ok
    assert client.apply("infra.vector").changes == {}


def test_after_all_of_it_everything_is_served_and_there_is_nothing_to_do(applied):
    applied.mended()
    assert applied.silent() == []
