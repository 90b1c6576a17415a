"""What `test=True` tells of packages on a machine that has none of them, beside what Salt tells."""

import subprocess

import pytest
from infra_formula import to_install
from infra_formula.minion import Minion

from functional.test_saltenv import parameters

UPDATE = ["apt-get", "-q", "update"]
LACKING = "infra-no-such-package"


@pytest.fixture
def updates(monkeypatch):
    """Commands that have apt read its lists anew."""
    own, found = subprocess.Popen.__init__, []

    def start(process, args, *more, **given):
        if "update" in args:
            found.append(list(args))
        return own(process, args, *more, **given)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    return found


def test_the_lists_of_packages_are_read_once_in_a_run(modules, updates):
    run = modules.state.apply("infra", pillar=parameters(True), test=True).raw
    told = [s for s in run.values() if "would be installed" in str(s["comment"])]
    assert len(told) > 5
    assert updates == [UPDATE]


@pytest.mark.parametrize(
    "packages",
    [
        ["prometheus-alertmanager"],
        ["coreutils"],
        ["coreutils", "prometheus-alertmanager", LACKING],
        [LACKING],
        ["prometheus-alertmanager", "prometheus-snmp-exporter"],
    ],
)
def test_it_is_what_salt_itself_tells(loaders, states, packages):
    minion = Minion(loaders.modules, loaders.opts, loaders.grains, {})
    salt = states.pkg.installed(name="x", pkgs=packages, install_recommends=False, test=True)
    told = to_install.foretell(minion, "x", packages)
    if packages == ["coreutils"]:
        assert told is None
        assert salt.result is True
    else:
        assert told["changes"] == salt.changes
        assert told["result"] is salt.result is None
        assert told["comment"] == salt.comment


@pytest.mark.parametrize("package", ["nginx=1.22", "nginx:arm64", "nginx (>= 1)", "NGINX", ""])
def test_what_is_more_than_a_name_is_left_to_salt(loaders, package):
    minion = Minion(loaders.modules, loaders.opts, loaders.grains, {})
    assert to_install.foretell(minion, "x", ["coreutils", package]) is None


def test_on_other_systems_salt_tells(loaders):
    minion = Minion(loaders.modules, loaders.opts, {"os_family": "RedHat"}, {})
    assert to_install.foretell(minion, "x", [LACKING]) is None


def test_a_later_run_of_the_same_process_reads_them_anew(loaders, updates, monkeypatch):
    minion, now = Minion(loaders.modules, loaders.opts, loaders.grains, {}), [1000.0]
    monkeypatch.setattr(to_install.time, "monotonic", lambda: now[0])
    for later, read in ((0, 1), (1, 1), (299, 1), (301, 2)):
        now[0] = 1000.0 + later
        to_install.foretell(minion, "x", [LACKING])
        assert updates == [UPDATE] * read
