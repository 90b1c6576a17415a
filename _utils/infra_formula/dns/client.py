"""A client of DNS (RFC 1035): it queries a name server, and waits for expected answers."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Iterable
from typing import TypedDict

from infra_formula.dns import records
from infra_formula.errors import CommandFailed, InvalidInput

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
ALWAYS_KNOWN = "127.0.0.1"
"""Its name: dnsmasq forwards no query for the name of a private address (``bogus-priv``)."""
_MAX_STEPS = 192  # labels and compression pointers of one name; more is a loop


class Answer(TypedDict):
    """One record of an answer."""

    name: str
    type: str
    ttl: int
    value: str


class Message(TypedDict):
    """A DNS message, as far as a client needs it."""

    ident: int
    response: bool
    truncated: bool
    rcode: str
    question: str
    answers: list[Answer]


class Result(TypedDict):
    """What a query returned."""

    rcode: str
    answers: list[Answer]
    values: list[str]
    seconds: float


def encode_query(name: str, rtype: str, ident: int) -> bytes:
    """A DNS query for one name.

    name
        The name, without or with a dot at its end; ``.`` is the root.
    rtype
        A key of :data:`TYPES`.
    ident
        0 to 65535; the answer repeats it.

    Raises SaltInvocationError for a name or type that does not fit into a query.
    """
    if rtype not in TYPES:
        raise InvalidInput(f"type: expected one of {', '.join(TYPES)}, got {rtype!r}")
    labels = [] if name == "." else name.removesuffix(".").split(".")
    out = struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0)  # recursion desired, one question
    for label in labels:
        raw = label.encode("ascii", "replace")
        if not 1 <= len(raw) <= 63 or "?" in raw.decode():
            raise InvalidInput(f"name: expected labels of 1 to 63 characters, got {name!r}")
        out += bytes([len(raw)]) + raw
    if len(out) - 12 > 254:
        raise InvalidInput(f"name: expected at most 253 characters, got {len(name)}")
    return out + b"\0" + struct.pack("!2H", TYPES[rtype], 1)


def decode_message(data: bytes) -> Message:
    """Parse a DNS message; any bytes are safe.

    Returns ``ident``, ``response`` and ``truncated`` (bool), ``rcode`` (name or number),
    ``question`` (name) and ``answers``: each ``name``, ``type``, ``ttl`` (seconds) and ``value``.

    Raises ValueError if the bytes are no DNS message.
    """
    if len(data) < 12:
        raise ValueError("shorter than the header of a DNS message")
    ident, flags, questions, answers = struct.unpack("!4H", data[:8])
    offset, question = 12, ""
    for index in range(questions):
        name, offset = _name(data, offset)
        question = name if index == 0 else question
        offset += 4
    out: list[Answer] = []
    for _ in range(answers):
        owner, offset = _name(data, offset)
        if offset + 10 > len(data):
            raise ValueError("cut off in a record")
        kind, _cls, ttl, length = struct.unpack("!2HIH", data[offset : offset + 10])
        offset += 10
        if offset + length > len(data):
            raise ValueError("cut off in a record's data")
        value = _value(data, offset, kind, length)
        offset += length
        rtype = _TYPE_NAMES.get(kind, str(kind))
        out.append({"name": owner, "type": rtype, "ttl": ttl, "value": value})
    code = flags & 15
    return {
        "ident": ident,
        "response": bool(flags & 0x8000),
        "truncated": bool(flags & 0x0200),
        "rcode": _RCODES[code] if code < len(_RCODES) else str(code),
        "question": question,
        "answers": out,
    }


def _name(data: bytes, offset: int) -> tuple[str, int]:
    """Name at an offset, and the offset behind it; follows compression pointers."""
    labels: list[str] = []
    after: int | None = None
    for _ in range(_MAX_STEPS):
        if offset >= len(data):
            raise ValueError("cut off in a name")
        size = data[offset]
        if size & 0xC0 == 0xC0:
            if offset + 2 > len(data):
                raise ValueError("cut off in a pointer")
            after = offset + 2 if after is None else after
            offset = struct.unpack("!H", data[offset : offset + 2])[0] & 0x3FFF
        elif size & 0xC0:
            raise ValueError("a label of an unknown kind")
        elif size == 0:
            return ".".join(labels) or ".", offset + 1 if after is None else after
        else:
            if offset + 1 + size > len(data):
                raise ValueError("cut off in a label")
            labels.append(data[offset + 1 : offset + 1 + size].decode("ascii", "backslashreplace"))
            offset += 1 + size
    raise ValueError("a name that points at itself")


def _value(data: bytes, offset: int, kind: int, length: int) -> str:
    raw = data[offset : offset + length]
    if kind == TYPES["A"] and length == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    if kind == TYPES["AAAA"] and length == 16:
        return socket.inet_ntop(socket.AF_INET6, raw)
    if kind in (TYPES["NS"], TYPES["CNAME"], TYPES["PTR"]):
        return _name(data, offset)[0]
    return raw.hex()


def query(
    name: str,
    type: str = "A",
    server: str = "127.0.0.1",
    port: int = 53,
    tcp: bool = False,
    timeout: float = 2.0,
) -> Result:
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

    Returns ``rcode`` and ``answers`` (see :func:`decode_message`), ``values`` (those of the
    queried type) and ``seconds``.

    Raises CommandExecutionError if there is no answer.
    """
    if type == "PTR" and records.normalize_address(name):
        name = ipaddress.ip_address(name).reverse_pointer
    start = time.monotonic()
    ident = secrets.randbelow(65536)
    message = encode_query(name, type, ident)
    how = "tcp" if tcp else "udp"
    try:
        send = _query_tcp if tcp else _query_udp
        answer = send(message, ident, server, port, timeout)
        if answer["truncated"] and not tcp:
            answer = _query_tcp(message, ident, server, port, timeout)
    except (OSError, ValueError) as err:
        reason = "no answer in time" if isinstance(err, TimeoutError) else err
        raise CommandFailed(f"{name} at {server}:{port}/{how}: {reason}") from err
    return {
        "rcode": answer["rcode"],
        "answers": answer["answers"],
        "values": [a["value"] for a in answer["answers"] if a["type"] == type],
        "seconds": round(time.monotonic() - start, 4),
    }


