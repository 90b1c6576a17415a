"""The parts of the repository that are pure: what is asked for, told, parsed and compared."""

from unittest.mock import create_autospec

import pytest
import salt.modules.event
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import process
from infra_formula.minion import Minion
from infra_formula.repository import apt as infra_repo_apt
from infra_formula.repository import archive as infra_repo_pack
from infra_formula.repository import building as infra_repo_build
from infra_formula.repository import catalogue as infra_repo_catalogue
from infra_formula.repository import client_sources as infra_repo_client
from infra_formula.repository import connections, marker, systems
from infra_formula.repository import dnf as infra_repo_dnf
from infra_formula.repository import fetching as infra_repo_fetch
from infra_formula.repository import indexes as infra_repo_index
from infra_formula.repository import other_sources as infra_sources
from infra_formula.repository import published as infra_repo
from infra_formula.repository import signing as infra_repo_sign
from salt.exceptions import SaltInvocationError

SHA = "0123456789abcdef" * 4


def plan(**changes):
    request = {
        "name": "pigsty",
        "home": "/www/",
        "targets": ["d12.x86_64"],
        "modules": "infra,node",
        "upstream": [
            {"name": "base", "module": "node", "releases": [12], "arch": ["x86_64"],
             "signed_by": "/k.gpg",
             "baseurl": {"default": "http://a/debian ${distro_codename} main",
                         "china": "http://c/debian ${distro_codename} main"}},
            {"name": "vendor", "module": "infra", "releases": [9, 12], "arch": ["x86_64"],
             "gpgkey": "https://a/key",
             "baseurl": {"default": "http://v/${arch} generic main"}},
        ],
        "packages": ["web, base", "tool=1.2"],
        **changes,
    }  # fmt: skip
    return infra_repo_catalogue.plan(request)


def errors(**changes):
    with pytest.raises(SaltInvocationError) as caught:
        plan(**changes)
    return str(caught.value)


def test_a_plan_has_nothing_left_to_look_up():
    found = plan(region="china")
    assert found["home"] == "/www"
    (target,) = found["targets"]
    assert [u["url"] for u in target["upstreams"]] == ["http://c/debian", "http://v/x86_64"]
    assert target["upstreams"][0]["suite"] == "bookworm"
    assert target["names"] == ["web", "base", "tool=1.2"]


def test_a_region_without_an_address_falls_back():
    assert plan(region="europe")["targets"][0]["upstreams"][0]["url"] == "http://a/debian"


def test_every_fault_is_in_one_error():
    message = errors(targets=["d12.x86_64", "d77.x86_64", "d12.arm"], modules="node,nodd",
                     packages=["a b$"])  # fmt: skip
    for part in ("d77", "'arm'", "'nodd'; did you mean 'node'?", "'b$'"):
        assert part in message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "x"}, "module: missing"),
        ({"releases": ["12"]}, "releases[0]: expected an integer"),
        ({"arch": ["amd64"]}, "arch[0]"),
        ({"baseurl": {}}, "has no address for region"),
        ({"baseurl": "http://a b"}, "expected 'URL suite components'"),
        ({"baseurl": "ftp://a b c"}, "expected an http, https or file URL"),
        ({"gpgkey": "http://a/key"}, "anybody can change what comes over http"),
        ({"bogus": 1}, "bogus: unknown key"),
        ({"trusted": "yes"}, "trusted: expected a boolean"),
    ],
)
def test_an_upstream_that_cannot_be_right(entry, message):
    base = {"name": "base", "module": "node", "releases": [12], "arch": ["x86_64"],
            "baseurl": "http://a b c", "gpgkey": "/k"}  # fmt: skip
    changed = {"name": "x"} if entry == {"name": "x"} else {**base, **entry}
    assert message in errors(upstream=[changed], modules="node")


def test_aliases_take_the_most_particular_list_and_may_name_others():
    aliases = {"a": {"deb": "b x", "d12": "b y$v"}, "b": ["z ${w}"], "loop": "loop q"}
    expand = infra_repo_catalogue.expand
    assert expand(["a"], aliases, "d12", {"pg_version": 18, "w": "k"}) == ["z", "k", "y18"]
    assert expand(["a"], aliases, "u24", {"w": "k"}) == ["z", "k", "x"]
    assert expand(["a", "loop"], aliases, "el9", {}) == ["loop", "q"]


def test_the_fingerprint_follows_what_is_in_the_repository_only():
    assert plan()["fingerprint"] == plan(home="/elsewhere")["fingerprint"]
    assert plan()["fingerprint"] != plan(packages=["web"])["fingerprint"]
    assert plan()["fingerprint"] != plan(keep=3)["fingerprint"]


