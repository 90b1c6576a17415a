"""HTTP requests to the portal and to the programs behind it, on this machine."""

from __future__ import annotations

import http.client
import socket
import ssl

USER_AGENT = "infra-formula"
"""User agent of this formula's requests; ``infra.conf.j2`` does not log them."""

_MAX_BYTES = 65536  # that are read of a body: only the head of a page matters


def get(
    port: int,
    path: str,
    host: str = "127.0.0.1",
    tls: bool = False,
    timeout: float = 3.0,
    accept: str = "*/*",
) -> tuple[int, http.client.HTTPMessage, str]:
    """GET from 127.0.0.1, without verification of the certificate: status, headers and body.

    host
        Name that is asked for.
    timeout
        Seconds to wait for each step.

    Raises OSError, also for an answer that is not HTTP.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        if tls:
            # Not the default context: that loads every CA of the system, for nothing.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            plain = socket.create_connection(("127.0.0.1", port), timeout)
            connection.sock = context.wrap_socket(plain, server_hostname=host)
        headers = {"Host": host, "Connection": "close", "User-Agent": USER_AGENT, "Accept": accept}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_MAX_BYTES).decode("utf-8", "replace")
        return answer.status, answer.headers, body
    except http.client.HTTPException as err:
        raise OSError(str(err)) from err
    finally:
        connection.close()
