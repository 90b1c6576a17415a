"""Print, as JSON, each line that a machine wrote to its journal and its logs of nginx in a while.

Run on a machine of the lab: `written_lines.py SECONDS`.
"""

import json
import subprocess
import sys
import time
from pathlib import Path


def sizes():
    """Size of each log of nginx."""
    files = [*Path("/var/log/nginx").glob("*.log"), Path("/var/log/nginx-error.log")]
    return {file: file.stat().st_size for file in files if file.exists()}


def main():
    """Wait, then print what is new."""
    cursor = ["journalctl", "--show-cursor", "-n", "0", "--quiet"]
    start = subprocess.run(cursor, capture_output=True, text=True, check=True).stdout
    place = start.strip().removeprefix("-- cursor: ")
    before = sizes()
    time.sleep(float(sys.argv[1]))
    journal = ["journalctl", f"--after-cursor={place}", "-o", "short", "--no-pager", "--quiet"]
    done = subprocess.run(journal, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for file in sizes():
        with file.open("rb") as stream:
            stream.seek(before.get(file, 0))
            text = stream.read().decode("utf-8", "replace")
        lines += [f"{file}: {line}" for line in text.splitlines()]
    print(json.dumps(lines))


main()
