"""The table of faults that `make soak` prints and keeps (test/support/fault_table.py)."""

import json
from types import SimpleNamespace

import fault_table

TEXT = f"Before.\n\n{fault_table.BEGIN}\n{fault_table.END}\n\nAfter.\n"


def report(name, outcome="passed", **properties):
    fault = json.dumps([name, "it lasts", "pytest test_it.py::test_it"])
    return SimpleNamespace(outcome=outcome, user_properties=[("fault", fault), *properties.items()])


def test_tests_of_one_fault_are_one_row_with_what_they_saw():
    found = fault_table.rows([report("disk full"), report("disk full", times=3, seen="none lost")])
    cells = ("disk full", "4", "it lasts", "so it was; none lost", "`pytest test_it.py::test_it`")
    assert found == {"disk full": cells}


def test_a_test_that_failed_stands_in_the_row():
    found = fault_table.rows([report("disk full"), report("disk full", "failed")])
    assert found["disk full"][3] == "FAILED: 1 of the tests"


def test_other_tests_are_no_rows():
    assert fault_table.rows([SimpleNamespace(outcome="passed", user_properties=[])]) == {}


def test_rows_are_put_into_the_document_and_others_stay():
    first = fault_table.put(TEXT, fault_table.rows([report("a"), report("b")]))
    second = fault_table.put(first, fault_table.rows([report("b", times=9)]))
    assert {name: row[1] for name, row in fault_table.read(second).items()} == {"a": "1", "b": "9"}
    assert second.startswith("Before.\n")
    assert second.endswith("\n\nAfter.\n")


def test_the_document_has_a_place_for_the_table():
    assert fault_table.read(fault_table.DOCUMENT.read_text(encoding="utf-8"))
