"""Public certificates of the portal as a state: got by certbot, followed by nginx."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.pki import certbot, certbot_requests
from infra_formula.portal import views
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]


def managed(
    name: str, portal: dict[str, Any] | str, settings: dict[str, Any], request: dict[str, Any]
) -> dict[str, Any]:
    """Each certificate that the portal's entries ask for is there, and nginx serves it.

    name
        Any name for the state.
    portal, settings
        The portal, as a dictionary or as JSON text (see the execution module infra_portal).
    request
        How to ask the ACME server (see ``certbot_requests.group_names``).

    Each certificate is reported as a state of its own: one that fails is an error of that name
    alone, its entries go on with what they had, and the others are seen to. After a failure an
    apply requests it again only after some time, and goes on to report the failure.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    entries = json.loads(portal) if isinstance(portal, str) else portal
    try:
        plan = certbot.plan(views.views(entries, settings), request)
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    runs = [_one(spec, request) for spec in plan["wanted"]]
    issued = [run["name"] for run in runs if run["changes"]]
    if not __opts__["test"]:
        good = {run["name"] for run in runs if run["result"]}
        if not certbot_requests.is_dry_run(request):
            certbot.record_current(good, plan["wanted"], request)
        if issued:
            followed = __states__["infra_portal.certificates_refreshed"](name, entries, settings)
            if followed["result"] is False:
                ret.update(result=False, comment=followed["comment"])
            elif followed["changes"]:
                ret["changes"]["nginx"] = followed["changes"]
    runs += [_retired(gone) for gone in plan["retired"]]
    changed = [run["name"] for run in runs if run["changes"]]
    if changed:
        ret["changes"]["certificates"] = changed
    ret["sub_state_run"] = runs
    failed = [run["name"] for run in runs if run["result"] is False]
    if failed:
        message = f"no certificate, or not the requested one: {', '.join(failed)}"
        return {
            **ret,
            "result": False,
            "comment": "\n".join(filter(None, [message, ret["comment"]])),
        }
    if ret["result"] is False:
        return ret
    if __opts__["test"] and changed:
        return {**ret, "result": None, "comment": "Certificates would be requested."}
    return {**ret, "comment": f"{len(plan['wanted'])} certificates are up to date."}


def _one(spec: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """See to one certificate; its outcome as a state of its own."""
    name, reason, wait = spec["name"], spec["reason"], spec["wait"]
    if reason is None:
        return _run(name, True, "up to date")
    if wait is not None:
        comment = (
            f"{reason}; the last of {wait['count']} tries, at {wait['at']}, failed: "
            f"{wait['error']}; not requested again before {wait['next']} "
            f"(at once after: infra_certbot.retry {name})"
        )
        return _run(name, False, comment)
    if __opts__["test"]:
        return _run(name, None, f"would be requested: {reason}", {name: reason})
    try:
        have = certbot.issue(spec, request, force=spec["force"])
    except CommandExecutionError as err:
        return _run(name, False, f"{reason}; certbot: {err}")
    if not have:
        return _run(
            name, True, "certbot tried it (--dry-run in certbot_options) and issued nothing"
        )
    change = {"reason": reason, "names": have["names"], "not_after": have["not_after"]}
    return _run(name, True, f"issued by {have['issuer']}", {name: change})


def _retired(name: str) -> dict[str, Any]:
    """Remove a managed certificate that no entry requests any more."""
    changes = {name: "removed: no entry of the portal requests it"}
    if __opts__["test"]:
        return _run(name, None, "would be removed", changes)
    try:
        certbot.remove(name)
    except CommandExecutionError as err:
        return _run(name, False, f"certbot: {err}")
    return _run(name, True, "removed", changes)


def _run(
    name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "low": {
            "state": "infra_certbot",
            "fun": "certificate",
            "name": name,
            "__id__": f"infra-certbot-certificate-{name}",
            "__sls__": "infra.certbot.service",
        },
        "changes": changes or {},
        "result": result,
        "comment": comment,
    }


redaction.guard(globals())
