"""Servers of tests, ended so that no test waits for one for ever."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable

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


class Waiting:
    """A thread that waits on a socket, and ends before the socket is closed.

    ``close`` alone does not wake a thread that is in ``accept`` or ``recvfrom``. Its system call
    keeps the number of the descriptor: when a signal has it begun anew, it is for whatever has that
    number by then, and the thread of one test takes the connections of another's server.
    """

    def __init__(self, channel: socket.socket, serve: Callable[[], None]) -> None:
        self._channel = channel
        self._thread = threading.Thread(target=self._run, args=(serve,), daemon=True)
        self._thread.start()

    @staticmethod
    def _run(serve: Callable[[], None]) -> None:
        # `accept` raises as soon as the socket is shut down.
        with contextlib.suppress(OSError):
            serve()

    def end(self) -> None:
        """Wake the thread, wait for its end, and close the socket.

        Raises AssertionError if the thread does not end.
        """
        with contextlib.suppress(OSError):  # a socket of UDP is not connected, but it is woken
            self._channel.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "a test's server does not end"
        self._channel.close()
