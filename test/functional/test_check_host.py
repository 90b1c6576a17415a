"""`make demo`, `make test` and `make apply` on a machine that cannot run them: tried for real.

Each lack is made for one process: another user, a capability that is gone, a namespace without a
network, a full disk. Then one sentence says why, and nothing was installed, written or mounted.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = ("unshare", "--mount", "--propagation", "private", "--", "sh", "-ec")
UBUNTU = 'ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME="Ubuntu 24.04 LTS"\nVERSION_CODENAME=noble\n'

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="lacks are made by root")


def make(target, *around, **environment):
    """Run make below another program; returns its status and what it said on standard error."""
    command = [*around, "make", "--no-print-directory", "-C", str(ROOT), target]
    # `make test` runs this: what it tells the makes below it changes what they print.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**ours, **environment},
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.stdout == ""
    return done.returncode, said


def below(script, target):
    """Run make in a mount namespace of its own, after a script that mounts things there."""
    return make(target, *PRIVATE, f'{script}\nexec "$@"', "sh")


def refused(outcome, said):
    status, lines = outcome
    assert status != 0
    assert len(lines) == 1, lines
    assert said in lines[0]


@pytest.mark.parametrize("target", ["demo", "test", "apply"])
def test_another_user_than_root(target):
    anybody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    refused(make(target, *anybody, HOME="/nonexistent"), "needs root")


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_container_that_may_not_mount(target):
    unprivileged = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    refused(make(target, *unprivileged), "in a container, run it as a privileged one")


def test_a_machine_without_a_network():
    refused(make("demo", "unshare", "--net", "--"), "InRelease cannot be read")


def test_a_folder_on_which_no_overlay_can_be_mounted(tmp_path):
    for part in ("lower", "upper", "work", "root"):
        (tmp_path / part).mkdir()
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = (
        f"mount -t overlay overlay -o {layers} {tmp_path}/root\n"
        f"export INFRA_LAB_STATE={tmp_path}/root/labs"
    )
    refused(below(script, "demo"), "cannot")


@pytest.mark.parametrize("target", ["demo", "test"])
def test_too_little_room(target, tmp_path):
    script = f"mount -t tmpfs -o size=64m tmpfs {tmp_path}\nexport INFRA_LAB_STATE={tmp_path}/labs"
    refused(below(script, target), "MiB of free disk space")


@pytest.mark.parametrize("target", ["demo", "test", "apply"])
@pytest.mark.parametrize("version", [None, "3.9.2"])
def test_no_python_or_one_that_is_too_old(target, version, tmp_path):
    old = tmp_path / "python3"
    if version:
        old.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}"\nexit 1\n')
        old.chmod(0o755)
    said = f"this machine has Python {version}" if version else "install python3"
    refused(make(target, PYTHON=str(old)), said)


def test_a_machine_whose_first_process_is_not_systemd():
    script = "mount -t tmpfs tmpfs /run"
    refused(below(script, "apply"), "systemd does not run this machine")


def check(purpose, release, tmp_path):
    """Ask tools/check-host on a machine that says it is of another distribution."""
    file = tmp_path / "os-release"
    file.write_text(release)
    script = f'mount --bind {file} "$(readlink -f /etc/os-release)"\nexec "$@"'
    command = [*PRIVATE, script, "sh", str(ROOT / "tools" / "check-host"), purpose]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_ubuntu_is_served_by_debians_own_archive(tmp_path):
    done = check("demo", UBUNTU, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_distribution_that_the_formula_does_not_know(tmp_path):
    systemd = Path("/run/systemd/system").is_dir()
    done = check("apply", 'ID=arch\nPRETTY_NAME="Arch Linux"\n', tmp_path)
    assert done.returncode == 1
    assert ("runs Arch Linux" if systemd else "systemd does not run") in done.stderr


def test_this_machine_is_fit():
    done = subprocess.run(
        [ROOT / "tools" / "check-host", "demo"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
