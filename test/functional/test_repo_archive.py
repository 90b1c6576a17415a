"""Who may have written an offline package, and what it may replace."""

import contextlib
import gzip
import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula.fileset import renameat2, root_only
from infra_formula.minion import Minion
from infra_formula.repository import archive as repository_archive
from infra_formula.repository import (
    client_sources,
    client_trust,
    known_archives,
    offline_package,
    releases,
    signing,
)
from infra_formula.repository import published as repository
from repo_samples import Client, Key, deb, rpm, run
from salt.exceptions import CommandExecutionError, SaltInvocationError

pytest_plugins = ["repo_fixtures"]

STRANGER = 12345
"""A user of the machine who is not root."""


@pytest.fixture
def place():
    """A folder that only root can write to, and others can enter."""
    folder = tempfile.mkdtemp(prefix="ra-", dir="/tmp")
    Path(folder).chmod(0o755)
    yield Path(folder)
    shutil.rmtree(folder)


def unsigned_archive(path, packages=("web", "base"), version="1.0"):
    """An archive as Pigsty makes it: one flat folder, its packages listed, and no signature."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp, "pigsty")
        for name in packages:
            deb(folder, name, version)
        text = run("dpkg-scanpackages", "--multiversion", ".", cwd=folder)
        (folder / "Packages.gz").write_bytes(gzip.compress(text.encode()))
        names = sorted(file.name for file in folder.glob("*.deb"))
        (folder / "repo_complete").write_text(run("sha256sum", *names, cwd=folder))
        run("tar", "-czf", path, "-C", tmp, "pigsty")
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return unsigned_archive(tmp_path_factory.mktemp("sample") / "pkg.tgz")


@pytest.fixture
def other(tmp_path):
    """Home of a repository on another machine."""
    return str(tmp_path / "other")


@pytest.fixture
def unpack(states, other, repo_key):
    def call(archive, test=False, home=other, **options):
        return states.infra_repo.unpacked(
            name="pigsty", home=home, archive=str(archive), key=repo_key, test=test, **options
        )

    return call


# -- who may have written it ---------------------------------------------------------------------


def acl(path, user=STRANGER, permissions=6):
    """Let one more user read and write a file by a POSIX ACL, as setfacl does."""
    entries = [(1, 6, 0xFFFFFFFF), (2, permissions, user), (4, 4, 0xFFFFFFFF),
               (16, permissions | 4, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]  # fmt: skip
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", value)


def folder_of(mode, owner=0, depth=1):
    def prepare(base, file):
        folder = base.joinpath(*"abc"[:depth])
        folder.mkdir(parents=True)
        os.chown(base / "a", owner, owner)
        (base / "a").chmod(mode)
        return Path(shutil.move(file, folder / "pkg.tgz"))

    return prepare


def changed(change):
    def prepare(_base, file):
        change(file)
        return file

    return prepare


def linked(base, file):
    (base / "link.tgz").symlink_to(file)
    return base / "link.tgz"


def linked_folder(owner):
    def prepare(base, file):
        (base / "real").mkdir()
        shutil.move(file, base / "real/pkg.tgz")
        (base / "way").symlink_to("real")
        os.chown(base / "way", owner, owner, follow_symlinks=False)
        return base / "way/pkg.tgz"

    return prepare


def linked_in_sticky(base, file):
    """Root's link, which its owner cannot have put into this folder for sure."""
    (base / "sticky").mkdir()
    (base / "sticky").chmod(0o1777)
    (base / "real").mkdir()
    shutil.move(file, base / "real/pkg.tgz")
    (base / "sticky/way").symlink_to(base / "real")
    return base / "sticky/way/pkg.tgz"


def unusual(make):
    def prepare(base, _file):
        make(base / "x")
        return base / "x"

    return prepare


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