def _query_udp(message: bytes, ident: int, server: str, port: int, timeout: float) -> Message:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    deadline = time.monotonic() + timeout
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((server, port))
        sock.send(message)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            data = sock.recv(65535)
            # Anybody may send a datagram: only the answer to this question counts.
            with contextlib.suppress(ValueError):
                answer = decode_message(data)
                if answer["ident"] == ident and answer["response"]:
                    return answer


def _query_tcp(message: bytes, ident: int, server: str, port: int, timeout: float) -> Message:
    with socket.create_connection((server, port), timeout=timeout) as sock:
        sock.sendall(struct.pack("!H", len(message)) + message)
        size = struct.unpack("!H", _receive(sock, 2))[0]
        answer = decode_message(_receive(sock, size))
    if answer["ident"] != ident or not answer["response"]:
        raise ValueError("the answer is to another question")
    return answer


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise ValueError("the connection was closed in the middle of an answer")
        data += part
    return data


def answers_for_itself(server: str, port: int) -> bool:
    """Whether a server answers a query that it forwards to nobody."""
    try:
        query(ALWAYS_KNOWN, "PTR", server, port, timeout=1.0)
    except CommandFailed:
        return False
    return True


def wait_for(
    present: Iterable[tuple[str, str]],
    absent: Iterable[tuple[str, str]],
    server: str = "127.0.0.1",
    port: int = 53,
    seconds: float = 10.0,
) -> None:
    """Wait until the server gives the expected answers.

    present, absent
        Pairs of name and address that it has to give, or must not give any more.
    seconds
        Longest time to wait.

    A name that is absent is forwarded, and nobody upstream may answer. So a server that answers
    nothing for the name, but answers for itself, no longer has it; the others are not queried then.

    Raises CommandExecutionError with the last wrong answer.
    """
    deadline = time.monotonic() + seconds
    expected = [(n, a, True) for n, a in present] + [(n, a, False) for n, a in absent]
    for name, address, is_present in expected:
        while True:
            try:
                kind = "AAAA" if ":" in address else "A"
                answer = query(name, kind, server, port, timeout=1.0)
                if (address in answer["values"]) == is_present:
                    break
                problem = f"{name}: answers {answer['values'] or answer['rcode']}, expected "
                problem += address if is_present else f"{address} to be gone"
            except CommandFailed as err:
                if not is_present and answers_for_itself(server, port):
                    return
                problem = str(err)
            if time.monotonic() > deadline:
                raise CommandFailed(problem)
            time.sleep(0.02)
