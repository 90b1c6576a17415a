"""States of a client and of registration: what they change, in test mode, and where things fail."""

import datetime
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from infra_formula import paths, process
from infra_formula.minion import Minion
from infra_formula.pki import certificates
from infra_formula.registration import facts as own_facts
from infra_formula.registration import inventory
from infra_formula.repository import catalogue, other_sources, signing
from infra_formula.repository import client_trust as infra_node
from infra_formula.repository import plans as repository_plans
from salt.exceptions import CommandExecutionError

from _states import infra_node as node_state
from _states import infra_register as register_state

NODES = [
    {"key": "infra-1", "ip": "10.10.10.10", "seq": 1},
    {"key": "infra-2", "ip": "10.10.10.11", "seq": 2},
]
SETTINGS = {
    "nodes": NODES[:1],
    "reserved": {},
    "jobs": [],
    "others": {},
    "dns_records": [],
    "admin_ip": "10.10.10.10",
    "portal_names": [],
    "domains": None,
    "networks": ["10.0.0.0/8"],
    "assigned": {},
    "cluster": "nodes",
    "components": [],
    "own_id": "infra-1",
    "own_addresses": [],
}
FACTS = {"ip": "10.10.10.21", "ins": "node-1", "cls": "nodes", "targets": [{"job": "ping"}]}
PEM = "-----BEGIN CERTIFICATE-----\n" + "QUJD" * 20 + "\n-----END CERTIFICATE-----\n"
MINE = {
    "infra-1": {"contract": 1, "ip": "10.10.10.10", "ins": "infra-1", "cls": "nodes", "ca": PEM},
    "node-1": {"contract": 1, **FACTS},
}
DEFINITION = """# Managed by Salt (infra formula)
X-Repolib-Name: pigsty
Types: deb
URIs: http://10.10.10.10/pigsty http://10.10.10.11/pigsty
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
"""


