"""Certificates of this site: what is in them, whether they fit, and who uses which.

Issues by hand, renews what this machine's CA signed, and lists all there are. How something is
signed, and what is written down of it, is in the module ``infra_cert_sign``.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.minion import Minion
from infra_formula.pki import authority, ca_backup, certbot

__func_alias__ = {"list_": "list"}

CA = "/etc/pki/ca.crt"
MISC = Path("/etc/pki/misc")
"""Where certificates lie that were issued by hand."""

NGINX = Path("/etc/nginx")
METRICS = Path("/var/lib/infra/textfile/infra_certs.prom")
"""What the node exporter tells of our certificates; an alert comes of one that is not renewed."""

_USAGES = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
           "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}  # fmt: skip


# -- what certificates say -----------------------------------------------------------------------


def describe(path: str) -> dict[str, Any]:
    """What a PEM certificate says of itself (the first of a chain).

    path
        Absolute path of the file.

    Returns ``subject``, ``issuer`` (RFC 4514), ``names`` (DNS), ``addresses``, ``not_after`` (ISO
    8601, UTC), ``days`` (its whole life) and ``days_left`` (floats, days), and ``usages``, those
    of serverAuth and clientAuth that it is for (empty: any).

    Raises ValueError for a file that is no certificate, OSError for one that cannot be read.
    """
    cert = _load(path)
    try:
        san = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = san.get_values_for_type(x509.DNSName)
        addresses = [str(a) for a in san.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        names, addresses = [], []
    try:
        usage = list(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usage = []
    life = cert.not_valid_after_utc - cert.not_valid_before_utc
    left = cert.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
    return {
        "subject": cert.subject.rfc4514_string(),
        "issuer": cert.issuer.rfc4514_string(),
        "names": names,
        "addresses": addresses,
        "not_after": cert.not_valid_after_utc.isoformat(),
        "days": round(life.total_seconds() / 86400, 2),
        "days_left": round(left.total_seconds() / 86400, 2),
        "usages": [word for word, oid in _USAGES.items() if oid in usage],
    }


def pair_fault(cert: str, key: str) -> str | None:
    """Why a certificate and a private key cannot be served together; None where they can.

    cert, key
        Absolute paths of PEM files.

    The answer begins with ``cert`` or ``key``, the attribute that is at fault.
    """
    for attribute, path in (("cert", cert), ("key", key)):
        if not Path(path).is_file():
            return f"{attribute}: expected a file, there is none at {path}"
    try:
        public = _load(cert).public_key()
    except ValueError:
        return f"cert: expected a PEM certificate in {cert}"
    try:
        private = _private_key(key)
    except TypeError:
        return f"key: expected a private key without a passphrase in {key}"
    except ValueError:
        return f"key: expected a PEM private key in {key}"
    if _spki(public) != _spki(private.public_key()):
        return f"key: expected the private key of {cert}, {key} is another's"
    return None


def bundled(path: str, bundle: str) -> bool:
    """Whether a certificate (the first of a file) is in a bundle of them.

    path, bundle
        Absolute paths of PEM files.

    Raises CommandExecutionError for a file that is no certificate.
    """
    try:
        wanted = _load(path).public_bytes(serialization.Encoding.PEM)
    except ValueError:
        raise CommandFailed(f"{path}: expected a PEM certificate") from None
    try:
        there = Path(bundle).read_bytes()
    except FileNotFoundError:
        return False
    return b"".join(wanted.split()) in b"".join(there.split())


def time_fault(path: str) -> str | None:
    """Why a certificate is not valid now, by this machine's clock; None where it is.

    path
        Absolute path of the file.
    """
    cert, now = _load(path), datetime.datetime.now(datetime.timezone.utc)
    clock = f"the clock says {now:%Y-%m-%d %H:%M} UTC"
    if now < cert.not_valid_before_utc:
        return f"{path} is valid only from {cert.not_valid_before_utc.isoformat()}; {clock}"
    if now > cert.not_valid_after_utc:
        return f"{path} ended at {cert.not_valid_after_utc.isoformat()}; {clock}"
    return None


def text_fault(cert: str, key: str) -> str | None:
    """:func:`pair_fault` of PEM texts, as pillar gives them (``ca_crt``, ``ca_key``)."""
    try:
        public = x509.load_pem_x509_certificate(cert.encode()).public_key()
    except ValueError:
        return "ca_crt: expected a PEM certificate"
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (TypeError, ValueError):
        return "ca_key: expected a PEM private key without a passphrase"
    if _spki(public) != _spki(private.public_key()):
        return "ca_key: expected the private key of ca_crt, this is another's"
    return None


def leaf_fault(name: str, spec: dict[str, Any]) -> str | None:
    """Why a certificate has to be issued anew; None where it is as it should be.

    name
        Absolute path of the certificate.
    spec
        Its specification (see the module infra_cert_sign).
    """
    fault = pair_fault(name, spec["private_key"])
    if fault:
        return fault
    told = describe(name)
    wanted = (sorted(spec["names"]), sorted(spec["addresses"]))
    if (sorted(told["names"]), sorted(told["addresses"])) != wanted:
        return "its names changed"
    if told["usages"] and not set(spec["usages"]) <= set(told["usages"]):
        return f"it is not for {' and '.join(spec['usages'])}"
    if told["days_left"] < spec["renew_days"]:
        return f"it ends in {told['days_left']} days"
    early = time_fault(name)
    if early:
        return early
    try:
        _load(name).verify_directly_issued_by(_load(spec["signing_cert"]))
    except (ValueError, TypeError, InvalidSignature, OSError):
        return f"it is not of the CA {spec['signing_cert']}"
    return None


# -- what the CA of this site signs --------------------------------------------------------------


def issue(
    minion: Minion,
    cn: str,
    san: str | list[str] = "DNS:localhost,IP:127.0.0.1",
    org: str = "pigsty",
    unit: str = "pigsty",
    expire: str = "7300d",
    crt: str = "",
    key: str = "",
) -> dict[str, Any]:
    """Issue a certificate by hand, for a server or a client that this formula does not manage.

    cn
        Its common name; for the login to a database, the name of the role.
    san
        DNS names and IP addresses it is for: a list, or separated by commas; ``DNS:`` and ``IP:``
        may stand before each.
    org, unit
        O and OU of its subject.
    expire
        Its life, like ``7300d``.
    crt, key
        Where to put it and its key, absolute paths; ``/etc/pki/misc/<cn>.crt`` and ``.key`` if not
        given. Both get the mode 0600. A key that is there is used again.

    Returns what :func:`describe` tells of it, and ``crt`` and ``key``.

    Raises SaltInvocationError for arguments that cannot be, and where a certificate of another CA
    lies there; CommandExecutionError where the CA is missing.
    """
    crt, key = crt or str(MISC / f"{cn}.crt"), key or str(MISC / f"{cn}.key")
    spec = authority.specification(
        {"cn": cn, "san": san, "org": org, "unit": unit, "expire": expire, "key": key},
        purpose="issued by hand",
    )
    for argument, path in (("crt", crt), ("key", key)):
        if not os.path.isabs(path) or ".." in Path(path).parts:
            raise InvalidInput(f"{argument}: expected an absolute path, got {path!r}")
    if Path(crt).exists() and _of_others(crt, spec["signing_cert"]):
        raise InvalidInput(f"{crt}: a certificate of another CA lies there; move it away")
    authority.make(minion, crt, spec)
    authority.remember(crt, spec)
    publish()
    return {**describe(crt), "crt": crt, "key": key}


def _of_others(crt: str, ca: str) -> bool:
    try:
        _load(crt).verify_directly_issued_by(_load(ca))
    except (ValueError, TypeError, InvalidSignature):
        return True
    except OSError:
        return False  # there is no CA: signing says so
    return False


def renew(minion: Minion, name: str = "", force: bool = False) -> dict[str, str]:
    """Renew what this machine's CA signed and is about to end; have it served.

    name
        Path of one certificate; all of them without it.
    force
        Renew it though it is good for longer.

    Returns path → what was done, or how long it is good for. A certificate that was removed is
    forgotten. Needs no pillar and no master; the timer ``infra-cert-renew`` runs it every day.

    Raises SaltInvocationError for a certificate that is not known, CommandExecutionError with every
    failure; what could be renewed then is.
    """
    known = authority.remembered()
    if name and name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise InvalidInput(f"{name}: expected a certificate of ours; there are: {listed}")
    told, failed, reloads = {}, [], set()
    for path, spec in sorted(known.items()):
        if name not in ("", path):
            continue
        if not Path(path).exists() and not Path(spec["private_key"]).exists():
            told[path] = "is gone, and forgotten"
            authority.forget(path)
            continue
        fault = "asked for" if force else leaf_fault(path, spec)
        if fault is None:
            told[path] = f"good for {describe(path)['days_left']} days"
            continue
        try:
            authority.make(minion, path, spec)
        except CommandExecutionError as err:
            failed.append(str(err))
            continue
        told[path] = f"renewed: {fault}"
        if spec["reload"]:
            reloads.add(spec["reload"])
    publish()
    for service in sorted(reloads):
        fault = _reload(minion, service)
        if fault:
            failed.append(fault)
    if failed:
        raise CommandFailed("; ".join(failed))
    return told


def publish() -> None:
    """Write down, as metrics, when each certificate of ours should have been renewed."""
    due = {}
    for path, spec in authority.remembered().items():
        if Path(path).exists():
            due[path] = _end(path) - spec["renew_days"] * 86400
    atomic.write(str(METRICS), metrics(due), 0o644)


def metrics(due: dict[str, float]) -> str:
    """The text that the node exporter reads; pure.

    due
        Path of a certificate → Unix time from which it should be renewed.
    """
    name = "infra_certificate_renewal_seconds"
    lines = [
        f"# HELP {name} Unix time from which a certificate of the site's CA should be renewed.",
        f"# TYPE {name} gauge",
    ]
    for path, moment in sorted(due.items()):
        quoted = path.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{name}{{path="{quoted}"}} {moment:.0f}')
    return "\n".join(lines) + "\n"


def _end(path: str) -> float:
    return datetime.datetime.fromisoformat(describe(path)["not_after"]).timestamp()


def _reload(minion: Minion, service: str) -> str:
    """Have a running service take up new certificates; what went wrong, empty for nothing."""
    if not minion.call("service.status", service):
        return ""
    if service == "nginx":
        tested = process.run(["nginx", "-t", "-q"])
        if tested["retcode"]:
            return f"nginx is not reloaded, it refuses its configuration: {tested['stderr']}"
    if not minion.call("service.reload", service):
        return f"systemctl reload {service} failed; see journalctl -u {service}"
    return ""


def backup(path: str, passphrase_file: str) -> list[str]:
    """Write the CA, and what was issued by hand, into one encrypted file.

    path
        The file; a new one, absolute. It gets the mode 0600.
    passphrase_file
        File with the passphrase, for root alone (0600); gpg reads it.

    Returns the paths of what is in it. The file was read back to see that it is whole.

    Raises SaltInvocationError for arguments that cannot be, CommandExecutionError where there is no
    CA or gpg fails.
    """
    packed: list[str] = ca_backup.write(path, passphrase_file)
    return packed


def restore(path: str, passphrase_file: str, force: bool = False) -> dict[str, str]:
    """Put back what :func:`backup` wrote. Apply the formula afterwards.

    path, passphrase_file
        As for :func:`backup`.
    force
        Where other files lie in the way, move them aside; without it, that is an error.

    Returns path → ``restored``, ``as it was``, or where what lay there went.

    Raises CommandExecutionError for a wrong passphrase, for a file that was changed or is no
    backup, and for other files in the way; nothing is changed then.
    """
    done: dict[str, str] = ca_backup.restore(path, passphrase_file, force)
    return done


# -- all of them ---------------------------------------------------------------------------------


def list_() -> dict[str, dict[str, Any]]:
    """Every certificate that matters here: the CA, what it signed, public ones, and your own.

    Returns path → ``kind`` (``ca``, ``issued``, ``public``, ``own``), ``names`` (and addresses),
    ``issuer``, ``not_after``, ``days_left``, ``used_by`` (words) and ``renewed_by``; or ``fault``.
    """
    served = served_by_nginx(NGINX)
    found: dict[str, dict[str, Any]] = {}
    if Path(CA).exists():
        signs = {"used_by": ["what it signed"], "renewed_by": "nobody"}
        found[CA] = {"kind": "ca", **signs, **_told(CA)}
    for path, spec in sorted(authority.remembered().items()):
        if Path(path).exists():
            users = [spec["purpose"], *_users(served, path)]
            found[path] = {"kind": "issued", "used_by": users,
                           "renewed_by": "infra-cert-renew.timer", **_told(path)}  # fmt: skip
    for have in certbot.certificates().values():
        path = have["cert"]
        found[path] = {"kind": "public", "used_by": _users(served, path), "renewed_by": "certbot",
                       **_told(path)}  # fmt: skip
    known = {os.path.realpath(path) for path in found}
    for path in sorted(served):
        if path not in known:
            found[path] = {"kind": "own", "used_by": _users(served, path), "renewed_by": "you",
                           **_told(path)}  # fmt: skip
    return found


def served_by_nginx(root: Path) -> dict[str, list[str]]:
    """Certificates that nginx's configuration names: real path → names of its files.

    root
        nginx's own directory, ``/etc/nginx``.
    """
    found: dict[str, list[str]] = {}
    for conf in sorted((root / "conf.d").glob("*.conf")):
        text = conf.read_text(encoding="utf-8", errors="replace")
        for named in re.findall(r"^\s*ssl_certificate\s+([^;\s]+)\s*;", text, re.MULTILINE):
            users = found.setdefault(os.path.realpath(root / named), [])
            if conf.stem not in users:
                users.append(conf.stem)
    return found


def _users(served: dict[str, list[str]], path: str) -> list[str]:
    return [f"nginx: {key}" for key in served.get(os.path.realpath(path), [])]


def _told(path: str) -> dict[str, Any]:
    try:
        told = describe(path)
    except (OSError, ValueError) as err:
        return {"fault": str(err)}
    return {
        "names": [*told["names"], *told["addresses"]],
        "issuer": told["issuer"],
        "not_after": told["not_after"],
        "days_left": told["days_left"],
    }


# -- reading -------------------------------------------------------------------------------------


def _private_key(path: str) -> Any:
    # Checking that a key's primes are primes takes 0.2 s, and whoever writes keys here is root.
    return serialization.load_pem_private_key(
        Path(path).read_bytes(), password=None, unsafe_skip_rsa_key_validation=True
    )


def _load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def _spki(public: Any) -> bytes:
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
