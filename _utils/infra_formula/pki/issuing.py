"""Certificates that this site's CA issues: by hand, renewed in time, and reported as metrics."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from salt.exceptions import CommandExecutionError

from infra_formula import paths, process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.minion import Minion
from infra_formula.pki import authority, certificates


def issue(
    cn: str,
    san: str | list[str] = "DNS:localhost,IP:127.0.0.1",
    org: str = "pigsty",
    unit: str = "pigsty",
    expire: str = "7300d",
    crt: str = "",
    key: str = "",
) -> dict[str, Any]:
    """Issue a certificate by hand, for a server or a client that this formula does not manage.

    See ``infra_cert.issue``.
    """
    crt, key = (
        crt or str(paths.PKI / "misc" / f"{cn}.crt"),
        key or str(paths.PKI / "misc" / f"{cn}.key"),
    )
    spec = authority.specification(
        {"cn": cn, "san": san, "org": org, "unit": unit, "expire": expire, "key": key},
        purpose="issued by hand",
    )
    for argument, path in (("crt", crt), ("key", key)):
        if not os.path.isabs(path) or ".." in Path(path).parts:
            raise InvalidInput(f"{argument}: expected an absolute path, got {path!r}")
    if Path(crt).exists() and _is_from_other_ca(crt, spec["signing_cert"]):
        raise InvalidInput(f"{crt}: a certificate of another CA lies there; move it away")
    authority.issue(crt, spec)
    authority.record(crt, spec)
    publish_metrics()
    return {**certificates.describe(crt), "crt": crt, "key": key}


def _is_from_other_ca(crt: str, ca: str) -> bool:
    try:
        certificates.verify_issued_by(certificates.load(crt), certificates.load(ca))
    except (ValueError, TypeError, InvalidSignature):
        return True
    except OSError:
        return False  # there is no CA: signing says so
    return False


def renew(minion: Minion, name: str = "", force: bool = False) -> dict[str, str]:
    """Renew what this machine's CA signed and is about to end; have it served.

    See ``infra_cert.renew``.
    """
    known = authority.recorded()
    if name and name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise InvalidInput(
            f"{name}: expected a certificate that this CA issued; there are: {listed}"
        )
    outcomes, failed, reloads = {}, [], set()
    for path, spec in sorted(known.items()):
        if name not in ("", path):
            continue
        if not Path(path).exists() and not Path(spec["private_key"]).exists():
            outcomes[path] = "removed; no longer recorded"
            authority.forget(path)
            continue
        fault = "force is set" if force else certificates.leaf_fault(path, spec)
        if fault is None:
            outcomes[path] = f"good for {certificates.describe(path)['days_left']} days"
            continue
        try:
            authority.issue(path, spec)
        except CommandExecutionError as err:
            failed.append(str(err))
            continue
        outcomes[path] = f"renewed: {fault}"
        if spec["reload"]:
            reloads.add(spec["reload"])
    publish_metrics()
    for service in sorted(reloads):
        fault = _reload(minion, service)
        if fault:
            failed.append(fault)
    if failed:
        raise CommandFailed("; ".join(failed))
    return outcomes


def publish_metrics() -> None:
    """Write the time by which each issued certificate should be renewed, as metrics."""
    due = {}
    for path, spec in authority.recorded().items():
        if Path(path).exists():
            due[path] = _end_time(path) - spec["renew_days"] * 86400
    ca = str(paths.ca_certificate())
    if Path(ca).exists() and Path(paths.ca_key()).exists():
        due[ca] = _ca_renewal_time(ca)
    atomic.write(metrics_path(), metrics(due), 0o644)


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


def _ca_renewal_time(ca: str) -> float:
    """When somebody should renew the CA: a year before its end, or a tenth of its life."""
    life = float(certificates.describe(ca)["days"])
    return _end_time(ca) - min(365.0, life / 10) * 86400


def _end_time(path: str) -> float:
    return datetime.datetime.fromisoformat(certificates.describe(path)["not_after"]).timestamp()


def _reload(minion: Minion, service: str) -> str:
    """Have a running service take up new certificates; what went wrong, empty for nothing."""
    if not minion.call("service.status", service):
        return ""
    if service == "nginx":
        tested = process.run(["nginx", "-t", "-q"], umask=0o027)  # it may create logs
        if tested["retcode"]:
            return f"nginx is not reloaded, it refuses its configuration: {tested['stderr']}"
    if not minion.call("service.reload", service):
        return f"systemctl reload {service} failed; see journalctl -u {service}"
    return ""


def metrics_path() -> Path:
    """What the node exporter reads; an alert fires for a certificate that is not renewed."""
    return paths.STATE_DIR / "textfile" / "infra_certs.prom"
