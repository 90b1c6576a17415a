"""Facts that an adversary with an accepted key may publish: one attack each, beside good values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ADDRESSES = (
    # of the INFRA nodes and of other minions, in every spelling
    *("10.10.10.10", "::ffff:10.10.10.10", "::ffff:a0a:a0a", "0:0:0:0:0:ffff:10.10.10.10"),
    *("::10.10.10.10", "::a0a:a0a", "10.10.10.11"),
    *("::ffff:10.10.10.11", "172.17.0.1", "10.10.10.3"),
    *("10.10.10.21", "::ffff:10.10.10.21", "::ffff:a0a:a15", "::10.10.10.21", "::FFFF:10.10.10.21"),
    # this machine, and what is linked to it
    *("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "0.0.0.0", "0.1.2.3"),  # noqa: S104
    *("::", "::ffff:0.0.0.0", "::1:2", "::2", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("169.254.1.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    # metadata of clouds
    *("169.254.169.254", "::ffff:169.254.169.254", "100.100.100.200", "168.63.129.16"),
    *("fd00:ec2::254", "FD00:EC2:0::254", "192.0.0.192", "fd20:ce::254"),
    # an IPv4 address inside of an IPv6 address
    *("64:ff9b::7f00:1", "64:ff9b::169.254.169.254"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2002:a0a:a0a::"),
    *("2001:0:a0a:a0a::1",),
    # outside of the site
    *("8.8.8.8", "1.1.1.1", "192.168.1.1", "2001:db8::1", "2606:4700::1111", "100.64.0.1"),
    # no address
    *("", " 10.10.10.66", "10.10.10.66 ", "10.10.10.066", "10.10.10", "0x0a0a0a42", "168430146"),
    *("10.10.10.66\n10.10.10.10 i.pigsty", "10.10.10.66/24"),
    *("[fd00::66]", "fd00::66/64", "i.pigsty"),
    *("10.10.10.66;", "10.10.10.66:80", "\u0661\u0660.10.10.66"),
    *("10.10.10.\uff16", "fd00::66%1", "..", "/"),
)  # fmt: skip

NAMES = (
    # of others
    *("infra-1", "INFRA-1", "node-21", "NODE-21", "Node-21", "node-22", "pg-test-1", "PG-TEST-1"),
    *("i.pigsty", "I.PIGSTY", "i.pigsty.", "p.pigsty", "x.apps.pigsty", "db.pigsty", "vmetrics-1"),
    *("VMETRICS-1", "nginx-2", "portal-1", "dns-1", "repo-1"),
    # what programs look up by themselves
    *("localhost", "LOCALHOST", "x.localhost"),
    *("localhost.localdomain", "wpad", "wpad.pigsty", "salt"),
    *("salt.pigsty", "isatap", "broadcasthost"),
    # outside of the site
    *("com", "pigsty", "example.com", "www.google.com"),
    *("google.com.", "co.uk", "x.co.uk", "evilpigsty"),
    *("x.evilpigsty", "pigsty.evil.example", "mail", "*.pigsty", "*", "_dmarc.example.com"),
    # no names
    *("", ".", "..", "a..b", "../x", "../../etc/cron.d/x"),
    *("/etc/passwd", "a/b", "-x", "x-", ".x", "x."),
    *("x" * 64, "x" * 64 + ".pigsty", "x" * 101, "x" * 300),
    *("a." * 130, "x y", "x\ty", "x\ny", "x\0y"),
    *("10.10.10.10", "10", "1.2", "::1", "default"),
    *("master", "$host", "${admin_ip}", "x;y", "x{", "x}"),
    *("x#y", 'x"y', "x'y", "x\\y", "x`id`"),
    *("$(id)", "{{ 7 * 7 }}", "{% raise %}", "%0a", "x\u2028y"),
    *("\uff4eode-21", "n\u043ede-21", "xn--e1afmkfd", "\ud800"),
    *("é.pigsty", "haproxy-x", "x=y", "x,y", "x|y"),
    *("location-x", "upstream-x", "pigsty.crt", "00-infra", "_haproxy_node-21", "con", "nul"),
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 65536, 10**5000, -(10**400), 1.5, float("nan"), float("inf"), b"x"),
    *([], {}, [[]], [None], {"a": {}}, {1: 2}, {None: None}, [[[[[[[[["x"]]]]]]]]], "x" * 300_000),
    *(["x"] * 20_000, {str(n): n for n in range(20_000)}, [{"job": "node", "port": 1}] * 201),
    *([{"address": "10.10.10.66", "names": ["x.pigsty"]}] * 201, ("x",), "9100", "9100;", 9100.0),
    *({"__data__": {}}, {"__data__": {"__data__": {}}}, [{"job": "node", "port": 9100, "x": 1}]),
)  # fmt: skip

KEYS = ("contract", "ip", "ins", "cls", "infra_seq", "ca", "haproxy", "targets", "dns")


def good(ident: str = "evil", address: str = "10.10.10.66") -> dict[str, Any]:
    """Facts that nothing is wrong with."""
    return {
        "contract": 1,
        "ip": address,
        "ins": ident,
        "cls": "nodes",
        "haproxy": 9101,
        "targets": [{"job": "ping"}, {"job": "node", "port": 9100}],
        "dns": [{"address": address, "names": [f"{ident}.pigsty"]}],
    }


def records(ident: str = "evil") -> Iterator[tuple[str, Any]]:
    """What each attack is, and the facts of it."""
    base = good(ident)
    for value in ADDRESSES:
        yield f"ip={value!r}", {**base, "ip": value}
        yield f"dns.address={value!r}", {**base, "dns": [{"address": value, "names": ["e.pigsty"]}]}
    for value in NAMES:
        record = {"address": "10.10.10.66", "names": [value, "mine.pigsty"]}
        yield f"dns.names={value!r}", {**base, "dns": [record]}
        yield f"ins={value!r}", {**base, "ins": value}
        yield f"cls={value!r}", {**base, "cls": value}
        for key in ("ins", "cls", "job"):
            target = {"job": "node", "port": 9100, key: value}
            yield f"targets.{key}={value!r}", {**base, "targets": [target]}
        labels = {value: "x", "a": value}
        yield f"labels={value!r}", {**base, "targets": [{"job": "ping", "labels": labels}]}
    for label in (
        "ip",
        "ins",
        "cls",
        "job",
        "instance",
        "__address__",
        "__name__",
        "__param_module",
    ):
        target = {"job": "node", "port": 9100, "labels": {label: "10.10.10.21"}}
        yield f"label {label}", {**base, "targets": [target]}
    for number, value in enumerate(VALUES):
        yield f"all of it is value {number}", value
        for key in KEYS:
            yield f"{key} is value {number}", {**base, key: value}
        yield f"unknown key, value {number}", {**base, "x": value}
    for number in (1, 2, 3, 99):
        yield f"infra_seq={number}", {**base, "infra_seq": number}
    for key in KEYS:
        yield f"without {key}", {k: v for k, v in base.items() if k != key}
