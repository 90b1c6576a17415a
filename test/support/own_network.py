"""A network of a test's own: nothing is attached to that of this machine."""

import ctypes
import os
import subprocess
from contextlib import contextmanager

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of linux/sched.h


@contextmanager
def own_network():
    """Have this thread, and what it starts, in a new network, as long as this is entered.

    Raises OSError where that is not permitted.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function, *arguments):
        if function(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    with open("/proc/thread-self/ns/net", encoding="utf-8") as before:
        call(libc.unshare, _NEW_NETWORK)
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=30)
            yield
        finally:
            call(libc.setns, before.fileno(), _NEW_NETWORK)
