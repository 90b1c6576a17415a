"""Folders of sites: which are created, and what is said of those that nginx cannot serve."""

import os
import pwd
from unittest.mock import create_autospec

import portal_samples
import pytest
from infra_formula.portal import folders

NOBODY = next(e.pw_name for e in pwd.getpwall() if e.pw_uid not in (0, os.getuid()))


@pytest.fixture
def site(tmp_path):
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if str(parent) not in ("/", "/tmp") and parent.stat().st_uid == os.getuid():
            parent.chmod(0o755)
    (tmp_path / "www").mkdir()

    def of(**entries):
        given = portal_samples.settings(nginx_home=str(tmp_path / "www"), nginx_user=NOBODY)
        return entries, given

    of.root = tmp_path
    return of


def test_the_folder_of_the_home_page_is_created_as_others_are(site):
    inside, outside = str(site.root / "www/home"), str(site.root / "elsewhere")
    assert folders.missing(*site(home={"path": inside})) == ([inside], [])
    assert folders.missing(*site(home={"path": outside})) == ([], [outside])
    assert folders.missing(*site(home={"path": str(site.root / "www")})) == ([], [])
    assert folders.missing(*site()) == ([], [])


def test_so_is_the_folder_of_a_location(site):
    inside = str(site.root / "www/docs")
    entry = {"domain": "a.p", "endpoint": "127.0.0.1:1", "locations": {"/docs/": {"path": inside}}}
    assert folders.missing(*site(app=entry)) == ([inside], [])


def test_an_empty_folder_of_the_home_page_is_a_warning(site):
    path = site.root / "www/home"
    path.mkdir()
    expected = f"infra_portal.home.path: {path} has no index.html"
    assert folders.warnings(*site(home={"path": str(path)}))[0].startswith(expected)
    (path / "index.html").write_text("a page")
    assert folders.warnings(*site(home={"path": str(path)})) == []
    # The formula's own page is not there before the first apply; it writes it itself.
    assert folders.warnings(*site()) == []


@pytest.mark.parametrize("closed", [".", "docs", "docs/a"])
def test_a_folder_that_nginx_cannot_enter_is_named(site, closed):
    folder = site.root / "srv"
    (folder / "docs/a").mkdir(parents=True)
    (folder / closed).chmod(0o700)
    entry = {"domain": "a.p", "path": str(folder / "docs/a")}
    where = folder if closed == "." else folder / closed
    assert folders.warnings(*site(docs=entry)) == [
        f"infra_portal.docs.path: the account of nginx, {NOBODY}, cannot enter {where}"
    ]
    (folder / closed).chmod(0o711)
    assert folders.warnings(*site(docs=entry)) == []


def test_so_is_the_folder_of_a_socket(site):
    folder = site.root / "run"
    folder.mkdir()
    (folder / "app.sock").touch()
    folder.chmod(0o750)
    entry = {"domain": "a.p", "endpoint": ["127.0.0.1:1", f"unix:{folder}/app.sock"]}
    assert folders.warnings(*site(app=entry)) == [
        f"infra_portal.app.endpoint: the account of nginx, {NOBODY}, cannot enter {folder}"
    ]


def test_so_is_that_of_a_streams_socket(site):
    folder = site.root / "run"
    folder.mkdir()
    folder.chmod(0o750)
    entries, given = site()
    given["infra_streams"] = {"pg": {"listen": 5432, "endpoint": f"unix:{folder}/pg.sock"}}
    assert folders.warnings(entries, given) == [
        f"infra_streams.pg.endpoint: the account of nginx, {NOBODY}, cannot enter {folder}"
    ]


def test_a_folder_elsewhere_that_is_missing_is_named_with_its_entry(site):
    entry = {"domain": "a.p", "path": str(site.root / "none")}
    assert folders.warnings(*site(docs=entry)) == [
        f"infra_portal.docs.path: {site.root}/none does not exist; put the site there"
    ]


@pytest.mark.parametrize("below", ["", "/deep/er"])
@pytest.mark.parametrize("what", ["a file", "a link to nowhere"])
def test_what_has_the_place_of_a_folder_costs_only_its_own_entry(site, what, below):
    """It is named, and not created: an error of it would keep other folders from being created."""
    place = site.root / "www/docs"
    if what == "a file":
        place.write_text("")
    else:
        place.symlink_to(site.root / "none")
    entries, given = site(
        docs={"domain": "a.p", "path": f"{place}{below}"},
        other={"domain": "b.p", "path": str(site.root / "www/other")},
    )
    assert folders.missing(entries, given) == ([str(site.root / "www/other")], [])
    assert folders.warnings(entries, given) == [
        f"infra_portal.docs.path: {place} is no directory, so that nothing is served"
    ]


def test_a_group_of_the_account_lets_it_in(site, monkeypatch):
    folder = site.root / "srv"
    folder.mkdir()
    folder.chmod(0o750)
    groups = create_autospec(folders.grp.getgrall)
    row = type("Row", (), {"gr_gid": folder.stat().st_gid, "gr_mem": [NOBODY]})
    groups.return_value = [row]
    monkeypatch.setattr(folders.grp, "getgrall", groups)
    assert folders.warnings(*site(docs={"domain": "a.p", "path": str(folder)})) == []


def test_of_an_account_that_is_not_there_yet_nothing_is_said(site):
    entries, given = site(docs={"domain": "a.p", "path": str(site.root)})
    assert folders.warnings(entries, {**given, "nginx_user": "no-such-account"}) == []
