"""Exceptions of the library.

Each is one of Salt's as well, so that Salt shows its message in place of a traceback, and the
modules that import the library need not translate.
"""

from __future__ import annotations

from salt.exceptions import CommandExecutionError, SaltException, SaltInvocationError


class InfraError(SaltException):
    """Anything that this formula reports as an error."""


class CommandFailed(InfraError, CommandExecutionError):
    """A program failed, or something of the machine is not as it has to be."""


class Refused(CommandFailed):
    """A program was asked, and refuses its flags or its configuration, or a port is taken."""


class InvalidInput(InfraError, SaltInvocationError):
    """A value that somebody gave (pillar, argument, file) is not what was expected."""
