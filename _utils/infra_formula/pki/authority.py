"""Certificates that the CA of this site signs: how, where to, and what is written down of it.

What this machine's CA signed stands in ``/var/lib/infra/certs.json``, with all that it takes to
sign it again. So ``infra_cert.renew`` needs neither a pillar nor a master.

A certificate that the CA issues has a *specification*, a mapping:

``private_key``, ``signing_cert``, ``signing_private_key``
    absolute paths.
``common_name``, ``organization``, ``unit``
    CN, O and OU of its subject.
``names``, ``addresses``
    DNS names and IP addresses that it is for.
``usages``
    what it may be used for: ``serverAuth``, ``clientAuth``.
``days``, ``renew_days``
    its life, and how many days before its end it is issued anew.
``group``, ``cert_mode``, ``key_mode``
    group that it belongs to, modes as octal strings.
``reload``
    service that has to take a new one up, empty for none.
``purpose``
    what it is for, in words.
"""

from __future__ import annotations

import datetime
import grp
import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Any

from cryptography import x509
from salt.exceptions import CommandExecutionError, SaltInvocationError

from infra_formula import paths, redaction
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.parameters import schema
from infra_formula.pki import certificates as pki_certificates
from infra_formula.pki import signing

log = redaction.logger(__name__)
_RENEW_DAYS = 30
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._-]{0,250}[A-Za-z0-9])?")


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with ``certs`` of a pillar beyond the type of each value.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    expected = expected_fingerprints(parameters.get("ca_fingerprint"))
    for name, request in (parameters.get("certs") or {}).items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            errors.append(
                f"certs[{name!r}]: expected a name of letters, digits, dots, hyphens and "
                "underscores as key"
            )
            continue
        try:
            specification({**with_defaults(name, request), "key": ""}, "")
        except SaltInvocationError as err:
            errors.append(f"certs.{name}.{err}")
    ca_name = parameters.get("ca_cn")
    if isinstance(ca_name, str) and len(ca_name) > 64:  # RFC 5280, ub-common-name
        errors.append(f"ca_cn: expected a name of up to 64 characters, got {schema.show(ca_name)}")
    errors += [
        f"ca_name_constraints[{index}]: expected a domain or a network, got {schema.show(text)}"
        for index, text in enumerate(parameters.get("ca_name_constraints") or [])
        if not _is_network(text) and schema.domain_problem(text.removeprefix("."))
    ]
    pem = parameters.get("ca_crt")
    if pem and pki_certificates.fingerprint(pem) not in ("", *expected) and expected:
        errors.append("ca_fingerprint: expected the fingerprint of ca_crt, got that of another CA")
    return errors


def expected_fingerprints(value: str | list[str] | None) -> list[str]:
    """The parameter ``ca_fingerprint`` as a list of small digits.

    value
        One SHA-256 fingerprint, or several.

    Raises InvalidInput for what is not one.
    """
    texts = [value] if isinstance(value, str) else value or []
    prints = [schema.digest(text) for text in texts]
    if not all(prints):
        raise InvalidInput(
            "ca_fingerprint: expected SHA-256 fingerprints of 64 hexadecimal digits, got"
            f" {schema.show(value)}"
        )
    return prints


