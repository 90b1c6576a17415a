"""Upstreams, packages and portals of odd and of hostile forms, tried with the real apt and dnf."""

import bz2
import gzip
import hashlib
import lzma
import re
import subprocess
from pathlib import Path

import pytest
from repo_samples import Key, Server, apt_upstream, deb, rpm, run, yum_upstream
from salt.exceptions import CommandExecutionError, SaltInvocationError

pytest_plugins = ["repo_fixtures"]

FAULTS = (CommandExecutionError, SaltInvocationError)


def published(spec):
    """Files of packages that are published."""
    root = Path(spec["home"], "pigsty")
    return sorted(p.name for p in root.rglob("*.*") if p.suffix in (".deb", ".rpm"))


def reason(build, **given):
    """Why a build is refused; empty if it is not."""
    try:
        build(**given)
    except FAULTS as exc:
        return str(exc)
    return ""


def rewrite(upstream, key, change=lambda text: text, name="Packages", encode=None, by_hash=False):
    """Have the index of an upstream in one form alone, with another text."""
    suite = upstream.root / "dists/stable"
    sums, extra = [], "Acquire-By-Hash: yes\n" if by_hash else ""
    for arch in ("amd64", "arm64"):
        folder = suite / f"main/binary-{arch}"
        data = change((folder / "Packages").read_text()).encode()
        for path in folder.iterdir():
            path.unlink()
        for form, raw in {"Packages": data, name: encode(data) if encode else data}.items():
            if form == name:
                digest = hashlib.sha256(raw).hexdigest()
                path = folder / (f"by-hash/SHA256/{digest}" if by_hash else form)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)
            sums.append(f" {hashlib.sha256(raw).hexdigest()} {len(raw)} main/binary-{arch}/{form}")
    head = (suite / "Release").read_text().partition("SHA256:")[0]
    sign(suite, key, f"{head}{extra}SHA256:\n" + "\n".join(sums) + "\n")


def sign(suite, key, text):
    for name in ("InRelease", "Release.gpg"):
        (suite / name).unlink(missing_ok=True)
    (suite / "Release").write_text(text)
    key.clear(suite / "Release", suite / "InRelease")
    key.detach(suite / "Release", suite / "Release.gpg")


# -- forms of apt's index ------------------------------------------------------------------------


def by_program(*argv):
    return lambda data: subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.soak
@pytest.mark.parametrize("by_hash", [False, True], ids=["path", "by-hash"])
@pytest.mark.parametrize(
    ("form", "encode"),
    [
        ("Packages", None),
        ("Packages.gz", gzip.compress),
        ("Packages.xz", lzma.compress),
        ("Packages.bz2", bz2.compress),
        ("Packages.zst", by_program("zstd", "-qc")),
    ],
)
def test_an_index_in_any_one_form(form, encode, by_hash, upstream, upstream_key, build, spec):
    rewrite(upstream, upstream_key, name=form, encode=encode, by_hash=by_hash)
    build(packages=["base"])
    assert published(spec) == ["base_2.1_amd64.deb"]


# -- what is signed ------------------------------------------------------------------------------


def only_detached(suite, key):
    (suite / "InRelease").unlink()


def detached_of_other_text(suite, key):
    (suite / "InRelease").unlink()
    (suite / "Release").write_text((suite / "Release").read_text() + "Origin: x\n")


def no_signature(suite, key):
    (suite / "InRelease").unlink()
    (suite / "Release.gpg").unlink()


def text_before_the_signed_part(suite, key):
    text = (suite / "InRelease").read_text()
    (suite / "InRelease").write_text(f"Origin: evil\n{text}")


def text_after_the_signed_part(suite, key):
    with (suite / "InRelease").open("a") as out:
        out.write("SHA256:\n 0 0 main/binary-amd64/Packages\n")


def two_signed_parts(suite, key):
    text = (suite / "InRelease").read_text()
    (suite / "InRelease").write_text(text + text)


