"""What we keep on disk is damaged: it is mended, or refused by name; never is more lost for it."""

import datetime
import json
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import salt.utils.path
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from infra_formula import paths, process, systemd
from infra_formula.daemon import data_removal
from infra_formula.dns import resolver as infra_resolver
from infra_formula.minion import Minion
from infra_formula.pki import certificates as infra_cert
from infra_formula.portal import applied
from infra_formula.registration import facts as own_facts
from infra_formula.registration import inventory
from infra_formula.status import report as infra_status
from salt.exceptions import CommandExecutionError
from salt.modules import mine

from _states import infra_cert as cert_state
from _states import infra_daemon as daemon_state
from _states import infra_node as node_state
from _states import infra_portal as portal_state
from _states import infra_register as register_state
from _states import infra_resolver as resolver_state

# Empty, cut off, of another form, not even text.
DAMAGES = [b"", b'{"nodes": {"a"', b"[1]", b"3", b"\xff\xfe\x00{}"]
FACTS = {"ip": "10.10.10.21", "ins": "node-1", "cls": "nodes", "targets": [{"job": "ping"}]}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """State files below a folder of the test's own; returns that folder."""
    for module, name, path in (
        (paths, "STATE_DIR", tmp_path),
        (paths, "LOCK_DIR", tmp_path / "lock"),
        (own_facts, "PUBLISHERS_DIR", tmp_path / "register.d"),
        (inventory, "PATH", tmp_path / "register.json"),
        (infra_resolver, "RECORD", tmp_path / "resolver.json"),
        (infra_resolver, "RESOLV_CONF", tmp_path / "resolv.conf"),
        (infra_resolver, "_UPLINKS", ()),
    ):
        monkeypatch.setattr(module, name, path)
    return tmp_path


