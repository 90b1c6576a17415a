#!/usr/bin/env python3
"""Ask a TLS server without a pause, until told to stop, and tell what went wrong.

Arguments: address, server name, file whose appearance ends it.

One thread keeps a connection alive, as a browser does: where the server closed it between two
requests the request is sent again on a new one, once (RFC 9112, 9.3.1). Another opens a connection
for each request. A third reads a large body slowly. Prints JSON: ``requests``, ``failures``
(texts), ``serials`` (of certificates, in the order in which they were seen) and ``bodies`` read
whole.
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from cryptography import x509

ADDRESS, NAME, STOP = sys.argv[1:]
CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
told = {"requests": 0, "failures": [], "serials": [], "bodies": 0}
lock = threading.Lock()


def stopped():
    return Path(STOP).exists()


def connect():
    connection = http.client.HTTPSConnection(NAME, timeout=30, context=CONTEXT)
    connection.sock = CONTEXT.wrap_socket(
        socket.create_connection((ADDRESS, 443), 30), server_hostname=NAME
    )
    der = connection.sock.getpeercert(binary_form=True)
    serial = f"{x509.load_der_x509_certificate(der).serial_number:x}"
    with lock:
        if serial not in told["serials"]:
            told["serials"].append(serial)
    return connection


def ask(connection, path="/"):
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or len(body) != int(answer.headers["Content-Length"]):
        raise OSError(f"{path}: status {answer.status}, {len(body)} bytes")
    with lock:
        told["requests"] += 1


def fresh():
    connection = connect()
    ask(connection)
    connection.close()


def kept():
    if not hasattr(local, "connection"):
        local.connection = connect()
    try:
        ask(local.connection)
    except (http.client.RemoteDisconnected, ConnectionError):
        local.connection = connect()
        ask(local.connection)


def slow():
    """A body of some megabytes, a piece at a time: longer than a reload takes."""
    connection = connect()
    connection.request("GET", "/large")
    answer = connection.getresponse()
    read, whole = 0, int(answer.headers["Content-Length"])
    while piece := answer.read(65536):
        read += len(piece)
        time.sleep(0.03)
    if read != whole:
        raise OSError(f"/large: {read} of {whole} bytes")
    connection.close()
    with lock:
        told["bodies"] += 1


def run(what):
    while not stopped():
        try:
            what()
        except (OSError, http.client.HTTPException) as err:
            with lock:
                told["failures"].append(f"{what.__name__}: {err!r}")
        time.sleep(0.01)


local = threading.local()
threads = [threading.Thread(target=run, args=(what,)) for what in (fresh, kept, slow)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(told))