@pytest.mark.parametrize(
    ("grains", "target"),
    [
        (("Debian", "Debian", 12, "x86_64"), "d12.x86_64"),
        (("Debian", "Ubuntu", 24, "aarch64"), "u24.aarch64"),
        (("RedHat", "Rocky", 9, "x86_64"), "el9.x86_64"),
    ],
)
def test_the_machine_is_a_target(grains, target):
    assert systems.target_of(*grains) == target


def test_a_machine_that_is_none_says_what_to_do():
    with pytest.raises(SaltInvocationError, match="repo_targets"):
        systems.target_of("Suse", "SLES", 15, "x86_64")


@pytest.mark.parametrize(
    ("text", "checksum"),
    [("", ""), (SHA, f"sha256:{SHA}"), (f"SHA256={SHA.upper()}", f"sha256:{SHA}"),
     ("md5:" + "a" * 32, "md5:" + "a" * 32), ("sha1:" + SHA, None), ("x", None)],
)  # fmt: skip
def test_checksums(text, checksum):
    assert infra_repo_catalogue.normal_checksum(text) == checksum


PROXY = {"http_proxy": "http://p:1", "HTTPS_PROXY": "s:2",
         "no_proxy": "localhost,10.0.0.0/8,*.pigsty,mirrors.*,corp.example"}  # fmt: skip


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://a.b/c", "http://p:1"),
        ("https://a.b/c", "http://s:2"),
        ("http://localhost/c", ""),
        ("http://10.10.10.10/c", ""),
        ("http://11.10.10.10/c", "http://p:1"),
        ("http://i.pigsty/c", ""),
        ("http://mirrors.x.y/c", ""),
        ("http://a.corp.example:8080/c", ""),
        ("http://acorp.example/c", "http://p:1"),
        ("file:///c", ""),
    ],
)
def test_no_proxy_has_names_networks_and_patterns(url, proxy):
    assert connections.proxy_for(url, PROXY) == proxy


def test_progress_tells_what_how_many_how_fast_and_how_long_still():
    line = infra_repo_fetch.describe(
        {"done": 3, "total": 9, "bytes": 2**20, "total_bytes": 2**22, "rate": 2**19,
         "seconds_left": 6, "current": "web_1.deb", "finished": False, "failed": 0}
    )  # fmt: skip
    assert line == "fetched 3 of 9 files, 1.0 of 4.0 MiB, 0.5 MiB/s, 6 s left, now web_1.deb"


def test_uris_with_epochs_and_escapes():
    (item,) = infra_repo_apt.parse_uris(
        f"Reading…\n'http://a/pool/libx_1%2bb_amd64.deb' libx_2%3a1+b_amd64.deb 10 SHA256:{SHA}\n"
    )
    assert (item["name"], item["version"], item["arch"]) == ("libx", "2:1+b", "amd64")
    assert (item["file"], item["size"]) == ("libx_1+b_amd64.deb", 10)
    assert item["checksum"] == f"sha256:{SHA}"


def test_policy_tells_real_virtual_and_unknown_apart():
    text = "web:\n  Installed: (none)\n  Candidate: 1:2\nmta:\n  Candidate: (none)\n"
    assert infra_repo_apt.parse_policy(text) == {"web": "1:2", "mta": ""}


def test_sources_are_verified_or_said_to_be_trusted():
    one = {"name": "a", "url": "http://a", "suite": "s", "components": ["main"], "keyring": "/k"}
    two = {"name": "b", "url": "http://b", "suite": "./", "components": []}
    text = infra_repo_apt.sources_text([one, two], "arm64")
    first, second = text.split("\n\n")
    assert "Signed-By: /k" in first
    assert "Trusted" not in first
    assert "Trusted: yes" in second
    assert "Components" not in second


@pytest.mark.parametrize(
    ("upstream", "checked"),
    [
        ({"trusted": False, "meta": {}}, True),
        ({"trusted": True, "meta": {}}, False),
        ({"trusted": False, "meta": {"repo_gpgcheck": 0}}, False),
    ],
)
def test_yum_indexes_are_verified_unless_said_otherwise(upstream, checked):
    options = infra_repo_dnf.options({**upstream, "name": "x"})
    assert options["repo_gpgcheck"] is checked


def test_yum_options_are_those_that_dnf_knows():
    options = infra_repo_dnf.options(
        {"name": "x", "trusted": True, "meta": {"priority": 3, "exclude": "a", "enabled": 1}}
    )
    assert options == {"priority": 3, "excludepkgs": "a", "repo_gpgcheck": False}


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ("    Header V4 RSA/SHA256 Signature, key ID ab: OK\n    MD5 digest: OK\n", "good"),
        ("    Header V4 RSA/SHA256 Signature, key ID ab: NOKEY\n    MD5 digest: OK\n", "unknown"),
        ("    Header SHA256 digest: OK\n    MD5 digest: OK\n", "unsigned"),
        ("    Header V4 RSA Signature, key ID ab: OK\n    Payload SHA256 digest: BAD\n", "bad"),
        ("    Header V4 RSA Signature, key ID ab: BAD\n", "bad"),
    ],
)
def test_what_rpmkeys_says(lines, state):
    assert infra_repo_sign.parse_checksig(f"/s/a.rpm:\n{lines}") == {"/s/a.rpm": state}


