"""Real machines for the tests of this folder.

Where a lab cannot run, these tests fail and say what is missing; they are never skipped.
"""

import itertools
import os
from contextlib import ExitStack

import pytest
from lab import Lab
from lab.suites import load

KITCHEN = load()
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", params=list(KITCHEN.platforms))
def platform(request):
    """Each platform of kitchen.yml, for tests that hold on all of them."""
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
