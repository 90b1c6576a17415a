"""Programs that are given to the tests, and the summary of which test ran which."""

import json
import os
import stat
import struct
import subprocess
import sys

import programs
import pytest
from lab import vendor

REPO = programs.REPO
HERE = {"x86_64": 62, "aarch64": 183}[os.uname().machine]
OTHER = {62: (183, "aarch64"), 183: (62, "x86_64")}[HERE]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("INFRA_PROGRAMS", str(tmp_path))
    monkeypatch.delenv("INFRA_PACKAGING", raising=False)
    programs.given.cache_clear()
    yield tmp_path
    programs.given.cache_clear()


def put(path, text, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)


def says(version):
    return f"#!/bin/sh\necho '{version}'\n"


def elf(machine):
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)


def test_a_given_program_takes_the_place_of_debians_and_of_the_stand_in(folder):
    put(folder / "victoria-logs", says("victoria-logs-20250718-tags-v1.26.0-0-g7c0626e0b"))
    put(folder / "alertmanager", says("alertmanager, version 0.33.1 (branch: HEAD)"))
    put(folder / "grafana/bin/grafana", says("grafana version 13.1.1"))
    for release in ("", "trixie"):
        path, use = programs.locate("alertmanager", release)
        assert path == str(folder / "alertmanager")
        assert use == programs.Use("alertmanager", "0.33.1", programs.GIVEN)
    assert programs.locate("victoria-logs")[1].version == "1.26.0"
    path, use = programs.locate("grafana")
    assert (path, use.version) == (str(folder / "grafana"), "13.1.1")
    assert programs.variants("alertmanager") == {"given": ""}
    assert len(programs.variants("victoria-metrics")) == 2
    assert programs.is_real("victoria-logs")
    assert not programs.is_real("vector")
    assert programs.locate("vector")[1].origin == programs.STANDIN