def inline_by_another_key(suite, key):
    other = Key("Other <o@example.org>")
    (suite / "InRelease").unlink()
    other.clear(suite / "Release", suite / "InRelease")
    other.close()


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        (only_detached, True),
        (detached_of_other_text, False),
        (no_signature, False),
        (text_before_the_signed_part, False),
        (text_after_the_signed_part, False),
        (two_signed_parts, False),
        (inline_by_another_key, False),
    ],
)
def test_what_is_signed_is_the_index(change, is_taken, upstream, upstream_key, build, spec):
    change(upstream.root / "dists/stable", upstream_key)
    if is_taken:
        assert build(packages=["base"])["packages"] == 1
        return
    with pytest.raises(FAULTS, match=r"apt cannot use the upstreams"):
        build(packages=["base"])
    assert not Path(spec["home"], "pigsty").exists()


# -- keys ----------------------------------------------------------------------------------------


@pytest.fixture
def odd_key():
    """A key with a second identity, and a subkey that signs."""
    key = Key()
    key.gpg("--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-uid", key.fingerprint,
            "Second <second@example.org>")  # fmt: skip
    key.gpg("--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-key", key.fingerprint,
            "rsa2048", "sign", "never")  # fmt: skip
    key.public = key.gpg("--armor", "--export")
    key.subkey = [
        line.split(":")[9]
        for line in key.gpg("--with-colons", "-k").splitlines()
        if line.startswith("fpr:")
    ][1]
    yield key
    key.close()


@pytest.mark.parametrize("pinned", ["", "primary", "subkey", "other"])
def test_a_key_with_identities_and_a_subkey(pinned, odd_key, upstream, spec, build):
    suite = upstream.root / "dists/stable"
    for name in ("InRelease", "Release.gpg"):
        (suite / name).unlink()
    odd_key.gpg("-u", f"{odd_key.subkey}!", "--output", suite / "InRelease", "--clear-sign",
                suite / "Release")  # fmt: skip
    entry = {**spec["upstream"][0], "gpgkey": odd_key.public}
    fingerprints = {"primary": odd_key.fingerprint, "subkey": odd_key.subkey, "other": "A" * 40}
    if pinned:
        entry["fingerprint"] = fingerprints[pinned]
    if pinned in ("", "primary"):
        assert build(upstream=[entry], packages=["base"])["packages"] == 1
    else:
        with pytest.raises(FAULTS, match="but expected"):
            build(upstream=[entry], packages=["base"])


def test_an_expired_key_is_named(upstream, spec, build):
    key = Key(expire="1d", moment="20200101T000000")
    suite = upstream.root / "dists/stable"
    sign(suite, key, (suite / "Release").read_text())
    entry = {**spec["upstream"][0], "gpgkey": key.public}
    with pytest.raises(FAULTS, match=r"EXPKEYSIG|[Ee]xpired"):
        build(upstream=[entry], packages=["base"])
    key.close()


def test_a_revoked_key_is_refused(upstream, spec, build):
    key = Key()
    suite = upstream.root / "dists/stable"
    sign(suite, key, (suite / "Release").read_text())
    certificate = Path(key.home, f"openpgp-revocs.d/{key.fingerprint}.rev")
    text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    certificate.write_text(text)
    key.gpg("--import", certificate)
    entry = {**spec["upstream"][0], "gpgkey": key.gpg("--armor", "--export")}
    with pytest.raises(FAULTS, match=r"REVKEYSIG|revoked"):
        build(upstream=[entry], packages=["base"])
    key.close()