def with_defaults(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """An element of ``certs`` with what it does not say; pure."""
    least = {"cn": name, "san": ["localhost", "127.0.0.1"], "org": "pigsty", "unit": "pigsty"}
    return {**least, "expire": "7300d", **given}


def specification(given: dict[str, Any], purpose: str) -> dict[str, Any]:
    """Specification of a certificate from what an operator or a pillar says of it; pure.

    given
        ``cn``, ``san``, ``org``, ``unit``, ``expire`` and ``key`` as for ``infra_cert.issue``, and
        further ``group`` (may read it; then the modes are 0644 and 0640) and ``reload``.
    purpose
        What it is for, in words.

    Raises SaltInvocationError naming the argument that is wrong.
    """
    if not re.fullmatch(r"[A-Za-z0-9_*@][A-Za-z0-9 ._*@-]{0,63}", str(given["cn"])):
        raise InvalidInput(f"cn: expected a name of up to 64 letters, got {given['cn']!r}")
    if not re.fullmatch(r"[1-9][0-9]{0,4}d", str(given["expire"])):
        raise InvalidInput(f"expire: expected days, like 7300d, got {given['expire']!r}")
    names, addresses = alternative_names(given["san"])
    days = int(given["expire"].removesuffix("d"))
    shared = bool(given.get("group"))
    return {
        "private_key": given["key"],
        "signing_cert": str(paths.ca_certificate()),
        "signing_private_key": str(paths.ca_key()),
        "common_name": given["cn"],
        "organization": given["org"],
        "unit": given["unit"],
        "names": names,
        "addresses": addresses,
        "usages": ["serverAuth", "clientAuth"],
        "days": days,
        "renew_days": min(_RENEW_DAYS, days // 3),
        "group": given.get("group") or "root",
        "cert_mode": "0644" if shared else "0600",
        "key_mode": "0640" if shared else "0600",
        "reload": given.get("reload", ""),
        "purpose": purpose,
    }


def alternative_names(san: str | list[str]) -> tuple[list[str], list[str]]:
    """DNS names and IP addresses of a list of both; pure.

    san
        A list, or separated by commas; ``DNS:`` and ``IP:`` may stand before each.

    Raises SaltInvocationError for what is neither.
    """
    names: list[str] = []
    addresses: list[str] = []
    for word in san.split(",") if isinstance(san, str) else san:
        text = str(word).strip()
        kind, colon, rest = text.partition(":")
        prefixed = colon and kind in ("DNS", "IP")
        kind, value = (kind, rest.strip()) if prefixed else ("", text)
        if kind != "DNS" and _is_address(value):
            addresses.append(str(ipaddress.ip_address(value)))
        elif kind != "IP" and _NAME.fullmatch(value):
            names.append(value)
        else:
            raise InvalidInput(f"san: expected a DNS name or an IP address, got {word!r}")
    return list(dict.fromkeys(names)), list(dict.fromkeys(addresses))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def issue(name: str, spec: dict[str, Any]) -> list[str]:
    """Sign a certificate, with a new key where there is none that can be used, and put it in place.

    name, spec
        Absolute path of the certificate, and its specification.

    Returns the paths that were written. Each is replaced in one step, the key first.

    Raises CommandExecutionError where the CA or the group is missing, or nothing can be written.
    """
    for path in (spec["signing_cert"], spec["signing_private_key"]):
        if not Path(path).is_file():
            raise CommandFailed(f"{name} cannot be signed: there is no {path}")
    fault = pki_certificates.time_fault(spec["signing_cert"]) or (
        pki_certificates.constraint_fault(spec["signing_cert"], spec)
    )
    if fault:
        raise CommandFailed(f"{name} cannot be signed: {fault}")
    key, written = spec["private_key"], []
    try:
        for folder in (Path(key).parent, Path(name).parent):
            if not folder.exists():
                folder.mkdir(parents=True, mode=0o755)
        if not _is_usable(key):
            write_file(key, signing.new_key(2048), spec["key_mode"], spec["group"])
            written.append(key)
        write_file(name, signing.leaf(spec, key, _days(spec)), spec["cert_mode"], spec["group"])
    except OSError as err:
        raise CommandFailed(f"{name} cannot be written: {err}") from err
    return [*written, name]


def create_ca(
    name: str,
    private_key: str,
    common_name: str,
    days: int,
    name_constraints: list[str] | None = None,
) -> None:
    """Create a CA; a key that exists is used.

    name, private_key
        Absolute paths of its certificate and key.
    common_name
        CN of its subject.
    days
        Its life.
    name_constraints
        Domains and networks for which alone its certificates are valid; none for any.
    """
    if not Path(private_key).exists():
        write_file(private_key, signing.new_key(4096), "0600")
    subject = {"common_name": common_name, "organization": "pigsty", "unit": "ca"}
    limits = permitted_names(name_constraints) if name_constraints else None
    write_file(name, signing.ca(private_key, subject, days, limits), "0644")


def permitted_names(name_constraints: list[str]) -> list[x509.GeneralName]:
    """Name constraints as X.509 has them, with this machine's own loopback names; pure.

    name_constraints
        Domains, each with its sub-domains, and networks.
    """
    networks = [text for text in name_constraints if _is_network(text)]
    domains = [text.removeprefix("*.").removeprefix(".") for text in name_constraints
               if not _is_network(text)]  # fmt: skip
    domains += ["localhost"] if domains else []
    networks += ["127.0.0.0/8", "::1/128"] if networks else []
    names: list[x509.GeneralName] = [x509.DNSName(domain) for domain in domains]
    names += [x509.IPAddress(ipaddress.ip_network(network)) for network in networks]
    return list(dict.fromkeys(names))


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def renew_ca(days: int) -> dict[str, Any]:
    """Renew the CA with the same key and name; see ``infra_cert.renew_ca``."""
    name, key = str(paths.ca_certificate()), str(paths.ca_key())
    for path in (name, key):
        if not Path(path).is_file():
            raise CommandFailed(f"The CA cannot be renewed: there is no {path}")
    fault = pki_certificates.pair_fault(name, key)
    if fault:
        raise CommandFailed(f"The CA cannot be renewed: {fault}")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 36500:
        raise InvalidInput(f"days: expected 1 to 36500, got {days!r}")
    before = Path(name).read_text(encoding="utf-8")
    text = signing.renewed_ca(name, key, days)
    stamp = datetime.datetime.now().strftime("%Y%m%dT%H%M%S")
    aside = f"{name}.before-{stamp}"
    write_file(aside, before, "0644")
    write_file(name, text, "0644")
    return {**pki_certificates.describe(name), "fingerprint": pki_certificates.fingerprint(text),
            "before": aside}  # fmt: skip


def _days(spec: dict[str, Any]) -> int:
    """Life of a certificate in days: nothing is valid longer than the CA."""
    return max(1, min(int(spec["days"]), pki_certificates.whole_days_left(spec["signing_cert"])))


def _is_usable(key: str) -> bool:
    try:
        pki_certificates.load_key(Path(key).read_bytes())
    except (OSError, TypeError, ValueError):
        return False
    return True


def write_file(path: str, text: str, mode: str, group: str = "root") -> None:
    """Write a file in one step: it is never seen in part, or with other permissions."""
    target = Path(path)
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        raise CommandFailed(f"{path}: there is no group {group}") from None
    # One name for it, so that what a killed run left is overwritten and does not pile up.
    beside = target.with_name(f".{target.name}.infra-new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.write(text if text.endswith("\n") else f"{text}\n")
            stream.flush()
            os.fchown(stream.fileno(), 0, gid)
            os.fchmod(stream.fileno(), int(mode, 8))
            os.fsync(stream.fileno())
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def record(name: str, spec: dict[str, Any]) -> None:
    """Write down what it takes to renew a certificate.

    A corrupt record is moved aside; the states of the certificates fill a new one.
    """
    try:
        known = recorded()
    except CommandExecutionError as err:
        log.warning("%s", err)
        record_path().replace(record_path().with_suffix(".damaged"))
        known = {}
    if known.get(name) != spec:
        _write_record({**known, name: spec})


def forget(name: str) -> None:
    """Strike a certificate off the record, so that it is renewed no more."""
    _write_record({path: spec for path, spec in recorded().items() if path != name})


def recorded() -> dict[str, dict[str, Any]]:
    """Certificates that this machine's CA signed, and how: path → specification.

    Raises CommandExecutionError for a record that cannot be read.
    """
    try:
        return dict(json.loads(record_path().read_text(encoding="utf-8"))["certificates"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as err:
        raise CommandFailed(
            f"{record_path()} is damaged ({err}); apply infra.ca to have it written anew"
        ) from err


def _write_record(certificates: dict[str, dict[str, Any]]) -> None:
    data = {"version": 1, "certificates": certificates}
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    atomic.write(str(record_path()), text, 0o644)


def record_path() -> Path:
    """Where the certificates that were issued are recorded."""
    return paths.STATE_DIR / "certs.json"