class World:
    """A minion, its mine and its folders, below a folder of the test's own."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.mine, self.calls = folder, {}, []
        self.opts = {"test": False, "id": "node-1", "file_client": "remote"}
        self.context = {}
        monkeypatch.setattr(own_facts, "PUBLISHERS_DIR", folder / "register.d")
        monkeypatch.setattr(inventory, "PATH", folder / "register.json")
        monkeypatch.setattr(paths, "STATE_DIR", folder / "state")
        monkeypatch.setattr(paths, "LOCK_DIR", folder / "lock")
        functions = {
            "mine.get": self.get,
            "mine.send": self.send,
            "file.file_exists": lambda path: Path(path).is_file(),
            "file.read": lambda path: Path(path).read_text(encoding="utf-8"),
            "pkg.refresh_db": self.refresh,
        }
        for module, name, double in (
            (process, "run", self.run),
            (other_sources, "switch", self.switch),
            (certificates, "describe", lambda path: {}),
        ):
            spec = create_autospec(getattr(module, name), side_effect=double)
            monkeypatch.setattr(module, name, spec)
        self.functions = functions
        self.minion = Minion(functions, self.opts, context=self.context)
        for module in (node_state, register_state):
            for dunder, value in (
                ("__salt__", functions),
                ("__opts__", self.opts),
                ("__context__", self.context),
                ("__grains__", {"os_family": "Debian", "oscodename": "bookworm"}),
            ):
                monkeypatch.setattr(module, dunder, value, raising=False)

    def get(self, target, function, tgt_type="glob"):
        assert function == "infra_register.facts"
        assert (tgt_type, target) == ("glob", "*") or (tgt_type == "list" and "*" not in target)
        self.calls.append(("mine.get", target))
        return {i: f for i, f in self.mine.items() if target == "*" or i in target}

    def send(self, function):
        self.mine[self.opts["id"]] = own_facts.current()
        return True

    def run(self, command, **_options):
        self.calls.append(command)
        return {"retcode": 0, "stdout": "", "stderr": ""}

    def refresh(self, failhard):
        self.calls.append(("refresh", failhard))

    def switch(self, on, own, test=False):
        if not test:
            self.calls.append(("switch", on, own))
        return {}


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


# -- publishing ----------------------------------------------------------------------------------


def publish(**changes):
    return register_state.published(
        **{"name": "infra", "data": FACTS, "dns_names": ["Node-1"], **changes}
    )


def test_facts_are_published_once(world):
    world.opts["test"] = True
    told = publish()
    assert (told["result"], world.mine) == (None, {})
    assert told["changes"]["ip"] == {"old": None, "new": "10.10.10.21"}
    world.opts["test"] = False
    assert publish()["result"] is True
    assert world.mine["node-1"]["dns"] == [{"address": "10.10.10.21", "names": ["node-1"]}]
    again = publish()
    assert (again["result"], again["changes"]) == (True, {})


def test_a_master_that_lost_the_mine_is_told_again(world):
    publish()
    world.mine.clear()
    assert publish()["changes"] == {"mine": "filled"}
    assert "node-1" in world.mine


def test_other_formulas_and_pillar_add_to_the_facts(world):
    publish(further={"pg": {"targets": [{"job": "pgsql", "port": 9630}]}})
    register_state.published(name="redis", data={"targets": [{"job": "redis", "port": 9121}]})
    jobs = [t["job"] for t in world.mine["node-1"]["targets"]]
    assert jobs == ["ping", "pgsql", "redis"]
    assert register_state.withdrawn("redis")["changes"] == {"redis": "withdrawn"}
    assert register_state.withdrawn("redis")["changes"] == {}
    assert [t["job"] for t in world.mine["node-1"]["targets"]] == ["ping", "pgsql"]


def test_facts_against_the_contract_are_not_published(world):
    told = publish(data={**FACTS, "ip": "127.0.0.1"})
    assert told["result"] is False
    assert "ip: expected the address of a machine" in told["comment"]
    assert world.mine == {}
    assert register_state.published(name="../x", data={})["result"] is False


def test_a_master_that_takes_nothing_fails_the_state(world):
    world.functions["mine.send"] = lambda function: False
    told = publish()
    assert (told["result"], told["changes"]) == (False, {})
    assert "did not take" in told["comment"]


def test_an_address_that_is_not_given_is_found_or_asked_for(world, monkeypatch):
    with monkeypatch.context() as patch:
        found = create_autospec(own_facts.address_towards, return_value="10.10.10.33")
        patch.setattr(own_facts, "address_towards", found)
        publish(data={**FACTS, "ip": None}, towards=["10.10.10.10"])
    assert world.mine["node-1"]["ip"] == "10.10.10.33"
    with pytest.raises(CommandExecutionError, match="set node_ip"):
        own_facts.address_towards([])


def test_the_certificate_of_the_ca_is_published_and_not_shown(world):
    crt = world.folder / "ca.crt"
    crt.write_text(PEM, encoding="utf-8")
    told = publish(ca=str(crt))
    assert world.mine["node-1"]["ca"] == PEM
    assert told["changes"]["ca"] == "changed"


# -- registration --------------------------------------------------------------------------------


def register(world, mine, settings=SETTINGS):
    """The state of the inventory, in a run of its own with this mine."""
    world.context.clear()
    world.mine = dict(mine)
    return register_state.inventory("x", settings)


def test_the_inventory_says_who_came_and_who_left(world):
    world.opts["test"] = True
    told = register(world, MINE)
    assert told["result"] is None
    assert told["changes"] == {"joined": ["infra-1", "node-1"]}
    assert not (world.folder / "register.json").exists()
    world.opts["test"] = False
    register(world, MINE)
    assert set(inventory.recorded(world.minion)) == {"infra-1", "node-1"}
    told = register(world, {"infra-1": MINE["infra-1"]})
    assert told["changes"] == {"left": ["node-1"]}
    told = register(world, {"infra-1": MINE["infra-1"]})
    assert (told["result"], told["changes"]) == (True, {})


def test_without_a_master_nobody_is_forgotten(world):
    world.opts["id"] = "infra-1"
    world.mine.update(MINE)
    register_state.inventory("x", SETTINGS)
    world.context.clear()
    world.mine.clear()
    world.opts["file_client"] = "local"
    told = register_state.inventory("x", SETTINGS)
    assert (told["result"], told["changes"]) == (True, {})
    assert set(inventory.recorded(world.minion)) == {"infra-1", "node-1"}
    world.context.clear()
    world.opts["file_client"] = "remote"
    assert register_state.inventory("x", SETTINGS)["changes"] == {"left": ["infra-1", "node-1"]}


def test_without_a_master_a_machine_that_left_the_pillar_is_forgotten(world):
    world.opts["file_client"] = "local"
    settings = {**SETTINGS, "others": {"switch-1": {"ip": "10.10.10.250"}}}
    assert register(world, {}, settings)["changes"] == {"joined": ["switch-1"]}
    assert register(world, {}, settings)["changes"] == {}
    assert register(world, {})["changes"] == {"left": ["switch-1"]}


def test_each_minion_has_one_warning_of_bounded_length(world):
    names = [f"x{n}.example.com" for n in range(150)]
    loud = {**FACTS, "contract": 1, "dns": [{"address": "10.10.10.21", "names": names}]}
    mine = {"node-1": loud} | {f"evil-{n}": {"contract": 1} for n in range(100)}
    told = register(world, mine)
    refused = [w for w in told["warnings"] if w.startswith("refused: ")]
    assert len(refused) == 41
    assert refused[-1] == "refused: 61 more minions"
    assert max(len(w) for w in told["warnings"]) < 1000
    assert len(told["comment"]) < 1000


def test_an_infra_host_that_no_minion_has_is_named(world):
    told = register(world, MINE, {**SETTINGS, "nodes": NODES})
    assert told["result"] is True
    assert any("infra_hosts['infra-2']: no minion with" in w for w in told["warnings"])


def test_what_is_refused_is_named_and_the_rest_is_registered(world):
    told = register(world, {**MINE, "evil": {"contract": 1}})
    assert any(w.startswith("refused: evil: ip: expected") for w in told["warnings"])
    assert told["changes"]["joined"] == ["infra-1", "node-1"]


def test_targets_are_written_and_removed_and_others_kept(world):
    root = world.folder / "infra"
    register(world, MINE)
    (root / "targets" / "ping").mkdir(parents=True)
    (root / "targets" / "ping" / "mine.yml").write_text("[]\n", encoding="utf-8")
    world.opts["test"] = True
    assert register_state.targets(str(root), SETTINGS, "root")["result"] is None
    world.opts["test"] = False
    told = register_state.targets(str(root), SETTINGS, "root")
    assert told["changes"] == {"create": ["targets/ping/10.10.10.21.yml"]}
    assert register_state.targets(str(root), SETTINGS, "root")["changes"] == {}
    register(world, {"infra-1": MINE["infra-1"]})
    told = register_state.targets(str(root), SETTINGS, "root")
    assert told["changes"] == {"remove": ["targets/ping/10.10.10.21.yml"]}
    assert [p.name for p in (root / "targets" / "ping").iterdir()] == ["mine.yml"]


def test_in_a_run_all_states_go_by_one_answer_of_the_mine(world):
    root = world.folder / "infra"
    reads = []
    world.functions["mine.get"] = lambda *words: reads.append(words) or world.get(*words)
    register(world, MINE)
    world.mine["late"] = {"contract": 1, "ip": "10.10.10.22", "ins": "late", "cls": "nodes"}
    register_state.targets(str(root), SETTINGS, "root")
    decided = inventory.decide(world.minion, SETTINGS)
    assert set(decided["nodes"]) == set(MINE) == set(inventory.recorded(world.minion))
    assert len(reads) == 1
    # The settings are an argument: others decide anew, of the same answer.
    other = inventory.decide(world.minion, {**SETTINGS, "others": {"switch": {"ip": "10.10.10.9"}}})
    assert set(other["nodes"]) == {*MINE, "switch"}
    assert len(reads) == 1


def test_each_state_decides_by_itself_if_it_is_the_only_one(world):
    world.mine = dict(MINE)
    root = world.folder / "infra"
    told = register_state.targets(str(root), SETTINGS, "root")
    assert told["changes"] == {"create": ["targets/ping/10.10.10.21.yml"]}


def test_a_file_of_somebody_else_is_kept_and_said(world):
    root = world.folder / "infra"
    register(world, MINE)
    theirs = root / "targets" / "ping" / "10.10.10.21.yml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[]\n", encoding="utf-8")
    told = register_state.targets(str(root), SETTINGS, "root")
    assert (told["result"], told["changes"]) == (True, {})
    assert "an unmanaged file is left untouched" in told["warnings"][0]
    assert theirs.read_text(encoding="utf-8") == "[]\n"


# -- a client ------------------------------------------------------------------------------------


def authority(world, **changes):
    path = str(world.folder / "ca.crt")
    return node_state.authority(
        **{"name": path, "nodes": NODES, "given": None, "wait": 0} | changes
    )


def test_the_ca_comes_through_the_mine(world):
    world.mine.update(MINE)
    world.opts["test"] = True
    assert authority(world)["result"] is None
    world.opts["test"] = False
    assert authority(world)["changes"] == {str(world.folder / "ca.crt"): "created"}
    assert (world.folder / "ca.crt").read_text(encoding="utf-8") == PEM
    assert authority(world)["changes"] == {}
    world.mine.clear()
    told = authority(world)
    assert (told["result"], told["changes"]) == (True, {})
    assert "ca.crt is left as it is" in told["comment"]


def test_without_an_infra_node_a_client_says_whom_it_waited_for(world):
    told = authority(world)
    assert told["result"] is False
    assert "infra-1, infra-2" in told["comment"]
    world.opts["test"] = True
    assert authority(world)["result"] is None


def test_without_a_master_the_pillar_may_give_the_ca(world):
    world.opts["file_client"] = "local"
    assert "set ca_crt in pillar" in authority(world)["comment"]
    assert authority(world, given=PEM)["changes"] == {str(world.folder / "ca.crt"): "created"}


def test_two_cas_are_said(world):
    other = {**MINE["infra-1"], "ip": "10.10.10.11", "ins": "infra-2"}
    other["ca"] = PEM.replace("QUJD", "RVZJ")
    world.mine.update({**MINE, "infra-2": other})
    told = authority(world)
    assert "infra-2 has another CA than infra-1" in told["warnings"][0]
    assert (world.folder / "ca.crt").read_text(encoding="utf-8") == PEM


BY_ADDRESS = [{"key": "10.10.10.10", "ip": "10.10.10.10", "seq": 1}]


def test_a_new_client_trusts_no_ca_of_an_address(world):
    world.mine.update(MINE)
    told = authority(world, nodes=BY_ADDRESS)
    assert (told["result"], told["changes"]) == (False, {})
    for part in (
        "by its address",
        "minion id as key of infra_hosts",
        "ca_fingerprint",
        "(infra-1)",
    ):
        assert part in told["comment"]
    assert not (world.folder / "ca.crt").exists()


def test_a_ca_that_is_trusted_already_stays_trusted(world):
    path = world.folder / "ca.crt"
    path.write_text(PEM, encoding="utf-8")
    path.chmod(0o644)
    world.mine.update(MINE)
    told = authority(world, nodes=BY_ADDRESS)
    assert (told["result"], told["changes"]) == (True, {})
    assert "warnings" not in told
    world.mine["infra-1"] = {**MINE["infra-1"], "ca": PEM.replace("QUJD", "RVZJ")}
    told = authority(world, nodes=BY_ADDRESS)
    assert (told["result"], told["changes"]) == (True, {})
    assert "is not trusted: infra_hosts names the INFRA node by its address" in told["warnings"][0]
    assert path.read_text(encoding="utf-8") == PEM


def test_a_ca_is_pinned_by_its_fingerprint(world, real_ca):
    pem, digest = real_ca
    world.mine.update({"anybody": {**MINE["infra-1"], "ins": "anybody", "ca": pem}})
    told = authority(world, nodes=BY_ADDRESS, fingerprints=[digest, "0" * 64])
    assert told["changes"] == {str(world.folder / "ca.crt"): "created"}
    # An INFRA node that is known by its id has to publish the pinned one as well.
    world.mine.clear()
    world.mine.update(MINE)
    (world.folder / "ca.crt").unlink()
    told = authority(world, fingerprints=digest.upper())
    assert told["result"] is False
    assert "none has the ca_fingerprint" in told["comment"]
    told = authority(world, fingerprints="abc")
    assert told["result"] is False
    assert told["comment"].startswith("ca_fingerprint: expected SHA-256")


@pytest.fixture(scope="module")
def real_ca():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    now = datetime.datetime.now(datetime.timezone.utc)
    ca = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = ca.public_bytes(serialization.Encoding.PEM).decode()
    return pem, ca.fingerprint(hashes.SHA256()).hex(":")


def repository(world, monkeypatch, silent=(), **changes):
    def fetch(address, path, port, ca, timeout=5.0):
        if address in silent or path != "/pigsty-bookworm.sources":
            raise CommandExecutionError(f"https://{address}:{port}{path}: no route")
        return DEFINITION

    monkeypatch.setattr(infra_node, "fetch", fetch)
    place = (str(world.folder / "apt"), "sources")
    monkeypatch.setattr(repository_plans, "sources_directory", lambda family: place)
    ports = {"repo": "pigsty", "http": 80, "https": 443, "ca": "/etc/pki/ca.crt"}
    given = {"name": "x", "nodes": NODES, "ports": ports, "exclusive": True, "wait": 0}
    return node_state.repository(**(given | changes))


def sources(world):
    found = sorted((world.folder / "apt").glob("*"))
    return {p.name: p.read_text(encoding="utf-8") for p in found}


def test_each_infra_node_is_a_source_of_its_own(world, monkeypatch):
    world.opts["test"] = True
    assert repository(world, monkeypatch)["result"] is None
    assert sources(world) == {}
    world.opts["test"] = False
    assert repository(world, monkeypatch)["result"] is True
    found = sources(world)
    assert list(found) == ["pigsty-infra-1.sources", "pigsty-infra-2.sources"]
    assert "URIs: http://10.10.10.11/pigsty\n" in found["pigsty-infra-2.sources"]
    assert "10.10.10.10" not in found["pigsty-infra-2.sources"]
    assert ("refresh", True) in world.calls
    assert ("switch", False, list(found)) in world.calls
    assert repository(world, monkeypatch)["changes"] == {}


def test_an_infra_node_that_is_down_keeps_its_definition(world, monkeypatch):
    repository(world, monkeypatch)
    before = sources(world)
    told = repository(world, monkeypatch, silent=["10.10.10.10"])
    assert (told["result"], told["changes"]) == (True, {})
    assert "10.10.10.10" in told["warnings"][0]
    assert repository(world, monkeypatch, silent=["10.10.10.10", "10.10.10.11"])["result"] is True
    assert sources(world) == before


def test_at_first_an_infra_node_that_is_late_is_waited_for(world, monkeypatch):
    silent = ["10.10.10.10"]
    asked = []

    def wait_until(ask, seconds):
        asked.append(seconds)
        if len(asked) == 2:
            silent.clear()
        return ask()

    monkeypatch.setattr(
        infra_node, "wait_until", create_autospec(infra_node.wait_until, side_effect=wait_until)
    )
    told = repository(world, monkeypatch, silent=silent, wait=900)
    assert asked == [900, 30]
    assert told["result"] is True
    assert list(sources(world)) == ["pigsty-infra-1.sources", "pigsty-infra-2.sources"]
    # Later nobody is waited for.
    silent.append("10.10.10.11")
    repository(world, monkeypatch, silent=silent, wait=900)
    assert len(asked) == 2


def test_no_repository_at_all_fails_and_changes_nothing(world, monkeypatch):
    told = repository(world, monkeypatch, silent=["10.10.10.10", "10.10.10.11"])
    assert told["result"] is False
    assert "no repository within 0 s" in told["comment"]
    assert world.calls == []


def test_an_infra_node_that_is_gone_takes_its_source_along(world, monkeypatch):
    repository(world, monkeypatch)
    told = repository(world, monkeypatch, nodes=NODES[:1])
    assert told["changes"] == {"pigsty-infra-2.sources": "removed"}
    assert world.calls[-1] == ("refresh", True)


def test_on_the_way_back_the_machine_has_its_own_sources_readable_or_not(world, monkeypatch):
    repository(world, monkeypatch)
    told = repository(world, monkeypatch, nodes=[], exclusive=False)
    assert told["result"] is True
    assert world.calls[-2:] == [("switch", True, []), ("refresh", False)]
    assert sources(world) == {}


def test_on_the_way_back_sources_that_nobody_reaches_are_only_told(world, monkeypatch):
    repository(world, monkeypatch)

    def refresh(failhard):
        # apt-get ends with an error where it never read a source before, whatever failhard says.
        raise CommandExecutionError("E: The repository does not have a Release file.")

    world.functions["pkg.refresh_db"] = refresh
    told = repository(world, monkeypatch, nodes=[], exclusive=False)
    assert told["result"] is True
    assert "does not have a Release file" in told["warnings"][0]
    assert sources(world) == {}
    assert repository(world, monkeypatch, nodes=[], exclusive=False)["changes"] == {}


def test_sources_that_cannot_be_read_are_an_error(world, monkeypatch):
    def refresh(failhard):
        raise CommandExecutionError("NO_PUBKEY")

    world.functions["pkg.refresh_db"] = refresh
    told = repository(world, monkeypatch)
    assert told["result"] is False
    assert "NO_PUBKEY" in told["comment"]
    assert world.calls[-1][:2] == ("switch", True)


def test_what_is_no_definition_is_refused():
    with pytest.raises(CommandExecutionError, match="no definition of a repository"):
        infra_node.definition_of("<html>", "x", "http://a/pigsty", "sources")
    with pytest.raises(CommandExecutionError, match="no definition of a repository"):
        infra_node.definition_of("<html>", "x", "http://a/pigsty", "repo")


def test_a_definition_for_yum_is_that_of_one_node():
    text = (
        "[pigsty]\nname = pigsty $releasever - $basearch\n"
        "baseurl = http://10.10.10.10/pigsty/el$releasever.$basearch/\n"
        "          http://10.10.10.11/pigsty/el$releasever.$basearch/\nenabled = 1\n"
        "gpgkey = http://10.10.10.10/pigsty/pigsty.asc\n"
        "         http://10.10.10.11/pigsty/pigsty.asc\n"
    )
    found = infra_node.definition_of(text, "pigsty-infra-2", "http://10.10.10.11/pigsty", "repo")
    assert found == (
        "[pigsty-infra-2]\nname = pigsty-infra-2 $releasever - $basearch\n"
        "baseurl = http://10.10.10.11/pigsty/el$releasever.$basearch/\nenabled = 1\n"
        "gpgkey = http://10.10.10.11/pigsty/pigsty.asc\n"
    )


# -- other upstreams -----------------------------------------------------------------------------

DEB = {
    "name": "base",
    "url": "https://deb.example/debian",
    "suite": "bookworm",
    "components": ["main"],
    "gpgkey": [],
    "signed_by": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "fingerprint": [],
    "trusted": False,
}
RPM = {
    "name": "baseos",
    "baseurls": ["https://a.example/$releasever/", "https://b.example/$releasever/"],
    "meta": {"repo_gpgcheck": 0, "priority": 11},
    "gpgkey": ["https://a.example/key"],
    "signed_by": "",
    "fingerprint": [],
    "trusted": False,
}


def test_an_upstream_for_apt_is_signed_or_says_that_it_is_trusted():
    text = infra_node.upstream_text(DEB, "deb", DEB["signed_by"])
    assert "URIs: https://deb.example/debian\nSuites: bookworm\nComponents: main\n" in text
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n" in text
    assert "Trusted" not in text
    assert infra_node.upstream_text({**DEB, "trusted": True}, "deb", "").endswith("Trusted: yes\n")


def test_an_upstream_for_yum_is_checked_as_its_entry_says():
    lines = infra_node.upstream_text(RPM, "rpm", "/etc/pki/rpm-gpg/infra-baseos.asc").splitlines()
    for line in (
        "[baseos]",
        "gpgcheck = 1",
        "repo_gpgcheck = 0",
        "priority = 11",
        "gpgkey = file:///etc/pki/rpm-gpg/infra-baseos.asc",
    ):
        assert line in lines


def test_a_key_is_fetched_once_and_is_the_one_that_is_expected(world, monkeypatch):
    key = world.folder / "downloaded"
    key.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n")
    fetched = []

    def cache_file(url):
        fetched.append(url)
        return str(key)

    def keyring(data, path, expected):
        if expected:
            raise CommandExecutionError(f"it holds the key FFFF, but expected {expected[0]}")
        Path(f"{path}.asc").write_bytes(data)
        return [f"{path}.asc", "FFFF"]

    world.functions["cp.cache_file"] = cache_file
    monkeypatch.setattr(signing, "keyring", create_autospec(signing.keyring, side_effect=keyring))
    folder = str(world.folder)
    stranger = {**RPM, "fingerprint": ["AAAA"]}
    with pytest.raises(CommandExecutionError, match="baseos: it holds the key FFFF, but expected"):
        infra_node.upstream_key(world.minion, stranger, folder)
    path = infra_node.upstream_key(world.minion, RPM, folder)
    assert path == f"{folder}/infra-baseos.asc"
    assert infra_node.upstream_key(world.minion, RPM, folder) == path
    assert len(fetched) == 2
    assert infra_node.upstream_key(world.minion, DEB, folder) == DEB["signed_by"]


def test_a_client_takes_the_upstreams_that_fit_it(world, monkeypatch):
    target = {"family": "deb", "releasever": "12", "arch": "x86_64"}
    plan = {"targets": [{**target, "upstreams": [DEB]}]}
    planned = create_autospec(catalogue.plan, return_value=plan)
    monkeypatch.setattr(catalogue, "plan", planned)
    told = repository(world, monkeypatch, nodes=[], request={"modules": "node"})
    assert told["result"] is True
    assert list(sources(world)) == ["infra-base.sources"]
    told = repository(world, monkeypatch, request={"modules": "node"})
    assert list(told["changes"]) == ["pigsty-infra-1.sources", "pigsty-infra-2.sources"]


BY_ADDRESS = [{"key": "10.10.10.10", "ip": "10.10.10.10", "seq": 1}]


def asked_of_the_mine(world):
    asked = [call[1] for call in world.calls if call[0] == "mine.get"]
    world.calls.clear()
    return asked


def test_infra_nodes_that_are_named_by_id_are_asked_for_by_id(world):
    world.mine = dict(MINE)
    nodes = [{"key": "infra-1", "ip": "10.10.10.10", "seq": 1}]
    assert inventory.authorities(world.minion, nodes, [])["trusted"] == {"infra-1": PEM}
    assert asked_of_the_mine(world) == [["infra-1"]]


def test_facts_that_were_sent_are_asked_for_as_a_list(world):
    world.mine = dict(MINE)
    assert own_facts.sent(world.minion) == MINE["node-1"]
    assert asked_of_the_mine(world) == [["node-1"]]


def test_infra_nodes_that_are_named_by_address_are_looked_for_among_all_minions_once(world):
    world.mine = dict(MINE)
    (world.folder / "state").mkdir()
    for expected in (["*"], [["infra-1"]]):
        found = inventory.authorities(world.minion, BY_ADDRESS, [], present=PEM)
        assert found == {"trusted": {}, "unverified": {"infra-1": PEM}}
        assert asked_of_the_mine(world) == expected
    # Another certificate, and a minion that is gone: the remembered minions do not settle it.
    other = PEM.replace("QUJD", "REVG")
    inventory.authorities(world.minion, BY_ADDRESS, [], present=other)
    assert asked_of_the_mine(world) == [["infra-1"], "*"]
    world.mine = {"infra-9": MINE["infra-1"]}
    found = inventory.authorities(world.minion, BY_ADDRESS, [], present=PEM)
    assert found["unverified"] == {"infra-9": PEM}
    assert asked_of_the_mine(world) == [["infra-1"], "*"]


def test_pauses_of_a_wait_grow_differ_and_add_up_to_it():
    waits = [list(infra_node.pauses(900)) for _ in range(2)]
    assert waits[0] != waits[1]
    for wait in waits:
        assert abs(sum(wait) - 900) < 0.001
        assert max(wait) <= 30 * 1.25
        assert len(wait) < 60
    assert list(infra_node.pauses(0)) == []
