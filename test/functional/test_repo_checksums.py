"""What no strong checksum of an upstream's index verifies is not published."""

import os
from pathlib import Path

import pytest
from repo_samples import Server, apt_upstream, rpm, yum_upstream
from salt.exceptions import CommandExecutionError

pytest_plugins = ["repo_fixtures"]


def tampered(root):
    """Change a package behind its index, and keep its size."""
    file = root / "pool/base_2.1_amd64.deb"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    "hashes",
    [
        ["SHA256"],
        ["SHA512"],
        ["MD5sum", "SHA512"],
        ["SHA1", "SHA256"],
        ["MD5sum", "SHA1", "SHA512"],
    ],
    ids="+".join,
)
def test_any_strong_checksum_of_an_apt_index_is_checked(hashes, build, upstream, upstream_key):
    apt_upstream(upstream.root, upstream_key, hashes=hashes)
    assert build(packages=["base"])["packages"] == 1
    assert build(packages=["base"], force=True)["fetched"] == 0
    apt_upstream(upstream.root, upstream_key, hashes=hashes)
    tampered(upstream.root)
    with pytest.raises(CommandExecutionError, match=r"base_2.1_amd64.deb: its sha(256|512) is"):
        build(packages=["base"], home=f"{upstream.root}-www", name="other")


@pytest.mark.parametrize("hashes", [[], ["MD5sum"], ["SHA1"], ["MD5sum", "SHA1"]], ids=str)
@pytest.mark.parametrize("tamper", [True, False], ids=["tampered", "as it was"])
def test_without_a_strong_checksum_the_build_names_the_upstream(
    hashes, tamper, build, spec, upstream, upstream_key
):
    apt_upstream(upstream.root, upstream_key, hashes=hashes)
    if tamper:
        tampered(upstream.root)
    with pytest.raises(CommandExecutionError) as caught:
        build(packages=["base"])
    assert "d12.x86_64: upstream base: its index has no strong checksum" in str(caught.value)
    assert "base_2.1_amd64.deb" in str(caught.value)
    assert not Path(spec["home"], "pigsty").exists()


@pytest.mark.parametrize("release", ["SHA512", "SHA256"])
def test_a_release_file_may_have_one_strong_checksum_alone(release, build, upstream, upstream_key):
    apt_upstream(upstream.root, upstream_key, hashes=["SHA512"], release=release)
    assert build(packages=["base"])["packages"] == 1


@pytest.mark.parametrize("release", ["MD5Sum", "SHA1"])
def test_a_weak_release_file_is_refused(release, build, upstream, upstream_key, monkeypatch):
    kind = {"MD5Sum": "md5"}.get(release, release)
    apt_upstream(upstream.root, upstream_key, release=kind)
    folder = upstream.root / "dists/stable"
    text = (folder / "Release").read_text().replace(f"{kind}:", f"{release}:")
    (folder / "Release").write_text(text)
    upstream_key.clear(folder / "Release", folder / "InRelease")
    upstream_key.detach(folder / "Release", folder / "Release.gpg")
    with pytest.raises(CommandExecutionError, match="apt cannot use the upstreams"):
        build(packages=["base"])


@pytest.mark.parametrize("hashes", [[], ["MD5sum"], ["SHA512"]], ids=str)
def test_a_trusted_upstream_promises_nothing(hashes, build, spec, upstream, upstream_key):
    apt_upstream(upstream.root, upstream_key, hashes=hashes)
    entry = {k: v for k, v in spec["upstream"][0].items() if k != "gpgkey"}
    assert build(packages=["base"], upstream=[{**entry, "trusted": True}])["packages"] == 1


@pytest.fixture(scope="module")
def rpms(tmp_path_factory, upstream_key):
    root = tmp_path_factory.mktemp("rpms")
    upstream_key.sign_rpm(rpm(root, "signed", "1"))
    rpm(root, "plain", "1")
    return root


@pytest.fixture
def yum(rpms, tmp_path):
    root = tmp_path / "yum"
    root.mkdir()
    for path in rpms.iterdir():
        os.link(path, root / path.name)
    server = Server(root)
    yield server
    server.close()


@pytest.fixture
def yum_request(yum, upstream_key):
    return {
        "targets": ["el9.x86_64"],
        "upstream": [
            {
                "name": "baseos",
                "module": "node",
                "releases": [9],
                "arch": ["x86_64"],
                "baseurl": f"{yum.url}/",
                "gpgkey": upstream_key.public,
            }
        ],
    }


@pytest.mark.parametrize("checksum", ["md5", "sha1"])
def test_an_rpm_with_a_weak_checksum_has_to_be_signed(
    checksum, build, yum, yum_request, upstream_key
):
    yum_upstream(yum.root, upstream_key, checksum)
    assert build(**yum_request, packages=["signed"])["packages"] == 1
    with pytest.raises(CommandExecutionError, match=r"not signed by the gpgkey of baseos: plain-1"):
        build(**yum_request, packages=["plain"])


@pytest.mark.parametrize("checksum", ["sha256", "sha384", "sha512"])
def test_an_unsigned_rpm_with_a_strong_checksum_is_signed_here(
    checksum, build, yum, yum_request, upstream_key
):
    yum_upstream(yum.root, upstream_key, checksum)
    assert build(**yum_request, packages=["plain"])["packages"] == 1


@pytest.mark.parametrize("no", ["no", "off", "0", 0, False, "False"])
def test_each_way_to_switch_off_the_check_of_the_index_demands_signed_packages(
    no, build, yum, yum_request
):
    yum_upstream(yum.root)
    yum_request["upstream"][0]["meta"] = {"repo_gpgcheck": no}
    with pytest.raises(CommandExecutionError, match=r"not signed by the gpgkey of baseos: plain-1"):
        build(**yum_request, packages=["plain"])