UNTRUSTED = {
    "another user's file": (changed(lambda f: os.chown(f, STRANGER, 0)), "it belongs to 12345"),
    "group may write": (changed(lambda f: f.chmod(0o664)), "others can write to it"),
    "all may write": (changed(lambda f: f.chmod(0o646)), "others can write to it"),
    "one more may write": (changed(acl), "others can write to it .*ACL"),
    "symbolic link": (linked, "it is a symbolic link"),
    "hard link": (changed(lambda f: os.link(f, f.with_name("2"))), r"it has 2 names"),
    "folder of another": (folder_of(0o755, STRANGER), "folder .*/a belongs to 12345"),
    "folder of another above": (folder_of(0o755, STRANGER, 3), "folder .*/a belongs to 12345"),
    "sticky folder of another": (folder_of(0o1777, STRANGER), "folder .*/a belongs to 12345"),
    "group may write to folder": (folder_of(0o775), "write to the folder .*/a .mode 0775"),
    "group may write above": (folder_of(0o2775, depth=3), "write to the folder .*/a .mode 2775"),
    "all may write to folder": (folder_of(0o777), "write to the folder .*/a .mode 0777"),
    "link of another on the way": (linked_folder(STRANGER), "/way is a symbolic link of 12345"),
    "link in a sticky folder": (linked_in_sticky, "/way is a symbolic link of root in a folder"),
    "folder in its place": (unusual(os.mkdir), "it is a folder"),
    "named pipe": (unusual(os.mkfifo), "it is a device, a socket or a named pipe"),
    "socket": (unusual(bound_socket), "it is a device, a socket or a named pipe"),
    "device": (
        unusual(lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 5))),
        "it is a device, a socket or a named pipe",
    ),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_an_archive_that_others_can_write_is_refused_by_name(case, place, sample, other, unpack):
    prepare, reason = UNTRUSTED[case]
    shutil.copy(sample, place / "pkg.tgz")
    archive = prepare(place, place / "pkg.tgz")
    for test in (True, False):
        ret = unpack(archive, test=test)
        assert (ret.result, ret.changes) == (False, {})
        assert ret.comment.startswith(f"{archive} is not trusted: ")
        assert "copy it as root into a folder that only root can write to" in ret.comment
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(ret.comment)
    assert not Path(other).exists()


@pytest.mark.parametrize(
    "prepare",
    [folder_of(0o700), folder_of(0o755, depth=3), folder_of(0o1777), linked_folder(0)],
    ids=["folder of root", "deep", "sticky folder as /tmp", "link of root on the way"],
)
def test_an_archive_that_only_root_can_write_is_published(prepare, place, sample, unpack):
    shutil.copy(sample, place / "pkg.tgz")
    archive = prepare(place, place / "pkg.tgz")
    assert unpack(archive, test=True).result is None
    ret = unpack(archive)
    assert ret.result is True, ret.comment
    again = unpack(archive)
    assert (again.result, again.changes) == (True, {})


def test_who_opened_an_archive_while_it_was_his_cannot_change_it_any_more(place, sample, unpack):
    archive = Path(shutil.copy(sample, place / "pkg.tgz"))
    os.chown(archive, STRANGER, 0)
    with archive.open("r+b"):
        os.chown(archive, 0, 0)
        ret = unpack(archive)
        assert ret.result is False
        assert "is open for writing in another process" in ret.comment
    assert unpack(archive).result is True


def test_the_unpacking_by_hand_asks_the_same(place, sample, modules, other):
    archive = Path(shutil.copy(sample, place / "pkg.tgz"))
    os.chown(archive, STRANGER, 0)
    with pytest.raises(CommandExecutionError, match="is not trusted: it belongs to 12345"):
        modules.infra_repo.unpack(str(archive), home=other)
    with pytest.raises(CommandExecutionError, match="is not trusted: it belongs to 12345"):
        repository_archive.unpack(str(archive), str(place))
    assert repository_archive.peek(str(archive)) == {}


