"""Servers of tests, ended so that no test waits for one for ever."""

import socketserver
import threading

SECONDS = 10.0


def stop(server: socketserver.BaseServer) -> None:
    """End a server that a thread of this process serves, and close its socket.

    ``shutdown`` waits for the loop of ``serve_forever`` to end, for ever if there is none: its
    thread did not start, or belongs to the process that this one was forked from. So it is waited
    for in a thread, and for a while only. A server that is closed already may be stopped again.
    """
    ending = threading.Thread(target=server.shutdown, daemon=True)
    ending.start()
    ending.join(SECONDS)
    server.server_close()