FAULTS = {
    "wrong architecture": ("vmalert", elf(OTHER[0]), 0o755, f"this one is for {OTHER[1]}"),
    "unknown architecture": ("vmalert", elf(243), 0o755, "this one is for ELF machine 243"),
    "not executable": ("vmalert", says("1.2.3"), 0o644, "expected an executable file"),
    "no program": ("vmalert", elf(HERE), 0o755, "cannot be run: "),
    "an error": ("vmalert", "#!/bin/sh\necho no >&2\nexit 3\n", 0o755, "ended with 3: no"),
    "no tree": ("grafana", says("1.2.3"), 0o755, "expected an unpacked tree with bin/grafana"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_program_that_is_of_no_use_is_one_error_that_names_it(folder, fault):
    name, content, mode, expected = FAULTS[fault]
    put(folder / name, content, mode)
    put(folder / "vmagent", says("vmagent-20260821-tags-v1.148.0-0-gb7"))
    with pytest.raises(programs.ProgramsError) as error:
        programs.check()
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"PROGRAMS={folder}: {name}: ")
    assert expected in line


def test_all_programs_of_no_use_are_named_at_once(folder):
    put(folder / "vmalert", says("1.2.3"), 0o644)
    put(folder / "vector", elf(OTHER[0]))
    with pytest.raises(programs.ProgramsError) as error:
        programs.check()
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["vmalert", "vector"]


def test_a_program_that_does_not_answer_is_not_waited_for_for_ever(folder, monkeypatch):
    monkeypatch.setattr(programs, "ANSWER_SECONDS", 0.2)
    put(folder / "vmalert", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(programs.ProgramsError, match="vmalert: `-version` was not answered"):
        programs.check()


def test_a_folder_without_programs_is_an_error_and_other_files_are_told(folder):
    with pytest.raises(programs.ProgramsError, match="expected at least one of victoria-metrics"):
        programs.check()
    put(folder / "victoria-logs-prod", says("1.2.3"))
    put(folder / "vmalert", says("vmalert-20260821-tags-v1.148.0-0-gb7ef6cc3e"))
    programs.given.cache_clear()
    assert programs.check() == [
        f"vmalert 1.148.0, given: {folder}/vmalert",
        "not used, no program's name: victoria-logs-prod",
    ]


SETTINGS = [
    ({"INFRA_PROGRAMS": "/no/such/folder"}, "PROGRAMS=/no/such/folder: expected a folder"),
    ({"INFRA_PACKAGING": "upstraem"}, "PACKAGING=upstraem: expected upstream, or distro"),
    (
        {"INFRA_PACKAGING": "upstream", "INFRA_PROGRAMS": "/tmp"},
        "PROGRAMS and PACKAGING=upstream: expected one of them",
    ),
]


@pytest.mark.parametrize(
    ("command", "setting", "expected"),
    [
        (["-m", "pytest", "test/unit", "-q"], *SETTINGS[0]),
        *((["test/support/programs.py"], *setting) for setting in SETTINGS),
    ],
)
def test_a_setting_that_cannot_be_met_ends_a_run_before_it_begins(command, setting, expected):
    own = ("INFRA_P", "PYTEST")
    env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    done = subprocess.run(
        [sys.executable, *command], cwd=REPO, env={**env, **setting}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert expected in done.stdout + done.stderr
    assert " passed" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_vendors_repository_that_does_not_answer_is_one_error(monkeypatch):
    monkeypatch.setenv("INFRA_PACKAGING", "upstream")
    monkeypatch.delenv("INFRA_PROGRAMS", raising=False)
    nowhere = vendor.Archive("http://127.0.0.1:9", "generic", "main", "http://127.0.0.1:9/key")
    monkeypatch.setattr(programs.vendor, "archive", lambda: nowhere)
    expected = "^PACKAGING=upstream: http://127.0.0.1:9/dists/generic/InRelease cannot be read: "
    with pytest.raises(programs.ProgramsError, match=expected):
        programs.check()


def test_the_vendors_repository_is_the_one_of_the_formulas_own_list():
    archive = vendor.archive()
    assert archive.uri.startswith("https://")
    assert archive.components == "main"
    assert archive.key.startswith("https://")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("victoria-metrics-20260821-tags-v1.148.0-0-gb7ef6cc3e", "1.148.0"),
        ("alertmanager, version 0.33.1 (branch: HEAD, revision: 0.33.1-5)\n go 1.25.1", "0.33.1"),
        ("vector 0.57.0 (x86_64-unknown-linux-gnu 3ebcdd4 2026-07-01)", "0.57.0"),
        ("grafana version 13.1.1", "13.1.1"),
        ("node_exporter, version 1.0.0-rc.1 (branch: )", "1.0.0-rc.1"),
        ("\n", "unknown"),  # Debian's VictoriaMetrics
        ("go1.24.4 on 10.10.10.10.10", "unknown"),
    ],
)
def test_the_version_is_read_from_what_a_program_says_of_itself(text, version):
    assert programs.version_in(text) == version


def test_the_programs_of_a_machine_are_read_from_its_packages():
    uses = [
        programs.Use("alertmanager", "0.33.1", programs.GIVEN),
        programs.Use("amtool", "0.28.1-1", "Debian trixie"),
        programs.Use("vector", "", programs.STANDIN),
    ]
    test = "tests of the infra formula <root@localhost>"
    packages = [
        ("alertmanager", "9.0.0-1", test, f"alertmanager, for tests{programs.describe(uses)}"),
        ("nginx", "1.22.1-9", "Somebody <x@example.org>", "a server"),
        ("victoria-metrics", "1.79.5", "Team <team+pkg-go@tracker.debian.org>", "a store"),
        ("victoria-logs", "1.52.0-2", "Ruohang Feng <rh@vonng.com>", "VictoriaLogs"),
        ("grafana-plugins", "9.0.0-1", test, "grafana-plugins, for tests"),
        ("chrony", "", "x@debian.org", "removed"),
        ("bash", "5.2", "x@debian.org", "no program of ours"),
    ]
    listing = "".join("\t".join(row) + "\n" for row in packages)
    assert programs.of_packages(listing, "bookworm") == [
        *uses,
        programs.Use("nginx", "1.22.1-9", "Debian bookworm"),
        programs.Use("victoria-metrics", "1.79.5", "Debian bookworm"),
        programs.Use("victoria-logs", "1.52.0-2", programs.VENDOR),
    ]


def test_the_summary_says_which_file_ran_which_program_of_which_version():
    rows = [
        ["test/a.py", "vmalert", "1.148.0", "given"],
        ["test/a.py", "amtool", "0.33.1", "given"],
        ["test/a.py", "vector", "", "stand-in"],
    ]
    later = [["test/a.py", "vmalert", "1.148.0", "given"], ["test/b.py", "nginx", "1.22", "Debian"]]
    reports = [
        [("programs", json.dumps(rows)), ("times", 1)],
        [],
        [("programs", json.dumps(later))],
    ]
    assert programs.summary(reports) == [
        "test/a.py",
        "  given: amtool 0.33.1, vmalert 1.148.0",
        "  stand-in: vector",
        "test/b.py",
        "  Debian: nginx 1.22",
    ]


def test_what_a_test_ran_is_noted_for_its_file(folder, monkeypatch):
    put(folder / "vmalert", says("vmalert-20260821-tags-v1.148.0-0-gb7ef6cc3e"))
    monkeypatch.setattr(programs, "_noted", {})
    programs.program("vmalert")
    programs.program("vmalert")
    ((key, value),) = programs.noted()
    own = "test/unit/test_programs.py"
    assert (key, json.loads(value)) == ("programs", [[own, "vmalert", "1.148.0", "given"]])
    assert programs.noted() == []


def test_a_program_of_a_given_folder_stays_as_it_is(folder):
    put(folder / "vmalert", says("vmalert-20260821-tags-v1.148.0-0-gb7ef6cc3e"))
    before = (folder / "vmalert").stat()
    programs.check()
    after = (folder / "vmalert").stat()
    assert (after.st_mtime_ns, stat.S_IMODE(after.st_mode)) == (before.st_mtime_ns, 0o755)
