"""Pack a repository, unpack it elsewhere; and hostile, damaged and foreign archives."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from infra_formula.repository import client_sources
from infra_formula.repository import published as repository
from repo_samples import Client, deb, run
from salt.exceptions import CommandExecutionError

pytest_plugins = ["repo_fixtures"]


@pytest.fixture
def archive(build, modules, spec, tmp_path):
    build()
    return modules.infra_repo.pack(
        "pigsty", spec["home"], version="v4.5.0", folder=str(tmp_path / "out")
    )


@pytest.fixture
def other(tmp_path):
    """Home of a repository on another machine."""
    return str(tmp_path / "other")


def test_pack_is_named_as_pigstys_and_verifiable(archive, tmp_path):
    assert archive["archive"] == str(tmp_path / "out/pigsty-pkg-v4.5.0.d12.x86_64.tgz")
    assert archive["sha256"] == hashlib.sha256(Path(archive["archive"]).read_bytes()).hexdigest()
    assert run("tar", "-tzf", archive["archive"]).splitlines()[0] == "pigsty/repo_manifest.json"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_was_packed_is_installed_from_elsewhere(
    compression, build, modules, states, spec, other, upstream, tmp_path
):
    build()
    packed = modules.infra_repo.pack("pigsty", spec["home"], folder=str(tmp_path),
                                     compression=compression)  # fmt: skip
    upstream.close()
    arguments = {"name": "pigsty", "home": other, "archive": packed["archive"]}
    ret = states.infra_repo.unpacked(**arguments, test=True)
    assert ret.result is None
    assert not Path(other, "pigsty").exists()
    ret = states.infra_repo.unpacked(**arguments, checksum=f"sha256:{packed['sha256']}")
    assert ret.result is True, ret.comment
    assert ret.changes["repository"]["old"] is None
    assert modules.infra_repo.verify("pigsty", other)["complete"]
    again = states.infra_repo.unpacked(**arguments)
    assert (again.result, again.changes) == (True, {})
    # What was unpacked is taken as it is, whatever else is asked for; no network is asked.
    taken = states.infra_repo.built(name="pigsty", home=other, request={**spec, "packages": ["x"]})
    assert (taken.result, taken.changes) == (True, {}), taken.comment
    files = client_sources.client_files("pigsty", other, [])
    client = Client(tmp_path / "client", files["pigsty-local.sources"]["text"])
    code, out = client.install("web")
    assert code == 0, out
    # Gone after its work is done, it is not missed.
    Path(packed["archive"]).unlink()
    assert states.infra_repo.unpacked(**arguments).result is True


def test_pack_is_refused_for_a_damaged_repository(build, modules, spec, tmp_path):
    build()
    victim = next(Path(spec["home"], "pigsty").glob("pool/*/*/web*"))
    st = victim.stat()
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    os.utime(victim, ns=(st.st_atime_ns, st.st_mtime_ns))
    with pytest.raises(CommandExecutionError, match=r"web_1.0_all.deb"):
        modules.infra_repo.pack("pigsty", spec["home"], folder=str(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_truncated_archive_changes_nothing(share, archive, modules, other):
    path = Path(archive["archive"])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CommandExecutionError, match="damaged or cut off"):
        modules.infra_repo.unpack(str(path), home=other)
    assert not Path(other, "pigsty").exists()
    assert not list(Path(other, ".pigsty/generations").iterdir())


def test_a_wrong_checksum_and_a_wrong_key(archive, modules, other):
    with pytest.raises(CommandExecutionError, match="but expected 0000"):
        modules.infra_repo.unpack(archive["archive"], home=other, checksum="sha256:" + "0" * 64)
    with pytest.raises(CommandExecutionError, match="is signed by"):
        modules.infra_repo.unpack(archive["archive"], home=other, fingerprint="F" * 40)


def rewrite(archive, change):
    """Take an archive apart and put it together again with what change(members) made of it."""
    with tarfile.open(archive) as tar:
        members = [(m, tar.extractfile(m).read() if m.isreg() else b"") for m in tar]
    with tarfile.open(archive, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for member, data in change(members):
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _member(name, kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    return member


def _flip(members):
    at = next(n for n, (member, _data) in enumerate(members) if member.name.endswith(".deb"))
    member, data = members[at]
    bad = data[:-1] + bytes([data[-1] ^ 1])
    return [*members[:at], (member, bad), *members[at + 1 :]]


def _forged(members):
    """A manifest that fits the forged content, with the signature of the old one."""
    changed = _flip(members)
    manifest = json.loads(changed[0][1])
    member, data = next(m for m in changed if m[0].name.endswith(".deb"))
    rel = member.name.partition("/")[2]
    manifest["files"][rel] = [len(data), hashlib.sha256(data).hexdigest()]
    return [(changed[0][0], json.dumps(manifest).encode()), *changed[1:]]


def _linked(members):
    manifest = json.loads(members[0][1])
    manifest["links"]["pool/out"] = "../../../../etc"
    return [(members[0][0], json.dumps(manifest).encode()), *members[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ms: [*ms, (_member("pigsty/../../evil"), b"x")], "outside of its folder"),
        (lambda ms: [*ms, (_member("/etc/evil"), b"x")], "outside of its folder"),
        (lambda ms: [*ms, (_member("pigsty/l", tarfile.SYMTYPE, "/etc"), b"")], "symbolic link"),
        (lambda ms: [*ms, (_member("pigsty/l", tarfile.LNKTYPE, "/etc/x"), b"")], "hard link"),
        (lambda ms: [*ms, (_member("pigsty/d", tarfile.CHRTYPE), b"")], "a device"),
        (lambda ms: [*ms, (_member("pigsty/b", tarfile.BLKTYPE), b"")], "a device"),
        (lambda ms: [*ms, (_member("pigsty/p", tarfile.FIFOTYPE), b"")], "named pipe"),
        (lambda ms: [*ms, (_member("pigsty/s", tarfile.GNUTYPE_SPARSE), b"")], "sparse|damaged"),
        (lambda ms: [*ms, (_member("pigsty/a/../b"), b"x")], "outside of its folder"),
        (lambda ms: [*ms, (_member("../evil"), b"x")], "outside of its folder"),
        (lambda ms: [*ms, (_member("pigsty/a\nb"), b"x")], "outside of its folder"),
        (lambda ms: [*ms, (_member("evil"), b"x")], "does not lie in a folder"),
        (
            lambda ms: [
                *ms,
                (_member("pigsty/l", tarfile.SYMTYPE, ".."), b""),
                (_member("pigsty/l/evil"), b"x"),
            ],
            "symbolic link",
        ),
        (lambda ms: [*ms, (_member(f"{ms[1][0].name}/evil"), b"x")], "not in its manifest"),
        (lambda ms: [*ms, (_member("pigsty/more"), b"x")], "not in its manifest"),
        (lambda ms: [*ms, (_member("other/more"), b"x")], "two folders"),
        (lambda ms: [*ms, ms[-1]], "twice"),
        (lambda ms: ms[:-1], "cut off"),
        (lambda ms: ms[1:], "signed|complete|holds"),
        (_flip, "checksum"),
        (_forged, "is not what its repo_complete says"),
        (_linked, "cannot be right"),
    ],
)
def test_a_hostile_archive_is_refused(change, message, archive, modules, other, tmp_path, request):
    rewrite(archive["archive"], change)
    if message.startswith("signed"):
        # Without its manifest it is an archive like any other: checked after it is unpacked.
        assert modules.infra_repo.unpack(archive["archive"], home=other)["files"] > 0
        return
    with pytest.raises(CommandExecutionError, match=message):
        modules.infra_repo.unpack(archive["archive"], home=other)
    assert not Path(other, "pigsty").exists()
    assert not list(Path(other, ".pigsty/generations").iterdir())
    assert not (tmp_path / "evil").exists()


def test_a_bomb_is_not_unpacked(modules, other, tmp_path):
    path = tmp_path / "bomb.tgz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        member = tarfile.TarInfo("pigsty/repo_complete")
        member.size = 2**34
        out.write(member.tobuf())
        out.write(bytes(2**20) * 256)
    with pytest.raises(CommandExecutionError, match="more than the"):
        modules.infra_repo.unpack(str(path), home=other)
    assert not Path(other, "pigsty").exists()


def test_a_header_bomb_is_not_read(modules, other, tmp_path):
    path = tmp_path / "bomb.tgz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        member = tarfile.TarInfo("././@LongLink")
        member.type = tarfile.GNUTYPE_LONGNAME
        member.size = 2**33
        out.write(member.tobuf(tarfile.GNU_FORMAT))
        out.write(b"a" * 2**20)
    with pytest.raises(CommandExecutionError, match="damaged or cut off"):
        modules.infra_repo.unpack(str(path), home=other)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8bjunk", b"\x28\xb5\x2f\xfdjunk"])
def test_what_is_no_archive(content, modules, other, tmp_path):
    path = tmp_path / "x.tgz"
    path.write_bytes(content)
    with pytest.raises(CommandExecutionError, match=r"no archive|damaged"):
        modules.infra_repo.unpack(str(path), home=other)


@pytest.fixture
def pigstys(tmp_path):
    """An archive as Pigsty makes it: one flat folder, not signed, its packages listed."""

    def make(tool):
        folder = tmp_path / "p" / "pigsty"
        deb(folder, "web", "1.0")
        deb(folder, "base", "1.0")
        text = run("dpkg-scanpackages", "--multiversion", ".", cwd=folder)
        (folder / "Packages.gz").write_bytes(gzip.compress(text.encode()))
        packages = sorted(path.name for path in folder.glob("*.deb"))
        (folder / "repo_complete").write_text(run(tool, *packages, cwd=folder))
        run("tar", "-czf", tmp_path / "pkg.tgz", "-C", tmp_path / "p", "pigsty")
        return folder, tmp_path / "pkg.tgz"

    return make


def _pax(name, data=b"x", **headers):
    member = _member(name)
    member.pax_headers = headers
    return member, data


def _mode(name, mode):
    member = _member(name)
    member.mode = mode
    return member, b"x"


ODD_MEMBERS = {
    "path of a pax header": [_pax("pigsty/a", path="../../evil")],
    "absolute path of a pax header": [_pax("pigsty/a", path="/tmp/evil")],
    "link of a pax header": [_pax("pigsty/a", linkpath="/etc/passwd")],
    "sparse by a pax header": [_pax("pigsty/a", **{"GNU.sparse.major": "1"})],
    "size of a pax header": [_pax("pigsty/a", size=str(2**50))],
    "a file, then below it": [(_member("pigsty/a"), b"x"), (_member("pigsty/a/b"), b"x")],
    "below a package": [(_member("pigsty/web_1.0_all.deb/b"), b"x")],
    "the same by a dot": [(_member("pigsty/./web_1.0_all.deb"), b"x")],
    "the same by two slashes": [(_member("pigsty//web_1.0_all.deb"), b"x")],
    "the marker as a folder": [(_member("pigsty/repo_complete", tarfile.DIRTYPE), b"")],
    "a long name": [(_member(f"pigsty/{'a' * 300}"), b"x")],
    "not UTF-8": [(_member("pigsty/caf\udce9"), b"x")],
    "right to left": [(_member("pigsty/\u202egnp.deb.txt"), b"x")],
    "delete": [(_member("pigsty/a\x7fb"), b"x")],
    "another case": [(_member("pigsty/WEB_1.0_ALL.DEB"), b"x")],
    "set user ID": [_mode("pigsty/tool", 0o4755)],
    "everybody may write": [_mode("pigsty/open", 0o666)],
    "a hidden folder": [(_member("pigsty/.git/config"), b"x")],
    "work folder": [(_member(".pigsty/generations/x"), b"x")],
    "a contiguous file": [(_member("pigsty/a", tarfile.CONTTYPE), b"x")],
    "a folder that is huge": [(_member("pigsty/d/", tarfile.DIRTYPE), b"x" * 512)],
}


@pytest.mark.parametrize("odd", list(ODD_MEMBERS))
def test_an_odd_member_of_an_archive_of_pigstys_harms_nothing(
    odd, pigstys, modules, other, tmp_path
):
    _folder, path = pigstys("sha256sum")
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read() if m.isreg() else b"") for m in tar]
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for member, data in [*members, *ODD_MEMBERS[odd]]:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    before = {p for p in tmp_path.iterdir()}
    try:
        modules.infra_repo.unpack(str(path), home=other)
        refused = ""
    except CommandExecutionError as exc:
        refused = str(exc)
    fresh = {p.name for p in set(tmp_path.iterdir()) - before}
    assert fresh <= {Path(other).name}
    home = Path(other, "pigsty")
    if refused:
        assert "pkg.tgz" in refused
        assert not home.exists()
        assert not list(Path(other, ".pigsty/generations").iterdir())
        return
    for file in home.resolve().rglob("*"):
        assert not file.is_symlink()
        assert file.is_dir() or file.stat().st_mode & 0o7133 == 0, file


@pytest.mark.parametrize(
    "line",
    [
        "{hostname}  ../../../../../etc/hostname",
        "{hostname}  /etc/hostname",
        "{hostname}  ./web_1.0_all.deb/../../../etc/hostname",
        "nonsense",
        "\\{hostname}  a\\nb",
        "{hostname} *web_1.0_all.deb",
    ],
)
def test_a_marker_of_an_archive_names_files_of_its_own_alone(line, pigstys, modules, other):
    folder, path = pigstys("sha256sum")
    digest = hashlib.sha256(Path("/etc/hostname").read_bytes()).hexdigest()
    with (folder / "repo_complete").open("a") as out:
        out.write(line.format(hostname=digest) + "\n")
    run("tar", "-czf", path, "-C", folder.parent, "pigsty")
    with pytest.raises(CommandExecutionError, match=r"repo_complete|is not complete"):
        modules.infra_repo.unpack(str(path), home=other)
    assert not Path(other, "pigsty").exists()


@pytest.mark.parametrize("tail", ["zeros", "garbage", "second archive"])
def test_what_follows_an_archive(tail, pigstys, modules, other):
    _folder, path = pigstys("sha256sum")
    data = path.read_bytes()
    more = {"zeros": bytes(4096), "garbage": b"garbage" * 500, "second archive": data}[tail]
    path.write_bytes(data + more)
    if tail == "garbage":
        with pytest.raises(CommandExecutionError, match=r"pkg\.tgz"):
            modules.infra_repo.unpack(str(path), home=other)
        assert not Path(other, "pigsty").exists()
        return
    # What stands behind the end mark is not read.
    modules.infra_repo.unpack(str(path), home=other)
    assert len(list(Path(other, "pigsty").resolve().rglob("*.deb"))) == 2


@pytest.mark.parametrize("tool", ["md5sum", "sha256sum"])
def test_pigstys_own_archive_is_accepted_and_signed_here(
    tool, pigstys, modules, states, other, spec, repo_key, tmp_path
):
    _folder, path = pigstys(tool)
    ret = states.infra_repo.unpacked(name="pigsty", home=other, archive=str(path), key=repo_key)
    assert ret.result is True, ret.comment
    assert "not signed, so it was signed here with" in ret.comment
    ret = states.infra_repo.built(name="pigsty", home=other, request=spec)
    assert (ret.result, ret.changes) == (True, {}), ret.comment
    files = client_sources.client_files("pigsty", other, [])
    assert "Signed-By:" in files["pigsty-local.sources"]["text"]
    assert "Trusted" not in files["pigsty-local.sources"]["text"]
    client = Client(tmp_path / "client", files["pigsty-local.sources"]["text"])
    code, out = client.install("web")
    assert code == 0, out


def test_pigstys_archive_with_a_damaged_package_is_refused(pigstys, modules, other):
    folder, path = pigstys("sha256sum")
    victim = folder / "web_1.0_all.deb"
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    run("tar", "-czf", path, "-C", folder.parent, "pigsty")
    with pytest.raises(CommandExecutionError, match=r"web_1.0_all.deb"):
        modules.infra_repo.unpack(str(path), home=other)


def test_a_complete_folder_is_taken_as_it_is_and_a_damaged_one_is_built_anew(
    pigstys, modules, states, spec, repo_key, tmp_path
):
    folder, _path = pigstys("sha256sum")
    home = str(folder.parent)
    arguments = {
        "name": "pigsty",
        "home": home,
        "request": {**spec, "home": home},
        "key": repo_key,
        "transfer": {"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")},
    }
    before = {p: p.read_bytes() for p in folder.iterdir()}
    ret = states.infra_repo.built(**arguments)
    assert (ret.result, ret.changes) == (True, {}), ret.comment
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    assert modules.infra_repo.status("pigsty", home)["origin"] == "found"
    (folder / "web_1.0_all.deb").write_bytes(b"damaged")
    assert repository.damage("pigsty", home)[0].startswith("web_1.0_all.deb")
    ret = states.infra_repo.built(**arguments, test=True)
    assert ret.result is None
    assert (folder / "repo_complete").exists()
    ret = states.infra_repo.built(**arguments)
    assert ret.result is True, ret.comment
    assert "web_1.0_all.deb" in ret.comment
    assert Path(home, "pigsty").is_symlink()
    assert modules.infra_repo.verify("pigsty", home)["complete"]


def test_a_damaged_one_that_cannot_be_built_anew_is_not_called_complete(
    build, modules, states, spec, repo_key, upstream, tmp_path
):
    build()
    real = Path(spec["home"], "pigsty")
    victim = next(real.glob("pool/*/*/web*"))
    victim.unlink()
    for path in Path(spec["home"], ".pigsty/store").rglob("*"):
        if path.is_file():
            path.unlink()
    upstream.close()
    ret = states.infra_repo.built(
        name="pigsty", home=spec["home"], request=spec, key=repo_key,
        transfer={"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state"), "retries": 0},
    )  # fmt: skip
    assert ret.result is False
    assert not (real / "repo_complete").exists()
    assert "web_1.0_all.deb" in (real / "repo_damaged").read_text()
    assert not modules.infra_repo.status("pigsty", spec["home"])["complete"]
