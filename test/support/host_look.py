"""What a machine is like, as JSON: printed by a program that needs nothing but Python and iproute2.

The demo's host is looked at with it before and after: packages, units, listening ports, firewall,
routes, accounts, the resolver, kernel settings, mounts, and what lies in /etc.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path


def lines(*argv):
    """What a program prints; nothing where it is not installed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def digest(path):
    if path.is_symlink():
        return f"link:{os.readlink(path)}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "special"


def look():
    """Return sets of lines by subject."""
    resolver = Path("/etc/resolv.conf")
    plain = ("--no-legend", "--plain", "--no-pager")
    units = lines("systemctl", "list-units", "--all", "--state=active,failed", *plain)
    kept = ("net/ipv4/ip_forward", "fs/inotify/max_user_instances")
    switches = [Path("/proc/sys", name) for name in kept]
    switches += sorted(Path("/proc/sys/net/ipv4/conf").glob("*/forwarding"))
    return {
        "packages": lines("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"),
        "units": sorted(
            f"{name} {active}"
            for name, _load, active, *_ in map(str.split, units)
            if name.endswith((".service", ".socket", ".timer", ".target", ".mount"))
        ),
        "unit files": lines("systemctl", "list-unit-files", *plain),
        "listening": [
            " ".join([words[0], *words[4:5], *words[6:7]])
            for words in map(str.split, lines("ss", "--no-header", "-lntup"))
        ],
        "firewall": lines("nft", "list", "ruleset"),
        "routes": [
            line
            for family in ("-4", "-6")
            for words in (("route", "show", "table", "main"), ("rule",), ("-o", "address"))
            for line in lines("ip", family, *words)
        ],
        "links": [line.split(":")[1].strip() for line in lines("ip", "-o", "link")],
        "namespaces": lines("ip", "netns", "list"),
        "accounts": [
            line
            for name in ("passwd", "group")
            for line in Path("/etc", name).read_text().splitlines()
        ],
        "resolver": [digest(resolver), *resolver.read_text().splitlines()],
        "kernel": [f"{path} {path.read_text().strip()}" for path in switches if path.exists()],
        "mounts": sorted(
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        ),
        "processes": sorted({line for line in lines("ps", "-eo", "comm")} - {"ps", "python3"}),
        "etc": [
            f"{path} {digest(path)}"
            for path in sorted(Path("/etc").rglob("*"))
            if not path.is_dir() or path.is_symlink()
        ],
    }


def differences(before, after):
    """Return subject → lines that were added (`+`) and that are gone (`-`)."""
    found = {}
    for subject, old in before.items():
        new = after[subject]
        changed = [f"+{line}" for line in new if line not in set(old)]
        changed += [f"-{line}" for line in old if line not in set(new)]
        if changed:
            found[subject] = changed
    return found


if __name__ == "__main__":
    json.dump(look(), sys.stdout)
