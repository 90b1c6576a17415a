"""Whom a repository trusts: fingerprints, checksums, and the keys of the catalogue."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.errors import InvalidInput
from infra_formula.minion import Minion
from infra_formula.parameters import schema
from infra_formula.repository import (
    catalogue,
    client_plans,
    client_trust,
    offline_package,
    request_rules,
    signing,
    upstream_keys,
)
from support.repo_samples import Key

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = yaml.safe_load((ROOT / "infra/repo/data/upstream.yaml").read_text(encoding="utf-8"))
WITHOUT_FINGERPRINT = {
    "https://packagecloud.io/timescale/timescaledb/gpgkey",
    "https://packagecloud.io/citusdata/community/gpgkey",
    "https://packages.redis.io/gpg",
    "https://haproxy.debian.net/haproxy-archive-keyring.gpg",
}
"""Keys of which the vendor publishes no fingerprint that could be verified (docs/repository.md)."""

FINGERPRINT = "9592A7BC7A682E7333376E09E7935D8DB9BD8B20"
ENTRY = {"name": "base", "module": "node", "releases": [12], "arch": ["x86_64"],
         "baseurl": "http://a b c", "gpgkey": "/k"}  # fmt: skip


def request(**changes):
    return {"name": "pigsty", "home": "/www", "targets": ["d12.x86_64"], "modules": "node",
            "upstream": [ENTRY], "packages": ["web"], **changes}  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        FINGERPRINT[-8:],
        FINGERPRINT[-16:],
        FINGERPRINT[:-1],
        "0x" + FINGERPRINT,
        FINGERPRINT + "00",
        f"{FINGERPRINT}, {FINGERPRINT[-16:]}",
        "9592 A7BC",
        [FINGERPRINT, FINGERPRINT[-16:]],
        "",
        ",",
    ],
)
def test_a_fingerprint_that_is_not_whole_is_one_error_with_its_key_path(value):
    errors = catalogue.problems({"repo_upstream": [{**ENTRY, "fingerprint": value}]})
    assert len(errors) == 1
    assert errors[0].startswith("repo_upstream[0].fingerprint")
    assert "40 or 64 hexadecimal digits" in errors[0]
    with pytest.raises(InvalidInput, match=r"repo_upstream\[0\].fingerprint"):
        catalogue.plan(request(upstream=[{**ENTRY, "fingerprint": value}]))


@pytest.mark.parametrize("parameter", ["repo_archive_fingerprint"])
@pytest.mark.parametrize("value", [FINGERPRINT[-16:], FINGERPRINT[:-1], "x", "nothing"])
def test_the_fingerprint_of_an_archive_is_whole(parameter, value):
    rules = schema.parameters(yaml.safe_load((ROOT / "infra/schema.yaml").read_text()))
    errors = schema.check(parameter, value, rules[parameter])
    assert len(errors) == 1
    assert errors[0].startswith(f"{parameter}: expected whole fingerprints")
    assert not schema.check(parameter, "", rules[parameter])
    assert not schema.check(parameter, FINGERPRINT, rules[parameter])


def test_an_archive_is_not_read_for_a_fingerprint_that_is_not_whole(tmp_path):
    for call in (
        lambda: offline_package.check_archive("/nowhere", fingerprint=FINGERPRINT[-16:]),
        lambda: offline_package.unpack(
            Minion({}, {}, {}, {}), "/nowhere", home=str(tmp_path), fingerprint="BD8B20"
        ),
    ):
        with pytest.raises(InvalidInput, match="repo_archive_fingerprint: expected a whole"):
            call()


def test_fingerprints_are_read_as_gpg_prints_them():
    grouped = " ".join(FINGERPRINT[i : i + 4] for i in range(0, 40, 4))
    assert schema.fingerprints(grouped) == [FINGERPRINT]
    assert schema.fingerprints(f"{grouped}, {'a' * 64}") == [FINGERPRINT, "a" * 64]
    assert schema.fingerprints(f"{FINGERPRINT} {'b' * 40}") == [FINGERPRINT, "b" * 40]


@given(st.text("0123456789abcdefABCDEF ,x\n", max_size=150))
def test_what_is_taken_from_a_string_is_whole(text):
    assert all(len(f) in (40, 64) and int(f, 16) >= 0 for f in schema.fingerprints(text))


@pytest.fixture(scope="module")
def keys():
    pair = Key("Vendor <v@example.org>"), Key("Attacker <a@example.org>")
    yield pair
    for key in pair:
        key.close()


def test_the_end_of_a_fingerprint_does_not_make_a_key_trusted(tmp_path, keys):
    vendor, attacker = keys
    for length in (8, 16, 39):
        with pytest.raises(Exception, match="it holds the key"):
            signing.keyring(
                attacker.public.encode(), str(tmp_path / "k"), [attacker.fingerprint[-length:]]
            )
    found = signing.keyring(
        vendor.public.encode(), str(tmp_path / "k"), [vendor.fingerprint.lower()]
    )
    assert found == [str(tmp_path / "k.asc"), vendor.fingerprint]


def test_of_several_keys_only_the_expected_one_is_trusted(tmp_path, keys):
    vendor, attacker = keys
    both = (attacker.public + vendor.public).encode()
    file, *found = signing.keyring(both, str(tmp_path / "both"), [vendor.fingerprint])
    assert found == [vendor.fingerprint] == signing.fingerprints(file)
    assert Path(file).read_bytes().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK")
    (tmp_path / "text").write_text("signed\n")
    attacker.clear(tmp_path / "text", tmp_path / "text.asc")
    assert signing.verify([file], str(tmp_path / "text.asc"))["key"] == ""
    vendor.clear(tmp_path / "text", tmp_path / "text.asc")
    assert signing.verify([file], str(tmp_path / "text.asc"))["key"] == vendor.fingerprint


def test_apt_gets_every_key_of_several_armoured_blocks(tmp_path, keys):
    file = tmp_path / "both.asc"
    file.write_text("".join(key.public for key in keys))
    apt = signing.for_apt(str(file))
    assert apt == f"{file}.gpg"
    assert signing.fingerprints(apt) == [key.fingerprint for key in keys]
    file.write_text(keys[0].public)
    assert signing.for_apt(str(file)) == str(file)


def upstream(**changes):
    return {"name": "v.1", "gpgkey": [], "signed_by": "", "fingerprint": [], "trusted": False,
            **changes}  # fmt: skip


def test_a_key_of_an_earlier_run_is_compared_with_the_fingerprint(tmp_path, keys):
    vendor, attacker = keys
    source = tmp_path / "served.asc"
    source.write_text(vendor.public)

    def cache_file(url):
        return str(source)

    minion = Minion({"cp.cache_file": cache_file}, {}, {}, {})
    cached = tmp_path / "keyrings/infra-v.1.asc"
    cached.parent.mkdir()
    cached.write_text(attacker.public)
    entry = upstream(gpgkey=["https://v/key"], fingerprint=[vendor.fingerprint])
    assert client_trust.upstream_key(minion, entry, str(cached.parent)) == str(cached)
    assert signing.fingerprints(str(cached)) == [vendor.fingerprint]
    source.unlink()  # from now on it is fetched no more
    assert client_trust.upstream_key(minion, entry, str(cached.parent)) == str(cached)


def test_the_key_of_a_file_is_compared_with_the_fingerprint_too(tmp_path, keys):
    vendor, attacker = keys
    file = tmp_path / "ring.asc"
    file.write_text(attacker.public + vendor.public)
    target = {"id": "d12.x86_64", "family": "deb", "releasever": "12", "arch": "x86_64"}
    entry = upstream(signed_by=str(file), fingerprint=[vendor.fingerprint])
    minion = Minion({}, {}, {}, {})
    found = upstream_keys.with_key_files(minion, tmp_path / "root", entry, target, {}, False)
    assert signing.fingerprints(found["keyring"]) == [vendor.fingerprint]
    (tmp_path / "client").mkdir()
    client = client_trust.upstream_key(minion, entry, str(tmp_path / "client"))
    assert signing.fingerprints(client) == [vendor.fingerprint]
    entry = upstream(signed_by=str(file), fingerprint=["0" * 40])
    with pytest.raises(Exception, match="but expected 0000"):
        upstream_keys.with_key_files(minion, tmp_path / "root2", entry, target, {}, False)


def test_the_address_of_a_clients_key_is_that_of_its_release():
    entry = upstream(gpgkey=["https://v/KEY-$releasever-$basearch"])
    found = client_plans._for_target(entry, {"releasever": "9", "arch": "x86_64"})
    assert found["gpgkey"] == ["https://v/KEY-9-x86_64"]


# -- checksums -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        "http://a/b.deb",
        "HTTP://a/b.deb",
        {"url": "http://a/b.deb"},
        {"url": "http://a/b.deb", "checksum": ""},
    ],
)
def test_a_package_over_plain_http_needs_a_checksum(item):
    (error,) = catalogue.problems({"repo_url_packages": ["https://a/c.deb", item]})
    assert error.startswith("repo_url_packages[1]: expected a checksum")
    with pytest.raises(InvalidInput, match=r"repo_url_packages\[0\]: expected a checksum"):
        catalogue.plan(request(url_packages=[item]))


@pytest.mark.parametrize(
    "item",
    ["https://a/b.deb", "file:///root/b.deb", {"url": "http://a/b.deb", "checksum": "0" * 64}],
)
def test_a_package_that_nobody_can_change_on_the_way_needs_none(item):
    assert catalogue.problems({"repo_url_packages": [item]}) == []
    catalogue.plan(request(url_packages=[item]))


def test_a_key_over_http_in_capitals_needs_a_fingerprint_as_well():
    with pytest.raises(InvalidInput, match="anybody can change what comes over http"):
        catalogue.plan(request(upstream=[{**ENTRY, "gpgkey": "HTTP://a/key"}]))


# -- the catalogue -------------------------------------------------------------------------------


def test_every_key_of_the_catalogue_has_whole_fingerprints_or_is_named_as_one_without():
    without = {e["gpgkey"] for e in CATALOGUE if "gpgkey" in e and "fingerprint" not in e}
    assert without == WITHOUT_FINGERPRINT
    assert all(url.startswith("https://") for url in without)
    assert catalogue.problems({"repo_upstream": CATALOGUE}) == []
    assert set(request_rules.UPSTREAM_RULE["keys"]) >= set().union(*CATALOGUE)


def test_one_key_has_the_same_fingerprints_wherever_it_stands():
    known = {}
    for entry in CATALOGUE:
        if "fingerprint" in entry and "$releasever" not in entry["gpgkey"]:
            assert known.setdefault(entry["gpgkey"], entry["fingerprint"]) == entry["fingerprint"]


def test_a_fingerprint_that_the_catalogue_adds_does_not_build_a_repository_again():
    before = catalogue.plan(request())["fingerprint"]
    pinned = {**ENTRY, "fingerprint": FINGERPRINT}
    later = {**pinned, "fingerprint_since": "2026.12"}
    assert catalogue.plan(request(upstream=[later]))["fingerprint"] == before
    assert catalogue.plan(request(upstream=[pinned]))["fingerprint"] != before


RELEASED = {
    "d12.x86_64": "e6bb23c14a3ab1a6039bd82bcf8618f480bdb3a8d265cb5ee580be1968541325",
    "el9.x86_64": "0c9bdea0f9391caf7dd47bbe0b177f83ec656782b8f57d0ec2b211add085f8b5",
    "u24.aarch64": "6964d6be94d5ae07a16cb347671b32310e75ddf3eded58bceec9b15849a4acb2",
}
"""What release 2026.11 (d49a589) computes of its catalogue, which had seven fingerprints."""


@pytest.mark.parametrize("target", RELEASED)
def test_an_upgrade_does_not_build_a_repository_of_the_catalogue_again(target):
    known = [entry for entry in CATALOGUE if "gpgkey" in entry or "signed_by" in entry]
    found = catalogue.plan(
        {
            "name": "pigsty",
            "home": "/www",
            "targets": [target],
            "modules": "infra,node,pgsql",
            "packages": ["x"],
            "variables": {"admin_ip": "10.10.10.10"},
            "upstream": known,
        }
    )
    assert found["fingerprint"] == RELEASED[target]
