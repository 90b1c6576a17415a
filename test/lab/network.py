"""The network of a lab: a namespace with a bridge, one namespace per machine, a way out.

    host -- il<N> ==== up0 -- [lab-NAME: lab0 10.10.10.1/24] -- m10 ==== eth0 [lab-NAME.infra-1]
            198.18.N.1  .2

Every lab has 10.10.10.0/24 to itself. Towards the host a lab is one address of the range that is
set aside for tests of network devices (RFC 2544), so that several run side by side.
"""

from __future__ import annotations

import ipaddress
import json
import time
from pathlib import Path
from typing import Any

from . import paths
from .host import LabError, kill, run
from .record import Record, every
from .suites import GATEWAY, NETWORK, NETWORK6, MachineSpec

LINKS = ipaddress.IPv4Network("198.18.0.0/16")
BRIDGE = "lab0"
UPLINK = "up0"
NETNS = Path("/run/netns")
FORWARDING = Path("/proc/sys/net/ipv4/conf")


def free_link() -> int:
    """Return the lowest number that no lab uses and whose addresses the host knows nothing of."""
    used = {record.link for record in every()}
    routes = [route for route in _routes() if route.subnet_of(LINKS)]
    for number in range(256):
        if number not in used and not any(_link(number).overlaps(route) for route in routes):
            return number
    raise LabError("There are 256 labs already; take some down with `lab down`.")


def check_attachable() -> None:
    """Check that the host's way to the lab's network is free.

    Raises:
        LabError: another lab, or a network of the host's own, has it.
    """
    for record in every():
        if record.attached:
            raise LabError(
                f"Lab {record.name} is attached to this host already; "
                f"take it down first: test/lab/lab down {record.name}"
            )
    taken = [str(route) for route in _routes() if route.overlaps(NETWORK)]
    if taken:
        raise LabError(
            f"This host has a route to {taken[0]} of its own; {NETWORK} cannot lead to a lab."
        )


def create(record: Record) -> None:
    """Make a lab's namespace, bridge and way out.

    Args:
        record: the lab.
    """
    netns, device, mtu = record.netns, host_device(record), str(uplink_mtu())
    ours, theirs = _link_addresses(record)
    _netns(netns)
    _ip(netns, "link", "add", BRIDGE, "mtu", mtu, "type", "bridge", "forward_delay", "0")
    _ip(netns, "address", "add", f"{GATEWAY}/{NETWORK.prefixlen}", "dev", BRIDGE)
    _ip(netns, "address", "add", f"{NETWORK6.network_address}1/64", "dev", BRIDGE, "nodad")
    _ip(netns, "link", "set", BRIDGE, "up")
    peer = ("peer", "name", UPLINK, "mtu", mtu, "netns", netns)
    run(["ip", "link", "add", device, "mtu", mtu, "type", "veth", *peer])
    run(["ip", "address", "add", f"{ours}/30", "dev", device])
    run(["ip", "link", "set", device, "up"])
    _ip(netns, "address", "add", f"{theirs}/30", "dev", UPLINK)
    _ip(netns, "link", "set", UPLINK, "up")
    _ip(netns, "route", "add", "default", "via", str(ours))
    inside(netns, ["tee", "/proc/sys/net/ipv4/ip_forward"], input="1\n")
    inside(netns, ["nft", "-f", "-"], input=_lab_rules())
    run(["nft", "-f", "-"], input=_host_rules(record))
    _let_forward(device)
    if record.attached:
        run(["ip", "route", "add", str(NETWORK), "via", str(theirs)])


def add_machine(record: Record, machine: MachineSpec) -> None:
    """Make a machine's namespace and connect it to the bridge of its lab.

    Args:
        record: the lab.
        machine: the machine.
    """
    netns, port, mtu = record.machine_netns(machine.name), f"m{machine.host_part}", uplink_mtu()
    _netns(netns)
    if not machine.internet:
        element = f"{{ {machine.address} }}"
        inside(record.netns, ["nft", "add", "element", "ip", "lab", "offline", element])
    peer = ("peer", "name", "eth0", "mtu", str(mtu), "netns", netns)
    _ip(record.netns, "link", "add", port, "mtu", str(mtu), "type", "veth", *peer)
    _ip(record.netns, "link", "set", port, "master", BRIDGE, "up")
    _ip(netns, "address", "add", f"{machine.address}/{NETWORK.prefixlen}", "dev", "eth0")
    _ip(netns, "address", "add", f"{machine.address6}/64", "dev", "eth0", "nodad")
    _ip(netns, "link", "set", "eth0", "up")
    if machine.internet:
        _ip(netns, "route", "add", "default", "via", str(GATEWAY))


def remove_machine(record: Record, machine: str) -> None:
    """End what runs in a machine's namespace, and remove the namespace."""
    _remove_netns(record.machine_netns(machine))


def remove(record: Record, last: bool) -> None:
    """Remove a lab's namespace, its device, route and rules on the host.

    Args:
        record: the lab.
        last: no other lab is left, so that the host's forwarding goes back to what it was.
    """
    if host_device(record) in {link["ifname"] for link in _json("link")}:
        run(["ip", "link", "delete", host_device(record)])
    _remove_netns(record.netns)
    tables = json.loads(run(["nft", "--json", "list", "tables"]).stdout)["nftables"]
    if _table(record) in {entry["table"]["name"] for entry in tables if "table" in entry}:
        run(["nft", "delete", "table", "ip", _table(record)])
    if last:
        _restore_forwarding()


