"""Reports of a long step: they come again and again, and end with it."""

import threading

from lab.host import LabError
from lab.progress import Heartbeat

SECONDS = 0.001
ENOUGH = 30
"""How long a test waits for what has to come; it fails if it does not."""


class Reports:
    """What was reported, and a way to wait for a number of reports."""

    def __init__(self):
        self.all = []
        self._changed = threading.Condition()

    def __call__(self, what):
        with self._changed:
            self.all.append(what)
            self._changed.notify_all()

    def wait_for(self, number):
        with self._changed:
            return self._changed.wait_for(lambda: len(self.all) >= number, ENOUGH)


def test_a_long_step_is_reported_repeatedly_until_it_ends():
    reports, threads = Reports(), threading.active_count()
    with Heartbeat(reports, lambda: "waiting for node-1", SECONDS):
        assert reports.wait_for(3)
    assert set(reports.all) == {"waiting for node-1"}
    assert threading.active_count() == threads


def test_nothing_is_reported_where_nothing_is_waited_for_or_a_machine_does_not_answer():
    reports = Reports()
    answers = iter([LabError("node-1 does not answer"), "", "waiting for node-2"])

    def look():
        answer = next(answers, "over")
        if isinstance(answer, LabError):
            raise answer
        return answer

    with Heartbeat(reports, look, SECONDS):
        assert reports.wait_for(1)
    assert reports.all[0] == "waiting for node-2"
