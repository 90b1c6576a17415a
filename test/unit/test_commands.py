"""The command line: each public function of the modules is in the documents, with an example."""

import re

import pytest

from tools import commands, parameters

COMMANDS = [
    command
    for folder in ("_modules", "_runners")
    for _, found in commands.modules(parameters.ROOT, folder).values()
    for command in found
]
IDS = [command.name for command in COMMANDS]


def test_there_are_not_more_commands_than_people_can_look_over():
    assert 40 < len(COMMANDS) <= 65


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_each_parameter_of_a_command_is_documented_and_nothing_else(command):
    assert set(command.parameters) == command.documented


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_each_command_says_what_it_does_and_shows_itself_in_an_example(command):
    assert command.summary.endswith((".", ":"))
    assert command.examples
    assert all(re.match(r"salt(-call|-run)? ", example) for example in command.examples)


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_no_command_takes_what_cannot_be_typed(command):
    for name, annotation in command.parameters.items():
        assert annotation, f"{name} has no type"
        assert not re.search(r"\b(bytes|Callable|Path|object)\b", annotation), name


def test_the_page_of_commands_names_each_of_them():
    page = (parameters.ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == commands.document(parameters.ROOT)
    for command in COMMANDS:
        assert f"`{command.name}`" in page
