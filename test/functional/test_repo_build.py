"""Build repositories from small upstreams, and install from them with the real programs."""

import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from infra_formula.repository import client_sources
from infra_formula.repository import published as repository
from repo_samples import Client, Key, Server, apt_upstream, deb, run
from salt.exceptions import CommandExecutionError, SaltInvocationError

pytest_plugins = ["repo_fixtures"]


def names(result):
    return sorted(Path(p).name for p in result["added"])


def test_closure_is_complete_without_recommends_and_with_real_providers(build):
    result = build()
    assert names(result) == ["base_2.1_amd64.deb", "mailer-a_1.5_all.deb", "web_1.0_all.deb"]


def test_a_virtual_name_brings_its_provider(build):
    assert names(build(packages=["mailer"])) == ["mailer-a_1.5_all.deb"]


def test_packages_that_exclude_each_other_are_both_there(build):
    found = names(build(packages=["left right"]))
    assert {"left_1_all.deb", "right_1_all.deb", "mailer-a_1.5_all.deb"} <= set(found)


def test_patterns_and_versions(build):
    assert "base_2.1_amd64.deb" in names(build(packages=["bas*", "extra=1"]))


def test_every_missing_name_of_every_target_is_in_one_error(build, spec):
    with pytest.raises(CommandExecutionError) as caught:
        build(packages=["web", "nosuch", "extra=9", "none*"], targets=["d12.x86_64", "d13.aarch64"])
    message = str(caught.value)
    for target in ("d12.x86_64", "d13.aarch64"):
        line = next(x for x in message.splitlines() if x.startswith(target))
        assert all(name in line for name in ("nosuch", "extra=9", "none*"))
        assert "web" not in line
    assert not Path(spec["home"], "pigsty").exists()


def test_apt_installs_with_signatures_checked(build, modules, spec, tmp_path):
    build()
    server = Server(spec["home"])
    try:
        files = client_sources.client_files("pigsty", spec["home"], [server.url])
        client = Client(tmp_path / "client", files["pigsty.sources"]["text"])
        code, text = client.install("web")
        assert code == 0, text
        assert client.got() == [
            "base_2.1_amd64.deb",
            "mailer-a_1%3a1.5_all.deb",
            "web_1.0_all.deb",
        ]
        assert any("/by-hash/SHA256/" in path for path in server.requests)
    finally:
        server.close()


def test_the_line_that_pigstys_clients_have_still_works(build, spec, tmp_path):
    build()
    line = f"deb [trusted=yes] file:{spec['home']}/pigsty ./\n"
    code, text = Client(tmp_path / "client", line).install("web")
    assert code == 0, text


def test_one_machine_builds_for_other_releases_and_architectures(build, modules, spec, tmp_path):
    build(targets=["d12.x86_64", "d12.aarch64", "d13.x86_64"])
    files = client_sources.client_files("pigsty", spec["home"], ["http://10.10.10.10:8080"])
    assert "URIs: http://10.10.10.10:8080/pigsty\n" in files["pigsty-trixie.sources"]["text"]
    local = files["pigsty-local.sources"]["text"]
    for number, (arch, suite) in enumerate(
        [("amd64", "bookworm"), ("arm64", "bookworm"), ("amd64", "trixie")]
    ):
        source = local.replace("Suites: bookworm", f"Suites: {suite}")
        client = Client(tmp_path / str(number), source, arch)
        code, text = client.install("web")
        assert code == 0, text
        assert f"base_2.1_{arch}.deb" in " ".join(client.got()) or "file:" in source


def test_a_second_build_changes_nothing_and_asks_nobody(build, upstream):
    build()
    asked = len(upstream.requests)
    assert build()["changed"] is False
    assert len(upstream.requests) == asked


def test_a_new_version_costs_one_package_and_takes_the_place_of_the_old(
    build, upstream, upstream_key, spec
):
    build()
    deb(upstream.root / "pool", "web", "2.0", Depends="base, mailer")
    apt_upstream(upstream.root, upstream_key)
    upstream.requests.clear()
    result = build(force=True)
    assert [Path(p).name for p in result["added"]] == ["web_2.0_all.deb"]
    assert [Path(p).name for p in result["removed"]] == ["web_1.0_all.deb"]
    assert [p for p in upstream.requests if p.endswith(".deb")] == ["/pool/web_2.0_all.deb"]


def test_keep_says_how_many_versions_stay(build, upstream, upstream_key):
    build(keep=2)
    for version in ("2.0", "3.0"):
        deb(upstream.root / "pool", "web", version, Depends="base, mailer")
        apt_upstream(upstream.root, upstream_key)
        result = build(keep=2, force=True)
    assert [Path(p).name for p in result["removed"]] == ["web_1.0_all.deb"]
    # What nobody asks for any more leaves, whatever keep says.
    result = build(keep=2, packages=["base"])
    assert not any("web" in p or "mailer" in p for p in result["added"])
    assert sorted(Path(p).name for p in result["removed"]) == [
        "mailer-a_1.5_all.deb",
        "web_2.0_all.deb",
        "web_3.0_all.deb",
    ]


