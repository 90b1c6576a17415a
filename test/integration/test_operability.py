"""An INFRA node is looked at for drift, backed up, and restored on an empty machine.

The site has Debian's packages, so that VictoriaMetrics, vmalert and Alertmanager are real.
"""

import base64
import json
import subprocess
import time

import pytest
from waiting import eventually

pytestmark = pytest.mark.soak
IP = "10.10.10.10"
PILLAR = {
    "infra": {
        "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": IP}},
        "admin_ip": IP,
        "infra_packaging": "distro",
        "infra_drift_check": "daily",
        "dns_records": ["10.10.10.50 shop.pigsty"],
        "grafana_enabled": False,
        "vlogs_enabled": False,
        "vtraces_enabled": False,
        "vector_enabled": False,
        "repo_enabled": False,
        "certbot_sign": False,
    }
}


@pytest.fixture(scope="module")
def lab(boot_lab):
    return boot_lab("default", pillar=PILLAR)


@pytest.fixture(scope="module")
def applied(lab):
    lab.apply()
    return next(iter(lab.machines))


def local(machine, *words, check=True):
    done = machine.run(["salt-call", "--local", "--out=json", *words], check=check)
    return json.loads(done.stdout)["local"] if done.stdout.startswith("{") else done.stderr


def install_gpg(machine):
    """What encrypts and decrypts for a key of gpg; Debian's smallest system has gpgv alone."""
    machine.run(["apt-get", "update", "-q"])
    machine.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy",
                 "--no-install-recommends", "gnupg"])  # fmt: skip


def ask(machine, port, path, *words):
    url = f"http://127.0.0.1:{port}{path}"
    return machine.run(["curl", "-fsS", "--globoff", *words, url]).stdout


def checked(machine):
    """The result of a check that the timer's own service made."""
    machine.run(["systemctl", "start", "infra-drift.service"])
    return local(machine, "infra_status.drift", check=False)


def test_a_machine_that_is_up_to_date_has_no_drift(applied):
    machine = applied
    assert machine.run(["systemctl", "is-active", "infra-drift.timer"]).stdout.strip() == "active"
    assert checked(machine)["count"] == 0
    metrics = machine.run(["cat", "/var/lib/infra/textfile/infra_drift.prom"]).stdout
    assert "infra_drift_check_seconds " in metrics
    assert "infra_drift_states{" not in metrics


def test_what_somebody_changed_is_drift_and_is_not_changed_by_the_check(applied):
    machine = applied
    machine.run(["sh", "-c", "echo broken >> /etc/alertmanager.yml"])
    machine.run(["systemctl", "stop", "blackbox_exporter"])
    before = machine.run(["sha256sum", "/etc/alertmanager.yml"]).stdout
    found = checked(machine)
    assert set(found["components"]) == {"alertmanager", "blackbox"}
    assert {s["id"] for s in found["components"]["alertmanager"]} == {
        "infra-alertmanager-receivers-managed"
    }
    assert machine.run(["sha256sum", "/etc/alertmanager.yml"]).stdout == before
    assert ask(machine, 9100, "/metrics").count("infra_drift_states{") == 2
    path = "/api/v1/query?query=infra_drift_states"
    eventually(lambda: len(json.loads(ask(machine, 8428, path))["data"]["result"]) == 2, 60)
    local(machine, "state.apply", "infra")
    assert checked(machine)["count"] == 0


def test_a_check_waits_for_an_apply_and_keeps_none_waiting(applied):
    machine = applied
    words = ["salt-call", "--local", "--retcode-passthrough", "--out=quiet", "state.apply", "infra"]
    apply = subprocess.Popen(machine.command(words))
    machine.run(["systemctl", "start", "infra-drift.service"])
    assert apply.wait(timeout=600) == 0
    assert local(machine, "infra_status.drift")["count"] == 0