def test_keys_in_what_gpg_says():
    text = "sec:u:4096:1:AB:1700000000:::u:::scESC:\nfpr:::::::::F1:\nuid:u::::1::H::Site::::\n"
    text += "ssb:u:4096:1:CD:1700000000::::::e:\nfpr:::::::::F2:\n"
    assert infra_repo_sign.parse_keys(text) == [
        {"fingerprint": "F1", "uid": "Site", "created": "1700000000", "expires": "", "secret": True}
    ]


NAMES = st.text(
    st.characters(codec="ascii", min_codepoint=33, exclude_characters="/\\"), min_size=1
)


@given(st.dictionaries(NAMES.filter(lambda n: n not in (".", "..")), st.just(SHA)))
def test_a_marker_is_read_as_it_was_written(sums):
    assert marker.read(marker.text(sums)) == sums


def test_a_marker_in_pigstys_formats():
    old = "d41d8cd98f00b204e9800998ecf8427e  ./a.deb\n"
    assert marker.read(f"{old}{SHA} *b.rpm\n") == {
        "a.deb": "d41d8cd98f00b204e9800998ecf8427e",
        "b.rpm": SHA,
    }


@pytest.mark.parametrize("line", ["hello", f"{SHA}  ../x", f"{SHA}  /etc/x", "abc  x"])
def test_a_marker_that_is_none(line):
    with pytest.raises(ValueError, match="line 1"):
        marker.read(line)


def test_a_release_file():
    text = infra_repo_index.release_text({"Suite": "x"}, {"main/Packages": (10, SHA)}, 0)
    assert text == (
        "Suite: x\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nAcquire-By-Hash: yes\nSHA256:\n"
        f" {SHA}               10 main/Packages\n"
    )


@pytest.mark.parametrize(
    ("address", "port", "url"),
    [
        ("10.10.10.10", 80, "http://10.10.10.10"),
        ("10.10.10.10", 8080, "http://10.10.10.10:8080"),
        ("http://10.10.10.10:80", 8080, "http://10.10.10.10"),
        ("https://i.pigsty:443/", 80, "https://i.pigsty"),
        ("http://i.pigsty:8080", 80, "http://i.pigsty:8080"),
        ("fd00::1", 8080, "http://[fd00::1]:8080"),
    ],
)
def test_endpoints(address, port, url):
    assert infra_repo_client.endpoint(address, port) == url


INFO = {"suites": ["bookworm", "trixie"], "default_suite": "bookworm", "flat": True,
        "yum": ["el9.x86_64"], "keys": ["keys/baseos.asc"]}  # fmt: skip


def test_definitions_name_all_nodes_and_check_all_signatures():
    bases = ["http://10.10.10.10:8080/pigsty", "http://10.10.10.11/pigsty"]
    found = infra_repo_client.definitions("pigsty", bases, INFO, "KEY\n\nX\n", codename="trixie")
    assert found["sources"].endswith(
        "Types: deb\nURIs: http://10.10.10.10:8080/pigsty http://10.10.10.11/pigsty\n"
        "Suites: trixie\nComponents: main\nDate-Max-Future: 172800\n"
        "Signed-By:\n KEY\n .\n X\n"
    )
    assert "[pigsty]\n" in found["repo"]
    assert "gpgcheck = 1\nrepo_gpgcheck = 1" in found["repo"]
    for base in bases:
        assert f"{base}/el$releasever.$basearch/" in found["repo"]
        assert f"{base}/keys/baseos.asc" in found["repo"]


def test_definitions_of_a_repository_that_nobody_signed_say_so():
    info = {"suites": [], "flat": True, "yum": ["."]}
    found = infra_repo_client.definitions(
        "pigsty", ["file:///www/pigsty"], info, "", "pigsty-local"
    )
    assert "Suites: ./" in found["sources"]
    assert "Trusted: yes" in found["sources"]
    assert "[pigsty-local]" in found["repo"]
    assert "baseurl = file:///www/pigsty/\n" in found["repo"]
    assert "gpgcheck = 0" in found["repo"]


SOURCE_LINES = st.lists(
    st.sampled_from(
        ["deb http://a b c", "deb-src http://a b c", "# note", "", "Types: deb", "URIs: http://a",
         "Enabled: yes", "Enabled: no", "[a]", "enabled=1", "enabled = 0", "name=x", "[main]"]
    )
)  # fmt: skip


