"""nginx follows a public certificate, and nothing else of the portal changes."""

from unittest.mock import create_autospec

import portal_samples
import pytest
from infra_formula import paths
from infra_formula.fileset.file_set import FileSet
from infra_formula.portal import rendering, server
from infra_formula.registration import inventory
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
    monkeypatch.setattr(rendering, "ROOT", str(root))
    monkeypatch.setattr(inventory, "PATH", tmp_path / "register.json")
    # A copy each time, as rendering makes new files each time.
    rendered = create_autospec(rendering.rendered, side_effect=lambda *_: dict(PUBLIC))
    monkeypatch.setattr(rendering, "rendered", rendered)
    for name in ("reload", "check_staged"):
        monkeypatch.setattr(server, name, create_autospec(getattr(server, name)))
    for name in ("__salt__", "__grains__", "__context__"):
        monkeypatch.setattr(portal_state, name, {}, raising=False)
    monkeypatch.setattr(portal_state, "__opts__", {"test": False}, raising=False)
    before = {**SELF, ".htpasswd": {"text": "ann:$6$hash\n", "mode": "0640", "secret": True}}
    FileSet("portal", root).plan(before).apply()
    return root


def refreshed():
    return portal_state.certificates_refreshed("x", {}, portal_samples.settings())


def test_the_link_leads_to_the_new_certificate_and_users_stay(nginx):
    portal_state.__opts__["test"] = True
    ret = refreshed()
    assert (ret["result"], ret["changes"]) == (None, {"change": ["conf.d/cert/a.crt"]})
    portal_state.__opts__["test"] = False
    assert refreshed()["changes"] == {"change": ["conf.d/cert/a.crt"]}
    link = nginx / "conf.d/cert/a.crt"
    assert str(link.readlink()) == PUBLIC["conf.d/cert/a.crt"]["link"]
    users = nginx / ".htpasswd"
    assert (users.read_text(), users.stat().st_mode & 0o777) == ("ann:$6$hash\n", 0o640)
    assert set(FileSet("portal", nginx).managed_files()) == {*PUBLIC, ".htpasswd"}
    server.reload.assert_called_once()
    assert (refreshed()["result"], refreshed()["changes"]) == (True, {})


def test_what_nginx_refuses_stays_as_it_was(nginx):
    server.check_staged.side_effect = CommandExecutionError("no such file")
    ret = refreshed()
    assert (ret["result"], ret["changes"], ret["comment"]) == (False, {}, "no such file")
    assert str((nginx / "conf.d/cert/a.crt").readlink()) == "pigsty.crt"