# -- names and versions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "pool/..%2f..%2f..%2f..%2fbase.deb",
        "../../../base.deb",
        "/etc/passwd",
        "pool/.base.deb",
        "pool/base%0aevil.deb",
        "pool/base%00.deb",
        "pool/repo_complete",
        "pool/%2e%2e",
    ],
)
def test_a_hostile_name_in_a_signed_index_writes_nowhere_else(
    name, upstream, upstream_key, build, spec, tmp_path
):
    rewrite(
        upstream,
        upstream_key,
        lambda text: re.sub(r"(?m)^Filename: pool/base_.*$", f"Filename: {name}", text),
    )
    data = (upstream.root / "pool/base_2.1_amd64.deb").read_bytes()
    real = upstream.answer

    def answer(handler):
        if "base" in handler.path or "passwd" in handler.path or "repo_comp" in handler.path:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        else:
            real(handler)

    upstream.answer = answer
    before = {p for p in tmp_path.rglob("*") if "cache" not in str(p)}
    assert re.search("^$|base|not name_version_arch", reason(build, packages=["base"]))
    home = Path(spec["home"])
    fresh = {p for p in tmp_path.rglob("*") if "cache" not in str(p)} - before
    assert all(p == home or home in p.parents or tmp_path / "state" in (p, *p.parents)
               for p in fresh)  # fmt: skip
    for path in home.rglob("*"):
        assert path.resolve().is_relative_to(home), path
    if (home / "pigsty").exists():
        run("sha256sum", "-c", "--quiet", "repo_complete", cwd=home / "pigsty")


def test_epochs_and_tildes_are_ordered_as_by_dpkg(upstream, upstream_key, build, spec):
    for version in ("1:1.0~rc1", "1:1.0", "2.0", "1:1.0~~", "1:0.9+dfsg-1"):
        deb(upstream.root / "pool", "odd", version)
    apt_upstream(upstream.root, upstream_key)
    build(packages=["odd", "odd=1:1.0~rc1", "odd=1:0.9+dfsg-1"], keep=3)
    assert published(spec) == ["odd_0.9+dfsg-1_all.deb", "odd_1.0_all.deb", "odd_1.0~rc1_all.deb"]


def test_one_file_name_of_two_contents(upstream, upstream_key, build, spec):
    """2:1.0 and 1.0 of a package have one file name."""
    for folder, version in (("pool/a", "1.0"), ("pool/b", "2:1.0")):
        deb(upstream.root / folder, "twin", version)
    apt_upstream(upstream.root, upstream_key)
    build(packages=["twin", "twin=1.0"], keep=2)
    text = Path(spec["home"], "pigsty/dists/bookworm/main/binary-amd64/Packages").read_text()
    assert sorted(re.findall(r"(?m)^Version: (.*)$", text)) == ["1.0", "2:1.0"]
    names = re.findall(r"(?m)^Filename: (.*)$", text)
    assert len(set(names)) == 2
    run("sha256sum", "-c", "--quiet", "repo_complete", cwd=Path(spec["home"], "pigsty"))


def test_one_package_for_all_architectures_of_two_targets(build, spec):
    build(packages=["extra"], targets=["d12.x86_64", "d12.aarch64", "d13.x86_64"])
    root = Path(spec["home"], "pigsty")
    assert published(spec).count("extra_1_all.deb") == 2
    for index in ("bookworm/main/binary-amd64", "bookworm/main/binary-arm64",
                  "trixie/main/binary-amd64"):  # fmt: skip
        text = (root / f"dists/{index}/Packages").read_text()
        assert text.count("Package: extra\n") == 1
        assert (root / re.search(r"Filename: (.*)", text)[1]).is_file()


def test_a_package_that_is_another_one_than_the_index_says(upstream, upstream_key, build, spec):
    """The checksum is right: a signed index names somebody else's file."""
    other = deb(upstream.root / "other", "evil", "9")
    target = upstream.root / "pool/extra_1_all.deb"
    size = target.stat().st_size
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.write_bytes(other.read_bytes())
    new = hashlib.sha256(target.read_bytes()).hexdigest()
    rewrite(upstream, upstream_key, lambda text: text.replace(digest, new).replace(
        f"Size: {size}\n", f"Size: {target.stat().st_size}\n"))  # fmt: skip
    with pytest.raises(FAULTS, match=r"extra_1_all\.deb.*evil"):
        build(packages=["extra"])


