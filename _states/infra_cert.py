"""Certificates of this site: its CA, made once, and what the CA signs, renewed in time.

Signing is Salt's own ``x509``'s. What this adds: that a CA which is there is never touched, what
``test=True`` means on a machine that has neither key nor CA yet, and that what was signed is
written down, so that it is renewed without a master too (see the module infra_cert_sign).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.utils.path
from infra_formula import process
from infra_formula.fileset import root_only
from infra_formula.minion import Minion
from infra_formula.pki import authority as pki_authority
from infra_formula.pki import certificates, issuing
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


log = logging.getLogger(__name__)


def authority(
    name: str,
    private_key: str,
    common_name: str,
    days: int,
    create: bool = True,
    certificate: str | None = None,
    key: str | None = None,
    source: str = "",
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
    source
        Directory of this machine with ``ca.crt`` and ``ca.key``, which is asked where pillar gives
        no pair and the key is missing here. That is how Pigsty keeps a CA on its controller.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    have = {path: Path(path).exists() for path in (name, private_key)}
    if all(have.values()):
        fault = certificates.pair_fault(name, private_key)
        fault = fault or certificates.time_fault(name)
        if fault:
            return {**ret, "result": False, "comment": f"the CA is not usable: {fault}"}
        if certificate is not None and not _same(Path(name).read_text(), certificate):
            comment = f"{name} is another CA than ca_crt in pillar; move one of them away"
            return {**ret, "result": False, "comment": comment}
        return {**ret, "comment": "the CA is there"}
    if certificate is None and source:
        pair = [Path(source, file) for file in ("ca.crt", "ca.key")]
        absent = [str(path) for path in pair if not path.is_file()]
        if absent:
            comment = f"ca_source: expected {' and '.join(absent)} to be there"
            return {**ret, "result": False, "comment": comment}
        faults = [root_only.fault(str(path)) for path in pair]
        if any(faults):
            comment = "ca_source: " + "; ".join(filter(None, faults))
            return {**ret, "result": False, "comment": comment}
        certificate, key = (path.read_text(encoding="utf-8") for path in pair)
    if have[name] and (certificate is None or key is None):
        comment = (
            f"{name} is there, its key {private_key} is not; give the pair as ca_crt and ca_key in "
            "pillar, or where it is as ca_source"
        )
        return {**ret, "result": False, "comment": comment}
    if certificate is not None and key is not None:
        if have[name] and not _same(Path(name).read_text(encoding="utf-8"), certificate):
            comment = f"{name} is another CA than the one that is given; move one of them away"
            return {**ret, "result": False, "comment": comment}
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
        not_before=pki_authority.validity_start(),
        days_valid=days,
        days_remaining=0,
        mode="0644",
    )
    return {**ret, "result": made["result"], "changes": {name: "made"}, "comment": made["comment"]}


def _given(ret: dict[str, Any], pair: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Put a CA in place that pillar gives, if it is one."""
    name = ret["name"]
    fault = certificates.text_fault(*(text for text, _mode in reversed(pair.values())))
    if fault:
        return {**ret, "result": False, "comment": f"the pair that is given is not usable: {fault}"}
    ret["changes"] = {name: "put here, as it is given"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "the CA that is given would be put here"}
    for path, (text, mode) in pair.items():
        made = __states__["file.managed"](
            name=path, contents=text, mode=mode, user="root", group="root", show_changes=False
        )
        if made["result"] is False:
            return {**ret, "changes": {}, "result": False, "comment": f"{path} cannot be written"}
    return {**ret, "comment": "the CA that is given was put here"}


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
    usages: list[str] | None = None,
    reload: str = "",
    purpose: str = "",
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
    usages
        ``serverAuth``, ``clientAuth``; the former if not given.
    reload
        Service that takes a new one up, when the timer renews it. In an apply that is the affair of
        the service's own states.
    purpose
        What it is for, in words.
    """
    spec = {
        "private_key": private_key,
        "signing_cert": signing_cert,
        "signing_private_key": signing_private_key,
        "common_name": common_name,
        "organization": "pigsty",
        "unit": organizational_unit,
        "names": names,
        "addresses": addresses,
        "usages": usages or ["serverAuth"],
        "days": days,
        "renew_days": renew_days,
        "group": group,
        "cert_mode": "0644",
        "key_mode": "0640",
        "reload": reload,
        "purpose": purpose,
    }
    return _kept(name, spec)


def issued(
    name: str, given: dict[str, Any], cert: str | None = None, key: str | None = None
) -> dict[str, Any]:
    """A certificate that the pillar's ``certs`` asks for is there, and renewed in time.

    name
        Its name there; its common name where ``cn`` gives no other.
    given
        Any of ``cn``, ``san``, ``org``, ``unit``, ``expire``, ``group`` and ``reload``: see
        ``infra_cert.issue`` and ``infra_cert_sign.specification``.
    cert, key
        Absolute paths; ``/etc/pki/misc/<name>.crt`` and ``.key`` if not given.
    """
    cert, key = cert or f"/etc/pki/misc/{name}.crt", key or f"/etc/pki/misc/{name}.key"
    try:
        whole = {**pki_authority.with_defaults(name, given), "key": key}
        spec = pki_authority.specification(whole, f"certs.{name}")
    except SaltInvocationError as err:
        comment = f"certs.{name}.{err}"
        return {"name": name, "changes": {}, "result": False, "comment": comment}
    return {**_kept(cert, spec), "name": name}


def _kept(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The certificate of a specification is there; written down, for the timer to renew it."""
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    missing = [p for p in (name, spec["private_key"]) if not Path(p).exists()]
    fault = "there is none yet" if missing else certificates.leaf_fault(name, spec)
    if fault is None:
        ret = _closed(ret, spec)
        if not __opts__["test"] and ret["result"]:
            _remember(name, spec)
        return ret
    told = f"issued for {', '.join([*spec['names'], *spec['addresses']])}: {fault}"
    if __opts__["test"]:
        return {**ret, "result": None, "changes": {name: "issued"}, "comment": f"would be {told}"}
    try:
        written = pki_authority.issue(_minion(), name, spec)
        _remember(name, spec)
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    log.info("%s is issued anew: %s", name, fault)
    return {**ret, "changes": dict.fromkeys(written, "issued"), "comment": told}


