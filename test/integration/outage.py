"""Ask services over and over until a file appears; print how long each did not answer, as JSON.

Run on a machine of the lab: `outage.py FILE`. What is printed is the longest gap between two
answers, in seconds, and how often each answered.
"""

import json
import os
import socket
import struct
import sys
import time
import urllib.request

ASKED = {
    "portal": lambda: get("http://127.0.0.1/docs/index.html") == "mine\n",
    "metrics": lambda: '"42"' in get(
        "http://127.0.0.1:8428/api/v1/query?query=last_over_time(pigsty_was_here[1d])"),
    "dns": lambda: resolve("i.pigsty") == "10.10.10.10",
}  # fmt: skip


def get(url):
    with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own)
        return answer.read().decode()


def resolve(name):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.sendto(struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1",
                    ("127.0.0.1", 53))  # fmt: skip
        return socket.inet_ntoa(sock.recv(512)[-4:])


def main(stop):
    last = {name: time.monotonic() for name in ASKED}
    gaps = dict.fromkeys(ASKED, 0.0)
    count = dict.fromkeys(ASKED, 0)
    while not os.path.exists(stop):
        for name, ask in ASKED.items():
            try:
                well = ask()
            except Exception:
                well = False
            if well:
                count[name] += 1
                now = time.monotonic()
                gaps[name], last[name] = max(gaps[name], now - last[name]), now
        time.sleep(0.05)
    print(json.dumps({"gaps": gaps, "asked": count}))


main(sys.argv[1])
