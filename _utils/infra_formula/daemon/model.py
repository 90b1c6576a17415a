"""What the library knows of a daemon: a row of ``infra/components.yaml``, filled in."""

from __future__ import annotations

from typing import TypedDict


class _Flag(TypedDict):
    text: str
    template: str


class Flag(_Flag, total=False):
    """A flag: its ``text``, and the ``template`` that names its parameters.

    One with ``help`` is conditional, see :func:`infra_formula.daemon.flags.with_supported_flags`.
    """

    help: str


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
    options: str  # the site's further flags, on one line
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
    ``seconds`` is how long a start may take.
    """

    use_package_unit: bool
    seconds: float
