"""The site's name server: its records and its answers."""

from __future__ import annotations

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.dns import client
from infra_formula.dns import records as dns_records


def query(
    name: str,
    type: str = "A",
    server: str = "127.0.0.1",
    port: int = 53,
    tcp: bool = False,
    timeout: float = 2.0,
) -> client.Result:
    """Query a name server for one name.

    name
        The name; with ``PTR`` an address is accepted as well.
    type
        ``A``, ``AAAA``, ``CNAME``, ``PTR``, ``NS``, ``SOA``, ``MX`` or ``TXT``.
    server, port
        Address and port of the server.
    tcp
        Query over TCP. Over UDP, a truncated answer is queried again over TCP.
    timeout
        Seconds.

    Returns ``rcode``, ``answers`` (each ``name``, ``type``, ``ttl`` and ``value``), ``values``
    (those of the queried type) and ``seconds``.

    Raises CommandExecutionError if there is no answer.

    CLI Example:

    .. code-block:: bash

        salt node-1 infra_dns.query i.pigsty server=10.10.10.10
    """
    return client.query(name, type, server, port, tcp, timeout)


def records(registrant: str | None = None) -> dict[str, dict[str, list[str]]]:
    """Records in the files of this minion's name server.

    registrant
        Only those of this one: ``default`` (dns_records) or a minion id.

    Returns registrant → address → names.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_dns.records
        salt infra-1 infra_dns.records node-1
    """
    return dns_records.served(registrant)


redaction.guard(globals())
