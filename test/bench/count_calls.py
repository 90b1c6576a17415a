"""salt-call that counts the requests of the minion to its master, and the processes that it starts.

Usage: count_calls.py FILE ARGUMENT...

Both are written to FILE, as JSON, and the files whose hash the minion asked for; everything else is
as by salt-call. Run on a machine of the lab, with the Python that Salt runs with.
"""

import json
import subprocess
import sys
from pathlib import Path

import salt.channel.client
import salt.scripts


def record(owner, name):
    """Have a method note its calls; returns the list that has the first argument of each."""
    calls = []
    method = getattr(owner, name)

    def noted(self, argument, *args, **options):
        calls.append(argument)
        return method(self, argument, *args, **options)

    setattr(owner, name, noted)
    return calls


def main(target, *arguments):
    requests = record(salt.channel.client.AsyncReqChannel, "send")
    processes = record(subprocess.Popen, "__init__")
    sys.argv = ["salt-call", *arguments]
    try:
        salt.scripts.salt_call()
    finally:
        programs = [str(p if isinstance(p, str) else p[0]) for p in processes]
        hashed = [r["path"] for r in requests if r.get("cmd") == "_file_hash"]
        found = {"requests": len(requests), "processes": programs, "hashed": hashed}
        Path(target).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
