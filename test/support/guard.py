"""Tests without a machine of their own leave the machine that they run on alone.

A double that no longer fits would let the code through to the real thing.
"""

import functools
from pathlib import Path

import pytest
from infra_formula import process
from infra_formula.fileset import atomic, file_set, originals

CHANGING = {
    "apt-get", "certbot", "dnf", "dpkg", "firewall-cmd", "groupadd", "resolvconf", "systemctl",
    "ufw", "update-ca-certificates", "update-ca-trust", "useradd", "userdel", "yum",
}  # fmt: skip
"""Programs that change a machine."""
HERE = ("/boot/", "/etc/", "/root/", "/usr/", "/var/lib/infra", "/www/", "/data/", "/infra/")


def refuse(path):
    assert not f"{Path(path).absolute()}/".startswith(HERE), f"a test would write to {path}"


@pytest.fixture(autouse=True)
def machine_is_left_alone(monkeypatch):
    """Fail in place of writing to this machine, or running what changes it."""

    def guard(module, name, check):
        real = getattr(module, name)

        @functools.wraps(real)
        def guarded(*args, **kwargs):
            check(*args, **kwargs)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, guarded)

    def check_command(command, **_kwargs):
        changes = Path(command[0]).name in CHANGING and not {"show", "--version"} & {*command}
        assert not changes, f"a test would run {command}"

    def check_removal(some, test=False):
        if not test:
            refuse(some.root)

    guard(process, "run", check_command)
    guard(atomic, "write", lambda path, *_args, **_kwargs: refuse(path))
    guard(originals, "restore", refuse)
    guard(file_set.FilePlan, "apply", lambda plan, **_kwargs: refuse(plan.file_set.root))
    guard(file_set.FileSet, "remove", check_removal)
