"""Every certificate of this machine, and what uses it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from infra_formula import paths
from infra_formula.pki import authority, certbot, certificates


def list_certificates() -> dict[str, dict[str, Any]]:
    """Every certificate that matters here: the CA, what it signed, public ones, and your own.

    See ``infra_cert.list``.
    """
    served = served_by_nginx(paths.NGINX)
    rows: dict[str, dict[str, Any]] = {}
    ca = str(paths.ca_certificate())
    if Path(ca).exists():
        signs = {"used_by": ["what it signed"], "renewed_by": "nobody"}
        rows[ca] = {"kind": "ca", **signs, **_summary(ca)}
    for path, spec in sorted(authority.recorded().items()):
        if Path(path).exists():
            users = [spec["purpose"], *_users(served, path)]
            rows[path] = {"kind": "issued", "used_by": users,
                           "renewed_by": "infra-cert-renew.timer", **_summary(path)}  # fmt: skip
    for have in certbot.certificates().values():
        path = have["cert"]
        rows[path] = {"kind": "public", "used_by": _users(served, path), "renewed_by": "certbot",
                       **_summary(path)}  # fmt: skip
    known = {os.path.realpath(path) for path in rows}
    for path in sorted(served):
        if path not in known:
            rows[path] = {"kind": "own", "used_by": _users(served, path), "renewed_by": "you",
                           **_summary(path)}  # fmt: skip
    return rows


def served_by_nginx(root: Path) -> dict[str, list[str]]:
    """Certificates that nginx's configuration names: real path → names of its files.

    root
        nginx's own directory, ``/etc/nginx``.
    """
    names: dict[str, list[str]] = {}
    for conf in sorted((root / "conf.d").glob("*.conf")):
        text = conf.read_text(encoding="utf-8", errors="replace")
        for named in re.findall(r"^\s*ssl_certificate\s+([^;\s]+)\s*;", text, re.MULTILINE):
            users = names.setdefault(os.path.realpath(root / named), [])
            if conf.stem not in users:
                users.append(conf.stem)
    return names


def _users(served: dict[str, list[str]], path: str) -> list[str]:
    return [f"nginx: {key}" for key in served.get(os.path.realpath(path), [])]


def _summary(path: str) -> dict[str, Any]:
    try:
        description = certificates.describe(path)
    except (OSError, ValueError) as err:
        return {"fault": str(err)}
    return {
        "names": [*description["names"], *description["addresses"]],
        "issuer": description["issuer"],
        "not_after": description["not_after"],
        "days_left": description["days_left"],
    }
