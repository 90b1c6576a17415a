"""What an apply without changes costs, in numbers that do not depend on the machine's speed."""

import sys
from pathlib import Path

import pytest
from vendors import DISTRO

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

import bench_apply

PROGRAMS = {
    "dpkg-query": 1,  # Salt's own list of packages
    "systemctl": 2,  # one query for all units, and the last look of a run
    "chronyc": 2,
    "nft": 1,
}
"""At most so many runs of a program more than Salt itself has."""


@pytest.fixture(scope="module")
def machine(boot_lab):
    infra = {"infra_hosts": {"10.10.10.10": {"infra_seq": 1}}, **DISTRO, "repo_enabled": False}
    machine = boot_lab(pillar={"infra": infra}).machine("infra-1")
    machine.write("/srv/salt/nop.sls", bench_apply.NOP)
    return machine


def programs(machine, sls):
    started = bench_apply.counted(machine, sls, "--local")["processes"]
    names = [Path(program.split()[0]).name for program in started]
    return {name: names.count(name) for name in names}


def excess(started, salt):
    """Programs that ran more often than they may, and how often more than Salt's own."""
    more = {name: count - salt.get(name, 0) for name, count in started.items()}
    return {name: count for name, count in more.items() if count > PROGRAMS.get(name, 0)}


def test_an_apply_without_changes_runs_few_programs(machine):
    for _ in range(2):
        machine.apply()
    salt = programs(machine, "nop")
    # A slow answer of a daemon is asked for again: the least of several applies is what it costs.
    over = [excess(programs(machine, "infra"), salt) for _ in range(3)]
    assert {} in over, over
