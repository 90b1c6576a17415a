"""The key of a certificate that is issued again is kept, and protected in the same apply."""

import os
import pwd

from doubles import double
from infra_formula.fileset import contents
from infra_formula.pki import authority, certificates, issuing, plans


def test_a_key_that_is_kept_gets_its_mode_when_its_certificate_is_issued(tmp_path, monkeypatch):
    """Pigsty's key is for its group to read, and its certificate may lack a name."""
    name, key = tmp_path / "a.crt", tmp_path / "a.key"
    for path in (name, key):
        path.write_text("x", encoding="utf-8")
    key.chmod(0o640)
    double(monkeypatch, certificates, "leaf_fault", return_value="it lacks a name")
    double(monkeypatch, authority, "issue", return_value=[str(name)])
    double(monkeypatch, authority, "record")
    double(monkeypatch, issuing, "publish_metrics")
    me = pwd.getpwuid(os.getuid())
    double(monkeypatch, contents, "owner_ids", return_value=(me.pw_uid, me.pw_gid))
    spec = {"private_key": str(key), "names": ["a"], "addresses": [], "key_mode": "0600",
            "group": "nginx"}  # fmt: skip
    plan = plans.plan_leaf(str(name), spec)
    assert key.stat().st_mode & 0o777 == 0o640  # nothing is changed yet
    plan.apply()
    assert key.stat().st_mode & 0o777 == 0o600
    assert set(plan.changes) == {str(name), str(key)}
