"""Backups: whole or refused, encrypted by gpg and age, a database as of one moment."""

import io
import json
import os
import sqlite3
import subprocess
import tarfile
import threading

import programs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula.backup import archive, node
from infra_formula.errors import InfraError

CONTENT = {"files/a": b"one", "metrics/x/1": os.urandom(100_000), "silences.json": b"[]"}


def written(path, recipient="", files=CONTENT):
    with archive.create(str(path), recipient) as writer:
        for name, content in files.items():
            writer.add_bytes(name, content)
        writer.close(minion="infra-1")
    return path


def read(path, identity=""):
    found = {}
    archive.read(
        str(path), lambda name, _m, stream: found.__setitem__(name, stream.read()), identity
    )
    return found


def test_what_is_written_is_read_and_only_root_reads_it(tmp_path):
    path = written(tmp_path / "b")
    assert read(path) == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_backup_replaces_nothing_and_follows_no_link(tmp_path):
    (tmp_path / "victim").write_text("x")
    (tmp_path / "b").symlink_to(tmp_path / "victim")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("victim", "b", "dangling"):
        with pytest.raises(InfraError, match="replaces nothing"):
            written(tmp_path / name)
    assert (tmp_path / "victim").read_text() == "x"
    assert not (tmp_path / "nowhere").exists()


def test_nothing_is_left_of_a_backup_that_fails(tmp_path):
    with pytest.raises(FileNotFoundError), archive.create(str(tmp_path / "b")) as writer:
        writer.add_path("files/a", tmp_path / "not-there")
    assert not list(tmp_path.iterdir())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_or_changed_archive_is_refused(tmp_path, data):
    path = tmp_path / "whole"
    if not path.exists():
        written(path)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(10, len(whole) - 1))  # before that, a time of gzip's own
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(InfraError):
        read(tmp_path / "damaged")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=200))
def test_anything_else_is_refused(tmp_path, junk):
    (tmp_path / "junk").write_bytes(junk)
    with pytest.raises(InfraError):
        read(tmp_path / "junk")
    (tmp_path / "junk").write_bytes(b"\x1f\x8b" + junk)
    with pytest.raises(InfraError):
        read(tmp_path / "junk")


def hostile(path, *members, manifest=True):
    with tarfile.open(path, "w:gz") as tar:
        names = {}
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            names[info.name] = {"size": len(content), "sha256": "0"}
        if manifest:
            text = json.dumps({"format": 1, "files": names}).encode()
            info = tarfile.TarInfo("manifest.json")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


@pytest.mark.parametrize(
    "entry",
    [
        member("../etc/passwd"), member("/etc/passwd"), member("files/../../x"), member("files/."),
        member("files/a", tarfile.SYMTYPE, "/etc/shadow"), member("files/a", tarfile.LNKTYPE, "b"),
        member("files/a", tarfile.CHRTYPE), member("files/a", tarfile.DIRTYPE),
        member("files/a\nb"), member("files//a"), member(""), member("files/a"),
    ],
)  # fmt: skip
def test_a_hostile_member_is_refused(tmp_path, entry):
    with pytest.raises(InfraError):
        read(hostile(tmp_path / "h", entry))


@pytest.mark.parametrize(
    "name",
    [
        "etc/passwd", "files/etc/passwd", "files/root/.ssh/authorized_keys", "other",
        "files/var/lib/infra/status.json",
    ],
)  # fmt: skip
def test_only_what_a_backup_holds_is_restored(tmp_path, name):
    with pytest.raises(InfraError, match="not expected"):
        node.inspect(str(written(tmp_path / "b", files={name: b"x"})))


def test_a_backup_without_a_ca_is_none(tmp_path):
    with pytest.raises(InfraError, match="CA in it cannot be used"):
        node.inspect(str(written(tmp_path / "b", files={"silences.json": b"[]"})))


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", 2)
    path = written(tmp_path / "b")
    monkeypatch.undo()
    with pytest.raises(InfraError, match="later release"):
        read(path)


@pytest.fixture(scope="module")
def gpg_keys(tmp_path_factory):
    home = tmp_path_factory.mktemp("g")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--pinentry-mode", "loopback", "--quick-generate-key", "b@example.com",
                    "default", "default", "never"], check=True, timeout=120)  # fmt: skip
    public, secret = home / "public", home / "secret"
    subprocess.run([*gpg, "--armor", "--output", public, "--export"], check=True, timeout=60)
    subprocess.run([*gpg, "--pinentry-mode", "loopback", "--armor", "--output", secret,
                    "--export-secret-keys"], check=True, timeout=60)  # fmt: skip
    secret.chmod(0o600)
    yield str(public), str(secret)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True, timeout=60)


def test_gpg_encrypts_for_a_recipient_and_only_his_key_reads_it(tmp_path, gpg_keys):
    public, secret = gpg_keys
    path = written(tmp_path / "b", public)
    assert b"silences" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert read(path, secret) == CONTENT
    with pytest.raises(InfraError, match="gpg"):
        read(path)
    damaged = bytearray(path.read_bytes())
    damaged[-2000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InfraError):
        read(path, secret)
    path.write_bytes(damaged[:-5000])
    with pytest.raises(InfraError):
        read(path, secret)


def test_a_recipient_that_cannot_be_encrypted_for_leaves_nothing(tmp_path):
    (tmp_path / "no-key").write_text("no key")
    for recipient in (
        str(tmp_path / "no-key"),
        "nobody@example.invalid",
        "/not/there",
        "a;b",
        "-x",
    ):
        with pytest.raises(InfraError):
            written(tmp_path / "b", recipient)
    assert [p.name for p in tmp_path.iterdir()] == ["no-key"]


def test_age_encrypts_for_a_recipient(tmp_path, monkeypatch):
    folder = programs.unpacked("age", "") / "usr/bin"
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    key = tmp_path / "key"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True, timeout=60)
    public = next(line.split()[-1] for line in key.read_text().splitlines() if "public" in line)
    path = written(tmp_path / "b", public)
    assert read(path, str(key)) == CONTENT
    with pytest.raises(InfraError, match="identity: missing"):
        read(path)


def test_a_key_that_others_read_is_refused(tmp_path, gpg_keys):
    path = written(tmp_path / "b", gpg_keys[0])
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(InfraError, match="chmod 600"):
        read(path, str(tmp_path / "open"))


def test_a_database_is_copied_as_of_one_moment_while_it_is_written(tmp_path):
    """Each transaction adds two rows: a copy with an odd number would be of no moment."""
    source = tmp_path / "grafana.db"
    ended = threading.Event()
    with sqlite3.connect(source) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE t (x)")
    made.close()

    def write():
        here = sqlite3.connect(source, timeout=60)
        while not ended.is_set():
            with here:
                here.execute("INSERT INTO t VALUES (randomblob(20000))")
                here.execute("INSERT INTO t VALUES (1)")
        here.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            copy = tmp_path / f"copy-{number}"
            node.copy_database(source, copy)
            here = sqlite3.connect(copy)
            assert here.execute("SELECT count(*) FROM t").fetchone()[0] % 2 == 0
            assert here.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            here.close()
    finally:
        ended.set()
        writer.join()


def test_a_damaged_database_is_no_backup(tmp_path):
    (tmp_path / "grafana.db").write_bytes(b"no database" * 1000)
    with pytest.raises(InfraError, match=r"grafana\.db"):
        node.copy_database(tmp_path / "grafana.db", tmp_path / "copy")
