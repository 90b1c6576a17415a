"""What the library knows of a daemon: a row of ``infra/components.yaml``, filled in."""

from __future__ import annotations

from typing import TypedDict


class _Flag(TypedDict):
    text: str
    template: str


class Flag(_Flag, total=False):
    """A flag: its ``text``, and the ``template`` that names its parameters.

    One with ``help`` is conditional, see :func:`infra_formula.daemon.flags.with_supported_flags`.
    One that is ``repeatable`` stays beside an option of its name; one with ``unless`` is left out
    if an option has one of these names. A daemon that runs without one that is ``at_next_start``
    is not restarted for it.
    """

    help: str
    repeatable: bool
    unless: list[str]
    at_next_start: bool


class Expected(TypedDict):
    """What a daemon has to have loaded: a list in the JSON that a path of it answers."""

    path: str
    key: list[str]  # keys that lead to the list
    what: str  # for errors


class Reload(TypedDict, total=False):
    """How a reload is verified, by metrics of the daemon or a line of its log."""

    success_metric: str  # 1 after a successful reload, 0 after a failed one
    reload_counter: str  # changes with each successful reload that changed something
    error_counter: str  # changes with each failed reload
    attempt_counter: str  # changes when a reload begins, before its outcome is known
    reload_log_message: str  # logged after each reload


class _Daemon(TypedDict):
    name: str
    title: str
    unit: str  # without .service
    user: str
    program: str  # absolute path
    flags: list[Flag]
    options: str | list[str]  # the site's further flags, on one line or one by one
    options_parameter: str
    version: str  # the flag that prints it
    port: int
    port_parameter: str
    switch: str
    made: list[str]  # data directories
    health: str  # path that answers 200
    reload: Reload
    after: list[str]  # units
    writes: list[str]  # directories
    writes_parameter: str
    service: dict[str, str | None]  # directives over those of unit_files.SERVICE


class Daemon(_Daemon, total=False):
    """A daemon.

    With ``use_package_unit`` unit and flags are the package's, and the formula adds a drop-in.
    ``seconds`` is how long a start may take. Without any of what it ``expects``, it is unhealthy.
    """

    use_package_unit: bool
    seconds: float
    expects: Expected