@given(SOURCE_LINES, st.sampled_from(["list", "sources", "repo"]))
def test_disabling_is_undone_exactly_and_done_once(lines, kind):
    text = "".join(f"{line}\n" for line in lines)
    off = infra_sources.disabled(text, kind)
    assert infra_sources.enabled(off) == text
    assert infra_sources.disabled(off, kind) == off


@pytest.mark.parametrize(
    ("origin", "request_", "needed"),
    [("built", "a", False), ("built", "b", True), ("unpacked", "b", False), ("found", None, False)],
)
def test_what_is_complete_is_taken_as_it_is(origin, request_, needed):
    state = {"complete": True, "origin": origin, "info": {"request": request_}}
    assert infra_repo.needs_build(state, "a") is needed
    assert infra_repo.needs_build({**state, "complete": False}, "a") is True


@pytest.mark.parametrize("clock", [[500, 500, 500], [500, 400, 300]])
def test_former_versions_leave_in_order_whatever_the_clock_says(monkeypatch, clock):
    def build(version, before):
        monkeypatch.setattr(infra_repo_build.time, "time", lambda: clock[len(before)])
        package = {"target": "d12", "name": "web", "arch": "all", "version": version}
        package |= {"path": f"web_{version}.deb", "sha256": version}
        return [package, *infra_repo_build._former_versions([package], before, keep=2)]

    first = build("1.0", [])
    second = build("2.0", first)
    third = build("3.0", second)
    assert [p["version"] for p in second] == ["2.0", "1.0"]
    assert [p["version"] for p in third] == ["3.0", "2.0"]


def test_the_name_of_an_archive_is_pigstys():
    name = infra_repo_pack.archive_name
    assert name("v4.5.0", "el9", "x86_64") == "pigsty-pkg-v4.5.0.el9.x86_64.tgz"
    assert name("v4.5.0", "d12", "aarch64", "zstd") == "pigsty-pkg-v4.5.0.d12.aarch64.tar.zst"


@pytest.mark.parametrize(("master", "sent"), [("tcp://10.10.10.10:4506", True), ("", False)])
def test_progress_goes_to_the_master_as_an_event(master, sent, tmp_path):
    send = create_autospec(salt.modules.event.send)
    progress = {"done": 1, "total": 2, "bytes": 1, "total_bytes": 2, "rate": 1, "seconds_left": 1,
                "current": "a", "finished": False}  # fmt: skip
    opts = {"master_uri": master, "file_client": "remote" if master else "local"}
    note = tmp_path / "note"
    minion = Minion({"event.send": send}, opts)
    infra_repo_fetch._report(minion, progress, "infra/repo/pigsty/progress", str(note))
    assert send.called is sent
    if sent:
        send.assert_called_once_with("infra/repo/pigsty/progress", progress)
    assert note.read_text().startswith("fetched 1 of 2 files")


@pytest.mark.parametrize(
    "told",
    [
        "gpg: can't connect to the agent: End of file",
        "gpg: keydb_search failed: Broken pipe\ngpg: signing failed: Broken pipe",
        "gpg: keydb_search failed: Connection reset by peer",
    ],
)
def test_an_agent_that_is_just_ending_is_asked_again(monkeypatch, told):
    answers = [
        {"retcode": 2, "stdout": "", "stderr": told},
        {"retcode": 0, "stdout": "done", "stderr": ""},
    ]
    monkeypatch.setattr(infra_repo_sign.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=answers))
    assert infra_repo_sign._gpg("/home", "--sign")["stdout"] == "done"
    assert process.run.call_count == 2


@pytest.mark.parametrize("target", ["debian12", "d12", "d12.amd64", "d99.x86_64", "el9.x86-64", ""])
def test_validation_refuses_each_target_that_a_build_refuses(target):
    request = {"name": "pigsty", "home": "/www", "targets": [target], "modules": "m",
               "upstream": [{"name": "a", "module": "m", "releases": [12], "arch": ["x86_64"],
                             "baseurl": "http://a x y", "trusted": True}]}  # fmt: skip
    with pytest.raises(SaltInvocationError) as caught:
        infra_repo_catalogue.plan(request)
    (problem,) = infra_repo_catalogue.problems({"repo_targets": [target]})
    assert problem in str(caught.value)
    assert problem.startswith("repo_targets: unknown")


@pytest.mark.parametrize("code", list(systems.OSES))
@pytest.mark.parametrize("arch", list(systems.ARCHES))
def test_validation_accepts_each_target(code, arch):
    assert infra_repo_catalogue.problems({"repo_targets": [f"{code}.{arch}"]}) == []
