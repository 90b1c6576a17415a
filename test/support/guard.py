"""Tests without a machine of their own leave the machine that they run on alone.

A double that no longer fits would let the code through to the real thing.
"""

import functools
from pathlib import Path

import pytest
from infra_formula import process, systemd
from infra_formula.fileset import atomic, file_set, originals

CHANGING = {
    "certbot", "firewall-cmd", "groupadd", "resolvconf", "systemctl", "ufw",
    "update-ca-certificates", "update-ca-trust", "useradd", "userdel",
}  # fmt: skip
"""Programs that change a machine; package managers run with a root of their own here."""
HERE = ("/boot/", "/etc/", "/root/", "/usr/", "/var/lib/infra", "/www/", "/data/", "/infra/")


def refuse(path):
    assert not f"{Path(path).absolute()}/".startswith(HERE), f"a test would write to {path}"


@pytest.fixture(autouse=True)
def machine_is_left_alone():
    """Fail in place of writing to this machine, or running what changes it."""
    # Not by the fixture `monkeypatch`, which would then be undone after all others.
    with pytest.MonkeyPatch.context() as patch:
        _guard(patch, process, "run", _check_command)
        _guard(patch, atomic, "write", lambda path, *_args, **_kwargs: refuse(path))
        _guard(patch, originals, "restore", refuse)
        _guard(patch, file_set.FilePlan, "apply", lambda plan, **_: refuse(plan.file_set.root))
        _guard(patch, file_set.FileSet, "remove", _check_removal)
        # The units of this machine are none of a test's.
        patch.setattr(systemd, "SNAPSHOT", systemd.Snapshot())
        patch.setattr(systemd, "_RUNNING", Path("/nonexistent"))
        yield


def _guard(patch, module, name, check):
    real = getattr(module, name)

    @functools.wraps(real)
    def guarded(*args, **kwargs):
        check(*args, **kwargs)
        return real(*args, **kwargs)

    patch.setattr(module, name, guarded)


def _check_command(command, **_kwargs):
    changes = Path(command[0]).name in CHANGING and not {"show", "--version"} & {*command}
    assert not changes, f"a test would run {command}"


def _check_removal(some, test=False):
    if not test:
        refuse(some.root)