@pytest.fixture(scope="module")
def backup(applied, tmp_path_factory):
    """A backup of a node with a metric of its own and a silence; and the secret key of it."""
    machine, folder = applied, tmp_path_factory.mktemp("backup")
    ask(machine, 8428, "/api/v1/import/prometheus", "--data-binary", "shop_orders 42")
    ask(machine, 8428, "/internal/force_flush")
    silence = {
        "matchers": [{"name": "alertname", "value": "ShopDown", "isRegex": False, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400)),
        "createdBy": "ops", "comment": "moving",
    }  # fmt: skip
    ask(machine, 9059, "/api/v2/silences", "-H", "Content-Type: application/json",
        "-d", json.dumps(silence))  # fmt: skip
    gpg = ["gpg", "--homedir", "/root/key", "--batch", "--quiet", "--pinentry-mode", "loopback",
           "--passphrase", ""]  # fmt: skip
    install_gpg(machine)
    machine.run(["mkdir", "-m", "700", "/root/key"])
    machine.run([*gpg, "--quick-generate-key", "backup@example.com", "default", "default", "never"])
    machine.run([*gpg, "--output", "/root/backup.pub", "--export"])
    machine.run([*gpg, "--output", "/root/backup.key", "--export-secret-keys"])
    made = local(machine, "infra_backup.create", "/root/b", "recipient=/root/backup.pub")
    assert made["encrypted"]
    assert made["holds"]["metrics"] > 0
    assert made["holds"]["silences.json"]
    for name in ("b", "backup.key"):
        encoded = machine.run(["base64", "--wrap=0", f"/root/{name}"]).stdout
        (folder / name).write_bytes(base64.b64decode(encoded))
    return folder, made


def test_a_backup_is_for_root_alone_and_leaves_no_snapshot(applied, backup):
    machine = applied
    assert machine.run(["stat", "-c", "%a %U", "/root/b"]).stdout.strip() == "600 root"
    assert json.loads(ask(machine, 8428, "/snapshot/list"))["snapshots"] == []
    key = machine.run(["cat", "/etc/pki/ca/ca.key"]).stdout
    assert key.splitlines()[1] not in json.dumps(backup[1])
    again = local(machine, "infra_backup.create", "/root/b", check=False)
    assert "replaces nothing" in str(again)


def test_a_node_is_restored_on_an_empty_machine_by_one_command(boot_lab, applied, backup):
    first, (folder, _made) = applied, backup
    ca = first.run(["cat", "/etc/pki/ca.crt"]).stdout
    machine = next(iter(boot_lab("default", pillar=PILLAR).machines))
    for name in ("b", "backup.key"):
        machine.write(f"/root/{name}", (folder / name).read_bytes(), 0o600)
    install_gpg(machine)
    local(machine, "saltutil.sync_all")
    identity = "identity=/root/backup.key"
    machine.run(["sh", "-c", "head -c 30000 /root/b > /root/cut"])
    refused = local(machine, "infra_backup.restore", "/root/cut", identity, check=False)
    assert "cut off" in str(refused) or "gpg" in str(refused)
    assert not machine.run(["ls", "/etc/pki"], check=False).stdout.count("ca.crt")
    done = local(machine, "infra_backup.restore", "/root/b", identity)
    assert done["files"]["/etc/pki/ca/ca.key"] == "restored"
    assert machine.run(["cat", "/etc/pki/ca.crt"]).stdout == ca
    path = "/api/v1/query?query=last_over_time(shop_orders[1d])"
    rows = eventually(lambda: json.loads(ask(machine, 8428, path))["data"]["result"], 60)
    assert rows[0]["value"][1] == "42"
    silences = json.loads(ask(machine, 9059, "/api/v2/silences"))
    assert [s["comment"] for s in silences] == ["moving"]
    again = local(machine, "infra_backup.restore", "/root/b", identity, "apply=False")
    assert "0 silences restored" in again["silences"]
    services = local(machine, "infra_status.services", check=False)
    assert [n for n, row in services.items() if row["enabled"] and not row["healthy"]] == []
    changed = local(machine, "state.apply", "infra")
    assert [s["__id__"] for s in changed.values() if s["changes"]] == []
