"""salt-call that counts the requests of the minion to its master.

Usage: count_requests.py FILE ARGUMENT...

The number is written to FILE; everything else is as by salt-call. Run on a machine of the lab, with
the Python that Salt runs with.
"""

import sys
from pathlib import Path

import salt.channel.client
import salt.scripts


def count(channel):
    """Have a class of channels count what it sends; returns the list that has one item for each."""
    sent = []
    send = channel.send

    def counted(self, load, *args, **options):
        sent.append(load.get("cmd"))
        return send(self, load, *args, **options)

    channel.send = counted
    return sent


def main(target, *arguments):
    sent = count(salt.channel.client.AsyncReqChannel)
    sys.argv = ["salt-call", *arguments]
    try:
        salt.scripts.salt_call()
    finally:
        Path(target).write_text(f"{len(sent)}\n", encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