# -- captive portals -----------------------------------------------------------------------------

PAGE = b"<html><body>Log in to the WLAN</body></html>"


class Portal(Server):
    """Answers everything with a page, and says that all is well."""

    part = ""

    def answer(self, handler):
        if self.part not in handler.path:
            return super().answer(handler)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(PAGE)))
        handler.end_headers()
        handler.wfile.write(PAGE)
        return None


@pytest.mark.parametrize(
    ("family", "part"),
    [("deb", "Release"), ("deb", "Packages"), ("deb", ".deb"), ("deb", "key"), ("deb", ""),
     ("rpm", "repomd.xml"), ("rpm", "primary"), ("rpm", ".rpm"), ("rpm", "")],
)  # fmt: skip
def test_a_captive_portal_is_named_and_leaves_nothing(
    family, part, upstream, upstream_key, build, spec, tmp_path
):
    root = upstream.root
    if family == "rpm":
        root = tmp_path / "yum"
        upstream_key.sign_rpm(rpm(root, "base", "1"))
        yum_upstream(root, upstream_key)
    (root / "vendor-key.asc").write_text(upstream_key.public)
    portal = Portal(root)
    entry = {**spec["upstream"][0], "releases": [9, 12]}
    entry["baseurl"] = f"{portal.url} stable main" if family == "deb" else portal.url
    if part in ("key", ""):
        # https is left out: the certificate would be wrong.
        entry |= {"gpgkey": f"{portal.url}/vendor-key.asc", "fingerprint": upstream_key.fingerprint}
    given = {"targets": ["d12.x86_64" if family == "deb" else "el9.x86_64"], "upstream": [entry],
             "packages": ["base"]}  # fmt: skip
    portal.part = part
    with pytest.raises(FAULTS) as caught:
        build(**given)
    text = str(caught.value)
    assert "Traceback" not in text
    assert portal.url.removeprefix("http://") in text or "base" in text
    # Behind the portal, nothing of it is left.
    portal.part = "nothing at all"
    assert build(**given)["packages"] == 1
    portal.close()


# -- packages by URL -----------------------------------------------------------------------------


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    (tmp_path / "vendor").mkdir()
    server = Server(tmp_path / "vendor")
    monkeypatch.setattr("infra_formula.repository.catalogue._checksum_problems", lambda *_: [])
    yield server
    server.close()


def answer_with(server, **headers):
    """Redirect ``/latest`` to a file whose name has a version, and add headers."""
    real = server.answer

    def answer(handler):
        if handler.path.startswith("/latest"):
            handler.send_response(302)
            handler.send_header("Location", "/releases/vendor_9.9_all.deb?token=1")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_header = _sender(handler, handler.send_header, headers)
        real(handler)

    server.answer = answer


def _sender(handler, send, headers):
    def sender(name, value):
        if name == "Content-Length":
            for extra, content in headers.items():
                send(extra.replace("_", "-"), content)
        send(name, value)

    return sender


@pytest.mark.soak
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"url": "/latest", "name": "vendor.deb"}, "vendor.deb"),
        ({"url": "/latest"}, "cannot be|is not|no package|name"),
        ({"url": "/latest.deb"}, "latest.deb"),
        ({"url": "/releases/vendor_9.9_all.deb?sig=a%2Fb"}, "vendor_9.9_all.deb"),
        ({"url": "/releases/vendor_9.9_all.deb#part"}, "vendor_9.9_all.deb"),
        ({"url": "/releases/", "name": "../../x.deb"}, "cannot be the name"),
        ({"url": "/releases/x%2fy.deb"}, None),
        ({"url": "/releases/"}, "cannot be the name"),
    ],
)
def test_the_name_of_a_package_is_that_of_its_address(item, expected, vendor, build, spec):
    made = deb(vendor.root / "releases", "vendor", "9.9")
    (vendor.root / "releases/x").mkdir()
    (vendor.root / "releases/x/y.deb").write_bytes(made.read_bytes())
    answer_with(vendor, Content_Disposition='attachment; filename="../../evil.deb"')
    given = {"packages": ["base"],
             "url_packages": [{**item, "url": vendor.url + item["url"]}]}  # fmt: skip
    refused = reason(build, **given)
    if refused:
        assert expected is None or re.search(expected, refused), refused
        return
    assert expected is None or item.get("url") == "/latest" or expected in published(spec)
    assert "evil.deb" not in {p.name for p in Path(spec["home"]).rglob("*")}