@pytest.fixture
def minion(place, monkeypatch):
    """Salt's dunders for modules and states; returns those that tests change."""
    salt = {
        "mine.get": create_autospec(mine.get, return_value={}),
        "mine.send": create_autospec(mine.send, return_value=True),
    }
    opts = {"test": False, "id": "node-1", "file_client": "remote"}
    context = {}
    states = (
        cert_state, daemon_state, node_state, portal_state, register_state, resolver_state
    )  # fmt: skip
    for module in states:
        monkeypatch.setattr(module, "__salt__", salt, raising=False)
        monkeypatch.setattr(module, "__opts__", opts, raising=False)
        monkeypatch.setattr(module, "__grains__", {}, raising=False)
        monkeypatch.setattr(module, "__context__", context, raising=False)
    return {"salt": salt, "opts": opts, "place": place, "minion": Minion(salt, opts, {}, context)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_this_minion_publishes_is_written_anew(minion, damage):
    register_state.published("infra", FACTS)
    path = own_facts.publisher_path("infra")
    path.write_bytes(damage)
    told = register_state.published("infra", FACTS)
    assert (told["result"], bool(told["changes"])) == (True, True)
    assert json.loads(path.read_text())["ip"] == FACTS["ip"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_another_formula_publishes_is_named_and_can_be_withdrawn(minion, damage):
    register_state.published("infra", FACTS)
    register_state.published("other", FACTS)
    path = own_facts.publisher_path("other")
    path.write_bytes(damage)
    minion["salt"]["mine.send"].side_effect = lambda _alias: bool(own_facts.current())
    told = register_state.published("infra", {**FACTS, "cls": "new"})
    assert told["result"] is False
    assert str(path) in told["comment"]
    assert register_state.withdrawn("other")["changes"] == {"other": "withdrawn"}
    assert register_state.published("infra", {**FACTS, "cls": "newer"})["result"] is True


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_inventory_is_made_anew_from_the_mine_or_refused_where_there_is_none(
    minion, damage, caplog
):
    inventory.record({"node-1": FACTS})
    inventory.PATH.write_bytes(damage)
    assert inventory.recorded(minion["minion"]) == {}
    assert str(inventory.PATH) in caplog.text
    minion["opts"]["file_client"] = "local"
    with pytest.raises(CommandExecutionError, match=r"register\.json is corrupt"):
        inventory.read_mine(minion["minion"])
    told = register_state.inventory("x", {"nodes": []})
    assert told["result"] is False
    assert "Restore the file" in told["comment"]
    assert inventory.PATH.read_bytes() == damage
    inventory.record({"node-1": FACTS})
    assert inventory.recorded(minion["minion"]) == {"node-1": FACTS}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_record_of_nameservers_is_rebuilt(minion, place, damage):
    (place / "resolv.conf").write_text("nameserver 9.9.9.9\n", encoding="utf-8")
    arguments = ("x", "add", ["10.10.10.10"], [], [])
    assert resolver_state.configured(*arguments)["result"] is True
    assert infra_resolver.recorded_nameservers() == ["9.9.9.9"]
    infra_resolver.RECORD.write_bytes(damage)
    if damage == b"[1]":  # a list, as expected: elements that are no addresses are skipped
        assert infra_resolver.recorded_nameservers() == []
        return
    minion["opts"]["test"] = True
    assert resolver_state.configured(*arguments)["result"] is None
    assert infra_resolver.recorded_nameservers() is None
    minion["opts"]["test"] = False
    assert resolver_state.configured(*arguments)["changes"]
    assert infra_resolver.recorded_nameservers() == ["9.9.9.9"]
    assert resolver_state.configured(*arguments)["changes"] == {}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_record_of_the_portal_is_written_again(minion, damage):
    path = applied.record_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(CommandExecutionError, match="is corrupt, or from another release"):
        applied.entries()
    applied.record({"wiki": {"endpoint": "a:1"}}, {"nginx_port": 80})
    assert applied.recorded() == ({"wiki": {"endpoint": "a:1"}}, {"nginx_port": 80})
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", DAMAGES)
def test_data_is_not_destroyed_twice_because_nobody_can_tell(minion, damage, monkeypatch):
    data = minion["place"] / "logs"
    data.mkdir()
    (data / "new").write_text("kept")
    monkeypatch.setattr(systemd, "systemctl", create_autospec(systemd.systemctl))
    data_removal.record("vlogs", str(data))
    data_removal.record_path("vlogs").write_bytes(damage)
    told = daemon_state.cleaned("vlogs", [str(data)], "vlogs", True, str(data))
    assert told["result"] is False
    assert "set vlogs_clean: false" in told["comment"]
    assert (data / "new").read_text() == "kept"
    assert daemon_state.cleaned("vlogs", [str(data)], "vlogs")["result"] is True
    assert not data_removal.record_path("vlogs").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_list_of_components_is_refused_by_name(place, damage):
    if damage == b"[1]":
        return  # of the form that it has
    (place / "status.json").write_bytes(damage)
    with pytest.raises(CommandExecutionError, match=r"status\.json.*apply infra anew"):
        infra_status.components()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_copy_of_the_ca_that_is_none_is_refused_where_nobody_has_another(minion, damage):
    path = minion["place"] / "ca.crt"
    path.write_bytes(damage)
    told = node_state.authority(str(path), [], None, 0)
    assert told["result"] is False
    assert "expected a PEM certificate" in told["comment"]


# -- certificates, and a clock that was wrong ----------------------------------------------------


def certificate(path, days_ago, days):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=days_ago))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    path.with_suffix(".crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(path.with_suffix(".crt")), str(path.with_suffix(".key"))


@pytest.mark.parametrize(
    ("days_ago", "days", "told"),
    [(1, 10, None), (-1, 10, "is valid only from"), (9, -1, "ended at")],
)
def test_a_certificate_that_is_not_valid_by_the_clock_is_told(
    minion, tmp_path, days_ago, days, told
):
    crt, key = certificate(tmp_path / "ca", days_ago, days)
    fault = infra_cert.time_fault(crt)
    assert (fault or "") == "" if told is None else told in fault
    ret = cert_state.authority(crt, key, "ca", 100)
    assert ret["result"] is (told is None)
    assert told is None or ("the clock says" in ret["comment"] and told in ret["comment"])


@pytest.mark.parametrize("test", [True, False])
def test_a_ca_that_a_killed_run_linked_and_did_not_have_bundled_is_bundled(
    minion, tmp_path, monkeypatch, test
):
    crt, _ = certificate(tmp_path / "ca", 1, 10)
    other, _ = certificate(tmp_path / "other", 1, 10)
    bundle = tmp_path / "bundle"
    texts = [Path(path).read_text() for path in (other, crt)]
    bundle.write_text(texts[0])
    ran = []

    def run_all(command, **_):
        ran.append(command)
        bundle.write_text("".join(texts))
        return {"retcode": 0, "stdout": "", "stderr": ""}

    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=run_all))
    minion["opts"]["test"] = test
    monkeypatch.setattr(salt.utils.path, "which", lambda name: name)
    told = cert_state.trusted(crt, str(bundle), "update-ca-certificates")
    assert told["changes"] == {str(bundle): "updated"}
    assert told["result"] is (None if test else True)
    assert ran == ([] if test else [["update-ca-certificates"]])
    if not test:
        assert cert_state.trusted(crt, str(bundle), "update-ca-certificates")["changes"] == {}


def test_a_bundle_without_the_ca_after_the_command_is_an_error(minion, tmp_path, monkeypatch):
    crt, _ = certificate(tmp_path / "ca", 1, 10)
    answer = {"retcode": 0, "stdout": "0 added", "stderr": ""}
    monkeypatch.setattr(process, "run", create_autospec(process.run, return_value=answer))
    monkeypatch.setattr(salt.utils.path, "which", lambda name: name)
    told = cert_state.trusted(crt, str(tmp_path / "none"), "update-ca-certificates")
    assert told["result"] is False
    assert "0 added" in told["comment"]
