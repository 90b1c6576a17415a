"""The library's view of Salt: one object that the thin modules make and pass on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_SERVED = {"cp.cache_file", "cp.get_file_str", "cp.list_master"}  # functions that read salt://


class Minion:
    """What Salt's loader gives to a module, as an argument.

    salt
        Execution modules by name, ``__salt__``.
    opts
        Configuration of the minion or the master, ``__opts__``.
    grains
        Facts of the machine, ``__grains__``.
    context
        A dictionary that lives as long as a run, ``__context__``.
    environment
        The saltenv of a state, ``__env__``, which ``salt://`` files are read from; where it is
        empty, that of the minion's configuration. A top file may choose another for each state.
    """

    def __init__(
        self,
        salt: Mapping[str, Callable[..., Any]] | None = None,
        opts: Mapping[str, Any] | None = None,
        grains: Mapping[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        environment: str = "",
    ) -> None:
        self.salt = {} if salt is None else salt
        self.opts = {} if opts is None else opts
        self.grains = {} if grains is None else grains
        self.context = {} if context is None else context
        self.environment = environment

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call one of Salt's execution functions.

        function
            Its name, ``pkg.list_pkgs``.
        """
        if self.environment and function in _SERVED:
            kwargs = {"saltenv": self.environment, **kwargs}
        return self.salt[function](*args, **kwargs)
