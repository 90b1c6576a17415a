"""Promises of docs/security.md and docs/fleet.md that no other test proves; each costs little."""

import datetime
import http.server
import ipaddress
import re
import ssl
import subprocess
import tarfile
import threading
from unittest.mock import create_autospec

import documents
import hostile_facts
import jinja2
import pytest
import yaml
from closing import stop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.fileset import atomic
from infra_formula.parameters import merging, validation
from infra_formula.parameters.site import Site, components
from infra_formula.pigsty import conversion
from infra_formula.pki import ca_backup
from infra_formula.registration import events, inventory, spool
from infra_formula.registration import facts as own_facts
from infra_formula.repository import client_trust
from salt.exceptions import SaltInvocationError

from tools import formula

ROOT = documents.ROOT
FLEET, SECURITY = (ROOT / "docs" / name for name in ("fleet.md", "security.md"))
GRAINS = {"id": "infra-1", "os_family": "Debian", "ipv4": ["10.10.10.10"], "ipv6": []}
ONE = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}
THREE = {
    "infra-3": {"infra_seq": 3, "ip": "10.10.10.12"},
    "infra-2": {"infra_seq": 2, "ip": "10.10.10.11"},
    **ONE,
}
REGISTRATION = {
    "nodes": [{"key": "infra-1", "ip": "10.10.10.10", "seq": 1}], "own_id": "infra-1",
    "own_addresses": ["10.10.10.10"], "components": ["vmetrics"], "reserved": {}, "jobs": [],
    "others": {}, "dns_records": [], "admin_ip": "10.10.10.10", "portal_names": ["i.pigsty"],
    "domains": None, "networks": ["10.0.0.0/8"], "assigned": {}, "cluster": "nodes",
}  # fmt: skip
INVENTORY = ROOT / "test/unit/cases/pigsty/single.yml"


def site(**parameters):
    return Site({**merging.defaults(GRAINS), "infra_hosts": ONE, **parameters}, GRAINS)


def section(page, title):
    """The text of a section of a page, without those below it."""
    text = page.read_text(encoding="utf-8")
    return re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.M | re.S)[1]


def render(sls, **names):
    """An SLS as data; the map is replaced by what a test gives."""
    stub = "{% macro yaml(value) %}{{ value | tojson }}{% endmacro %}" + "".join(
        f"{{% set {name} = given_{name} %}}" for name in names
    )
    loader = jinja2.ChoiceLoader(
        [jinja2.DictLoader({"infra/map.jinja": stub}), jinja2.FileSystemLoader(ROOT)]
    )
    made = jinja2.Environment(  # noqa: S701 - YAML, not HTML
        loader=loader, undefined=jinja2.StrictUndefined
    ).get_template(sls)
    return yaml.safe_load(made.render({f"given_{name}": value for name, value in names.items()}))


def options(state):
    """Function and arguments of a state."""
    ((function, arguments),) = state.items()
    return function, {key: value for one in arguments for key, value in one.items()}


# -- who reaches which port


@pytest.mark.parametrize(
    ("infra_listen", "hosts", "loopback"),
    [
        ("auto", ONE, {"vlogs": False, "vmetrics": True, "node_exporter": False}),
        ("auto", THREE, {"vlogs": False, "vmetrics": False, "node_exporter": False}),
        ("127.0.0.1", ONE, {"vlogs": True, "vmetrics": True, "node_exporter": False}),
        ("0.0.0.0", ONE, {"vlogs": False, "vmetrics": False, "node_exporter": False}),  # noqa: S104
    ],
)
def test_infra_listen_decides_which_services_are_on_loopback(infra_listen, hosts, loopback):
    found = daemon_arguments.listen(site(infra_listen=infra_listen, infra_hosts=hosts))
    assert {name: found[name] == "127.0.0.1" for name in loopback} == loopback


def test_loopback_alone_is_refused_with_several_infra_nodes():
    minion = formula.minion("infra-1")

    def errors(hosts):
        given = {"infra_hosts": hosts, "infra_listen": "127.0.0.1"}
        return validation.check(minion, given)["errors"]

    assert errors(ONE) == []
    assert errors(THREE) == ["infra_listen: expected auto or 0.0.0.0 with several INFRA nodes"]


