"""Certificates of this site: its CA, made once, and what the CA signs, renewed in time.

Composes Salt's own ``x509`` states and adds what they do not say: that a CA which is there is
never touched, and what ``test=True`` means on a machine that has neither key nor CA yet.
"""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]


log = logging.getLogger(__name__)

_TOLERANCE = datetime.timedelta(days=2)


def authority(
    name: str,
    private_key: str,
    common_name: str,
    days: int,
    create: bool = True,
    certificate: str | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """A certificate authority is there; made where it is missing, never overwritten.

    name
        Absolute path of the CA certificate.
    private_key
        Absolute path of its key. A pair that is there already, whoever made it, is respected.
    common_name
        CN of a CA that is made.
    days
        Its life in days.
    create
        False: a missing CA is an error.
    certificate, key
        The pair as PEM, from pillar, put here where nothing is; where another CA is, that is an
        error. Neither is ever shown.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    have = {path: Path(path).exists() for path in (name, private_key)}
    if all(have.values()):
        fault = __salt__["infra_cert.pair_fault"](name, private_key)
        fault = fault or __salt__["infra_cert.time_fault"](name)
        if fault:
            return {**ret, "result": False, "comment": f"the CA is not usable: {fault}"}
        if certificate is not None and not _same(Path(name).read_text(), certificate):
            comment = f"{name} is another CA than ca_crt in pillar; move one of them away"
            return {**ret, "result": False, "comment": comment}
        return {**ret, "comment": "the CA is there"}
    if have[name]:
        return {**ret, "result": False, "comment": f"{name} is there, its key {private_key} is not"}
    if certificate is not None and key is not None:
        return _given(ret, {private_key: (key, "0600"), name: (certificate, "0644")})
    if not create:
        missing = ", ".join(path for path, there in have.items() if not there)
        comment = (
            f"{missing} is missing, and no CA is made here: ca_create is false, or another INFRA "
            "node is the first; give its pair in pillar as ca_crt and ca_key (docs/fleet.md)"
        )
        return {**ret, "result": False, "comment": comment}
    if __opts__["test"]:
        return {**ret, "result": None, "changes": {name: "made"}, "comment": "the CA would be made"}
    if not have[private_key]:
        made = __states__["x509.private_key_managed"](
            name=private_key, algo="rsa", keysize=4096, mode="0600", user="root", group="root"
        )
        if not made["result"]:
            return {**ret, "result": False, "comment": made["comment"]}
    made = __states__["x509.certificate_managed"](
        name=name,
        signing_private_key=private_key,
        private_key=private_key,
        CN=common_name,
        O="pigsty",
        OU="ca",
        basicConstraints="critical, CA:TRUE, pathlen:1",
        keyUsage="critical, keyCertSign, cRLSign, digitalSignature",
        subjectKeyIdentifier="hash",
        not_before=_backdated(),
        days_valid=days,
        days_remaining=0,
        mode="0644",
    )
    return {**ret, "result": made["result"], "changes": {name: "made"}, "comment": made["comment"]}


def _given(ret: dict[str, Any], pair: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Put a CA in place that pillar gives, if it is one."""
    name = ret["name"]
    fault = __salt__["infra_cert.text_fault"](*(text for text, _mode in reversed(pair.values())))
    if fault:
        return {**ret, "result": False, "comment": f"the pair in pillar is not usable: {fault}"}
    ret["changes"] = {name: "put here, as pillar gives it"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "the CA of pillar would be put here"}
    for path, (text, mode) in pair.items():
        made = __states__["file.managed"](
            name=path, contents=text, mode=mode, user="root", group="root", show_changes=False
        )
        if made["result"] is False:
            return {**ret, "changes": {}, "result": False, "comment": f"{path} cannot be written"}
    return {**ret, "comment": "the CA of pillar was put here"}


def _backdated() -> str:
    """From when on what is issued now is valid: some clocks are behind, this one may be ahead."""
    begin = datetime.datetime.now(datetime.timezone.utc) - _TOLERANCE
    return begin.strftime("%Y-%m-%d %H:%M:%S")


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()


def managed(
    name: str,
    private_key: str,
    signing_cert: str,
    signing_private_key: str,
    common_name: str,
    names: list[str],
    addresses: list[str],
    days: int,
    renew_days: int,
    organizational_unit: str = "infra",
    group: str = "root",
) -> dict[str, Any]:
    """A certificate signed by the site's CA is there, with just these names, and not about to end.

    name, private_key
        Absolute paths of the certificate (mode 0644) and its key (mode 0640).
    signing_cert, signing_private_key
        The CA.
    common_name, organizational_unit
        CN and OU of the subject.
    names, addresses
        DNS names and IP addresses it is for.
    days
        Its life in days.
    renew_days
        It is issued anew when fewer days are left.
    group
        Group that may read the key.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    missing = [p for p in (name, private_key, signing_cert) if not Path(p).exists()]
    if __opts__["test"] and missing:
        comment = f"would be issued for {', '.join(names)}"
        return {**ret, "result": None, "changes": {name: "issued"}, "comment": comment}
    fault = __salt__["infra_cert.leaf_fault"](
        name, private_key, signing_cert, names, addresses, renew_days
    )
    if fault is None:
        return _closed(ret, private_key, group)
    try:
        key = __states__["x509.private_key_managed"](
            name=private_key,
            algo="rsa",
            keysize=2048,
            mode="0640",
            user="root",
            group=group,
            overwrite=True,  # what is no key any more, is one again
        )
        if key["result"] is False:
            return {**ret, "result": False, "comment": key["comment"]}
        cert = __states__["x509.certificate_managed"](
            name=name,
            private_key=private_key,
            signing_cert=signing_cert,
            signing_private_key=signing_private_key,
            CN=common_name,
            O="pigsty",
            OU=organizational_unit,
            subjectAltName=[f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses],
            basicConstraints="critical, CA:FALSE",
            keyUsage="critical, digitalSignature, keyEncipherment",
            extendedKeyUsage="serverAuth",
            subjectKeyIdentifier="hash",
            authorityKeyIdentifier="keyid:always",
            not_before=_backdated(),
            days_valid=days,
            days_remaining=renew_days,
            mode="0644",
            user="root",
            group=group,
        )
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    log.info("%s is issued anew: %s", name, fault)
    changes = {private_key: "made"} if key["changes"] else {}
    if cert["changes"]:
        changes[name] = cert["changes"]
    result = cert["result"] if key["result"] else key["result"]
    return {**ret, "result": result, "changes": changes, "comment": cert["comment"]}


def _closed(ret: dict[str, Any], private_key: str, group: str) -> dict[str, Any]:
    """The result for a good certificate: all that is left to see to is who may read its key."""
    mode = __states__["file.managed"](
        name=private_key, replace=False, mode="0640", user="root", group=group
    )
    if mode["changes"] or not mode["result"]:
        return {**ret, **{k: mode[k] for k in ("result", "changes", "comment")}}
    return {**ret, "comment": "the certificate is as it should be"}
