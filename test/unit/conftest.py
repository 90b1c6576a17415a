"""What all unit tests share."""

from support.guard import machine_is_left_alone  # noqa: F401 - a fixture of every test
