"""Real machines for the tests of this folder.

Where a lab cannot run, these tests fail and say what is missing; they are never skipped.
"""

import itertools
import os
from contextlib import ExitStack

import documents
import programs
import pytest
from lab import Lab
from lab.host import LabError
from lab.suites import load

from tools import release

KITCHEN = load()
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def digest_is_current():
    """A machine that has synced a release does not sync another one of the same digest."""
    assert release.stale() == [], "run `make generate` before tests on machines"


@pytest.fixture(scope="session", autouse=True)
def programs_of_machines():
    """Note which programs a lab's machines have, before it is taken down."""
    down = Lab.down

    def noting(lab):
        for machine in lab.machines:
            if machine.running():
                _note_programs(machine)
        down(lab)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lab, "down", noting)
        yield


def _note_programs(machine):
    listed = ["dpkg-query", "--show", f"--showformat={programs.LISTING}"]
    release = ["sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME"]
    try:
        found = [machine.run(words, check=False).stdout for words in (listed, release)]
    except LabError:  # what a test broke is not ours to judge
        return
    programs.note(programs.of_packages(found[0], found[1].strip()))


@pytest.fixture(scope="session", params=list(KITCHEN.platforms))
def platform(request):
    """Each platform of kitchen.yml, for tests that hold on all of them."""
    return request.param


@pytest.fixture(
    scope="session",
    params=[name if n == 0 else pytest.param(name, marks=pytest.mark.soak)
            for n, name in enumerate(KITCHEN.platforms)],
)  # fmt: skip
def first_platform(request):
    """The first platform of kitchen.yml, the others in `make soak`; test_whole has all of them."""
    return request.param


@pytest.fixture(scope="module")
def boot_lab():
    """Return a function that boots a lab of its own name, which goes at the end of the module.

    It takes what `Lab.up` takes, apart from the name. A test that needs its lab no longer than
    itself uses the lab as a context manager.
    """
    with ExitStack() as stack:

        def boot(suite="default", **settings):
            # The process's id keeps two runs of the tests on one machine apart.
            name = f"test-{os.getpid()}-{next(NUMBERS)}"
            return stack.enter_context(Lab.up(suite, name=name, **settings))

        yield boot


def pytest_terminal_summary(terminalreporter):
    """Say how many of the documents' commands were run, and which were not, and why."""
    counts = {
        outcome: sum(
            dict(report.user_properties)["commands"]
            for report in terminalreporter.stats.get(outcome, [])
            if getattr(report, "when", "") == "call"
            and "commands" in dict(getattr(report, "user_properties", []))
        )
        for outcome in ("passed", "failed")
    }
    if not sum(counts.values()):
        return
    blocks = [block for block in documents.blocks() if block.language == "bash"]
    idle = [block for block in blocks if "not run" in block.notes]
    run, never = sum(counts.values()), sum(len(block.commands) for block in idle)
    later = sum(len(block.commands) for block in blocks) - run - never
    terminalreporter.section("documents")
    terminalreporter.write_line(
        f"documents' commands: {run} run, {counts['passed']} passed, {never} not run, "
        f"{later} left to other runs (make soak)"
    )
    for block in idle:
        terminalreporter.write_line(f"  not run: {block.place}: {block.notes['not run']}")