@pytest.mark.parametrize(("mode", "stops"), [("required", True), ("auto", False), ("off", False)])
def test_a_required_firewall_stops_the_apply_before_a_service_is_started(mode, stops):
    infra = {"infra_firewall": mode, "node_firewall_mode": "zone", "node_firewall_intranet": []}
    found = render(
        "infra/firewall/init.sls",
        infra=infra,
        site={"addresses": []},
        arguments={"firewall": {"confined": []}},
    )
    function, given = options(found["infra-firewall-services-confined"])
    assert (function, given["mode"], given["failhard"]) == ("infra_firewall.confined", mode, stops)
    order = [row["name"] for row in components()]
    daemons = [row["name"] for row in components() if "daemons" in row]
    assert daemons
    assert all(order.index("firewall") < order.index(name) for name in daemons)


def test_the_table_is_loaded_before_the_network_is_up():
    found = unit_settings("infra/firewall/files/infra-firewall.service")
    assert "network-pre.target" in found["Before"].split()
    assert found["Wants"] == "network-pre.target"
    assert found["WantedBy"].split() == ["sysinit.target", "nftables.service"]


# -- hardening


def unit_settings(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


def test_nginx_has_its_own_tmp_no_devices_and_read_only_home_directories():
    found = unit_settings("infra/nginx/files/nginx.service.conf")
    assert (found["PrivateTmp"], found["PrivateDevices"]) == ("yes", "yes")
    assert (found["ProtectHome"], found["MemoryDenyWriteExecute"]) == ("read-only", "yes")


def test_the_renewal_of_certificates_writes_anywhere_but_below_usr_boot_and_home():
    (path,) = ROOT.glob("infra/*/files/infra-cert-renew.service")
    found = unit_settings(path.relative_to(ROOT))
    # `yes` covers /usr and the boot loader; `full` would add /etc.
    assert (found["ProtectSystem"], found["ProtectHome"]) == ("yes", "yes")
    assert "ReadOnlyPaths" not in found


# -- hostile clients


def test_a_header_is_limited_to_15_s_and_64_kb():
    text = (ROOT / "infra/nginx/files/nginx.conf.j2").read_text(encoding="utf-8")
    assert re.search(r"^ *client_header_timeout 15s;$", text, re.M)
    found = re.search(r"^ *large_client_header_buffers (\d+) (\d+)k;$", text, re.M)
    assert int(found[1]) * int(found[2]) == 64


# -- hostile minions


def test_the_number_of_hostile_records_on_the_page_is_theirs():
    text = section(SECURITY, "Hostile minions")
    shown = re.search(r"publishes ([\d,]+)\s+hostile records", text)[1]
    assert int(shown.replace(",", "")) == len(list(hostile_facts.records()))


# -- secrets


def test_infra_secrets_win_and_replace_lists():
    infra = {"nginx_port": 80, "dns_records": ["10.0.0.1 a"], "proxy_env": {"no_proxy": "x"}}
    secrets = {"nginx_port": 81, "dns_records": ["10.0.0.2 b"], "proxy_env": {"http_proxy": "y"}}
    found = merging.merged(GRAINS, {"infra_hosts": ONE, **infra}, secrets)
    assert (found["nginx_port"], found["dns_records"]) == (81, ["10.0.0.2 b"])
    assert found["proxy_env"] == {"no_proxy": "x", "http_proxy": "y"}


def test_the_proxy_of_certbot_is_in_a_file_for_root_alone():
    text = (ROOT / "infra/certbot/init.sls").read_text(encoding="utf-8")
    state = re.search(r"^infra-certbot-environment-managed:\n(.*?)\n\n", text, re.M | re.S)[1]
    for line in ("name: /etc/default/infra-certbot", "mode: '0600'", "user: root", "group: root"):
        assert f"    - {line}\n" in state
    assert "show_changes: false" in state


# -- local users


def test_metrics_of_timers_replace_a_link_and_do_not_follow_it(tmp_path):
    folder = tmp_path / "textfile"
    folder.mkdir(mode=0o775)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    by_python, by_script = folder / "infra_certs.prom", folder / "infra_units.prom"
    for path in (by_python, by_script, atomic.temporary_path(by_python)):
        path.symlink_to(victim)
    atomic.write(by_python, "a 1\n", 0o644)
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho Id=x.service\necho LoadState=loaded\necho NRestarts=1\n")
    program.chmod(0o755)
    subprocess.run(
        [ROOT / "infra/status/files/unit-restarts", by_script, "x"],
        check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert victim.read_text() == "precious"
    assert not by_python.is_symlink()
    assert not by_script.is_symlink()
    assert by_python.read_text() == "a 1\n"
    assert "infra_unit_restarts_total" in by_script.read_text()


def test_a_converted_pillar_replaces_a_link_and_does_not_follow_it(tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "infra.sls"
    victim.write_text("precious")
    out.symlink_to(victim)
    conversion.convert(formula.minion(), str(INVENTORY), str(out))
    assert victim.read_text() == "precious"
    assert not out.is_symlink()
    assert "infra_hosts" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["a file", "a link", "a link to nothing"])
def test_a_backup_of_the_ca_replaces_nothing_and_follows_no_link(tmp_path, kind):
    passphrase, victim, path = (tmp_path / name for name in ("passphrase", "victim", "ca.backup"))
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    if kind == "a file":
        path.write_text("precious")
    else:
        path.symlink_to(victim)
    if kind == "a link":
        victim.write_text("precious")
    with pytest.raises(SaltInvocationError, match="a backup replaces nothing"):
        ca_backup.write(str(path), str(passphrase))
    assert victim.exists() is (kind == "a link")
    assert not path.exists() or path.read_text() == "precious"


# -- a site of many machines


def test_the_infra_node_at_admin_ip_is_first_and_the_others_follow_by_infra_seq():
    assert site(infra_hosts=THREE).addresses == ["10.10.10.10", "10.10.10.11", "10.10.10.12"]
    moved = site(infra_hosts=THREE, admin_ip="10.10.10.12")
    assert moved.addresses == ["10.10.10.12", "10.10.10.10", "10.10.10.11"]


DEFINITION = "Types: deb\nURIs: http://10.10.10.10/pigsty\nSuites: x\nComponents: main\n"


def authority(folder, name):
    """A CA and a certificate of it for 127.0.0.1; returns their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(own, own, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    crt, private = folder / f"{name}.crt", folder / f"{name}.key"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, private


class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(DEFINITION)))
        self.end_headers()
        self.wfile.write(DEFINITION.encode())

    def log_message(self, *_):
        """Say nothing of single requests."""


def test_a_client_takes_a_repository_and_its_key_only_from_a_server_that_its_ca_vouches_for(
    tmp_path,
):
    crt, key = authority(tmp_path, "site")
    other, _ = authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = {}
        for ca in (crt, other):
            ports = {"repo": "pigsty", "http": 1, "https": server.server_port, "ca": str(ca)}
            node = {"ip": "127.0.0.1", "seq": 1}
            found[ca] = client_trust.definitions([node], ["pigsty-x.sources"], ports)
        stop(server)
    assert "URIs: http://127.0.0.1" in found[crt]["pigsty-infra-1"]["text"]
    assert "CERTIFICATE_VERIFY_FAILED" in found[other]["pigsty-infra-1"]["fault"]


def test_default_packages_are_installed_and_the_others_kept_at_their_latest_version():
    infra = {"node_default_packages": ["tree"], "node_packages": ["openssl"]}
    found = render(
        "infra/node/packages.sls", infra={**infra, "repo_enabled": True, "infra_packages": []},
        site={"is_infra_node": True},
    )  # fmt: skip
    states = [options(found[f"infra-node-packages-{name}"]) for name in ("installed", "latest")]
    assert states == [
        ("infra_package.installed", {"component": "node", "apart": True, "pkgs": ["tree"]}),
        ("infra_package.latest", {"component": "node", "apart": True, "pkgs": ["openssl"]}),
    ]


@pytest.mark.parametrize("is_infra_node", [True, False])
def test_the_packages_of_infra_nodes_are_on_infra_nodes_alone(is_infra_node):
    infra = {"node_default_packages": [], "node_packages": [], "repo_enabled": True}
    found = render(
        "infra/node/packages.sls",
        infra={**infra, "infra_packages": ["ansible", "etcd,restic  jq", "jq"]},
        site={"is_infra_node": is_infra_node},
    )
    states = [state for name, state in found.items() if name.startswith("infra-node-packages")]
    given = {"component": "node", "apart": True, "pkgs": ["ansible", "etcd", "restic", "jq"]}
    assert list(map(options, states)) == [("infra_package.installed", given)] * is_infra_node


@pytest.mark.parametrize(("register_dns", "names"), [(True, ["node-1"]), (False, [])])
def test_the_name_of_a_machine_is_in_the_dns_unless_register_dns_is_false(register_dns, names):
    found = render(
        "infra/register/publish.sls",
        infra={"register_dns": register_dns, "register": {}},
        site={"is_infra_node": False, "name": "node-1", "addresses": []},
        arguments={"facts": {}},
    )
    function, given = options(found["infra-register-facts-published"])
    assert (function, given["dns_names"]) == ("infra_register.published", names)


# -- registration


def accept(mine, before=None):
    return inventory.accept(mine, REGISTRATION, before)


def test_an_address_outside_register_networks_is_refused():
    found = accept({"node-1": hostile_facts.good("node-1", "192.0.2.7")})
    assert found["nodes"] == {}
    assert found["refused"]["node-1"] == [
        "ip: '192.0.2.7' is in no network of the site (register_networks)"
    ]


def test_the_name_of_a_component_is_refused_as_an_instance():
    mine = {"node-1": {**hostile_facts.good("node-1", "10.10.10.21"), "ins": "vmetrics-1"}}
    found = accept(mine)
    assert found["nodes"] == {}
    assert found["refused"]["node-1"] == [
        "ins: 'vmetrics-1' is that of a component of an INFRA node"
    ]


@pytest.mark.parametrize("name", ["localhost", "wpad", "isatap", "salt"])
def test_a_name_that_programs_look_up_by_themselves_is_refused(name):
    facts = hostile_facts.good("node-1", "10.10.10.21")
    facts["dns"][0]["names"] += [f"{name}.pigsty", "mine.pigsty"]
    found = accept({"node-1": facts})
    assert found["nodes"]["node-1"]["dns"][0]["names"] == ["node-1.pigsty", "mine.pigsty"]
    assert f"{name}.pigsty" in found["refused"]["node-1"][0]


def test_a_reinstalled_machine_is_accepted_after_the_old_one_left_the_mine():
    old, new = (hostile_facts.good(name, "10.10.10.21") for name in ("old", "new"))
    before = accept({"old": old})["nodes"]
    assert list(accept({"old": old, "new": new}, before)["nodes"]) == ["old"]
    # As after `salt-key -d old`, by which the master forgets what it published.
    found = accept({"new": new}, before)
    assert (list(found["nodes"]), found["refused"]) == (["new"], {})


def test_the_log_names_an_ignored_event_and_of_many_the_first_one(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(spool, "_warned", [])
    monkeypatch.setattr(
        spool, "is_accepted", create_autospec(spool.is_accepted, return_value=False)
    )
    master = {"cachedir": str(tmp_path)}
    for event in ({"id": "node-7"}, {"id": "*"}, None):
        assert spool.reaction(master, "start", event) == {}
    (record,) = caplog.records
    assert "ignored a start event of node-7, whose key is not accepted" in record.getMessage()


def test_the_reactor_has_the_files_of_the_earlier_release():
    with tarfile.open(ROOT / "test/integration/release-d49a589.tar.xz") as archive:
        names = [name for name in archive.getnames() if name.startswith("infra/orch/reactor/")]
    assert len(names) == 2
    assert [name for name in names if not (ROOT / name).is_file()] == []
    text = FLEET.read_text(encoding="utf-8")
    assert [name for name in names if f"salt://{name}" not in text] == []


def rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]


def test_the_defaults_on_the_page_are_those_of_the_formula():
    defaults = yaml.safe_load((ROOT / "infra/defaults.yaml").read_text(encoding="utf-8"))
    compared = 0
    for names, shown, _effect in rows(section(FLEET, "Parameters"))[1:]:
        values = [yaml.safe_load(value) for value in re.findall(r"`([^`]+)`", shown)]
        names = re.findall(r"`([^`]+)`", names)
        assert all(name in defaults for name in names), names
        # Else the default is words, or that of another parameter.
        if len(values) == len(names) and values != ["node_firewall_intranet"]:
            assert [defaults[name] for name in names] == values
            compared += len(names)
    assert compared >= 8


def test_the_jobs_on_the_page_are_those_that_a_minion_may_have_targets_in():
    text = section(FLEET, "Contract of the facts")
    sentence = re.search(r"^`job` is (.*?),\s+or ", text, re.M | re.S)[1]
    assert re.findall(r"`(\w+)`", sentence) == list(own_facts.JOBS)


def test_the_limits_on_the_page_are_those_of_the_run():
    shown = dict(rows(section(FLEET, "What an event can do")))
    assert shown["reads of the mine"].startswith(f"once in {events.INTERVAL} s,")
    assert (events.UNCHANGED, events.DEADLINE) == (3600, 3600)
    assert "an hour after" in shown["registration on the INFRA nodes"]
    assert shown["longest wait for an apply"] == "one hour"
    assert shown["minions applied at the same time"] == str(events.APPLIES)
    after = f"at the earliest after {events.RETRY // 60} minutes"
    assert after in shown["retry after a failed apply"]