@pytest.mark.parametrize("after", range(12))
def test_a_path_that_is_swapped_at_any_moment_yields_what_was_judged_or_nothing(
    after, place, monkeypatch
):
    """Whatever the code opens, somebody exchanges the path after the nth opening."""
    good, evil = place / "good", place / "evil"
    for folder in (good, evil):
        folder.mkdir()
        (folder / "pkg.tgz").write_text(folder.name)
    os.chown(evil / "pkg.tgz", STRANGER, STRANGER)
    os.chown(evil, STRANGER, STRANGER)
    genuine, calls = os.open, []

    def opening(path, *args, **options):
        fd = genuine(path, *args, **options)
        calls.append(path)
        if len(calls) == after:
            renameat2.exchange(*((good, evil) if after % 2 else
                                   (good / "pkg.tgz", evil / "pkg.tgz")))  # fmt: skip
        return fd

    monkeypatch.setattr(root_only.os, "open", opening)
    try:
        with open(root_only.open_file(str(good / "pkg.tgz"))) as stream:
            found = stream.read()
    except CommandExecutionError as exc:
        found = str(exc)
    assert found == "good" or "is not trusted" in found
    if not after:
        assert (found, len(calls)) == ("good", 6)


def test_what_is_unpacked_is_what_was_judged_although_the_path_is_another_file_by_then(
    place, sample, modules, other, repo_key, monkeypatch
):
    archive = Path(shutil.copy(sample, place / "pkg.tgz"))
    evil = unsigned_archive(place / "evil.tgz", packages=["evil"])
    genuine = root_only._has_writer

    def judged(*args):
        answer = genuine(*args)
        os.replace(evil, archive)
        return answer

    monkeypatch.setattr(root_only, "_has_writer", judged)
    modules.infra_repo.unpack(str(archive), home=other, key=repo_key)
    assert {p.name for p in Path(other, "pigsty").glob("*.deb")} == {
        "web_1.0_all.deb",
        "base_1.0_all.deb",
    }


MODES = [0o700, 0o755, 0o775, 0o777, 0o757, 0o1777, 0o1775, 0o2755, 0o3777]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    folders=st.lists(
        st.tuples(st.sampled_from([0, STRANGER]), st.sampled_from(MODES)), min_size=1, max_size=3
    ),
    owner=st.sampled_from([0, 0, STRANGER]),
    mode=st.sampled_from([0o600, 0o644, 0o664, 0o646, 0o666]),
)
def test_what_is_trusted_a_stranger_cannot_change(folders, owner, mode, place):
    """Each attack is tried by a real user; one that works must have been seen before."""
    shutil.rmtree(place / "a", ignore_errors=True)
    names = [place.joinpath(*"abc"[: n + 1]) for n in range(len(folders))]
    names[-1].mkdir(parents=True)
    file = names[-1] / "pkg.tgz"
    file.write_text("root's")
    os.chown(file, owner, owner)
    file.chmod(mode)
    for folder, (uid, bits) in zip(names, folders, strict=True):
        os.chown(folder, uid, uid)
        folder.chmod(bits)
    fault = root_only.fault(str(file), links=False)
    attack(file, names)
    if not fault:
        assert file.read_text() == "root's"
    elif all(uid == 0 and not bits & 0o022 for uid, bits in folders):
        assert owner or mode & 0o022, fault


def attack(file, folders):
    """Replace the content, the file, or a folder above it, as a user of the machine."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    try:
        os.setgroups([])
        os.setgid(STRANGER)
        os.setuid(STRANGER)
        with contextlib.suppress(OSError):
            file.write_text("evil")
        with contextlib.suppress(OSError):
            file.rename(file.with_name("aside"))
        with contextlib.suppress(OSError):
            file.with_name("new").write_text("evil")
            file.with_name("new").rename(file)
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rename(folder.with_name("aside"))
                folder.mkdir()
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                file.write_text("evil")
    finally:
        os._exit(0)


@pytest.mark.parametrize(
    ("options", "owner"),
    [
        ("rw,size=10k", 0),
        ("rw,user_id=1000,group_id=1000,allow_other", 1000),
        ("rw,user_id=0,group_id=0,allow_other", 0),
    ],
)
def test_who_mounted_a_file_system_is_known(options, owner):
    """A user's own FUSE may say of any file that it is root's."""
    mounts = f"""21 1 8:1 / / rw shared:1 - ext4 /dev/a rw,user_id=7
