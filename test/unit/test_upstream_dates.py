"""How new the index of an upstream was: read, compared and recorded outside of the cache."""

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.errors import CommandFailed
from infra_formula.repository import upstream_dates as dates

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Suite: stable\nDate: Sat, 10 Feb 2024 11:07:21 UTC\nSHA256:\n", 1707563241),
        ("Date: Sat, 10 Feb 2024 11:07:21 +0000\n", 1707563241),
        ("Date: soon\n", None),
        ("Valid-Until: Sat, 10 Feb 2024 11:07:21 UTC\n", None),
        ("X-Date: Sat, 10 Feb 2024 11:07:21 UTC\n", None),
        ("Date: Sat, 99 Feb 99999999 11:07:21 UTC\n", None),
        ("", None),
    ],
)
def test_the_date_of_an_apt_index(text, date):
    assert dates.release_date(text) == date


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("<revision>9</revision><timestamp>5</timestamp><timestamp> 7.5 </timestamp>", 7),
        ("<revision>1707563241</revision>", 1707563241),
        ("<revision>8.1.0</revision>", None),
        ("", None),
    ],
)
def test_the_date_of_a_yum_index(text, date):
    assert dates.repomd_date(text) == date


@given(st.text(max_size=300))
def test_any_text_has_a_date_or_none(text):
    for read in (dates.release_date, dates.repomd_date):
        for whole in (text, f"Date: {text}", f"<timestamp>{text}</timestamp>"):
            found = read(whole)
            assert found is None or found >= 0


def test_what_is_older_is_refused_and_what_is_newer_recorded(tmp_path):
    file = tmp_path / "pigsty/upstream-dates.json"
    dates.refuse_older(file, "d12.x86_64", {"a_": 100, "b_": 100}, NOW)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    dates.refuse_older(file, "d12.x86_64", {"a_": 200}, NOW)
    dates.refuse_older(file, "d13.x86_64", {"a_": 50}, NOW)  # a target of its own
    before = file.read_bytes()
    with pytest.raises(CommandFailed) as caught:
        dates.refuse_older(file, "d12.x86_64", {"a_": 199, "b_": 300}, NOW)
    for part in ("a_: the index", "1970-01-01 00:03:19", "1970-01-01 00:03:20", str(file)):
        assert part in str(caught.value)
    assert "b_" not in str(caught.value)
    assert file.read_bytes() == before
    # The remedy: its line is removed.
    lines = [line for line in file.read_text().splitlines() if "d12.x86_64:a_" not in line]
    file.write_text("\n".join(lines))
    dates.refuse_older(file, "d12.x86_64", {"a_": 199}, NOW)
    assert dates.recorded(file)["d12.x86_64:a_"]["date"] == 199


def test_a_date_in_the_future_locks_nobody_out(tmp_path):
    file = tmp_path / "dates.json"
    dates.refuse_older(file, "t", {"a": NOW + 10 * 86400}, NOW)
    assert dates.recorded(file) == {}
    dates.refuse_older(file, "t", {"a": NOW}, NOW)


def test_the_record_is_bounded(tmp_path):
    file = tmp_path / "dates.json"
    dates.refuse_older(file, "old", {"x": 1}, NOW)
    dates.refuse_older(file, "t", {str(n): 1 for n in range(dates.LIMIT)}, NOW + 1)
    found = dates.recorded(file)
    assert len(found) == dates.LIMIT
    assert "old:x" not in found


@pytest.mark.parametrize("damage", ["", "[1]", "{", '{"a": 1}', '{"a": {"date": "x"}}', "null"])
def test_a_corrupt_record_is_kept_aside(tmp_path, damage):
    file = tmp_path / "dates.json"
    file.write_text(damage)
    dates.refuse_older(file, "t", {"a": 1}, NOW)
    assert dates.recorded(file) == {"t:a": {"date": 1, "seen": NOW}}
    assert (tmp_path / "dates.damaged").read_text() == damage


@given(st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(0, 50)), max_size=20))
def test_no_date_that_is_recorded_ever_falls(tmp_path_factory, visits):
    file = tmp_path_factory.mktemp("dates") / "dates.json"
    newest = {}
    for number, found in enumerate(visits):
        must_fail = any(date < newest.get(name, 0) for name, date in found.items())
        try:
            dates.refuse_older(file, "t", found, NOW + number)
        except CommandFailed:
            assert must_fail
        else:
            assert not must_fail
            newest |= found
        if newest:
            assert {k: v["date"] for k, v in dates.recorded(file).items()} == {
                f"t:{name}": date for name, date in newest.items()
            }
    if file.exists():
        json.loads(file.read_text())


def test_only_signed_indexes_of_apt_have_a_date(tmp_path):
    lists = tmp_path / "var/lib/apt/lists"
    (lists / "partial").mkdir(parents=True)
    text = "Date: Sat, 10 Feb 2024 11:07:21 UTC\n"
    for name in ("h_dists_a_InRelease", "h_dists_b_Release", "h_dists_b_Release.gpg",
                 "h_dists_c_Release", "partial/h_dists_d_InRelease"):  # fmt: skip
        (lists / name).write_text(text)
    assert dates.of_apt(tmp_path) == {"h_dists_a_": 1707563241, "h_dists_b_": 1707563241}


def test_indexes_of_yum_are_those_of_verified_upstreams(tmp_path):
    for folder in ("base-0123456789abcdef", "base-extra-0123456789abcdef", "free-0123456789abcdef"):
        repodata = tmp_path / "cache" / folder / "repodata"
        repodata.mkdir(parents=True)
        (repodata / "repomd.xml").write_text("<timestamp>7</timestamp>")
    upstreams = [{"name": "base", "trusted": False}, {"name": "free", "trusted": True}]
    assert dates.of_dnf(tmp_path, upstreams) == {"base-0123456789abcdef": 7}
