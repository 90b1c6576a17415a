"""Oddities of upstreams, as people report them, and what becomes of each."""

import gzip
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from infra_formula.repository import apt, connections, offline_package, releases
from infra_formula.repository import published as repository
from repo_samples import Server, apt_upstream, deb, rpm, run, yum_upstream
from salt.exceptions import CommandExecutionError, SaltInvocationError

pytest_plugins = ["repo_fixtures"]


def names(spec):
    """Packages that are published."""
    return sorted(p.name for p in Path(spec["home"], "pigsty/pool").rglob("*.deb"))


@pytest.fixture
def yum(tmp_path, upstream_key):
    root = tmp_path / "yum"
    for name, version in (("base", "1"), ("base", "2"), ("web", "1")):
        upstream_key.sign_rpm(rpm(root, name, version))
    yum_upstream(root, upstream_key)
    server = Server(root)
    yield server
    server.close()


@pytest.fixture
def yum_request(yum, upstream_key):
    entry = {"name": "baseos", "module": "node", "releases": [9], "arch": ["x86_64", "aarch64"],
             "baseurl": yum.url, "gpgkey": upstream_key.public}  # fmt: skip
    return {"targets": ["el9.x86_64"], "upstream": [entry], "packages": ["web"]}


# -- packages by URL -----------------------------------------------------------------------------


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """A vendor's server, whose packages have no checksum; its https is taken for granted."""
    root = tmp_path / "vendor"
    root.mkdir()
    server = Server(root)
    monkeypatch.setattr("infra_formula.repository.catalogue._checksum_problems", lambda *_: [])
    yield server
    server.close()


def test_a_package_by_url_is_fetched_again_only_if_it_changed(vendor, build, spec):
    given = {"packages": ["base"], "url_packages": [f"{vendor.url}/vendor.deb"]}
    file = vendor.root / "vendor.deb"
    deb(vendor.root, "vendor", "1").rename(file)
    os.utime(file, (1000, 1000))
    build(**given)
    assert build(force=True, **given)["fetched"] == 0
    assert vendor.requests == ["/vendor.deb"] * 2
    deb(vendor.root, "vendor", "2").rename(file)
    result = build(force=True, **given)
    assert [Path(p).name for p in result["added"]] == ["vendor.deb"]
    info = releases.state(spec["home"], "pigsty")["info"]
    assert [p["version"] for p in info["packages"] if p["name"] == "vendor"] == ["2"]


@pytest.mark.parametrize("name", ["vendor.deb", "vendor.rpm"])
@pytest.mark.parametrize("body", [b"<html>Log in to the WLAN</html>", b"", b"!<arch>\nnot one"])
def test_a_captive_portal_is_no_package(name, body, vendor, build, spec, yum_request):
    given = {"packages": ["base"]} if name.endswith("deb") else yum_request
    given = {**given, "url_packages": [f"{vendor.url}/{name}"]}
    (vendor.root / name).write_bytes(body)
    with pytest.raises(CommandExecutionError, match=rf"{name}: it is not an? (Debian|rpm) package"):
        build(**given)
    # The next build, behind the portal, is not spoilt by it.
    made = (
        deb(vendor.root, "vendor", "1") if name.endswith("deb") else rpm(vendor.root, "vendor", "1")
    )
    made.rename(vendor.root / name)
    assert build(**given)["packages"] == 2


def test_half_a_package_is_not_kept(vendor, build):
    file = deb(vendor.root, "vendor", "1", body=os.urandom(50000))
    file.write_bytes(file.read_bytes()[:-9000])
    with pytest.raises(CommandExecutionError, match="not a Debian package that is whole"):
        build(packages=["base"], url_packages=[f"{vendor.url}/{file.name}"])


