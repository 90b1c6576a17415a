"""nginx follows a public certificate, and nothing else of the portal changes."""

from unittest.mock import Mock

import portal_samples
import pytest
from infra_formula.fileset import filesets as infra_files
from salt.exceptions import CommandExecutionError

from _states import infra_portal as portal_state

SELF = {"conf.d/a.conf": {"text": "a"}, "conf.d/cert/a.crt": {"link": "pigsty.crt"}}
PUBLIC = {**SELF, "conf.d/cert/a.crt": {"link": "/etc/letsencrypt/live/a/fullchain.pem"}}


@pytest.fixture
def nginx(tmp_path, monkeypatch):
    """A portal that is applied, with users, below a folder of the test's own."""
    root = tmp_path / "etc/nginx"
    monkeypatch.setattr(infra_files, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(infra_files, "LOCK_DIR", tmp_path / "lock")
    monkeypatch.setattr(portal_state, "_ROOT", str(root))
    monkeypatch.setattr(portal_state, "_reload", Mock())
    salt = {f"infra_files.{k}": v for k, v in vars(infra_files).items() if k[0] != "_"}
    salt |= {"infra_portal.rendered": Mock(return_value=PUBLIC),
             "infra_portal.check_staged": Mock()}  # fmt: skip
    monkeypatch.setattr(portal_state, "__salt__", salt, raising=False)
    monkeypatch.setattr(portal_state, "__opts__", {"test": False}, raising=False)
    before = {**SELF, ".htpasswd": {"text": "ann:$6$hash\n", "mode": "0640", "secret": True}}
    found = infra_files.compare("portal", str(root), before)
    infra_files.publish("portal", str(root), before, found)
    return {"root": root, "salt": salt}


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
    assert set(infra_files.owned("portal", str(nginx["root"]))) == {*PUBLIC, ".htpasswd"}
    portal_state._reload.assert_called_once()
    assert (followed()["result"], followed()["changes"]) == (True, {})


def test_what_nginx_refuses_stays_as_it_was(nginx):
    nginx["salt"]["infra_portal.check_staged"].side_effect = CommandExecutionError("no such file")
    done = followed()
    assert (done["result"], done["changes"], done["comment"]) == (False, {}, "no such file")
    assert str((nginx["root"] / "conf.d/cert/a.crt").readlink()) == "pigsty.crt"
