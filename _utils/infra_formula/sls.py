"""States that many SLS have, as text of an SLS.

They are functions and not macros of Jinja: Salt compiles a template anew for each SLS that imports
it, which took a seventh of an apply without change.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra_formula import templates
from infra_formula.minion import Minion
from infra_formula.parameters.site import daemon_rows

_VALID = {"infra_pillar": "infra-pillar-valid"}
_SHARED = {"sls": "infra.daemon"}  # group, accounts and directories of all daemons


def recorded(component: str, what: str, things: Mapping[str, list[str]]) -> str:
    """State that puts what the component's states are about to change into the install record.

    component
        Its name; its removal goes by the record.
    what
        Of the ID: ``infra-<what>-recorded``.
    things
        Kind → names; see ``infra_before.recorded``.
    """
    kinds = {kind: names for kind, names in things.items() if names}
    return _state(
        f"infra-{what}-recorded",
        "infra_before.recorded",
        {"name": component, **kinds, "order": 2, "failhard": True, "require": [_VALID]},
    )


def functions(minion: Minion, site: Mapping[str, Any]) -> dict[str, Callable[..., str]]:
    """Functions by name that the SLS of one run call.

    site
        What :func:`infra_formula.state_tree.values` returns.
    """
    states = _DaemonStates(minion, site)
    return {
        "recorded": recorded,
        "installed": states.installed,
        "configured": states.configured,
        "running": states.running,
        "daemon_states": states.whole,
    }


@dataclass(frozen=True)
class _DaemonStates:
    """States of the daemons of the common form; each is a row in infra/components.yaml."""

    minion: Minion
    site: Mapping[str, Any]

    def whole(self, name: str) -> str:
        """All states of a daemon that has no state of its own."""
        return self.installed(name) + self.configured(name) + self.running(name)

    def installed(self, name: str) -> str:
        """Its package; the distribution's own units of it are kept from starting."""
        options = self.site["arguments"]["daemons"]["installations"][name]
        return _state(
            f"infra-{name}-package-installed",
            "infra_daemon.installed",
            {"name": name, **options, "require": [_SHARED]},
        )

    def configured(self, name: str, require: Iterable[str] = ()) -> str:
        """Its unit, environment file and data directory; it alone is restarted if they change.

        require
            Requisites of the unit, as ``state: ID``.
        """
        daemon = self.site["daemons"][name]
        data = self.site["parameters"]["infra_data"]
        # Made apart, since it is for everybody to enter; infra_data itself is infra.daemon's.
        parents = [posixpath.dirname(path) or "/" for path in daemon["made"]]
        new_parents = [
            path
            for path in parents
            if path != data and not self.minion.call("file.directory_exists", path)
        ]
        things = {"paths": new_parents + daemon["made"], "units": [daemon["unit"]]}
        unit = f"infra-{name}-unit-configured"
        requisites = [{"infra_daemon": f"infra-{name}-package-installed"}]
        requisites += [dict([each.split(": ", 1)]) for each in require]
        return (
            recorded(self._component(name), f"{name}-installation", things)
            + "".join(
                _state(
                    f"infra-{name}-parent-present",
                    "file.directory",
                    {
                        **{"name": path, "user": "root", "group": "root", "mode": "0755"},
                        "makedirs": True,
                        "require": [_SHARED],
                        "require_in": [{"file": f"infra-{name}-directory-present"}],
                    },
                )
                for path in new_parents
            )
            + "".join(
                _state(
                    f"infra-{name}-directory-present",
                    "file.directory",
                    {
                        **{"name": path, "user": daemon["user"], "group": "infra"},
                        **{"mode": "0750", "makedirs": True},
                        "require": [_SHARED],
                        "require_in": [{"infra_daemon": unit}],
                    },
                )
                for path in daemon["made"]
            )
            + self._cleaned(name)
            + _state(
                unit,
                "infra_daemon.configured",
                {"name": name, "daemon": daemon, "require": requisites},
            )
        )

    def _cleaned(self, name: str) -> str:
        """Deletion of its data, once, if <name>_clean is true and <name>_clean_confirm names it."""
        parameters = self.site["parameters"]
        if f"{name}_clean" not in parameters:
            return ""
        return _state(
            f"infra-{name}-data-cleaned",
            "infra_daemon.cleaned",
            {
                "name": name,
                "directories": self.site["arguments"]["removal"]["components"][name]["data"],
                "unit": self.site["daemons"][name]["unit"],
                "clean": parameters[f"{name}_clean"],
                "confirm": parameters[f"{name}_clean_confirm"],
                "require_in": [{"infra_daemon": f"infra-{name}-unit-configured"}],
            },
        )

    def running(self, name: str) -> str:
        """It runs, starts with the machine, and answers."""
        daemon = self.site["daemons"][name]
        service = f"infra-{name}-service-running"
        return _state(
            service,
            "infra_service.running",
            {
                "name": daemon["unit"],
                "require": [{"infra_daemon": f"infra-{name}-unit-configured"}],
            },
        ) + _state(
            f"infra-{name}-service-healthy",
            "infra_daemon.healthy",
            {
                "name": name,
                "daemon": daemon,
                "seconds": daemon["seconds"],
                "require": [{"infra_service": service}],
            },
        )

    def _component(self, daemon: str) -> str:
        return next(str(row["name"]) for name, _, row in daemon_rows() if name == daemon)


def _state(state_id: str, function: str, arguments: Mapping[str, Any]) -> str:
    body = {function: [{key: value} for key, value in arguments.items()]}
    return f"\n{templates.to_flow_yaml(state_id)}: {templates.to_flow_yaml(body)}\n"