def test_one_name_in_two_architectures(vendor, build, spec, tmp_path):
    for arch, debian in (("x86_64", "amd64"), ("aarch64", "arm64")):
        deb(vendor.root / arch, "vendor", "1", debian).rename(vendor.root / arch / "vendor.deb")
        (vendor.root / arch / "tool.bin").write_text(arch)
    result = build(
        targets=["d12.x86_64", "d12.aarch64"],
        packages=["base"],
        url_packages=[f"{vendor.url}/${{arch}}/{name}" for name in ("vendor.deb", "tool.bin")],
    )
    assert result["packages"] == 6
    home = Path(spec["home"], "pigsty")
    for arch in ("amd64", "arm64"):
        text = (home / f"dists/bookworm/main/binary-{arch}/Packages").read_text()
        assert text.count("Package: vendor\n") == 1
    assert (home / "files/tool.bin").read_text() == "x86_64"
    assert (home / "files/aarch64/tool.bin").read_text() == "aarch64"


def test_a_package_for_no_target_is_named(vendor, build):
    deb(vendor.root, "vendor", "1", "arm64")
    with pytest.raises(CommandExecutionError, match=r"none of its targets .*vendor_1_arm64.deb"):
        build(packages=["base"], url_packages=[f"{vendor.url}/vendor_1_arm64.deb"])


# -- proxies and addresses -----------------------------------------------------------------------


def test_a_proxy_serves_a_redirection_to_another_host(upstream, build, spec):
    """As packagecloud does, which sends to its CDN; only the proxy can resolve either."""
    entry = {**spec["upstream"][0], "baseurl": "http://packages.invalid stable main"}
    upstream.faults = {"/dists/": "to:http://cdn.invalid", "/pool/": "to:http://cdn.invalid"}
    build_with = {"upstream": [entry], "packages": ["web"]}
    assert build(proxy_env={"http_proxy": upstream.url}, **build_with)["packages"] == 3


@pytest.fixture
def build(minion, spec, repo_key, tmp_path):
    def call(force=False, retries=1, timeout=10, proxy_env=None, **changes):
        transfer = {"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state"),
                    "retries": retries, "timeout": timeout, "proxy_env": proxy_env}  # fmt: skip
        return repository.build(
            minion, {**spec, **changes}, key=repo_key, transfer=transfer, force=force
        )

    return call


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "127.0.0.0/8", "127.*", ".1,127.0.0.1"])
def test_what_no_proxy_names_is_asked_directly(no_proxy, build):
    proxies = {"http_proxy": "http://127.0.0.1:9", "no_proxy": no_proxy}
    assert build(proxy_env=proxies, packages=["base"])["packages"] == 1


