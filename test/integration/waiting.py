"""Waiting for what comes by and by."""

import time


def eventually(ask, seconds=180):
    """Ask until the answer is true; returns the last one."""
    deadline = time.monotonic() + seconds
    while True:
        found = ask()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)