# -- forms of yum's index ------------------------------------------------------------------------


@pytest.fixture
def yum(tmp_path, upstream_key):
    root = tmp_path / "yum"
    for name, version in (("base", "1"), ("web", "1")):
        upstream_key.sign_rpm(rpm(root, name, version))
    server = Server(root)
    yield server
    server.close()


@pytest.fixture
def build_yum(yum, upstream_key, build):
    entry = {"name": "baseos", "module": "node", "releases": [9], "arch": ["x86_64"],
             "baseurl": yum.url, "gpgkey": upstream_key.public}  # fmt: skip

    def call(packages=("base",), index=(), **changes):
        run("createrepo_c", "--quiet", *index, yum.root)
        repomd = yum.root / "repodata/repomd.xml"
        upstream_key.detach(repomd, f"{repomd}.asc")
        return build(targets=["el9.x86_64"], upstream=[{**entry, **changes}],
                     packages=list(packages))  # fmt: skip

    return call


def can_write(options, folder):
    (folder / "none").mkdir()
    done = subprocess.run(["createrepo_c", "-q", *options, folder / "none"], stderr=subprocess.PIPE)
    return not re.search(rb"Unknown|support", done.stderr)


@pytest.mark.soak
@pytest.mark.parametrize(
    "options",
    [
        ["--checksum=sha512"],
        ["--checksum=sha384"],
        ["--checksum=sha"],
        ["--general-compress-type=xz"],
        ["--general-compress-type=bz2"],
        ["--general-compress-type=zstd"],
        ["--database"],
        ["--no-database", "--simple-md-filenames"],
        ["--zck"],
    ],
    ids=" ".join,
)
def test_an_index_of_yum_in_any_form(options, build_yum, spec, tmp_path):
    if not can_write(options, tmp_path):
        pytest.skip("this createrepo_c does not write it")
    assert build_yum(index=options)["packages"] == 1
    assert published(spec) == ["base-1-1.noarch.rpm"]


@pytest.mark.parametrize(
    "href", ["../../../base.rpm", "/etc/base.rpm", "a%2f..%2f..%2fbase.rpm", "sub/base 1.rpm"]
)
def test_a_hostile_location_of_an_rpm_writes_nowhere_else(href, yum, build_yum, upstream_key, spec,
                                                          tmp_path):  # fmt: skip
    build_yum(index=["--no-database", "--simple-md-filenames"])
    primary = yum.root / "repodata/primary.xml.gz"
    text = gzip.decompress(primary.read_bytes()).decode()
    changed = text.replace('href="base-1-1.noarch.rpm"', f'href="{href}"').encode()
    repomd = yum.root / "repodata/repomd.xml"
    meta = repomd.read_text()
    packed = gzip.compress(changed)
    for old, new in ((text.encode(), changed), (primary.read_bytes(), packed)):
        meta = meta.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest())
        meta = meta.replace(f">{len(old)}<", f">{len(new)}<")
    meta = re.sub(r"<revision>\d+", "<revision>2000000000", meta)
    primary.write_bytes(packed)
    repomd.write_text(meta)
    upstream_key.detach(repomd, f"{repomd}.asc")
    home = Path(spec["home"])
    run("rm", "-rf", home, tmp_path / "cache")
    entry = {"name": "baseos", "module": "node", "releases": [9], "arch": ["x86_64"],
             "baseurl": yum.url, "gpgkey": upstream_key.public}  # fmt: skip
    before = set(tmp_path.iterdir())
    with pytest.raises(FAULTS, match="base"):
        build_again(build_yum, entry)
    assert {p.name for p in set(tmp_path.iterdir()) - before} <= {"cache", "www", "state"}
    assert not list(home.rglob("base*.rpm")) or all(
        p.resolve().is_relative_to(home) for p in home.rglob("*")
    )


