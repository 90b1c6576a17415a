"""Drift: what the next apply would change on this minion, looked for without changing anything.

A timer (infra/status) calls :func:`check`, which runs the states with ``test=True``. The result is
in a file that only root reads, and as metrics for the node exporter.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra_formula import paths
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.minion import Minion
from infra_formula.redaction import scrub_data

INTERVALS = {"hourly": 3600, "daily": 86400, "weekly": 604800}
"""Values of ``infra_drift_check`` → seconds between two checks."""

LOOKS = 2
"""Most looks of a check: the result of one during which an apply ran is thrown away."""

WAIT = 1800.0
"""Seconds that a check waits for an apply to end, before it leaves the result as it is."""

_PAUSE = 0.5  # seconds between two looks at the running jobs
_COMMENT = 300  # characters of a comment that are kept


def check(minion: Minion, interval: str = "daily") -> dict[str, Any]:
    """Look for drift, and publish it; see ``infra_status.check_drift``.

    interval
        A key of :data:`INTERVALS`, for the alert of a check that is missing.

    Raises CommandFailed if applies ran all the time, or the states could not be rendered.
    """
    if interval not in INTERVALS:
        raise CommandFailed(f"interval: expected one of {', '.join(INTERVALS)}, got {interval!r}")
    since = {key: row["since"] for key, row in _recorded().get("states", {}).items()}
    for _ in range(LOOKS):
        _wait_for_applies(minion)
        begun = time.time()
        with _Applies(minion) as applies:
            returned = minion.call("state.apply", "infra", test=True, concurrent=True)
        # The states' own outcome is no failure of this call.
        minion.context["retcode"] = 0
        if not applies.seen:
            break
    else:
        raise CommandFailed("An apply ran during each look for drift; the result is as before.")
    states = _differing(returned, since, begun)
    record = {
        "checked": begun, "seconds": time.time() - begun, "interval": interval, "states": states,
    }  # fmt: skip
    atomic.write(_path(), json.dumps(scrub_data(record)), 0o600)
    atomic.write(metrics_path(), metrics(record), 0o644)
    return report(minion, fail=False)


def report(minion: Minion, fail: bool = True) -> dict[str, Any]:
    """What the last check found; see ``infra_status.drift``.

    fail
        Whether the call ends with a code other than 0 if something differs.

    Raises CommandFailed if there was no check.
    """
    record = _recorded()
    if not record:
        raise CommandFailed(
            "No check for drift has run here: set infra_drift_check, or call "
            "infra_status.check_drift"
        )
    now = time.time()
    components: dict[str, list[dict[str, Any]]] = {}
    for state in record["states"].values():
        row = {key: state[key] for key in ("id", "result", "comment", "changes")}
        row["since"] = _text(state["since"])
        components.setdefault(state["component"], []).append(row)
    if components and fail:
        minion.context["retcode"] = 1
    return {
        "checked": _text(record["checked"]),
        "age": round(now - record["checked"]),
        "seconds": round(record["seconds"], 1),
        "count": len(record["states"]),
        "components": components,
    }


def metrics(record: Mapping[str, Any]) -> str:
    """The metrics of a check, for the node exporter's textfile collector.

    record
        ``checked`` and ``seconds``, ``interval``, and ``states`` by their keys.
    """
    counts: dict[tuple[str, str], list[float]] = {}
    for state in record["states"].values():
        kind = "failed" if state["result"] is False else "changed"
        counts.setdefault((state["component"], kind), []).append(state["since"])
    lines = [
        "# HELP infra_drift_states States that the next apply would change, or that would fail.",
        "# TYPE infra_drift_states gauge",
        *(
            f'infra_drift_states{{component="{component}",kind="{kind}"}} {len(since)}'
            for (component, kind), since in sorted(counts.items())
        ),
        "# HELP infra_drift_since_seconds Unix time of the check that found the oldest of them.",
        "# TYPE infra_drift_since_seconds gauge",
        *(
            f'infra_drift_since_seconds{{component="{component}",kind="{kind}"}} {min(since):.0f}'
            for (component, kind), since in sorted(counts.items())
        ),
        "# HELP infra_drift_check_seconds Unix time of the last check for drift.",
        "# TYPE infra_drift_check_seconds gauge",
        f"infra_drift_check_seconds {record['checked']:.0f}",
        "# HELP infra_drift_check_interval_seconds Time between two checks for drift.",
        "# TYPE infra_drift_check_interval_seconds gauge",
        f"infra_drift_check_interval_seconds {INTERVALS[record['interval']]}",
        "# HELP infra_drift_check_duration_seconds How long the last check for drift took.",
        "# TYPE infra_drift_check_duration_seconds gauge",
        f"infra_drift_check_duration_seconds {record['seconds']:.3f}",
    ]
    return "\n".join(lines) + "\n"


def metrics_path() -> Path:
    """What the node exporter reads."""
    return paths.STATE_DIR / "textfile" / "infra_drift.prom"


def _path() -> Path:
    return paths.STATE_DIR / "drift.json"


def _recorded() -> dict[str, Any]:
    """What the last check recorded; empty if there was none, or its record is corrupt."""
    try:
        recorded = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(recorded, dict) and isinstance(recorded.get("states"), dict)
    return recorded if is_whole and {"checked", "seconds"} <= set(recorded) else {}


def _differing(returned: Any, since: Mapping[str, float], now: float) -> dict[str, dict[str, Any]]:
    """States that would change or fail, by their keys in a run.

    Raises CommandFailed with what Salt says if there was no run.
    """
    if not isinstance(returned, dict) or not all(isinstance(s, dict) for s in returned.values()):
        lines = returned if isinstance(returned, list) else [returned]
        raise CommandFailed(
            "state.apply infra test=True: " + "; ".join(str(x)[:500] for x in lines)
        )
    return {
        key: {
            "id": str(state.get("__id__", key)),
            "component": component_of(state.get("__sls__")),
            "result": state.get("result"),
            "comment": str(state.get("comment", ""))[:_COMMENT],
            "changes": sorted(map(str, state.get("changes") or {})),
            "since": since.get(key, now),
        }
        for key, state in returned.items()
        if state.get("result") is not True
    }


def component_of(sls: Any) -> str:
    """Component of an SLS, like ``register`` of ``infra.register.publish``."""
    parts = str(sls or "").split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "infra" else parts[0] or "unknown"


def _running(minion: Minion) -> list[Any]:
    return list(minion.call("saltutil.is_running", "state.*"))


def _wait_for_applies(minion: Minion) -> None:
    deadline = time.monotonic() + WAIT
    while _running(minion):
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"An apply has been running for {WAIT / 60:.0f} minutes; the result is as before."
            )
        time.sleep(_PAUSE)


class _Applies:
    """Whether an apply runs while the block does.

    The run of this process is none: Salt lists the function that was called, which is this check.
    """

    def __init__(self, minion: Minion) -> None:
        self.seen = False
        self._minion = minion
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Applies:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.seen = self.seen or bool(_running(self._minion))

    def _watch(self) -> None:
        while not self._ended.wait(_PAUSE):
            self.seen = self.seen or bool(_running(self._minion))


def _text(timestamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