def test_a_client_in_mid_update_finds_the_index_it_was_told_of(build, upstream, upstream_key, spec):
    build()
    live = Path(spec["home"], "pigsty", "dists/bookworm/main/binary-amd64/by-hash/SHA256")
    told = {p.name for p in live.iterdir()}
    deb(upstream.root / "pool", "web", "2.0", Depends="base")
    apt_upstream(upstream.root, upstream_key)
    build(force=True)
    assert told < {p.name for p in live.iterdir()}


def test_rollback_goes_back_and_forth(build, modules, spec):
    first = build()["path"]
    second = build(packages=["web extra"])["path"]
    assert modules.infra_repo.rollback("pigsty", spec["home"]) == {"old": second, "new": first}
    assert os.path.realpath(Path(spec["home"], "pigsty")) == first
    assert modules.infra_repo.verify("pigsty", spec["home"])["complete"]
    assert modules.infra_repo.rollback("pigsty", spec["home"])["new"] == second


def test_rollback_without_a_previous_one_says_so(build, modules, spec):
    build()
    with pytest.raises(CommandExecutionError, match="no previous"):
        modules.infra_repo.rollback("pigsty", spec["home"])


def test_the_marker_is_what_sha256sum_checks(build, spec):
    build()
    real = Path(spec["home"], "pigsty")
    assert "OK" in run("sha256sum", "-c", "--strict", "repo_complete", cwd=real)
    listed = {line.split("  ")[1] for line in (real / "repo_complete").read_text().splitlines()}
    assert "dists/bookworm/InRelease" in listed
    assert any(path.endswith("web_1.0_all.deb") for path in listed)


@pytest.mark.parametrize(
    "rel",
    [
        "pool/bookworm/w/web_1.0_all.deb",
        "dists/bookworm/main/binary-amd64/Packages.gz",
        "dists/bookworm/Release.gpg",
        "repo_complete.asc",
    ],
)
def test_one_byte_changed_is_named_and_refused_and_repaired(
    rel, build, modules, states, spec, repo_key, tmp_path
):
    build()
    home = spec["home"]
    path = Path(home, "pigsty", rel)
    data = bytearray(path.read_bytes())
    st = path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))  # as somebody who hides would
    found = modules.infra_repo.verify("pigsty", home)
    assert not found["complete"]
    assert any(rel in problem for problem in found["problems"]), found
    if not rel.endswith("repo_complete.asc"):
        ret = states.infra_repo.built(
            name="pigsty",
            home=home,
            request=spec,
            key=repo_key,
            transfer={"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")},
        )
        assert ret.result is True, ret.comment
        assert rel in ret.comment
        assert modules.infra_repo.verify("pigsty", home)["complete"]


def test_apt_refuses_a_changed_package_index_and_signature(build, modules, spec, tmp_path):
    build()
    real = Path(spec["home"], "pigsty")
    source = client_sources.client_files("pigsty", spec["home"], [])
    text = source["pigsty-local.sources"]["text"]
    for number, rel in enumerate(
        ["pool/bookworm/w/web_1.0_all.deb", "dists/bookworm/main/binary-amd64/Packages.gz",
         "dists/bookworm/InRelease"]
    ):  # fmt: skip
        victim = real / rel
        good = victim.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1
        others = [victim]
        if rel.endswith("Packages.gz"):  # apt takes whichever it finds, so all of them
            folder = victim.parent
            others = [folder / "Packages", victim, *(folder / "by-hash/SHA256").iterdir()]
        kept = {p: p.read_bytes() for p in others}
        for p in others:
            data = bytearray(p.read_bytes())
            data[len(data) // 2] ^= 1
            p.unlink()
            p.write_bytes(data)
        server = Server(spec["home"])
        code, out = Client(
            tmp_path / f"c{number}", text.replace(f"file://{spec['home']}", server.url)
        ).install("web")
        server.close()
        assert code != 0, f"{rel}: {out}"
        for p, data in kept.items():
            p.write_bytes(data)


def test_a_foreign_key_is_refused_by_apt(build, modules, spec, tmp_path):
    build()
    other = Key("Somebody else <x@example.org>")
    text = client_sources.client_files("pigsty", spec["home"], [])["pigsty-local.sources"]["text"]
    head = text.partition("Signed-By:")[0]
    body = "\n".join(f" {line}" if line else " ." for line in other.public.splitlines())
    code, out = Client(tmp_path / "c", f"{head}Signed-By:\n{body}\n").install("web")
    other.close()
    assert code != 0
    assert "NO_PUBKEY" in out or "not signed" in out


def test_the_users_own_key_is_used_with_its_passphrase(
    build, minion, modules, spec, tmp_path, upstream_key
):
    home = tempfile.mkdtemp(prefix="gu-", dir="/tmp")
    key = Key("Site key <site@example.org>")
    secret = tmp_path / "secret.asc"
    secret.write_text(key.gpg("--armor", "--export-secret-keys"))
    phrase = tmp_path / "phrase"
    phrase.write_text("")
    repository.build(
        minion,
        spec,
        key={"home": home, "secret_file": str(secret), "passphrase_file": str(phrase)},
        transfer={"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")},
    )
    status = modules.infra_repo.status("pigsty", spec["home"])
    assert status["signature"] == {"key": key.fingerprint, "problems": []}
    assert oct(os.stat(home).st_mode & 0o777) == "0o700"
    key.close()
    shutil.rmtree(home)


