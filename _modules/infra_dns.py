"""The site's name server: its records, its configuration, and what it answers."""

from __future__ import annotations

from typing import Any

from infra_formula.dns import dnsmasq


def query(
    name: str,
    type: str = "A",
    server: str = "127.0.0.1",
    port: int = 53,
    tcp: bool = False,
    timeout: float = 2.0,
) -> dict[str, Any]:
    """Ask a name server for one name.

    name
        The name; for ``PTR`` an address will do.
    type
        ``A``, ``AAAA``, ``CNAME``, ``PTR``, ``NS``, ``SOA``, ``MX`` or ``TXT``.
    server, port
        Whom to ask.
    tcp
        Ask over TCP; over UDP a truncated answer is asked for again over TCP.
    timeout
        Seconds.

    Returns ``rcode`` and ``answers`` (see :func:`decode_message`), ``values`` (those of the type
    asked for) and ``seconds``.

    Raises CommandExecutionError where no answer comes.

    CLI Example:

    .. code-block:: bash

        salt node-1 infra_dns.query i.pigsty server=10.10.10.10
    """
    return dnsmasq.query(name, type, server, port, tcp, timeout)


def records(registrant: str | None = None) -> dict[str, dict[str, list[str]]]:
    """Records that this minion's name server is given.

    registrant
        Only those of this one: ``default`` (dns_records) or a minion id.

    Returns registrant → address → names.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_dns.records
        salt infra-1 infra_dns.records node-1
    """
    return dnsmasq.records(registrant)