def build_again(build_yum, entry):
    """Build from the index as it is."""
    build = build_yum.__closure__[0].cell_contents
    for cell in build_yum.__closure__:
        if callable(cell.cell_contents):
            build = cell.cell_contents
    return build(targets=["el9.x86_64"], upstream=[entry], packages=["base"])


def test_a_module_hides_its_packages_unless_it_is_a_hotfix(yum, build_yum, upstream_key):
    (yum.root / "modules.yaml").write_text(
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: stack\n  stream: '1'\n  version: 1\n"
        "  context: c0ffee42\n  arch: x86_64\n  summary: s\n  description: d\n"
        "  license: {module: [MIT]}\n  artifacts:\n    rpms: ['base-0:1-1.noarch']\n...\n"
    )
    run("createrepo_c", "--quiet", yum.root)
    run("modifyrepo_c", "--mdtype=modules", yum.root / "modules.yaml", yum.root / "repodata")

    def once(**changes):
        repomd = yum.root / "repodata/repomd.xml"
        upstream_key.detach(repomd, f"{repomd}.asc")
        entry = {"name": "baseos", "module": "node", "releases": [9], "arch": ["x86_64"],
                 "baseurl": yum.url, "gpgkey": upstream_key.public, **changes}  # fmt: skip
        return build_again(build_yum, entry)

    with pytest.raises(FAULTS, match="no upstream has base"):
        once()
    assert once(meta={"module_hotfixes": 1})["packages"] == 1


def test_a_file_of_a_name_that_is_not_utf_8_is_named(build, spec, modules, tmp_path):
    build(packages=["base"])
    folder = Path(spec["home"], "pigsty").resolve()
    Path(f"{folder}/caf\udce9.deb").write_bytes(b"x")
    report = modules.infra_repo.verify(home=spec["home"])
    assert "caf" in ascii(report)
    modules.infra_repo.summary(home=spec["home"])
    with pytest.raises(FAULTS, match="caf"):
        modules.infra_repo.pack(home=spec["home"], archive=str(tmp_path / "x.tgz"))
    assert build(packages=["base", "extra"])["packages"] == 2
    assert modules.infra_repo.verify(home=spec["home"])["complete"]


def redirect(server, target):
    """Send requests for packages to another host."""
    server.faults = {"/pool/": f"to:{target}"}


@pytest.mark.parametrize("ca", ["own", "none"])
def test_an_own_ca_of_an_apt_upstream_does_not_hold_for_a_redirection(
    ca, upstream, spec, build, tmp_path
):
    """From the mirror with a certificate of its own CA to a host that has none of it."""
    import ssl

    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", tmp_path / "key.pem",
        "-out", tmp_path / "crt.pem")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt.pem", tmp_path / "key.pem")
    other = Server(upstream.root)
    for server in (upstream, other):
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    url = upstream.url.replace("http:", "https:")
    target = other.url.replace("http://127.0.0.1", "https://localhost")
    entry = {
        **spec["upstream"][0],
        "baseurl": f"{url} stable main",
        "ca": str(tmp_path / "crt.pem"),
    }
    if ca == "own":
        redirect(upstream, target)
        with pytest.raises(FAULTS, match="certificate"):
            build(upstream=[entry], packages=["base"], retries=0)
    else:
        assert build(upstream=[entry], packages=["base"])["packages"] == 1
    other.close()