@pytest.mark.parametrize("url", ["http://[::1]/x", "https://[fd00::1]/x", "http://[fd00::1]:81/x"])
def test_an_ipv6_address_is_a_host(url):
    parts = connections.urlsplit(url)
    connection = connections._connect(parts, "", 1, connections.Tls())
    assert connection.host == parts.hostname
    assert connection.port == (parts.port or {"http": 80, "https": 443}[parts.scheme])
    upstream = {"name": "x", "url": url, "suite": "./", "components": [], "keyring": "",
                "ca": "/ca.crt"}  # fmt: skip
    assert "fd00:" not in apt.config_text("/r", "amd64", {}, {str(parts.hostname): "/ca.crt"})
    assert f"URIs: {url}" in apt.sources_text([upstream], "amd64")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A CA of the site's own, and a server's certificate of it."""
    folder = tmp_path_factory.mktemp("ca")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem",
        "-out", folder / "crt.pem")  # fmt: skip
    return folder


@pytest.fixture
def tls(certificate):
    import ssl

    def wrap(server):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "crt.pem", certificate / "key.pem")
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        return server.url.replace("http:", "https:")

    return wrap


@pytest.mark.parametrize(
    "options", [{"sslverify": 0}, {"sslverify": "no"}, {"sslcacert": "crt.pem"}]
)
def test_a_yum_upstream_of_an_own_ca(options, yum, yum_request, build, tls, certificate):
    url = tls(yum)
    meta = {k: str(certificate / v) if k == "sslcacert" else v for k, v in options.items()}
    entry = {**yum_request["upstream"][0], "baseurl": url}
    with pytest.raises(CommandExecutionError, match=r"baseos: https://.*repomd.xml: .*certificate"):
        build(**{**yum_request, "upstream": [entry]})
    assert build(**{**yum_request, "upstream": [{**entry, "meta": meta}]})["packages"] == 1


@pytest.mark.parametrize("family", ["apt", "yum"])
def test_an_upstream_has_a_ca_of_its_own(family, yum, yum_request, upstream, spec, build, tls,
                                         certificate):  # fmt: skip
    ca = str(certificate / "crt.pem")
    if family == "yum":
        entry = {**yum_request["upstream"][0], "baseurl": tls(yum), "ca": ca}
        assert build(**{**yum_request, "upstream": [entry]})["packages"] == 1
    else:
        entry = {**spec["upstream"][0], "baseurl": f"{tls(upstream)} stable main", "ca": ca}
        assert build(upstream=[entry])["packages"] == 3


def test_a_mistyped_option_is_named(yum_request, build):
    entry = {**yum_request["upstream"][0], "meta": {"sslverfy": 0}}
    with pytest.raises(SaltInvocationError, match=r"meta\.sslverfy.*sslverify"):
        build(**{**yum_request, "upstream": [entry]})


# -- what upstreams have -------------------------------------------------------------------------


def test_any_version_of_a_package(upstream, upstream_key, build, spec):
    for version in ("1.1", "1.2", "2:1.0"):
        deb(upstream.root / "pool", "tool", version)
    apt_upstream(upstream.root, upstream_key)
    build(packages=["tool=1.1"])
    assert names(spec) == ["tool_1.1_all.deb"]
    build(packages=["tool=1.1", "tool=1.2", "tool", "base"])
    assert names(spec) == [
        *("base_2.1_amd64.deb", "tool_1.0_all.deb", "tool_1.1_all.deb", "tool_1.2_all.deb")
    ]
    with pytest.raises(CommandExecutionError, match=r"no upstream has tool=9"):
        build(packages=["tool=9"])


def test_any_version_of_an_rpm(yum_request, build, spec):
    build(**{**yum_request, "packages": ["base=1", "web"]})
    found = sorted(p.name for p in Path(spec["home"], "pigsty/el9.x86_64/rpms").rglob("*.rpm"))
    assert found == ["base-1-1.noarch.rpm", "web-1-1.noarch.rpm"]
    with pytest.raises(CommandExecutionError, match=r"no upstream has base=9"):
        build(**{**yum_request, "packages": ["base=9"]})


def test_a_group_of_yum(yum, yum_request, upstream_key, build, spec):
    (yum.root / "comps.xml").write_text(
        "<comps><group><id>tools</id><name>Tools</name><uservisible>true</uservisible><packagelist>"
        '<packagereq type="mandatory">web</packagereq>'
        '<packagereq type="mandatory">base</packagereq>'
        "</packagelist></group></comps>"
    )
    run("createrepo_c", "--quiet", "--no-database", "--groupfile", "comps.xml", ".", cwd=yum.root)
    repomd = yum.root / "repodata/repomd.xml"
    upstream_key.detach(repomd, f"{repomd}.asc")
    assert build(**{**yum_request, "packages": ["@tools"]})["packages"] == 2
    with pytest.raises(CommandExecutionError, match="no upstream has @nosuch"):
        build(**{**yum_request, "packages": ["@nosuch"]})
    with pytest.raises(SaltInvocationError, match="'@tools' is a group of yum"):
        build(packages=["@tools"])


def test_two_yum_upstreams_of_one_name_are_an_error(yum_request, build):
    entry = yum_request["upstream"][0]
    with pytest.raises(SaltInvocationError, match=r"repo_upstream\[1\] \(baseos\).name: .*\[0\]"):
        build(**{**yum_request, "upstream": [entry, entry]})


@pytest.mark.parametrize("field", ["Origin", "Label", "Suite", "Version"])
def test_what_an_upstream_calls_itself_may_change(field, upstream, upstream_key, build):
    apt_upstream(upstream.root, upstream_key, fields=[f"{field}: Old"])
    build()
    apt_upstream(upstream.root, upstream_key, fields=[f"{field}: New"])
    build(force=True)
    apt_upstream(upstream.root, upstream_key, fields=[f"{field}: Newer"])
    build(packages=["base"])


def test_another_codename_has_to_be_accepted(upstream, upstream_key, build):
    build()
    text = (
        (upstream.root / "dists/stable/Release")
        .read_text()
        .replace("Codename: stable", "Codename: x")
    )
    for name in ("Release", "InRelease", "Release.gpg"):
        (upstream.root / "dists/stable" / name).unlink()
    release = upstream.root / "dists/stable/Release"
    release.write_text(text)
    upstream_key.clear(release, release.with_name("InRelease"))
    with pytest.raises(CommandExecutionError, match="To accept the change, set repo_build: true"):
        build(packages=["base"])
    build(packages=["base"], force=True)
    build(packages=["extra"])


@pytest.mark.parametrize("status", [400, 403, 416, 501])
def test_a_part_that_is_refused_after_a_cut(status, upstream, build):
    upstream.faults = {"web_1.0": "cut"}
    with pytest.raises(CommandExecutionError, match="broke off"):
        build(retries=0)
    upstream.range_status = status
    upstream.faults = {"web_1.0": "no-range"}
    assert build(retries=0)["packages"] == 3


def test_a_control_file_in_latin_1(upstream, upstream_key, build, spec):
    with tempfile.TemporaryDirectory() as tmp:
        control = Path(tmp, "DEBIAN/control")
        control.parent.mkdir()
        control.write_bytes(
            "Package: old\nVersion: 1\nArchitecture: all\nMaintainer: J\xf6rg <j@example.org>\n"
            "Description: caf\xe9\n".encode("latin-1")
        )
        run("dpkg-deb", "--root-owner-group", "-b", tmp, upstream.root / "pool/old_1_all.deb")
    done = subprocess.run(
        ["apt-ftparchive", "packages", "pool"], cwd=upstream.root, capture_output=True, check=True
    )
    text = done.stdout.decode("latin-1").encode()
    assert b"caf" in text
    folder = upstream.root / "dists/stable/main/binary-amd64"
    (upstream.root / "pool/old_1_all.deb").rename(upstream.root / "old_1_all.deb")
    apt_upstream(upstream.root, upstream_key)
    assert folder.is_dir()
    file = upstream.root / "old_1_all.deb"
    item = {"url": file.as_uri(), "checksum": f"sha256:{run('sha256sum', file).split()[0]}"}
    result = build(packages=["base"], url_packages=[item])
    assert result["packages"] == 2
    index = Path(spec["home"], "pigsty/dists/bookworm/main/binary-amd64/Packages.gz")
    assert "J\xf6rg" in gzip.decompress(index.read_bytes()).decode()


def test_minor_is_the_version_of_this_machine_for_its_own_release_alone(spec, yum_request):
    from infra_formula.repository import catalogue

    entry = {**yum_request["upstream"][0], "releases": [8, 9], "minor": True,
             "baseurl": "https://example.org/$releasever/os"}  # fmt: skip
    plan = catalogue.plan({**spec, "targets": ["el8.x86_64", "el9.x86_64"], "upstream": [entry],
                           "variables": {"minor_release": "9.4"}})  # fmt: skip
    urls = [target["upstreams"][0]["baseurls"][0] for target in plan["targets"]]
    assert urls == ["https://example.org/8/os", "https://example.org/9.4/os"]


def test_an_index_that_is_over_is_used_if_that_is_said(upstream, upstream_key, build, spec):
    apt_upstream(upstream.root, upstream_key, fields=["Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC"])
    with pytest.raises(CommandExecutionError, match=r"expired|not valid anymore|invalid since"):
        build(packages=["base"])
    entry = {**spec["upstream"][0], "check_valid_until": False}
    assert build(packages=["base"], upstream=[entry])["packages"] == 1


@pytest.fixture
def backports(upstream, upstream_key, spec, tmp_path):
    """A second suite with a newer version, which apt does not choose by itself."""
    root = upstream.root / "bpo"
    deb(root / "pool", "base", "3.0~bpo12+1", arch="amd64")
    apt_upstream(root, upstream_key, suite="stable-backports",
                 fields=["NotAutomatic: yes", "ButAutomaticUpgrades: yes"])  # fmt: skip
    own = spec["upstream"][0]
    return {**own, "name": "backports", "baseurl": f"{upstream.url}/bpo stable-backports main"}


def test_backports_by_suite_and_by_priority(backports, build, spec):
    both = [spec["upstream"][0], backports]
    build(packages=["base"], upstream=both)
    assert names(spec) == ["base_2.1_amd64.deb"]
    build(packages=["base/stable-backports"], upstream=both)
    assert names(spec) == ["base_3.0~bpo12+1_amd64.deb"]
    build(packages=["base"], upstream=[both[0], {**backports, "priority": 900}])
    assert names(spec) == ["base_3.0~bpo12+1_amd64.deb"]
    build(packages=["base"], upstream=[{**both[0], "priority": 900}, backports])
    assert names(spec) == ["base_2.1_amd64.deb"]
    with pytest.raises(CommandExecutionError, match="no upstream has web/stable-backports"):
        build(packages=["web/stable-backports"], upstream=both)


# -- errors that name their cause -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        (None, r"http://127.0.0.1:\d+/nosuch/repodata/repomd.xml: it answered 404 Not Found"),
        ("http://nosuch.invalid/x", "http://nosuch.invalid/x/repodata/repomd.xml: .*(known|resol)"),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x/repodata/repomd.xml: Connection refused"),
    ],
)
def test_an_error_of_dnf_names_address_and_cause(address, cause, yum, yum_request, build):
    entry = {**yum_request["upstream"][0], "baseurl": address or f"{yum.url}/nosuch"}
    with pytest.raises(CommandExecutionError, match=f"baseos: {cause}"):
        build(**{**yum_request, "upstream": [entry]})


def test_pack_to_a_full_disk_says_so(build, minion, spec, upstream, upstream_key):
    deb(upstream.root / "pool", "large", "1", body=os.urandom(3 * 2**20))
    apt_upstream(upstream.root, upstream_key)
    build(packages=["large"])
    with tempfile.TemporaryDirectory(prefix="full-", dir="/tmp") as tmp:
        run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp)
        try:
            for compression in ("gzip", "zstd"):
                with pytest.raises(CommandExecutionError, match="No space left on device"):
                    offline_package.pack(
                        minion, "pigsty", spec["home"], folder=tmp, compression=compression
                    )
            assert not os.listdir(tmp)
        finally:
            run("umount", tmp)


@pytest.mark.parametrize("part", ["pigsty", ".pigsty/store"])
def test_a_mount_in_the_way_is_found_before_any_work(part, build, spec, upstream):
    place = Path(spec["home"], part)
    place.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "tmpfs", place)
    try:
        with pytest.raises(CommandExecutionError, match=r"mount point|on another file system"):
            build()
        assert not upstream.requests
    finally:
        run("umount", place)


def test_a_package_dropped_by_hand_is_named(build, states, spec, repo_key, tmp_path):
    build(packages=["base"])
    home = Path(spec["home"], "pigsty")
    deb(home / "pool/bookworm/m", "mine", "1")
    request = {k: v for k, v in {**spec, "packages": ["base"]}.items() if k not in ("name", "home")}
    transfer = {"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")}
    given = {"name": "pigsty", "home": spec["home"], "key": repo_key, "request": request,
             "transfer": transfer}  # fmt: skip
    for force in (False, True):
        ret = states.infra_repo.built(**given, force=force)
        assert ret.result is True, ret.comment
        warning = " ".join(
            ret.warnings if hasattr(ret, "warnings") else ret.full_return["warnings"]
        )
        assert "mine_1_all.deb" in warning
        assert "repo_url_packages" in warning
