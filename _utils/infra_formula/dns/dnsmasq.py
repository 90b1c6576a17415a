"""The site's name server: its records, its configuration, and what it answers.

Records are lines of hosts(5) in files below ``/etc/hosts.d``, one file per registrant: ``default``
holds ``dns_records``, the others are named for the minion that registered them. ``parse``,
``problems``, ``hosts_text``, ``encode_query``, ``decode_message`` and ``config_text`` are pure.

dnsmasq reads these files at its start and on SIGHUP, in one go: 100,000 records take it about 0.2
seconds, in which queries wait in its socket. Its ``hostsdir``, which watches the directory by
itself, is not used: some supported versions never forget a removed name with it (before 2.87), and
the others look each line of a changed file up among all records (2.90: minutes for 100,000 lines).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import secrets
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import salt.utils.path
from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.dns import resolver
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset.file_set import FilePlan
from infra_formula.minion import Minion

ROOT = "/etc/hosts.d"
HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_UPSTREAM = re.compile(r"(?:/(?P<domain>[^/]+)/)?(?P<address>[^/#]+)(?:#(?P<port>\d{1,5}))?")
_MAX_HOPS = 64  # pointers followed in one name; more is a loop


# -- records -------------------------------------------------------------------------------------


def parse(lines: Any, admin_ip: str, where: str = "dns_records") -> dict[str, Any]:
    """Read records in the syntax of hosts(5); pure.

    lines
        A list of lines ``address name [name …]``; ``${admin_ip}`` is replaced, ``#`` begins a
        comment, an empty line is passed over.
    admin_ip
        Address that takes the place of ``${admin_ip}``.
    where
        Key path of the list, for the messages.

    Returns ``records`` (each ``address``, ``names`` and ``line``, its index) and ``problems`` (one
    message per error, with key path, index, what was expected and what was found). A line at fault
    is not among the records.
    """
    if not isinstance(lines, list):
        return {"records": [], "problems": [f"{where}: expected a list of lines, got {lines!r}"]}
    records: list[dict[str, Any]] = []
    found: list[str] = []
    owners: dict[tuple[str, int], tuple[str, int]] = {}
    for index, line in enumerate(lines):
        here = f"{where}[{index}]"
        if not isinstance(line, str):
            found.append(f"{here}: expected a line like '10.10.10.10 i.pigsty', got {line!r}")
            continue
        fault, record = _parse_line(line, admin_ip)
        if record is not None and fault is None:
            fault = _contradiction(record, owners, index, where)
        if fault:
            found.append(f"{here}: {fault}")
        elif record is not None:
            records.append({**record, "line": index})
    return {"records": records, "problems": found}


def problems(lines: Any, admin_ip: str, where: str = "dns_records") -> list[str]:
    """What is wrong with records; see :func:`parse`."""
    return parse(lines, admin_ip, where)["problems"]


def _parse_line(line: str, admin_ip: str) -> tuple[str | None, dict[str, Any] | None]:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", line):
        return "expected one line without control characters", None
    words = line.replace("${admin_ip}", admin_ip).split("#", 1)[0].split()
    if not words:
        return None, None
    address = address_of(words[0])
    if address is None:
        return f"expected an address first, got {words[0]!r}", None
    if len(words) == 1:
        return f"expected a name behind {words[0]}", None
    for name in words[1:]:
        fault = name_fault(name)
        if fault:
            return fault, None
    return None, {"address": address, "names": [w.lower().rstrip(".") for w in words[1:]]}


def address_of(text: Any) -> str | None:
    """An address in its usual writing; None for what is none that a record may hold."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if not isinstance(text, str) or "%" in text:
        return None
    return None if address.is_unspecified or address.is_multicast else str(address)


def name_fault(name: Any) -> str | None:
    """Why something is not a name that a record may hold; None where it is."""
    if not isinstance(name, str) or not name.isascii():
        return f"expected a name in ASCII (punycode for others), got {name!r}"
    bare = name.rstrip(".") if not name.endswith("..") else ""
    if name.startswith("*."):
        return f"{name!r} is a wildcard; put it into dns_wildcards"
    if not 1 <= len(bare) <= 253 or not all(_LABEL.fullmatch(part) for part in bare.split(".")):
        return f"expected a name of letters, digits, hyphens and dots, got {name!r}"
    if re.fullmatch(r"[0-9.]+", bare):
        return f"expected a name, got the address or number {name!r}"
    return None