22 21 0:5 / /mnt/a\\040b rw,nosuid shared:2 - fuse.x x {options}
"""
    assert root_only._mount_owner("pos:\t0\nflags:\t0\nmnt_id:\t22\nino:\t1\n", mounts) == owner
    assert root_only._mount_owner("mnt_id:\t99\n", mounts) == 0


def test_the_path_of_pigstys_users_is_read_where_root_alone_wrote_it(place, sample, unpack):
    """Only where the archive is missing and nothing is published: a file there blocks no apply."""
    fallback = str(shutil.copy(sample, place / "tmp.tgz"))
    os.chown(fallback, 12345, 12345)
    ret = unpack(place / "none.tgz", optional=True, fallback=fallback)
    assert (ret.result, ret.changes) == (True, {}), ret.comment
    assert f"{fallback} is not read: " in ret.comment
    assert "it belongs to " in ret.comment
    link = place / "link.tgz"
    link.symlink_to(sample)
    ret = unpack(place / "none.tgz", optional=True, fallback=str(link))
    assert (ret.result, ret.changes) == (True, {})
    os.chown(fallback, 0, 0)
    ret = unpack(place / "none.tgz", optional=True, fallback=fallback)
    assert ret.result is True
    assert ret.changes["repository"]["new"]
    assert fallback in ret.comment
    # Now a repository is published, whatever lies there is not looked at.
    Path(fallback).write_text("no archive")
    ret = unpack(place / "none.tgz", optional=True, fallback=fallback)
    assert (ret.result, ret.changes) == (True, {})


# -- what it may replace -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second_key():
    key = Key("Another site <another@example.org>")
    yield {"home": key.home}
    key.close()


@pytest.fixture
def signed(build, modules, spec, tmp_path):
    """A repository that was built and signed here."""
    build()
    return modules.infra_repo.status("pigsty", spec["home"])["signature"]["key"]


def published(modules, home):
    status = modules.infra_repo.status("pigsty", home)
    return status["path"], status["signature"]["key"], status["signature"]["problems"]


def test_a_signed_repository_is_not_replaced_by_an_unsigned_archive(
    signed, sample, modules, spec, unpack, tmp_path
):
    before = published(modules, spec["home"])
    text = client_sources.client_files("pigsty", spec["home"], ["http://10.0.0.1"])
    for test in (True, False):
        ret = unpack(sample, home=spec["home"], test=test)
        assert (ret.result, ret.changes) == (False, {})
        assert f"is signed by {signed}" in ret.comment
        assert "set repo_archive_unsigned: true" in ret.comment
    with pytest.raises(CommandExecutionError, match="repo_archive_unsigned"):
        modules.infra_repo.unpack(str(sample), home=spec["home"])
    assert published(modules, spec["home"]) == before
    assert client_sources.client_files("pigsty", spec["home"], ["http://10.0.0.1"]) == text


def test_by_name_it_is_and_clients_verify_it_by_the_key_of_the_node(
    signed, sample, modules, spec, unpack, tmp_path
):
    former = client_sources.client_files("pigsty", spec["home"], [])
    ret = unpack(sample, home=spec["home"], unsigned=True)
    assert ret.result is True, ret.comment
    assert f"it was signed here with {signed}" in ret.comment
    assert published(modules, spec["home"])[1:] == (signed, [])
    files = client_sources.client_files("pigsty", spec["home"], ["http://10.0.0.1"])
    assert "Trusted" not in "".join(file["text"] for file in files.values())
    # A client that has the key from before installs from it.
    source = former["pigsty-local.sources"]["text"].replace("Suites: bookworm\nComponents: main\n",
                                                            "Suites: ./\n")  # fmt: skip
    code, out = Client(tmp_path / "client", source).install("web")
    assert code == 0, out


def test_a_damaged_signed_repository_is_not_replaced_either(
    signed, sample, states, modules, spec, unpack
):
    states.infra_repo.defined(name="pigsty", home=spec["home"], endpoints=["http://10.0.0.1"])
    real = Path(spec["home"], "pigsty").resolve()
    for victim in ("repo_complete", "repo_info.json"):
        (real / victim).unlink()
        ret = unpack(sample, home=spec["home"])
        assert ret.result is False
        assert f"is signed by {signed}" in ret.comment


@pytest.fixture
def foreign_archive(build, modules, minion, spec, second_key, tmp_path):
    """A good archive that was signed with another key."""
    home = str(tmp_path / "foreign")
    repository.build(
        minion,
        {**spec, "home": home},
        key=second_key,
        transfer={"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")},
    )
    packed = modules.infra_repo.pack("pigsty", home, folder=str(tmp_path / "out"))
    return packed["archive"], modules.infra_repo.status("pigsty", home)["signature"]["key"]


def test_a_repository_is_replaced_by_another_keys_only_by_name(
    signed, foreign_archive, modules, spec, unpack
):
    archive, stranger = foreign_archive
    before = published(modules, spec["home"])
    for options in ({}, {"unsigned": True}):
        for test in (True, False):
            ret = unpack(archive, home=spec["home"], test=test, **options)
            assert (ret.result, ret.changes) == (False, {})
            assert f"set repo_archive_fingerprint: {stranger}" in ret.comment
    assert published(modules, spec["home"]) == before
    ret = unpack(archive, home=spec["home"], fingerprint=stranger)
    assert ret.result is True, ret.comment
    assert published(modules, spec["home"])[1:] == (stranger, [])


def test_a_repository_is_replaced_by_one_of_the_same_key(
    signed, modules, spec, unpack, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:  # as on another machine that has this key
        patch.setattr(known_archives, "remember", lambda *_args, **_options: None)
        packed = modules.infra_repo.pack("pigsty", spec["home"], folder=str(tmp_path / "out"))
    ret = unpack(packed["archive"], home=spec["home"])
    assert ret.result is True, ret.comment
    assert f"signed by {signed}" in ret.comment


def test_an_archive_that_claims_a_key_has_to_be_signed_with_it(
    signed, foreign_archive, modules, spec, unpack, second_key, tmp_path
):
    """The manifest and the description say what they like; only the signature counts."""
    archive, stranger = foreign_archive
    folder = tmp_path / "apart"
    folder.mkdir()
    run("tar", "-xzf", archive, "-C", folder)
    base = folder / "pigsty"
    manifest = json.loads((base / "repo_manifest.json").read_text())
    manifest["info"]["key"] = signed
    (base / "repo_manifest.json").write_text(json.dumps(manifest))
    links = [arg for rel in manifest["files"] for arg in [f"pigsty/{rel}"]]
    run("tar", "-czf", tmp_path / "forged.tgz", "-C", folder, "pigsty/repo_manifest.json", *links)
    before = published(modules, spec["home"])
    ret = unpack(tmp_path / "forged.tgz", home=spec["home"])
    assert ret.result is False
    assert f"is signed by {stranger}" in ret.comment
    assert published(modules, spec["home"]) == before


def test_after_an_unsigned_archive_comes_the_next_one(unpack, modules, other, tmp_path):
    """Nobody promised clients more than that root put it there; they verify this node's key."""
    first = unpack(unsigned_archive(tmp_path / "1.tgz"))
    assert first.result is True, first.comment
    key = published(modules, other)[1]
    second = unpack(unsigned_archive(tmp_path / "2.tgz", version="2.0"))
    assert second.result is True, second.comment
    assert published(modules, other)[1:] == (key, [])
    assert Path(other, "pigsty/web_2.0_all.deb").is_file()


