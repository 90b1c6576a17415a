"""Alerts of the formula that the site switches off or changes, one by one."""

from __future__ import annotations

from typing import Any

import salt.utils.yaml

from infra_formula import templates
from infra_formula.parameters import schema

ALERTS = (
    "AgentDown",
    "AlertmanagerAlone",
    "AlertsNotSent",
    "CertExpiresSoon",
    "CertExpiring",
    "CertNotRenewed",
    "ConfigNotReloaded",
    "DnsNotAnswering",
    "DockerDown",
    "Drift",
    "DriftNotChecked",
    "EvaluationsMissed",
    "HaproxyDown",
    "InfraDown",
    "InfraOutOfStep",
    "KeepalivedDown",
    "LogErrorsMany",
    "LogsDropped",
    "NodeCpuHigh",
    "NodeDiskSlow",
    "NodeDown",
    "NodeFdFull",
    "NodeFsFilesFull",
    "NodeFsFullSoon",
    "NodeFsSpaceFull",
    "NodeLoadHigh",
    "NodeMemSwapped",
    "NodeOomKill",
    "NodeOutOfMem",
    "NodeTcpErrHigh",
    "NodeTcpRetransHigh",
    "NodeTimeDrift",
    "NodeTimeSourceLost",
    "PingFailed",
    "PingLoss",
    "ProbeFailed",
    "ProbeNotRun",
    "RepoIncomplete",
    "RepoStale",
    "RowsDropped",
    "RuleFailed",
    "ScrapeFailed",
    "ScrapeSlow",
    "StorageReadOnly",
    "UnitRestarting",
    "VectorDown",
)
"""Names of the formula's alerts, as its templates of rules have them."""


def problems(overrides: dict[str, Any]) -> list[str]:
    """Problems of ``vmalert_rule_overrides`` beyond its types.

    Returns one message per problem, each beginning with the key path.
    """
    errors = []
    for name, change in overrides.items():
        path = f"vmalert_rule_overrides.{name}"
        if name not in ALERTS:
            hint = schema.nearest(name, ALERTS)
            errors.append(f"{path}: expected the name of an alert of the formula{hint}")
        if change is True or change == {}:
            errors.append(f"{path}: expected false, or what to change: expr, for, labels …")
    return errors


def applied(text: str, overrides: dict[str, Any]) -> str:
    """Rules with the site's changes; the same text if none of them is about it.

    text
        A file of rules of the formula.
    overrides
        The value of ``vmalert_rule_overrides``: alert → False, which removes it, or what replaces
        parts of it; ``labels`` and ``annotations`` are merged.
    """
    content = salt.utils.yaml.safe_load(text)
    groups = content["groups"]
    names = {rule.get("alert") for group in groups for rule in group["rules"]}
    if not names & {*overrides}:
        return text
    changed = []
    for group in groups:
        rules = [
            _changed(rule, overrides.get(rule.get("alert"), {}))
            for rule in group["rules"]
            if overrides.get(rule.get("alert")) is not False
        ]
        if rules:
            changed.append({**group, "rules": rules})
    return templates.HEADER + templates.to_yaml({**content, "groups": changed})


def _changed(rule: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    changed = {**rule, **change}
    for key in ("labels", "annotations"):
        if key in change:
            changed[key] = {**rule.get(key, {}), **change[key]}
    return changed
