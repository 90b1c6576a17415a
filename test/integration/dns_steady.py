#!/usr/bin/env python3
"""Ask a name server at a steady rate, each question once, and tell what was answered.

Arguments: address, name that changes, address that it changes to, questions per second, seconds.
Prints JSON: ``asked``, ``lost`` (no answer within 30 seconds), ``wrong`` (anything but the old and
the new address), ``slowest`` (seconds) and ``changed`` (Unix time of the first new answer).
"""

import json
import select
import socket
import struct
import sys
import time

WAIT = 30.0  # a busy machine answers late, and that is no loss; what is lost never comes


def question(name, ident):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack("!6H", ident, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def main():
    server, name, new, rate, seconds = sys.argv[1:]
    rate, seconds = int(rate), float(seconds)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((server, 53))
    open_questions, told = {}, {"asked": 0, "lost": 0, "wrong": 0, "slowest": 0.0, "changed": None}
    seen = set()
    begun = time.monotonic()
    while True:
        now = time.monotonic()
        if now - begun < seconds:
            while told["asked"] < (now - begun) * rate:
                ident = told["asked"] % 65536
                open_questions[ident] = time.monotonic()
                sock.send(question(name, ident))
                told["asked"] += 1
        elif not open_questions:
            break
        for ident in [i for i, at in open_questions.items() if now - at > WAIT]:
            del open_questions[ident]
            told["lost"] += 1
        if not select.select([sock], [], [], 0.5 / rate)[0]:
            continue
        data = sock.recv(4096)
        at = open_questions.pop(struct.unpack("!H", data[:2])[0], None)
        if at is None:
            continue
        told["slowest"] = max(told["slowest"], time.monotonic() - at)
        answers = struct.unpack("!H", data[6:8])[0]
        value = socket.inet_ntoa(data[-4:]) if answers == 1 and data[3] & 15 == 0 else "none"
        seen.add(value)
        if value == new and told["changed"] is None:
            told["changed"] = time.time()
    told["wrong"] = len(seen - {new}) - 1
    print(json.dumps(told))


if __name__ == "__main__":
    main()