def _contradiction(
    record: dict[str, Any], owners: dict[tuple[str, int], tuple[str, int]], index: int, where: str
) -> str | None:
    version = ipaddress.ip_address(record["address"]).version
    for name in record["names"]:
        address, first = owners.setdefault((name, version), (record["address"], index))
        if address != record["address"]:
            return f"{name!r} is {record['address']} here and {address} in {where}[{first}]"
    return None


def hosts_text(records: Iterable[dict[str, Any]]) -> str:
    """Render records to a file of hosts(5); pure."""
    return HEAD + "".join(f"{r['address']} {' '.join(r['names'])}\n" for r in records)


def pairs(text: str) -> set[tuple[str, str]]:
    """The (name, address) pairs that a file of hosts(5) holds; pure, passes over what is broken."""
    found: set[tuple[str, str]] = set()
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        address = address_of(words[0]) if words else None
        if address is not None:
            found.update((name.lower(), address) for name in words[1:])
    return found


def records(registrant: str | None = None) -> dict[str, dict[str, list[str]]]:
    """Records that this minion's name server is given.

    registrant
        Only those of this one: ``default`` (dns_records) or a minion id.

    Returns registrant → address → names.
    """
    out: dict[str, dict[str, list[str]]] = {}
    root = Path(ROOT)
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name.startswith(".") or not path.is_file():
            continue
        if registrant is not None and path.name != registrant:
            continue
        by_address: dict[str, list[str]] = {}
        for name, address in sorted(pairs(path.read_text(encoding="utf-8", errors="replace"))):
            by_address.setdefault(address, []).append(name)
        out[path.name] = by_address
    return out


# -- configuration -------------------------------------------------------------------------------


def setting_problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of the name server beyond their types; pure.

    parameters
        The dictionary below ``infra:``, as given.

    Returns one message per error, each beginning with the key path.
    """
    errors: list[str] = []
    admin_ip = parameters.get("admin_ip", "10.10.10.10")
    if isinstance(parameters.get("dns_records"), list) and isinstance(admin_ip, str):
        errors += problems(parameters["dns_records"], admin_ip)
    for name, address in _items(parameters.get("dns_wildcards")):
        path = f"dns_wildcards[{name!r}]"
        fault = name_fault(name.removeprefix("*.") if isinstance(name, str) else name)
        if fault:
            errors.append(f"{path}: {fault}")
        elif address_of(str(address).replace("${admin_ip}", str(admin_ip))) is None:
            errors.append(f"{path}: expected an address, got {address!r}")
    for alias, target in _items(parameters.get("dns_cnames")):
        for name in (alias, target):
            fault = name_fault(name)
            if fault:
                errors.append(f"dns_cnames[{alias!r}]: {fault}")
        if alias == target:
            errors.append(f"dns_cnames[{alias!r}]: expected another name than its own")
    for index, server in enumerate(_list(parameters.get("dns_upstream"))):
        if upstream(server) is None:
            errors.append(
                f"dns_upstream[{index}]: expected an address, address#port or /domain/address, "
                f"got {server!r}"
            )
    for index, address in enumerate(_list(parameters.get("dns_listen"))):
        if address_of(address) is None:
            errors.append(f"dns_listen[{index}]: expected an address, got {address!r}")
    return errors


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def upstream(text: Any) -> dict[str, Any] | None:
    """Take an upstream server apart: ``address``, ``port`` and ``domain`` (empty for all); pure.

    Returns None for what is none.
    """
    match = _UPSTREAM.fullmatch(text) if isinstance(text, str) else None
    address = address_of(match["address"]) if match else None
    if match is None or address is None:
        return None
    port, domain = int(match["port"] or 53), match["domain"] or ""
    if not 1 <= port <= 65535 or (domain and name_fault(domain)):
        return None
    return {"address": address, "port": port, "domain": domain}


def config_text(template: str, settings: dict[str, Any], servers: list[dict[str, Any]]) -> str:
    """Render dnsmasq's configuration; pure.

    template
        Text of ``infra/dns/files/dnsmasq.conf.j2``.
    settings
        ``port``, ``listen``, ``wildcards``, ``cnames``, ``options`` and ``admin_ip``.
    servers
        Upstream servers as :func:`upstream` returns them.

    Raises SaltInvocationError where the template is at fault.
    """
    admin_ip = settings["admin_ip"]
    context = {
        **settings,
        "root": ROOT,
        "servers": servers,
        "isolated": not any(not s["domain"] for s in servers),
        "wildcards": {
            name.removeprefix("*."): address.replace("${admin_ip}", admin_ip)
            for name, address in settings["wildcards"].items()
        },
    }
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - dnsmasq's syntax, not HTML; values are checked beforehand
    )
    try:
        return environment.from_string(template).render(context)
    except jinja2.TemplateError as err:
        raise InvalidInput(f"dnsmasq.conf.j2: {err}") from None


def servers(given: list[str] | None, own: Iterable[str]) -> list[dict[str, Any]]:
    """Servers that this one asks for what it does not know.

    given
        ``dns_upstream``; None means the nameservers that this machine has anyhow. They are asked,
        too, where only servers of single domains are given; an empty list means nobody.
    own
        Addresses of this machine and of the other INFRA nodes: never asked, or two name servers
        would ask each other for ever.
    """
    asked = [s for s in map(upstream, given or []) if s is not None]
    if given == [] or any(not server["domain"] for server in asked):
        return asked
    mine = {str(ipaddress.ip_address(a)) for a in own}
    found = resolver.foreign(sorted(mine))
    return [*asked, *({"address": a, "port": 53, "domain": ""} for a in found)]


# -- asking --------------------------------------------------------------------------------------


def encode_query(name: str, rtype: str, ident: int) -> bytes:
    """A DNS query (RFC 1035) for one name; pure.

    name
        The name, without or with a dot at its end; ``.`` is the root.
    rtype
        A key of :data:`TYPES`.
    ident
        0 to 65535, comes back in the answer.

    Raises SaltInvocationError for a name or type that no query can carry.
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


