"""What every layer of tests shares."""

import logging
import os
import sys
import tempfile
from pathlib import Path

import pytest
import salt.utils.files  # noqa: F401 - importing Salt installs the deferred handlers dropped below
from hypothesis import settings

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO / "_utils"), str(REPO)]  # from infra_formula…, from _modules import …
# from lab import …, and the tests' own support
sys.path[:0] = [str(REPO / "test"), str(REPO / "test" / "support")]

import fault_table  # noqa: E402 - they are in that folder
import programs  # noqa: E402

# A busy machine is no fault of the code. On CI the same examples every time; at a desk new ones.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

for _handler in logging.root.handlers[:]:  # Salt's own would write to a closed stream at exit
    logging.root.removeHandler(_handler)
    _handler.close()
# Nor does it have every line made that a debugging minion would write: a tenth of a state's time.
# A test that looks for them asks for them (`caplog.at_level`).
logging.root.setLevel(logging.WARNING)


pytest_plugins = ["watchdog"]

LONGEST = ("fleet", "faults", "documents", "portal", "repo", "whole", "observability")
"""Files of the integration tests that take minutes, longest first: two processes share the work
file by file, and whichever begins a long one last is waited for."""


def pytest_collection_modifyitems(items):
    fault_table.mark(items)
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(
        key=lambda item: (
            ranks.get(item.path.stem, len(ranks))
            if item.path.parent.name == "integration"
            else len(ranks) + 1
        )
    )


def pytest_configure(config):
    """Say before anything runs that a given program is of no use; workers need not ask again."""
    if hasattr(config, "workerinput"):
        return
    try:
        config.programs = programs.check()
    except programs.ProgramsError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config):
    return getattr(config, "programs", [])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """Let a report carry which programs its test ran, also from another process."""
    outcome = yield
    outcome.get_result().user_properties += programs.noted()


def pytest_terminal_summary(terminalreporter):
    fault_table.tell(terminalreporter)
    reports = [r for stats in terminalreporter.stats.values() for r in stats]
    lines = programs.summary(getattr(r, "user_properties", []) for r in reports)
    if lines:
        terminalreporter.section("programs")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def salt_factories_config():
    # A short path: a socket below it must stay under the limit of AF_UNIX names.
    with tempfile.TemporaryDirectory(prefix="sf-", dir="/tmp") as root:
        yield {
            "root_dir": Path(root),
            "code_dir": str(REPO),
            "inject_sitecustomize": False,
            "start_timeout": 60,
            "slow_stop": False,
        }


@pytest.fixture(scope="session")
def formula_roots(tmp_path_factory):
    """File roots with just what the formula serves, as a minion sees it."""
    roots = tmp_path_factory.mktemp("srv")
    for name in ("infra", "_modules", "_states", "_runners", "_utils"):
        (roots / name).symlink_to(REPO / name)
    pillar = tmp_path_factory.mktemp("pillar")
    (pillar / "top.sls").write_text("base: {}\n", encoding="utf-8")
    return {"file_roots": {"base": [str(roots)]}, "pillar_roots": {"base": [str(pillar)]}}
