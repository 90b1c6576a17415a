"""What a killed build of an image leaves, in real control groups."""

import subprocess

import pytest
from lab import container
from lab.host import cgroup_roots


@pytest.fixture
def group():
    """Make a control group, as `launch` does; returns a function."""
    made = []

    def make(name):
        made.append(cgroup_roots()[0] / container._unit(name))
        (made[-1] / "payload").mkdir(parents=True)
        return made[-1]

    yield make
    for path in made:
        for folder in (path / "payload", path):
            if folder.exists():
                folder.rmdir()


def test_a_group_without_processes_is_removed_and_one_that_runs_stays(group):
    """A build found the group of one that was killed, and failed, once."""
    killed, running, other = group("test.x.1"), group("test.x.2"), group("test.y.3")
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            (running / "payload/cgroup.procs").write_text(f"{process.pid}\n")
            container.forget_killed("test.x.")
            assert not killed.exists()
            assert (running / "payload").exists()
            assert other.exists()
        finally:
            process.kill()
            process.wait()
    container.forget_killed("test.x.")
    assert not running.exists()
