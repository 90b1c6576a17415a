"""nginx follows a public certificate, and nothing else of the portal changes."""

from unittest.mock import create_autospec

import portal_samples
import pytest
from infra_formula import paths
from infra_formula.fileset.file_set import FileSet
from infra_formula.portal import nginx as portal_nginx
from salt.exceptions import CommandExecutionError

from _states import infra_portal as portal_state

SELF = {"conf.d/a.conf": {"text": "a"}, "conf.d/cert/a.crt": {"link": "pigsty.crt"}}
PUBLIC = {**SELF, "conf.d/cert/a.crt": {"link": "/etc/letsencrypt/live/a/fullchain.pem"}}


@pytest.fixture
def nginx(tmp_path, monkeypatch):
    """A portal that is applied, with users, below a folder of the test's own."""
    root = tmp_path / "etc/nginx"
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    monkeypatch.setattr(portal_state, "_ROOT", str(root))
    monkeypatch.setattr(portal_state, "_reload", create_autospec(portal_state._reload))
    rendered = create_autospec(portal_nginx.rendered, return_value=PUBLIC)
    check = create_autospec(portal_nginx.check_staged)
    monkeypatch.setattr(portal_nginx, "rendered", rendered)
    monkeypatch.setattr(portal_nginx, "check_staged", check)
    for name in ("__salt__", "__grains__", "__context__"):
        monkeypatch.setattr(portal_state, name, {}, raising=False)
    monkeypatch.setattr(portal_state, "__opts__", {"test": False}, raising=False)
    before = {**SELF, ".htpasswd": {"text": "ann:$6$hash\n", "mode": "0640", "secret": True}}
    FileSet("portal", root).plan(before).apply()
    return {"root": root, "check": check}


def followed():
    return portal_state.followed("x", {}, portal_samples.settings())


def test_the_link_leads_to_the_new_certificate_and_users_stay(nginx):
    portal_state.__opts__["test"] = True
    told = followed()
    assert (told["result"], told["changes"]) == (None, {"change": ["conf.d/cert/a.crt"]})
    portal_state.__opts__["test"] = False
    assert followed()["changes"] == {"change": ["conf.d/cert/a.crt"]}
    link = nginx["root"] / "conf.d/cert/a.crt"
    assert str(link.readlink()) == PUBLIC["conf.d/cert/a.crt"]["link"]
    users = nginx["root"] / ".htpasswd"
    assert (users.read_text(), users.stat().st_mode & 0o777) == ("ann:$6$hash\n", 0o640)
    assert set(FileSet("portal", nginx["root"]).managed_files()) == {*PUBLIC, ".htpasswd"}
    portal_state._reload.assert_called_once()
    assert (followed()["result"], followed()["changes"]) == (True, {})


def test_what_nginx_refuses_stays_as_it_was(nginx):
    nginx["check"].side_effect = CommandExecutionError("no such file")
    done = followed()
    assert (done["result"], done["changes"], done["comment"]) == (False, {}, "no such file")
    assert str((nginx["root"] / "conf.d/cert/a.crt").readlink()) == "pigsty.crt"