def test_status_for_people_and_as_data(build, modules, spec):
    build()
    data = modules.infra_repo.status("pigsty", spec["home"])
    assert data["complete"] is True
    assert data["packages"] == 3
    assert data["targets"] == ["d12.x86_64"]
    assert data["upstreams"][0]["verified"] is True
    assert data["age"] >= 0
    text = modules.infra_repo.summary("pigsty", spec["home"])
    assert "complete, 3 packages" in text
    json.dumps(data)


def test_status_of_nothing(modules, tmp_path):
    data = modules.infra_repo.status("pigsty", str(tmp_path))
    assert (data["kind"], data["complete"], data["packages"]) == ("none", False, 0)
    assert "no repository" in modules.infra_repo.summary("pigsty", str(tmp_path))


def test_url_packages_with_and_without_checksum(build, upstream, modules, spec):
    local = Path(spec["home"]).parent / "loose"
    local.mkdir()
    path = deb(upstream.root / "loose", "loose", "1.0")
    digest = run("sha256sum", path).split()[0]
    (local / "tool-x86_64.tgz").write_bytes(b"tool")
    urls = [
        {"url": f"{upstream.url}/loose/loose_1.0_all.deb", "checksum": f"sha256:{digest}"},
        {"url": f"file://{local}/tool-${{arch}}.tgz", "name": "tool.tgz"},
        "https://a.example/other.rpm",  # for rpm targets; this one has none
    ]
    result = build(url_packages=urls)
    assert "pool/bookworm/l/loose_1.0_all.deb" in result["added"]
    assert "files/tool.tgz" in result["added"]
    upstream.requests.clear()
    build(url_packages=urls, force=True)
    assert not any("loose" in path or "tool" in path for path in upstream.requests)
    urls[0]["checksum"] = "sha256:" + "0" * 64
    with pytest.raises(CommandExecutionError, match="its sha256 is"):
        build(url_packages=urls)


def test_the_second_build_at_once_says_who_is_at_it(build, modules, spec):
    lock = Path(spec["home"], ".pigsty", "lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(json.dumps({"pid": 4711, "what": "build", "since": 0}))
        held.flush()
        with pytest.raises(CommandExecutionError, match=r"process 4711 \(build, since"):
            build()
        assert "(build, since" in modules.infra_repo.status("pigsty", spec["home"])["busy"]
    assert build()["changed"]


def test_everything_goes_through_the_proxy_that_is_asked_for(
    minion, spec, upstream, repo_key, tmp_path
):
    # The upstream's name is known to the proxy only.
    entry = {**spec["upstream"][0], "baseurl": "http://upstream.invalid stable main"}
    transfer = {
        "cache": str(tmp_path / "cache"),
        "state": str(tmp_path / "state"),
        "retries": 0,
        "proxy_env": {"http_proxy": upstream.url, "no_proxy": "localhost,*.pigsty"},
    }
    asked = {**spec, "upstream": [entry]}
    result = repository.build(minion, asked, key=repo_key, transfer=transfer)
    assert result["packages"] == 3
    transfer["proxy_env"] = {"http_proxy": 'http://a";x "'}
    with pytest.raises(SaltInvocationError, match="proxy_env"):
        repository.build(minion, asked, key=repo_key, transfer=transfer, force=True)


def test_another_node_is_the_fall_back(build, modules, spec, tmp_path):
    build()
    server = Server(spec["home"])
    try:
        files = client_sources.client_files(
            "pigsty", spec["home"], ["http://127.0.0.2:9", server.url]
        )
        client = Client(tmp_path / "client", files["pigsty.sources"]["text"])
        conf = client.root / "apt.conf"
        conf.write_text(conf.read_text().replace('APT::Update::Error-Mode "any";', ""))
        code, text = client.install("web")
        assert code == 0, text
        assert "web_1.0_all.deb" in client.got()
    finally:
        server.close()


def test_what_is_published_can_be_read_whatever_the_umask(build, spec):
    before = os.umask(0o077)
    try:
        build()
    finally:
        os.umask(before)
    for path in [Path(spec["home"], "pigsty").resolve(), *Path(spec["home"], "pigsty").rglob("*")]:
        wanted = 0o005 if path.is_dir() else 0o004
        assert path.stat().st_mode & wanted == wanted, path


def test_another_key_is_a_reason_to_sign_anew(build):
    first = build()["path"]
    assert build(key_file="")["path"] == first
    assert build(key_file="/etc/other.asc")["path"] != first


def test_progress_is_told_while_it_works(build, upstream, caplog):
    caplog.set_level("INFO")
    build()
    told = [r.getMessage() for r in caplog.records if "fetched 3 of 3 files" in r.getMessage()]
    assert told
    assert "MiB/s" in told[0]