def inside(netns: str, argv: list[str], input: str | None = None) -> None:
    """Run a host's program in a network namespace, and raise if it fails."""
    run(["nsenter", f"--net={NETNS / netns}", "--", *argv], input=input)


def host_device(record: Record) -> str:
    """Return the name of the host's end of a lab's uplink."""
    return f"il{record.link}"


def uplink_mtu() -> int:
    """Return the smallest packet size of the host's ways out, 1500 if it has none."""
    out = {route["dev"] for route in _json("route", "show", "default") if "dev" in route}
    return min((link["mtu"] for link in _json("link") if link["ifname"] in out), default=1500)


def nameservers() -> list[str]:
    """Return the host's name servers that a lab can reach.

    Raises:
        LabError: the host has only a resolver of its own, on a loopback address.
    """
    # Where systemd-resolved answers on loopback, this file names the servers that it asks.
    for source in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if source.exists():
            words = [line.split() for line in source.read_text().splitlines()]
            named = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
            beyond = [name for name in named if not ipaddress.ip_address(name).is_loopback]
            if beyond:
                return [name for name in beyond if ":" not in name] or beyond
    raise LabError(
        "/etc/resolv.conf names no server beyond this machine, so that a lab's machines could "
        "resolve nothing: name one that is reachable over the network."
    )


def _lab_rules() -> str:
    """Rules inside the lab: everything out goes as the lab's one address, and the host comes in.

    A private address beyond the lab is somebody else's machine, which a pillar under test may name:
    nothing is sent there, but questions to the name servers that the machines are given.
    """
    servers = ", ".join(server for server in nameservers() if ":" not in server)
    asking = f'oifname "{UPLINK}" ip daddr {{ {servers} }} th dport 53 accept' if servers else ""
    return f"""
table ip lab {{
  set private {{
    type ipv4_addr; flags interval;
    elements = {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }}
  }}
  set offline {{ type ipv4_addr; }}
  chain forward {{
    type filter hook forward priority filter;
    ip saddr @offline oifname "{UPLINK}" ct state new drop
    {asking}
    oifname "{UPLINK}" ip daddr @private reject with icmp host-unreachable
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    oifname "{UPLINK}" masquerade
    ip saddr != {NETWORK} oifname "{BRIDGE}" masquerade
  }}
}}
"""


def _host_rules(record: Record) -> str:
    return f"""
table ip {_table(record)} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {_link(record.link)} oifname != "{host_device(record)}" masquerade
  }}
}}
"""


def _table(record: Record) -> str:
    return f"infra-lab-{record.name}"


def _link(number: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network((int(LINKS.network_address) + 256 * number, 30))


def _link_addresses(record: Record) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    ours, theirs = _link(record.link).hosts()
    return ours, theirs


def _routes() -> list[ipaddress.IPv4Network]:
    found = [route["dst"] for route in _json("route", "show", "table", "main")]
    return [ipaddress.IPv4Network(dst) for dst in found if dst != "default"]


def _json(*argv: str) -> list[dict[str, Any]]:
    return json.loads(run(["ip", "-4", "-json", *argv]).stdout or "[]")


def _ip(netns: str, *argv: str) -> None:
    run(["ip", "-netns", netns, *argv])


def _netns(name: str) -> None:
    run(["ip", "netns", "add", name])
    # A host that runs without IPv6 hands that on to new namespaces; the lab's networks have it.
    for scope in ("all", "default"):
        inside(name, ["tee", f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"], input="0\n")
    _ip(name, "link", "set", "lo", "up")


def _remove_netns(name: str) -> None:
    """Remove a namespace after ending every process that is in it."""
    if not (NETNS / name).exists():
        return
    deadline = time.monotonic() + 10
    while pids := [int(pid) for pid in run(["ip", "netns", "pids", name]).stdout.split()]:
        if time.monotonic() > deadline:
            raise LabError(f"Processes {pids} in network namespace {name} do not end.")
        for pid in pids:
            kill(pid)
        time.sleep(0.02)
    run(["ip", "netns", "delete", name])


def _let_forward(device: str) -> None:
    """Let packets pass between a lab's uplink and the host's ways out.

    Per device, since switching it on for the whole host resets settings that are none of ours.
    What a device of the host had before is written down, for the last lab to put back.
    """
    saved_in = paths.state() / "forwarding.json"
    before: dict[str, str] = json.loads(saved_in.read_text()) if saved_in.exists() else {}
    out = {route["dev"] for route in _json("route", "show", "default") if "dev" in route}
    for name in sorted(out):
        now = (FORWARDING / name / "forwarding").read_text().strip()
        if now == "0":
            before[name] = now
    saved_in.write_text(json.dumps(before) + "\n")
    for name in [device, *before]:
        (FORWARDING / name / "forwarding").write_text("1\n")


def _restore_forwarding() -> None:
    saved_in = paths.state() / "forwarding.json"
    if not saved_in.exists():
        return
    for name, value in json.loads(saved_in.read_text()).items():
        switch = FORWARDING / name / "forwarding"
        if switch.exists():
            switch.write_text(f"{value}\n")
    saved_in.unlink()