def _remember(name: str, spec: dict[str, Any]) -> None:
    pki_authority.record(name, spec)
    issuing.publish_metrics()


def _closed(ret: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """The result for a good certificate: all that is left to see to is who may read its key."""
    mode = __states__["file.managed"](
        name=spec["private_key"],
        replace=False,
        mode=spec["key_mode"],
        user="root",
        group=spec["group"],
    )
    if mode["changes"] or not mode["result"]:
        return {**ret, **{k: mode[k] for k in ("result", "changes", "comment")}}
    return {**ret, "comment": "the certificate is as it should be"}


def trusted(name: str, bundle: str, command: str) -> dict[str, Any]:
    """This machine's programs trust a certificate: it is in the bundle that they read.

    name
        Absolute path of the certificate, linked to where the command looks for it.
    bundle
        Absolute path of the bundle.
    command
        The program that makes the bundle.

    The bundle itself is looked at, so that a run that ended before the command is made up for.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if not Path(name).is_file():
        if __opts__["test"]:
            ret["changes"] = {bundle: "updated"}
            return {**ret, "result": None, "comment": f"{name} would be trusted"}
        return {**ret, "comment": f"there is no {name} to be trusted"}
    if salt.utils.path.which(command) is None:
        return {**ret, "comment": f"{command} is not installed yet"}
    try:
        if certificates.is_in_bundle(name, bundle):
            return {**ret, "comment": f"{name} is trusted"}
        ret["changes"] = {bundle: "updated"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{name} would be trusted"}
        outcome = process.run([command])
        if outcome["retcode"] or not certificates.is_in_bundle(name, bundle):
            said = (outcome["stderr"] or outcome["stdout"]).strip()
            raise CommandExecutionError(f"{command} did not put {name} into {bundle}: {said}")
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{name} is trusted now"}
