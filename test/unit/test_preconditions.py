"""What a machine must be like for the demo, the tests and an apply: each lack is one sentence."""

import dataclasses
import os

import pytest
from lab import LabError, aptconf, preconditions
from lab.preconditions import NEEDED_MIB, Facts, refusal

FIT = Facts()
SERVER = dataclasses.replace(FIT, namespaces=False, overlay="no overlay", archive="no archive")


def but(**lack):
    return dataclasses.replace(FIT, **lack)


REFUSED = [
    ("demo", {"kernel": "Darwin"}, "needs Linux; this machine runs Darwin"),
    ("demo", {"root": False}, "`make demo` needs root: it makes network namespaces and mounts"),
    ("test", {"root": False}, "Run `sudo make test`"),
    ("lab", {"root": False}, "The lab needs root"),
    ("apply", {"root": False}, "`make apply` needs root: it configures the whole machine"),
    ("apply", {"systemd": False}, "systemd does not run this machine"),
    ("apply", {"distribution": ("arch",), "name": "Arch Linux"}, "this machine runs Arch Linux"),
    ("demo", {"machine": "armv7l"}, "supports x86_64 and aarch64; this one is armv7l"),
    ("demo", {"apt": False, "name": "Rocky Linux 9"}, "Rocky Linux 9 does not have them"),
    ("demo", {"namespaces": False}, "in a container, run it as a privileged one"),
    ("test", {"overlay": "wrong fs type"}, "cannot: wrong fs type. In a container that folder"),
    ("demo", {"cgroups": False}, "needs a writable cgroup2 file system"),
    ("demo", {"free": 500}, f"needs {NEEDED_MIB['demo']} MiB of free disk space in /var/lib; 500"),
    ("test", {"free": NEEDED_MIB["demo"]}, "`make test` needs"),
    ("apply", {"free": 100}, "100 MiB are free"),
    ("demo", {"archive": "http://x/InRelease cannot be read: no route."}, "no route."),
    ("test", {"archive": "http://x/InRelease cannot be read: no route."}, "no route."),
]


@pytest.mark.parametrize(("purpose", "lack", "said"), REFUSED)
def test_what_a_machine_lacks_is_one_sentence(purpose, lack, said):
    why = refusal(purpose, but(**lack))
    assert said in why
    assert "\n" not in why


@pytest.mark.parametrize(
    ("purpose", "facts"),
    [
        ("demo", FIT),
        ("test", FIT),
        ("apply", FIT),
        ("lab", FIT),
        ("demo", but(systemd=False)),
        ("demo", but(machine="aarch64")),
        ("demo", but(distribution=("ubuntu", "debian"))),
        ("lab", but(archive="no archive", free=0)),
        ("apply", SERVER),
        ("apply", dataclasses.replace(SERVER, distribution=("rocky", "rhel"), apt=False)),
    ],
)
def test_a_machine_that_is_fit_is_not_refused(purpose, facts):
    assert refusal(purpose, facts) is None


def test_each_fact_of_a_machine_can_refuse_something():
    told = {name for _, lack, _ in REFUSED for name in lack}
    assert {field.name for field in dataclasses.fields(Facts)} - told == {"folder"}


def test_the_first_release_is_that_of_the_first_platform():
    from lab.suites import load

    assert load().platform().release == aptconf.FIRST_RELEASE


def test_a_machine_of_another_distribution_is_served_by_debians_own_archive(tmp_path, monkeypatch):
    ubuntu = tmp_path / "os-release"
    ubuntu.write_text('NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy\n')
    (tmp_path / "sources.list").write_text("deb http://archive.ubuntu.com/ubuntu jammy main\n")
    monkeypatch.setattr(aptconf, "OS_RELEASE", ubuntu)
    found = aptconf.for_release("bookworm", tmp_path)
    assert [source.suite for source in found] == [
        "bookworm",
        "bookworm-updates",
        "bookworm-security",
    ]
    assert {source.uri for source in found} == {
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
    }


def test_an_archive_that_cannot_be_named_is_a_reason_as_well(monkeypatch):
    def refuse(release):
        raise LabError("The apt sources of this machine name no archive of Debian bookworm.")

    monkeypatch.setattr(aptconf, "for_release", refuse)
    assert "name no archive" in preconditions._archive_error()


def test_a_folder_that_is_not_there_yet_has_the_room_of_the_one_above(tmp_path, monkeypatch):
    monkeypatch.setenv("INFRA_LAB_STATE", str(tmp_path / "a" / "b"))
    facts = preconditions.look("lab")
    assert facts.folder == str(tmp_path)
    assert facts.free > 0
    assert os.listdir(tmp_path) == []