def decode_message(data: bytes) -> dict[str, Any]:
    """Take a DNS answer apart; pure, safe with any bytes.

    Returns ``ident``, ``response`` and ``truncated`` (bool), ``rcode`` (name or number),
    ``question`` (name) and ``answers``: each ``name``, ``type``, ``ttl`` (seconds) and ``value``.

    Raises ValueError for what is no DNS message.
    """
    if len(data) < 12:
        raise ValueError("shorter than the header of a DNS message")
    ident, flags, questions, answers = struct.unpack("!4H", data[:8])
    offset, question = 12, ""
    for index in range(questions):
        asked, offset = _name(data, offset)
        question = asked if index == 0 else question
        offset += 4
    out = []
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
        known = {number: word for word, number in TYPES.items()}
        out.append({"name": owner, "type": known.get(kind, str(kind)), "ttl": ttl, "value": value})
    code = flags & 15
    return {
        "ident": ident,
        "response": bool(flags & 0x8000),
        "truncated": bool(flags & 0x0200),
        "rcode": RCODES[code] if code < len(RCODES) else str(code),
        "question": question,
        "answers": out,
    }


def _name(data: bytes, offset: int) -> tuple[str, int]:
    """Name at an offset, and the offset behind it; follows compression pointers."""
    labels: list[str] = []
    after: int | None = None
    for _ in range(_MAX_HOPS + 128):
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
    """
    if type == "PTR" and address_of(name):
        name = ipaddress.ip_address(name).reverse_pointer
    begun = time.monotonic()
    ident = secrets.randbelow(65536)
    message = encode_query(name, type, ident)
    how = "tcp" if tcp else "udp"
    try:
        ask = _ask_tcp if tcp else _ask_udp
        answer = ask(message, ident, server, port, timeout)
        if answer["truncated"] and not tcp:
            answer = _ask_tcp(message, ident, server, port, timeout)
    except (OSError, ValueError) as err:
        reason = "no answer in time" if isinstance(err, TimeoutError) else err
        raise CommandFailed(f"{name} at {server}:{port}/{how}: {reason}") from err
    return {
        "rcode": answer["rcode"],
        "answers": answer["answers"],
        "values": [a["value"] for a in answer["answers"] if a["type"] == type],
        "seconds": round(time.monotonic() - begun, 4),
    }


def _ask_udp(message: bytes, ident: int, server: str, port: int, timeout: float) -> dict[str, Any]:
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
            # What is not the answer to this very question may be somebody else's: passed over.
            with contextlib.suppress(ValueError):
                answer = decode_message(data)
                if answer["ident"] == ident and answer["response"]:
                    return answer


def _ask_tcp(message: bytes, ident: int, server: str, port: int, timeout: float) -> dict[str, Any]:
    with socket.create_connection((server, port), timeout=timeout) as sock:
        sock.sendall(struct.pack("!H", len(message)) + message)
        size = struct.unpack("!H", _exactly(sock, 2))[0]
        answer = decode_message(_exactly(sock, size))
    if answer["ident"] != ident or not answer["response"]:
        raise ValueError("the answer is to another question")
    return answer


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise ValueError("the connection was closed in the middle of an answer")
        data += part
    return data


def reload(minion: Minion) -> None:
    """Have the name server read its records anew (SIGHUP); nothing where it does not run."""
    if not minion.call("service.status", "dnsmasq"):
        return
    # Not `reload`: a unit of somebody's own need not have it, Pigsty's has not.
    words = ["kill", "--kill-who=main", "--signal=SIGHUP", "dnsmasq"]
    outcome = process.run([salt.utils.path.which("systemctl") or "systemctl", *words])
    if outcome["retcode"]:
        raise CommandFailed(f"systemctl {' '.join(words)}: {outcome['stderr']}")


def wait_for(
    present: Iterable[tuple[str, str]],
    absent: Iterable[tuple[str, str]],
    server: str = "127.0.0.1",
    port: int = 53,
    seconds: float = 10.0,
) -> None:
    """Wait until the server answers, and answers as it should.

    present, absent
        Pairs of name and address that it has to give, or no longer to give.
    seconds
        How long at most.

    Raises CommandExecutionError with what it answers instead.
    """
    deadline = time.monotonic() + seconds
    wanted = [(n, a, True) for n, a in present] + [(n, a, False) for n, a in absent]
    fault = ""
    for name, address, there in wanted:
        while True:
            try:
                kind = "AAAA" if ":" in address else "A"
                answer = query(name, kind, server, port, timeout=1.0)
                if (address in answer["values"]) == there:
                    break
                fault = f"{name}: answers {answer['values'] or answer['rcode']}, expected "
                fault += address if there else f"{address} to be gone"
            except CommandExecutionError as err:
                fault = str(err)
            if time.monotonic() > deadline:
                raise CommandFailed(fault)
            time.sleep(0.02)


# -- putting records in place --------------------------------------------------------------------

_PENDING = Path("/run/infra-formula/dns-reload-pending")


def pending() -> bool:
    """Whether records were put in place that the running server was not told of (a killed run)."""
    return _PENDING.exists()


def publish(minion: Minion, plan: FilePlan, port: int) -> None:
    """Put a set of record files in place, and see the server answer by them; or put all back.

    plan
        Of a file set below :data:`ROOT`.
    port
        Port of the server; one that does not run is left alone.

    Raises CommandExecutionError where the server does not answer as it should.
    """
    touched = [*plan.create, *plan.change, *plan.remove]
    before = {rel: _pairs_of(rel) for rel in touched}
    after = {rel: pairs(plan.files[rel]["text"]) if rel in plan.files else set() for rel in touched}
    was = {p for some in before.values() for p in some}
    will = {p for some in after.values() for p in some}
    # What another registrant gives, too, stays.
    kept = {p for p in was - will if any(p in _pairs_of(r) for r in _others(touched))}
    _PENDING.parent.mkdir(parents=True, exist_ok=True)
    _PENDING.touch()
    plan.apply(reload=lambda: follow(minion, _sample(will - was), _sample(was - will - kept), port))


def follow(
    minion: Minion, present: Iterable[tuple[str, str]], absent: Iterable[tuple[str, str]], port: int
) -> None:
    """Have a running server read its records anew, and wait until it answers by them.

    present, absent
        As for :func:`wait_for`.
    port
        Its port.
    """
    if minion.call("service.status", "dnsmasq"):
        reload(minion)
        wait_for(present, absent, port=port)
    _PENDING.unlink(missing_ok=True)


def _sample(wanted: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """A few of many: the server reads all files in one go, so some stand for the rest."""
    ordered = sorted(wanted)
    return ordered[:: max(1, len(ordered) // 16)][:17]


def _others(touched: list[str]) -> list[str]:
    root = Path(ROOT)
    names = (p.name for p in root.iterdir()) if root.is_dir() else ()
    return [n for n in names if n not in touched and not n.startswith(".")]


def _pairs_of(rel: str) -> set[tuple[str, str]]:
    try:
        return pairs(Path(ROOT, rel).read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, IsADirectoryError):
        return set()