# -- signed here ---------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without gpg, as it is before anything was installed out of an archive."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for tool in ("gzip", "zstd"):
        (folder / tool).symlink_to(shutil.which(tool))
    own = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(folder))
    return lambda: monkeypatch.setenv("PATH", own)


def test_on_a_bare_machine_it_is_signed_once_the_tools_are_there(
    sample, bare, unpack, states, modules, other, repo_key, tmp_path
):
    arguments = {"name": "pigsty", "home": other, "key": repo_key}
    ret = unpack(sample)
    assert ret.result is True, ret.comment
    local = client_sources.client_files("pigsty", other, [])
    assert "Trusted: yes" in local["pigsty-local.sources"]["text"]
    assert "file:///" in local["pigsty-local.sources"]["text"]
    bare()
    planned = states.infra_repo.signed(**arguments, test=True)
    assert planned.result is None
    done = states.infra_repo.signed(**arguments)
    assert done.result is True, done.comment
    assert published(modules, other)[1:] == (done.changes["signature"]["new"], [])
    assert modules.infra_repo.verify("pigsty", other)["problems"] == []
    for again in (states.infra_repo.signed(**arguments), unpack(sample)):
        assert (again.result, again.changes) == (True, {}), again.comment
    files = client_sources.client_files("pigsty", other, ["http://10.0.0.1"])
    assert "Trusted" not in "".join(file["text"] for file in files.values())
    client = Client(tmp_path / "client", files["pigsty-local.sources"]["text"])
    updated = client.apt("update", "-q")
    assert (updated.returncode, updated.stderr) == (0, "")
    assert client.install("web")[0] == 0
    # A changed byte is seen by the client.
    victim = Path(other, "pigsty/base_1.0_all.deb")
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    code, out = client.install("base")
    assert code != 0
    assert "Hash Sum mismatch" in out or "unexpected size" in out


