"""Doubles of the library's functions, with the signatures of what they stand for."""

from types import ModuleType
from unittest.mock import Mock, create_autospec

import pytest
from infra_formula.fileset.file_set import FilePlan, FileSet


def double(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType | type, name: str, **returns
) -> Mock:
    """Replace a function of a module, or a method of a class, for one test.

    module, name
        Where the function is, and its name.
    returns
        ``return_value`` or ``side_effect``, as :class:`unittest.mock.Mock` takes them.

    Returns the double, which refuses arguments that the function would refuse.
    """
    function = getattr(module, name)
    function = getattr(function, "original", function)  # a test may replace it twice
    mock = create_autospec(function, **returns)
    mock.original = function
    monkeypatch.setattr(module, name, mock)
    return mock


def file_plan(**fields) -> FilePlan:
    """Return a plan as :meth:`FileSet.plan` makes it, with these fields."""
    return FilePlan(FileSet("set", "/nowhere"), {}, **fields)
