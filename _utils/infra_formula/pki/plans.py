"""Plans of the certificates' states: the CA, what it issues, and whom this machine trusts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from infra_formula import process, redaction
from infra_formula.errors import CommandFailed
from infra_formula.fileset import contents, root_only
from infra_formula.pki import authority, certificates, issuing
from infra_formula.state import Plan

CertificateAndKey = tuple[str, str]


def plan_ca(
    name: str,
    private_key: str,
    common_name: str,
    days: int,
    create: bool,
    pair: CertificateAndKey | None,
    expected: str | None,
    source: str,
    name_constraints: list[str] | None = None,
) -> Plan:
    """Plan to have a CA: created or put in place if it is missing, never overwritten.

    See the state ``infra_cert.authority``.
    """
    redaction.add(pair[1] if pair else None)
    present = {path: Path(path).exists() for path in (name, private_key)}
    if all(present.values()):
        fault = certificates.pair_fault(name, private_key)
        if fault:
            raise CommandFailed(f"The CA is not usable: {fault}")
        present_text = Path(name).read_text(encoding="utf-8")
        if expected is not None and certificates.is_renewal(present_text, expected):
            return Plan(
                changes={name: "renewed"},
                comment=f"{name} was replaced by ca_crt, the same CA with a new life.",
                would=f"{name} would be replaced by ca_crt, the same CA with a new life.",
                apply=lambda: authority.write_file(name, expected, "0644"),
            )
        if expected is not None and not _is_same(present_text, expected):
            raise CommandFailed(
                f"{name} is another CA than ca_crt in pillar; move one of them away"
            )
        fault = certificates.time_fault(name)
        if fault:
            raise CommandFailed(f"The CA is not usable: {fault}")
        return Plan(comment=f"The CA {name} is up to date.")
    if expected is None and source:
        pair = _read_pair(source)
    if pair is not None:
        if present[name] and not _is_same(Path(name).read_text(encoding="utf-8"), pair[0]):
            raise CommandFailed(
                f"{name} is another CA than the one in ca_crt or ca_source; move one of them away"
            )
        return _plan_pair(name, private_key, pair)
    if present[name]:
        raise CommandFailed(
            f"{name} exists, but its key {private_key} is missing; set ca_crt and ca_key in pillar,"
            " or ca_source to the directory of both"
        )
    if not create:
        missing = ", ".join(path for path, is_present in present.items() if not is_present)
        raise CommandFailed(
            f"{missing}: missing, and no CA is created here: ca_create is false, or another INFRA"
            " node is the first. Set ca_crt and ca_key in pillar (docs/fleet.md)"
        )
    return Plan(
        changes={name: "created"},
        comment=f"The CA {name} was created.",
        would=f"The CA {name} would be created.",
        apply=lambda: authority.create_ca(name, private_key, common_name, days, name_constraints),
    )


def _read_pair(source: str) -> CertificateAndKey:
    files = [Path(source, file) for file in ("ca.crt", "ca.key")]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        raise CommandFailed(f"ca_source: expected the files {' and '.join(absent)}")
    faults = list(filter(None, (root_only.fault(str(path)) for path in files)))
    if faults:
        raise CommandFailed("ca_source: " + "; ".join(faults))
    certificate, key = (path.read_text(encoding="utf-8") for path in files)
    return certificate, key


def _plan_pair(name: str, private_key: str, pair: CertificateAndKey) -> Plan:
    fault = certificates.text_fault(*pair)
    if fault:
        raise CommandFailed(f"The CA of pillar or ca_source is not usable: {fault}")

    def apply() -> None:
        authority.write_file(private_key, pair[1], "0600")
        authority.write_file(name, pair[0], "0644")

    return Plan(
        changes={name: "put in place"},
        comment=f"The CA of pillar or ca_source was put in place as {name}.",
        would=f"The CA of pillar or ca_source would be put in place as {name}.",
        apply=apply,
    )


def _is_same(one: str, other: str) -> bool:
    return one.split() == other.split()


def plan_leaf(name: str, spec: dict[str, Any]) -> Plan:
    """Plan to have the certificate of a specification, recorded for the timer to renew it.

    name, spec
        Absolute path of the certificate, and its specification (see ``authority``).
    """
    key = spec["private_key"]
    missing = [path for path in (name, key) if not Path(path).exists()]
    fault = "it is missing" if missing else certificates.leaf_fault(name, spec)
    names = ", ".join([*spec["names"], *spec["addresses"]])
    file = {"mode": spec["key_mode"], "group": spec["group"]}
    permissions = contents.attribute_difference(Path(key), file) if Path(key).exists() else ""
    if fault is not None:
        changes = {name: "issued"}

        def issue() -> None:
            written = authority.issue(name, spec)
            changes.update(dict.fromkeys(written, "issued"))
            if permissions and key not in written:  # a key that is kept, of Pigsty's for instance
                _protect(key, spec)
                changes[key] = permissions
            _record(name, spec)

        done = f"issued for {names}: {fault}"
        return Plan(changes, f"{name} was {done}.", f"{name} would be {done}.", issue)
    changes = {key: permissions} if permissions else {}
    if not _is_recorded(name, spec):
        changes[str(authority.record_path())] = "updated"

    def restore() -> None:
        _protect(key, spec)
        _record(name, spec)

    return Plan(
        changes,
        f"{name} is up to date.",
        f"Permissions or the record of {name} would change.",
        restore,
    )


def _protect(key: str, spec: dict[str, Any]) -> None:
    """Give a key the owner and the mode of its specification."""
    ids = contents.owner_ids("root", spec["group"])
    if ids is None:
        raise CommandFailed(f"{key}: expected the group {spec['group']}, which does not exist")
    os.chown(key, *ids)
    os.chmod(key, int(spec["key_mode"], 8))


def _is_recorded(name: str, spec: dict[str, Any]) -> bool:
    try:
        recorded = authority.recorded().get(name) == spec
    except CommandExecutionError:
        return False
    return recorded and issuing.metrics_path().exists()


def _record(name: str, spec: dict[str, Any]) -> None:
    authority.record(name, spec)
    issuing.publish_metrics()


def plan_trusted(name: str, bundle: str, command: str) -> Plan:
    """Plan to have a certificate in the bundle that this machine's programs read.

    See the state ``infra_cert.trusted``.
    """
    updated = {bundle: "updated"}
    would = f"{name} would be trusted."
    if not Path(name).is_file():
        # Under test=True, another state of this run may be about to create it.
        return Plan(updated, f"{name} does not exist, so it is not trusted.", would, updated.clear)
    if salt.utils.path.which(command) is None:
        return Plan(comment=f"{command} is not installed yet.")
    if certificates.is_in_bundle(name, bundle):
        return Plan(comment=f"{name} is trusted.")

    def apply() -> None:
        outcome = process.run([command])
        if outcome["retcode"] or not certificates.is_in_bundle(name, bundle):
            message = (outcome["stderr"] or outcome["stdout"]).strip()
            raise CommandFailed(f"{command} did not add {name} to {bundle}: {message}")

    return Plan(updated, f"{name} is trusted now.", would, apply)