@pytest.mark.parametrize("forged", [False, True])
def test_a_signature_that_could_not_be_verified_is_verified_later(
    forged, signed, modules, spec, unpack, states, other, repo_key, tmp_path, request
):
    packed = modules.infra_repo.pack("pigsty", spec["home"], folder=str(tmp_path / "out"))
    make_whole = request.getfixturevalue("bare")
    assert unpack(packed["archive"]).result is True
    make_whole()
    if forged:
        real = Path(other, "pigsty").resolve()
        (real / "InRelease").write_bytes(
            (real / "InRelease").read_bytes().replace(b"Suite", b"suite")
        )
    arguments = {"name": "pigsty", "home": other, "key": repo_key}
    assert states.infra_repo.signed(**arguments, test=True).result is None
    done = states.infra_repo.signed(**arguments)
    if forged:
        assert done.result is False
        assert "is not signed as it claims to be" in done.comment
        return
    assert done.result is True, done.comment
    assert done.changes["signature"]["new"] == signed
    again = states.infra_repo.signed(**arguments)
    assert (again.result, again.changes) == (True, {})


def test_an_unsigned_yum_repository_is_signed_by_its_index(tmp_path, unpack, modules, other):
    folder = tmp_path / "p" / "pigsty"
    rpm(folder, "web", "1.0")
    run("createrepo_c", "--quiet", "--no-database", folder)
    names = sorted(file.name for file in folder.glob("*.rpm"))
    (folder / "repo_complete").write_text(run("md5sum", *names, cwd=folder))
    run("tar", "-czf", tmp_path / "pkg.tgz", "-C", tmp_path / "p", "pigsty")
    ret = unpack(tmp_path / "pkg.tgz")
    assert ret.result is True, ret.comment
    assert published(modules, other)[2] == []
    text = client_sources.client_files("pigsty", other, [])["pigsty-local.repo"]["text"]
    assert "gpgcheck = 0\nrepo_gpgcheck = 1" in text
    assert "gpgkey = file://" in text
    dnf = tmp_path / "dnf"
    (dnf / "repos").mkdir(parents=True)
    (dnf / "repos/pigsty.repo").write_text(text)
    options = ["-y", "-q", "--installroot", str(dnf), "--releasever", "9", "--forcearch", "x86_64",
               "--setopt", f"reposdir={dnf}/repos", "--setopt", f"cachedir={dnf}/cache",
               "--setopt", "pluginpath=/nonexistent"]  # fmt: skip
    ask = ["dnf", *options, "--refresh", "repoquery", "web"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert "web-0:1.0-1.noarch" in done.stdout, done.stdout + done.stderr
    repomd = Path(other, "pigsty/repodata/repomd.xml")
    repomd.write_text(repomd.read_text() + "<!-- changed -->\n")
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert "web-0:1.0-1.noarch" not in done.stdout


# -- sites of before -----------------------------------------------------------------------------


@pytest.fixture
def former(sample, states, modules, other):
    """A repository as d49a589 left it: unpacked from an unsigned archive, and not signed."""
    stage = Path(releases.stage(other, "pigsty"))
    repository_archive.unpack(str(sample), str(stage))
    note = {"archive": "/tmp/pkg.tgz", "size": 1, "mtime": 2}
    seals = Path(other, ".pigsty/seals")
    (seals / f"{stage.name.removeprefix('.new-')}.origin").write_text(json.dumps(note))
    releases.publish(other, "pigsty", str(stage))
    states.infra_repo.defined(name="pigsty", home=other, endpoints=["http://10.0.0.1"])
    return note


@pytest.mark.parametrize("archive", ["/root/nonexistent.tgz", "/tmp/nonexistent.tgz"])
def test_a_site_of_before_is_left_as_it_is(archive, former, unpack, states, other, spec, repo_key):
    arguments = {"name": "pigsty", "home": other}
    for ret in (
        unpack(archive, optional=True),
        states.infra_repo.signed(**arguments, key=repo_key),
        states.infra_repo.built(**arguments, request=spec, key=repo_key),
        states.infra_repo.defined(**arguments, endpoints=["http://10.0.0.1"]),
    ):
        assert (ret.result, ret.changes) == (True, {}), ret.comment
    assert "Trusted: yes" in Path(other, "pigsty.sources").read_text()


def test_an_archive_that_was_published_before_is_not_judged_again(
    former, sample, place, unpack, modules, other
):
    archive = Path(shutil.copy(sample, place / "pkg.tgz"))
    os.chown(archive, STRANGER, 0)
    note = Path(other, ".pigsty/seals") / f"{Path(other, 'pigsty').resolve().name}.origin"
    note.write_text(json.dumps(offline_package.archive_identity(str(archive))))
    ret = unpack(archive)
    assert (ret.result, ret.changes) == (True, {})
    assert "is the content of" in ret.comment


def test_it_is_signed_by_hand_and_stays_so(former, unpack, states, modules, other, spec, repo_key):
    done = modules.infra_repo.sign("pigsty", other, repo_key)
    assert done["changed"]
    assert published(modules, other) == (done["path"], done["key"], [])
    arguments = {"name": "pigsty", "home": other}
    changed = states.infra_repo.defined(**arguments, endpoints=["http://10.0.0.1"])
    assert changed.changes
    assert "Trusted" not in Path(other, "pigsty.sources").read_text()
    for ret in (
        unpack("/root/nonexistent.tgz", optional=True),
        states.infra_repo.signed(**arguments, key=repo_key),
        states.infra_repo.built(**arguments, request=spec, key=repo_key),
    ):
        assert (ret.result, ret.changes) == (True, {}), ret.comment
    assert modules.infra_repo.sign("pigsty", other, repo_key)["changed"] is False
    # The one before, which is not signed, is not handed out as trusted any more.
    modules.infra_repo.rollback("pigsty", other)
    refused = states.infra_repo.defined(**arguments, endpoints=["http://10.0.0.1"])
    assert refused.result is False
    assert "salt-call infra_repo.sign" in refused.comment


def test_a_folder_that_root_put_there_is_signed_by_hand(
    sample, modules, states, spec, repo_key, tmp_path
):
    home = tmp_path / "found"
    home.mkdir()
    run("tar", "-xzf", sample, "-C", home)
    before = {p.name: p.read_bytes() for p in (home / "pigsty").iterdir()}
    done = modules.infra_repo.sign("pigsty", str(home), repo_key)
    assert published(modules, str(home)) == (done["path"], done["key"], [])
    assert modules.infra_repo.status("pigsty", str(home))["origin"] == "found"
    ret = states.infra_repo.built(name="pigsty", home=str(home), request=spec, key=repo_key)
    assert (ret.result, ret.changes) == (True, {}), ret.comment
    kept = Path(modules.infra_repo.status("pigsty", str(home))["previous"])
    assert {p.name: p.read_bytes() for p in kept.iterdir()} == before


# -- packing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("trap", ["link", "file", "pipe"])
def test_packing_into_a_folder_of_everybody_follows_nothing(trap, build, modules, spec, place):
    build()
    place.chmod(0o1777)
    victim = place / "victim"
    victim.write_text("precious")
    temporary = place / ".pkg.tgz.new"
    {"link": lambda: temporary.symlink_to(victim), "file": temporary.touch,
     "pipe": lambda: os.mkfifo(temporary)}[trap]()  # fmt: skip
    os.chown(temporary, STRANGER, STRANGER, follow_symlinks=False)
    modules.infra_repo.pack("pigsty", spec["home"], archive=str(place / "pkg.tgz"))
    assert victim.read_text() == "precious"
    assert root_only.fault(str(place / "pkg.tgz"), links=False) == ""
    assert not os.path.lexists(temporary)


# -- other files that root reads and believes ----------------------------------------------------


def own_key(modules, spec, file, **_):
    signing.key(str(file.parent / "gnupg"), secret_file=str(file))


def passphrase(modules, spec, file, **_):
    signing.key(str(file.parent / "gnupg"), passphrase_file=str(file))


def keyring(modules, spec, file, build):
    upstream = {**spec["upstream"][0], "signed_by": str(file)}
    del upstream["gpgkey"]
    build(upstream=[upstream])


def key_by_path(modules, spec, file, build):
    build(upstream=[{**spec["upstream"][0], "gpgkey": str(file)}])


def package(modules, spec, file, build):
    build(url_packages=[f"file://{file}"])


def key_of_clients(modules, spec, file, **_):
    upstream = {"name": "base", "signed_by": str(file), "gpgkey": [], "fingerprint": []}
    client_trust.upstream_key(Minion(modules), upstream, str(file.parent))


def key_of_clients_by_path(modules, spec, file, **_):
    upstream = {"name": "base", "signed_by": "", "gpgkey": [str(file)], "fingerprint": []}
    client_trust.upstream_key(Minion(modules), upstream, str(file.parent))


BELIEVED = [
    own_key,
    passphrase,
    keyring,
    key_by_path,
    package,
    key_of_clients,
    key_of_clients_by_path,
]


@pytest.mark.parametrize("reader", BELIEVED)
@pytest.mark.parametrize("door", ["owner", "mode", "folder"])
def test_whatever_root_believes_only_root_may_have_written(
    reader, door, place, modules, spec, build, upstream_key
):
    (place / "a").mkdir()
    file = place / "a" / "thing.asc"
    file.write_text(upstream_key.public)
    if reader is package:
        file = Path(shutil.move(deb(place / "a", "loose", "1.0"), place / "a/loose_1.0_all.deb"))
    if door == "owner":
        os.chown(file, STRANGER, 0)
    else:
        (file if door == "mode" else file.parent).chmod(0o777)
    with pytest.raises((CommandExecutionError, SaltInvocationError), match="is not trusted: "):
        reader(modules, spec, file, build=build)
    assert not Path(spec["home"], "pigsty").exists()


@pytest.mark.parametrize("reader", [keyring, key_by_path, package])
def test_a_link_of_roots_to_what_only_root_can_write_is_followed(
    reader, place, modules, spec, build, upstream_key
):
    """Keys and certificates are commonly links, as below /etc/ssl and /etc/letsencrypt."""
    (place / "real").write_text(upstream_key.public)
    link = place / ("loose_1.0_all.deb" if reader is package else "thing.asc")
    if reader is package:
        shutil.move(deb(place, "loose", "1.0"), place / "real")
    link.symlink_to("real")
    reader(modules, spec, link, build=build)
    assert Path(spec["home"], "pigsty/repo_complete").is_file()


def test_a_package_with_a_checksum_may_lie_anywhere(place, build):
    file = deb(place, "loose", "1.0")
    digest = run("sha256sum", file).split()[0]
    os.chown(file, STRANGER, 0)
    result = build(url_packages=[{"url": f"file://{file}", "checksum": f"sha256:{digest}"}])
    assert "pool/bookworm/l/loose_1.0_all.deb" in result["added"]
