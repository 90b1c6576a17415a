#!/usr/bin/env python3
"""Ask a portal of several addresses at a steady rate, and tell how many requests were lost.

Arguments: CA's certificate, requests at least, requests per second, file whose appearance ends it,
addresses. Four clients share the work: each prefers one address, over HTTP on a new connection for
each request, or over HTTPS on a connection that it keeps. A request that fails is sent again, once
to each other address, on a new connection; it is lost if all fail. Prints JSON: ``requests``,
``lost`` (texts), ``moved`` (requests that another address answered) by the address that did not.
"""

import collections
import http.client
import itertools
import json
import ssl
import sys
import threading
import time
from pathlib import Path

CA, LEAST, RATE, STOP, *ADDRESSES = sys.argv[1:]
CONTEXT = ssl.create_default_context(cafile=CA)
TIMEOUT = 5
lock = threading.Lock()
requests = 0
lost, moved = [], collections.Counter()


def is_over():
    return Path(STOP).exists() and requests >= int(LEAST)


def connect(address, encrypted):
    if encrypted:
        return http.client.HTTPSConnection(address, timeout=TIMEOUT, context=CONTEXT)
    return http.client.HTTPConnection(address, timeout=TIMEOUT)


def ask(connection):
    """Raises OSError or HTTPException unless the whole page comes."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or not body:
        raise OSError(f"status {answer.status}, {len(body)} bytes")


def client(addresses, encrypted, every):
    global requests
    kept, due = connect(addresses[0], encrypted), time.monotonic()
    while not is_over():
        errors = []
        for address in addresses:
            connection = kept if address == addresses[0] else connect(address, encrypted)
            try:
                ask(connection)
            except (OSError, http.client.HTTPException) as error:
                errors.append(f"{address}: {error!r}")
                connection.close()
                continue
            if not encrypted or connection is not kept:
                connection.close()
            break
        with lock:
            requests += 1
            for error in errors:
                moved[error.partition(": ")[0]] += 1
            if len(errors) == len(addresses):
                lost.append(f"{time.strftime('%H:%M:%S')} {'; '.join(errors)}")
        due = max(due + every, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))


def main():
    kinds = list(itertools.product((ADDRESSES, ADDRESSES[::-1]), (False, True)))
    every = len(kinds) / float(RATE)
    threads = [threading.Thread(target=client, args=(*kind, every)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"requests": requests, "lost": lost, "moved": moved}))


main()
