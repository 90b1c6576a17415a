"""Many rounds of being killed and of power cuts, each at a random moment of an apply.

Each round changes the pillar, and every third one takes packages off as well; then an apply is
begun and ended twice, so that the second one finds what the first left half done. After that an
apply has to go well, and after every fifth round a further one has to find nothing to do.

The rounds of one kind go on after one that failed, so that the table of faults
(docs/reliability.md) tells of all of them.
"""

import os

import pytest
from fault_site import site as boot_site
from lab.host import LabError

KILLS = int(os.environ.get("INFRA_SOAK_KILLS", "50"))
CUTS = int(os.environ.get("INFRA_SOAK_CUTS", "20"))
IN_A_ROW = 2
LASTING = ("nginx", "vmetrics", "vlogs", "alertmanager", "vmalert")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    name = f"soak-{os.getpid()}"
    with boot_site(tmp_path_factory.mktemp("soak"), name=name) as found:
        found.infra.apply()
        found.mended()
        yield found


def rounds(site, count, harm, capsys, record_property):
    """Do harm so many times; returns what went wrong, by round."""
    faults, back, running_then, number = {}, [], 0, 0
    while number < count:
        site.vary(number)
        if number % 3 == 0:
            site.strip(number)
        try:
            for _ in range(IN_A_ROW):
                number += 1
                running = site.start_apply()
                site.moment()
                running_then += running.poll() is None
                harm(site)
                running.communicate()
                back.append(site.back_after(LASTING))
            site.mended(steady=number % 10 == 0)
            outcome = "mended"
        except (AssertionError, LabError) as err:
            faults[number] = str(err)
            outcome = f"FAULT: {str(err)[:3000]}"
            site.infra.apply(check=False)
        with capsys.disabled():
            print(f"\n{harm.__name__} {number}/{count}: {outcome}", end="", flush=True)
    record_property("times", count)
    record_property(
        "seen",
        f"{running_then} of them while the apply ran, {len(faults)} with a fault; served again "
        f"after {max(back, default=0):.1f} s at most",
    )
    return faults


def kill_9(site):
    """End salt-call at once; what it had started goes on."""
    site.infra.run(["pkill", "-KILL", "-f", "bin/salt-call"], check=False)


def power_cut(site):
    """End the whole machine at once, and switch it on again."""
    site.infra.kill()
    site.infra.boot()


@pytest.mark.fault(
    "`kill -9` of salt-call at random moments of an apply", "the next apply converges"
)
def test_kill_9_at_random_moments(site, capsys, record_property):
    assert rounds(site, KILLS, kill_9, capsys, record_property) == {}


@pytest.mark.fault(
    "power cuts at random moments of an apply", "it boots, serves, and the next apply converges"
)
def test_power_cuts_at_random_moments(site, capsys, record_property):
    assert rounds(site, CUTS, power_cut, capsys, record_property) == {}
