"""What is on a machine: disk, accounts, services; and what a removal may leave there."""

import fnmatch
import json
from pathlib import Path

import yaml

HERE = Path(__file__).parent
UNITS = ["systemctl", "list-units", "--all", "--no-legend", "--plain", "--state=active,failed"]


def look(machine):
    """All that lies on a machine's disk (see footprint.py)."""
    script = (HERE / "footprint.py").read_text(encoding="utf-8")
    lines = machine.run(["python3", "-"], input=script).stdout.splitlines()
    return dict(json.loads(line) for line in lines)


def differences(before, after):
    """Paths that differ between two looks."""
    return {path for path in before | after if before.get(path) != after.get(path)}


def accounts(machine):
    kinds = ("passwd", "group")
    return {(k, line.split(":")[0]) for k in kinds
            for line in machine.read(f"/etc/{k}").splitlines()}  # fmt: skip


def services(machine):
    """Units that run, but for those that something starts now and then, and that end by themselves.

    D-Bus starts some for whoever asks, timers theirs, and a session the manager of its user, which
    stays for ten seconds after it.
    """
    lines = machine.run(UNITS).stdout.splitlines()
    units = {line.split()[0] for line in lines}
    asked = {f"systemd-{name}.service" for name in ("timedated", "hostnamed", "localed")}
    timed = {u.removesuffix(".timer") + ".service" for u in units if u.endswith(".timer")}
    users = {u for u in units if u.startswith(("user@", "user-runtime-dir@"))}
    return {u for u in units if u.endswith((".service", ".timer"))} - asked - timed - users


class Before:
    """What a machine was before the first apply."""

    def __init__(self, machine):
        self.machine = machine
        self.disk = look(machine)
        self.units = services(machine)
        self.accounts = accounts(machine)

    def left(self):
        """Paths and accounts that differ after a removal and that removed.yaml does not explain."""
        reasons = yaml.safe_load((HERE / "removed.yaml").read_text(encoding="utf-8"))
        patterns = [pattern for row in reasons for pattern in row["paths"]]
        known = {who for row in reasons for who in row.get("accounts", [])}
        paths = {
            path
            for path in differences(self.disk, look(self.machine))
            if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
        }
        new = {f"{kind}:{who}" for kind, who in accounts(self.machine) - self.accounts}
        return sorted(paths | (new - known))
