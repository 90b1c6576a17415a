"""A whole site under a real salt-master: two INFRA nodes, and clients without a way out.

One lab goes through the life of a site, so the tests of this file stand in its order.
"""

import json
import re
import time

import pytest
from authority import authority
from lab import aptconf
from vendors import DISTRO
from waiting import eventually

INFRA = {"infra-1": "10.10.10.10", "infra-2": "10.10.10.11"}
CLIENTS = {"node-1": "10.10.10.21", "node-2": "10.10.10.22"}
NEW = ("node-3", "10.10.10.23")
NAMES = {
    "i.pigsty": "10.10.10.10",
    "g.pigsty": "10.10.10.10",
    "p.pigsty": "10.10.10.10",
    "a.pigsty": "10.10.10.10",
    "api.pigsty": "10.10.10.10",
    "any.apps.pigsty": "10.10.10.10",
    "www.pigsty": "10.10.10.10",
    **INFRA,
    **CLIENTS,
    "db.pigsty": "10.10.10.21",
}


@pytest.fixture(scope="module")
def pillar(tmp_path_factory):
    return {
        "infra": {
            "infra_hosts": {
                address: {"infra_seq": number} for number, address in enumerate(INFRA.values(), 1)
            },
            **DISTRO,
            "repo_modules": "node",
            "repo_upstream": aptconf.upstreams({12: "bookworm"}),
            "repo_packages": ["infra-distro", "node-distro", "tree", "haproxy"],
            "repo_extra_packages": [],
            "node_default_packages": ["tree"],
            "dns_wildcards": {"apps.pigsty": "${admin_ip}"},
            "dns_cnames": {"www.pigsty": "i.pigsty"},
            "haproxy_enabled": True,
            **authority(tmp_path_factory.mktemp("ca")),
        }
    }


@pytest.fixture(scope="module")
def lab(boot_lab, pillar):
    fleet = boot_lab("fleet", pillar=pillar)
    # What is published by hand, for this minion alone.
    fleet.master.write(
        "/srv/pillar/database.sls",
        json.dumps(
            {
                "infra": {
                    "register": {
                        "pg": {
                            "targets": [
                                {"job": "pgsql", "port": 9630, "cls": "pg-test", "ins": "pg-test-1"}
                            ],
                            "dns": [{"address": "10.10.10.21", "names": ["db.pigsty"]}],
                        }
                    }
                }
            }
        ),
    )
    top = {"base": {"*": ["infra"], "node-1": ["database"]}}
    fleet.master.write("/srv/pillar/top.sls", json.dumps(top))
    fleet.master.write("/srv/salt/top.sls", json.dumps({"base": {"*": ["infra"]}}))
    fleet.salt("*", "saltutil.refresh_pillar")
    return fleet


@pytest.fixture(scope="module")
def applied(lab):
    """`salt '*' state.apply infra` on machines on which nothing was prepared."""
    return lab.apply()


def answers(machine, name, server, kind="A"):
    return machine.salt_call("infra_dns.query", name, f"type={kind}", f"server={server}")


ASK = """
import json, sys
sys.path.insert(0, "/var/cache/salt/minion/extmods/utils")
from infra_formula.dns import client
server, *names = sys.argv[1:]
print(json.dumps({name: client.query(name, server=server)["values"] for name in names}))
"""


def resolved(machine, names, server):
    """Name → addresses, of many names: one program asks for all of them."""
    words = ["/opt/salt/bin/python3", "-c", ASK, server, *names]
    return json.loads(machine.run(words).stdout)


def targets(machine):
    """Registered targets: file → addresses."""
    listing = machine.run(["sh", "-c", "cd /infra/targets && grep -H targets: */*.yml"]).stdout
    return {
        line.split(":", 1)[0]: json.loads(line.split("targets: ", 1)[1])
        for line in listing.splitlines()
        if "[" in line
    }


def test_one_command_makes_the_site(applied):
    assert set(applied) == {*INFRA, *CLIENTS}
    assert {name: done.complaint() for name, done in applied.items() if not done.ok} == {}


def test_a_second_time_changes_nothing_anywhere(lab, applied):
    again = lab.apply()
    assert {name: done.changes for name, done in again.items() if done.changes} == {}


def test_a_highstate_agrees(lab, applied):
    found = lab.salt("--timeout=600", "*", "state.highstate", "test=True", check=False)
    wrong = {
        name: [s["comment"] for s in states.values() if s["result"] is not True or s["changes"]]
        for name, states in found.items()
    }
    assert wrong == {name: [] for name in [*INFRA, *CLIENTS]}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", INFRA.values())
def test_names_resolve_from_a_client_through_both(lab, applied, client, server):
    found = resolved(lab.machine(client), NAMES, server)
    assert found == {name: [address] for name, address in NAMES.items()}


def test_the_clients_programs_resolve_them(lab, applied):
    for client in CLIENTS:
        machine = lab.machine(client)
        text = machine.read("/etc/resolv.conf")
        servers = re.findall(r"^nameserver (\S+)", text, re.MULTILINE)
        assert servers[:2] == list(INFRA.values())
        assert len(servers) <= 3
        # Not through /etc/hosts: this name is in the DNS alone.
        assert machine.run(["getent", "hosts", "db.pigsty"]).stdout.split()[0] == "10.10.10.21"


def test_an_infra_node_does_not_ask_itself_for_what_it_does_not_know(lab, applied):
    for name in INFRA:
        text = lab.machine(name).read("/etc/dnsmasq.conf")
        asked = re.findall(r"^server=(\S+)", text, re.MULTILINE)
        assert not set(asked) & {*INFRA.values(), "127.0.0.1"}
        assert "no-resolv" in text


def test_clients_follow_the_time_of_the_infra_nodes(lab, applied):
    for client in CLIENTS:
        told = eventually(
            lambda client=client: (
                lambda found: found if all(s["reach"] for s in found["sources"][:2]) else None
            )(lab.machine(client).salt_call("infra_ntp.status"))
        )
        assert [s["address"] for s in told["sources"][:2]] == list(INFRA.values())
        assert told["steers"] is False
        assert lab.machine(client).run(["pgrep", "-af", "chronyd -x"]).stdout


def test_clients_trust_the_ca_and_install_from_the_repository_alone(lab, applied, pillar):
    for client in CLIENTS:
        machine = lab.machine(client)
        assert machine.read("/etc/pki/ca.crt").split() == pillar["infra"]["ca_crt"].split()
        uris = machine.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).stdout.split()
        assert set(uris) == {f"http://{address}/pigsty/" for address in INFRA.values()}
        machine.run(["tree", "--version"])


def test_both_infra_nodes_have_the_one_ca(lab, applied, pillar):
    for name, address in INFRA.items():
        machine = lab.machine(name)
        assert machine.read("/etc/pki/ca/ca.key").split() == pillar["infra"]["ca_key"].split()
        assert machine.run(["stat", "-c", "%a", "/etc/pki/ca/ca.key"]).stdout.strip() == "600"
        client = lab.machine("node-1")
        client.run(["curl", "-fsS", "--cacert", "/etc/pki/ca.crt", f"https://{address}/"])


def test_every_machine_is_scraped_shown_and_named_on_both(lab, applied):
    ours = {**INFRA, **CLIENTS}
    for name in INFRA:
        machine = lab.machine(name)
        found = targets(machine)
        for address in ours.values():
            assert found[f"node/{address}.yml"] == [f"{address}:9100", f"{address}:9101"]
            assert found[f"ping/{address}.yml"] == [address]
        assert found["pgsql/10.10.10.21.yml"] == ["10.10.10.21:9630"]
        assert set(machine.salt_call("infra_register.nodes")) == set(ours)
        page = machine.run(["curl", "-fsS", "http://127.0.0.1/"]).stdout
        conf = machine.run(["cat", "/etc/nginx/conf.d/haproxy/upstream-node-1.conf"]).stdout
        assert "10.10.10.21:9101" in conf
        for minion in ours:
            assert minion in page
            assert f"/haproxy/{minion}/" in page


# -- who reaches the INFRA nodes' services past the portal

PEERS = {8428: "vmetrics", 8880: "vmalert", 9059: "alertmanager", 9113: "nginx_exporter",
         9115: "blackbox"}  # fmt: skip


def reached(machine, address, ports):
    """Of TCP ports of an address, those on which a machine gets a connection."""
    script = (
        "import socket, sys\n"
        "for port in sys.argv[2:]:\n"
        "    try:\n"
        "        socket.create_connection((sys.argv[1], int(port)), 1).close()\n"
        "        print(port)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    told = machine.run(["/opt/salt/bin/python3", "-c", script, address, *map(str, ports)]).stdout
    return {int(port) for port in told.split()}


def closed_to_others(lab, infra=INFRA):
    """INFRA nodes reach another's services; a client does not, over neither IPv4 nor IPv6."""
    ports = {*PEERS, 9094, 9100}
    for name, address in infra.items():
        machine = lab.machine(name)
        (other,) = (lab.machine(n) for n in infra if n != name)
        for source in (address, machine.spec.address6):
            assert reached(lab.machine("node-1"), source, [*ports, 22, 80]) <= {22, 80}, source
        assert reached(other, address, ports) == ports
        assert reached(machine, "127.0.0.1", PEERS) == set(PEERS)
        assert reached(machine, address, ports) == ports
    assert reached(lab.machine("node-1"), "10.10.10.10", [80]) == {80}


def test_services_of_infra_nodes_are_reached_by_infra_nodes_alone(lab, applied):
    closed_to_others(lab)
    # An exporter of a client's is the INFRA nodes' to read, and no other client's.
    assert reached(lab.machine("node-2"), "10.10.10.21", [9100]) == set()
    assert reached(lab.machine("infra-2"), "10.10.10.21", [9100]) == {9100}


SILENCE = json.dumps(
    {
        "matchers": [{"name": "alertname", "value": ".+", "isRegex": True}],
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2030-01-01T00:00:00Z",
        "createdBy": "somebody",
        "comment": "quiet",
    }
)


def silence(machine, address):
    """Have a machine post a silence to an Alertmanager; returns the HTTP status."""
    return machine.run(
        ["curl", "--silent", "--max-time", "2", "--output", "/dev/null", "--write-out",
         "%{http_code}", "--header", "Content-Type: application/json", "--data", SILENCE,
         f"http://{address}:9059/api/v2/silences"],
        check=False,
    ).stdout  # fmt: skip


def test_a_client_cannot_silence_an_alert_and_the_alertmanagers_are_one(lab, applied):
    for address in INFRA.values():
        assert silence(lab.machine("node-1"), address) == "000"
    assert silence(lab.machine("infra-2"), INFRA["infra-1"]) == "200"

    def silences(name):
        told = lab.machine(name).run(["curl", "-fsS", "http://127.0.0.1:9059/api/v2/silences"])
        return [row["id"] for row in json.loads(told.stdout)]

    assert eventually(lambda: silences("infra-1") == silences("infra-2") != [])


def test_who_reaches_what_is_told_from_the_rules_in_force(lab, applied):
    found = lab.salt("*", "infra_status.access")
    for name, address in INFRA.items():
        (other,) = (a for a in INFRA.values() if a != address)
        for port, service in PEERS.items():
            row = found[name][f"{port}/tcp"]
            assert (row["service"], row["reached_by"]) == (service, [other])
        assert found[name]["9094/udp"]["reached_by"] == [other]
        assert "any machine" in found[name]["80/tcp"]["reached_by"]
        assert {row["by"] for row in found[name].values()} == {"table inet infra"}
    assert set(found["node-1"]["9100/tcp"]["reached_by"]) == set(INFRA.values())
    machine = lab.machine("infra-1")
    # As `flush ruleset` of somebody else's file does it: the next apply has it again.
    machine.run(["nft", "flush", "ruleset"])
    told = machine.run(
        ["salt-call", "--retcode-passthrough", "--out=json", "infra_status.access"], check=False
    )
    row = json.loads(told.stdout)["local"]["8428/tcp"]
    assert told.returncode != 0
    assert "any machine" in row["beyond"]
    assert row["by"] == "no firewall"
    done = lab.salt("infra-1", "state.apply", "infra.firewall")["infra-1"]
    assert [s["__id__"] for s in done.values() if s["changes"]] == [
        "infra-firewall-services-confined"
    ]
    closed_to_others(lab)


def test_the_table_outlives_what_nftables_itself_loads(lab, applied):
    machine = lab.machine("infra-1")
    machine.write("/etc/nftables.conf", "flush ruleset\ntable inet mine {\n}\n")
    for action in ("start", "reload", "restart", "reload"):
        machine.run(["systemctl", action, "nftables"])
        tables = machine.run(["nft", "list", "tables"]).stdout
        assert eventually(
            lambda: "table inet infra" in machine.run(["nft", "list", "tables"]).stdout
        ), action
        assert "table inet mine" in tables
    done = lab.salt("infra-1", "state.apply", "infra.firewall")["infra-1"]
    assert [s["__id__"] for s in done.values() if s["changes"]] == []
    assert "table inet mine" in machine.run(["nft", "list", "tables"]).stdout
    machine.run(["systemctl", "stop", "nftables"])
    lab.salt("infra-1", "state.apply", "infra.firewall")
    closed_to_others(lab)


def test_whoever_is_named_besides_gets_in_without_a_connection_cut(lab, applied, pillar):
    machine, client = lab.machine("infra-1"), lab.machine("node-1")
    # Kept alive after a first answer: VictoriaMetrics closes one that asks nothing for 5 s.
    hold = (
        "import http.client, os, time\n"
        "c = http.client.HTTPConnection('10.10.10.10', 8428, timeout=20)\n"
        "c.request('GET', '/health')\n"
        "c.getresponse().read()\n"
        "here = c.sock.getsockname()\n"
        "open('/run/held', 'w').close()\n"
        "while not os.path.exists('/run/ask'): time.sleep(0.1)\n"
        "c.request('GET', '/health')\n"
        "answer = c.getresponse().status\n"
        "assert c.sock.getsockname() == here\n"
        "open('/run/said', 'w').write(str(answer))\n"
    )
    allowed = {"infra_firewall_allow": {"vmetrics": ["10.10.10.21"]}}
    words = ("infra-1", "state.apply", "infra.firewall")
    lab.salt(*words, f"pillar={json.dumps({'infra': allowed})}")
    assert reached(client, INFRA["infra-1"], [8428, 9059]) == {8428}
    client.run(["systemd-run", "/opt/salt/bin/python3", "-c", hold])
    assert eventually(lambda: client.run(["ls", "/run/held"], check=False).returncode == 0)
    # It is not named any more: it gets no connection; the one that it has goes on.
    lab.salt(*words)
    assert reached(client, INFRA["infra-1"], [8428]) == set()
    client.run(["touch", "/run/ask"])
    assert eventually(lambda: "200" in client.run(["cat", "/run/said"], check=False).stdout)
    closed_to_others(lab)
    assert machine.salt_call("infra_status.access")["8428/tcp"]["beyond"] == []


def test_every_component_is_well_and_says_so(lab, applied):
    found = lab.salt("*", "infra_status.services")
    for name, components in found.items():
        for component, row in components.items():
            assert row["healthy"] is (True if row["enabled"] else None), (name, component, row)
    assert {"dns", "ntp", "nginx", "repo", "vmetrics"} <= set(found["infra-1"])
    assert found["infra-1"]["dns"]["version"]
    assert any(place.endswith(":53/udp") for place in found["infra-1"]["dns"]["listening"])


def test_a_component_that_is_not_well_ends_the_call_with_an_error(lab, applied):
    machine = lab.machine("node-1")
    machine.run(["systemctl", "stop", "node_exporter"])
    done = machine.run(
        ["salt-call", "--retcode-passthrough", "--out=json", "infra_status.services"], check=False
    )
    assert done.returncode != 0
    row = json.loads(done.stdout)["local"]["node_exporter"]
    assert (row["running"], row["healthy"]) == (False, False)
    machine.run(["systemctl", "start", "node_exporter"])


def test_without_the_first_infra_node_everything_works_through_the_second(lab, applied):
    first = lab.machine("infra-1")
    first.kill()
    client = lab.machine("node-1")
    with pytest.raises(Exception, match=r"10\.10\.10\.10"):
        answers(client, "i.pigsty", INFRA["infra-1"])
    assert client.run(["getent", "hosts", "db.pigsty"]).stdout.split()[0] == "10.10.10.21"
    client.run(["sh", "-c", "apt-get update -q && rm -f /var/cache/apt/archives/*.deb"])
    client.run(
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
         "--no-install-recommends", "haproxy"]
    )  # fmt: skip
    told = eventually(
        lambda: (lambda found: found if found["sources"][1]["reach"] else None)(
            client.salt_call("infra_ntp.status")
        )
    )
    assert told["sources"][1]["reach"] > 0
    done = lab.salt("--timeout=600", "node-1", "state.apply", "infra", check=False)["node-1"]
    assert [s["comment"] for s in done.values() if s["result"] is False] == []
    assert [s["__id__"] for s in done.values() if s["changes"]] == []
    first.boot()
    assert eventually(lambda: lab.salt("--timeout=5", "infra-1", "test.ping", check=False))
    done = lab.salt("--timeout=600", "infra-1", "state.apply", "infra")["infra-1"]
    changed = [s["__id__"] for s in done.values() if s["changes"]]
    assert all("service-running" in name for name in changed), changed
    # After the power cut the table is there by itself.
    closed_to_others(lab)


HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend metrics
  bind :9101
  # What the portal must not hand to a machine that asked for its page by itself.
  http-request deny if { req.hdr(authorization) -m found } || { req.hdr(cookie) -m found }
  http-request deny if { req.hdr(x-forwarded-user) -m found } || { req.hdr(x-secret) -m found }
  stats enable
  stats uri /haproxy/node-1/
  stats admin if TRUE
backend web
  server first 10.10.10.10:80 check
"""


def test_the_page_of_a_real_haproxy_is_shown_without_what_a_visitor_shows(lab, applied):
    client = lab.machine("node-1")  # HAProxy was installed above
    client.write("/etc/haproxy/haproxy.cfg", HAPROXY)
    client.run(["systemctl", "restart", "haproxy"])
    shown = ["--user", "ann:secret", "--cookie", "_oauth2_proxy=ann",
             "--header", "X-Forwarded-User: root", "--header", "X-Secret: x"]  # fmt: skip
    for infra in INFRA:
        machine = lab.machine(infra)

        def ask(path="", *more, machine=machine):
            url = f"http://127.0.0.1/haproxy/node-1/{path}"
            return machine.run(["curl", "-fsS", "--include", *shown, *more, url]).stdout

        page = ask()
        assert "<title>Statistics Report for HAProxy</title>" in page
        assert "Content-Security-Policy: sandbox allow-forms; default-src 'none'" in page
        assert "# pxname,svname" in ask(";csv")
        # Its forms work, and lead back to it.
        backend = re.search(r'name="b" value="(#\d+)"', page).group(1)
        for action, state in (("maint", "MAINT"), ("ready", "UP")):
            form = ["--data", "s=first", "--data", f"action={action}",
                    "--data-urlencode", f"b={backend}"]  # fmt: skip
            answer = ask("", *form)
            assert "303 See Other" in answer
            assert "Location: /haproxy/node-1/;st=DONE" in answer

            def status(state=state, ask=ask):
                (row,) = (x for x in ask(";csv").splitlines() if x.startswith("web,first,"))
                return state in row

            assert eventually(status)


def test_hostile_and_stale_mine_data_is_refused_by_name_and_the_rest_applied(lab, applied):
    machine = lab.machine("node-2")
    evil = {
        "contract": 1,
        "ip": "10.10.10.22",
        "ins": "node-2",
        "cls": "nodes",
        "haproxy": 9101,
        "targets": [{"job": "node", "port": 9100}],
        "dns": [{"address": "10.10.10.22", "names": ["i.pigsty", "node-1", "mine.pigsty"]}],
    }
    machine.write("/var/lib/infra/register.d/infra.json", json.dumps(evil))
    machine.salt_call("infra_register.send")
    done = lab.salt("infra-1", "state.apply", "infra.register", check=False)["infra-1"]
    state = next(s for s in done.values() if s["__id__"] == "infra-register-inventory-managed")
    assert state["result"] is True
    told = "\n".join(state["warnings"])
    assert "node-2: dns: 'i.pigsty' is that of" in told
    assert "dns: 'node-1' is the name of the minion node-1" in told
    assert answers(machine, "mine.pigsty", INFRA["infra-1"])["values"] == ["10.10.10.22"]
    assert answers(machine, "i.pigsty", INFRA["infra-1"])["values"] == ["10.10.10.10"]
    machine.write(
        "/var/lib/infra/register.d/infra.json",
        json.dumps({**evil, "ins": "../../../etc/cron.d/x", "ip": "127.0.0.1"}),
    )
    machine.salt_call("infra_register.send")
    done = lab.salt("infra-1", "state.apply", "infra.register", check=False)["infra-1"]
    state = next(s for s in done.values() if s["__id__"] == "infra-register-inventory-managed")
    assert "node-2: ip: expected the address of a machine" in "\n".join(state["warnings"])
    assert state["changes"] == {"left": ["node-2"]}
    assert answers(machine, "mine.pigsty", INFRA["infra-1"])["rcode"] != "NOERROR"
    # It mends itself with its next apply.
    lab.salt("--timeout=600", "node-2", "state.apply", "infra")
    lab.salt("--timeout=600", "infra-1", "state.apply", "infra.register")
    assert answers(machine, "node-2", INFRA["infra-1"])["values"] == ["10.10.10.22"]


def test_a_minion_that_is_in_no_pillar_is_told_so(lab, applied):
    master = lab.master
    top = master.read("/srv/pillar/top.sls")
    master.write("/srv/pillar/top.sls", json.dumps({"base": {"infra-*": ["infra"]}}))
    lab.salt("node-1", "saltutil.refresh_pillar", "wait=True")
    done = lab.salt("node-1", "state.apply", "infra", check=False)["node-1"]
    master.write("/srv/pillar/top.sls", top)
    lab.salt("node-1", "saltutil.refresh_pillar", "wait=True")
    (gate,) = done.values()
    assert gate["__id__"] == "infra-pillar-valid"
    assert "infra_hosts: expected at least one INFRA node" in gate["comment"]
    assert gate["changes"] == {}


def test_a_machine_that_joins_is_known_after_one_apply(lab, applied):
    name, address = NEW
    lab.add(name, address, internet=False)
    lab.salt(name, "saltutil.refresh_pillar", "wait=True")
    lab.salt("--timeout=900", name, "state.apply", "infra")
    lab.salt("--timeout=600", "infra-*", "state.apply", "infra.register")
    for infra in INFRA:
        machine = lab.machine(infra)
        assert targets(machine)[f"node/{address}.yml"] == [f"{address}:9100", f"{address}:9101"]
        assert name in machine.run(["curl", "-fsS", "http://127.0.0.1/"]).stdout
        assert answers(machine, name, "127.0.0.1")["values"] == [address]


def test_a_machine_whose_key_is_deleted_is_gone_everywhere(lab, applied):
    lab.machine("node-2").run(["systemctl", "stop", "salt-minion"])
    lab.master.run(["salt-key", "-y", "-d", "node-2"])
    lab.salt("--timeout=600", "infra-*", "state.apply", "infra.register")
    for infra in INFRA:
        gone_from(lab.machine(infra), "node-2", CLIENTS["node-2"])


def gone_from(machine, name, address):
    assert not [rel for rel in targets(machine) if address in rel]
    assert name not in machine.run(["curl", "-fsS", "http://127.0.0.1/"]).stdout
    assert answers(machine, name, "127.0.0.1")["values"] == []
    listed = machine.run(["sh", "-c", "ls /etc/nginx/conf.d/haproxy /etc/hosts.d"]).stdout
    assert name not in listed


@pytest.fixture(scope="module")
def reactor(lab, applied):
    """The reactor of docs/fleet.md; the last test that takes it switches it off."""
    master = lab.master
    reactions = {
        "reactor": [
            {"salt/minion/*/start": ["salt://infra/orch/reactor/join.sls"]},
            {"salt/key": ["salt://infra/orch/reactor/leave.sls"]},
        ]
    }
    master.write("/etc/salt/master.d/reactor.conf", json.dumps(reactions))
    master.run(["systemctl", "restart", "salt-master"])
    answering(lab, {*INFRA, "node-1", NEW[0]})
    return master


def answering(lab, names):
    assert eventually(lambda: names <= set(lab.salt("--timeout=5", "*", "test.ping", check=False)))


def send_events(machine, events):
    """Send events as a minion that is not what it should be: it chooses all that is in them."""
    preload = json.dumps({"events": [{"tag": tag, "data": data} for tag, data in events]})
    machine.write("/root/preload.json", preload)
    script = 'salt-call event.send any/tag preload="$(cat /root/preload.json)"'
    machine.run(["sh", "-c", script])


def looked(master):
    """When the run of the reactor looked at the mine last."""
    path = "/var/cache/salt/master/infra_fleet/record.json"
    found = master.run(["cat", path], check=False).stdout
    return json.loads(found)["looked"] if found else 0.0


def idle(master):
    """Nothing is noted, and no run holds the lock."""
    folder = "/var/cache/salt/master/infra_fleet"
    script = (
        f"cd {folder} && ! test -e register && ! test -e registering && ! test -e requested"
        ' && test -z "$(ls started taken -A | grep -v : )" && flock --nonblock lock true'
    )
    return master.run(["sh", "-c", script], check=False).returncode == 0


def orchestrations(master):
    """How many orchestrations the master ran, and how many state runs it sent."""
    jobs = json.loads(master.run(["salt-run", "--out=json", "jobs.list_jobs"]).stdout)
    functions = [job["Function"] for job in jobs.values()]
    return (
        sum("orchestrate" in function for function in functions),
        sum(function in ("state.sls", "state.apply") for function in functions),
    )


INJECTED = (
    "x-applied:\n  salt.function:\n    - name: cmd.run\n    - tgt: '*'\n"
    "    - arg: ['touch /root/attacked']\n\ny"
)


def test_an_event_of_a_minion_runs_nothing_on_others(lab, applied, reactor):
    """Ids that end a state and begin another, or are a target, made each minion root everywhere."""
    machine = lab.machine("node-1")
    ids = [INJECTED, "*", "infra-1,node-3", "node-1 or *", "E@.*", "infra-1\n", "nobody"]
    before = orchestrations(reactor)
    events = [("salt/minion/node-1/start", {"id": value}) for value in ids]
    send_events(machine, events)
    # Its own id is set by the master here, and the rest is its own word, tag and data.
    machine.run(["salt-call", "event.send", "salt/minion/infra-1/start", f"id={INJECTED}"])
    forged = json.dumps({"act": "delete", "result": True})
    machine.run(["salt-call", "event.send", "salt/key", f"preload={forged}"])

    def attacked():
        everyone = [*INFRA, "node-1", NEW[0]]
        paths = ["test", "-e", "/root/attacked"]
        return [n for n in everyone if lab.machine(n).run(paths, check=False).returncode == 0]

    # The reactor does one event after the other: the last but one is a true id, and was acted on.
    assert eventually(lambda: attacked() or (looked(reactor) and idle(reactor)), seconds=120)
    assert attacked() == []
    assert machine.run(["test", "-e", "/var/cache/salt/minion/files/base/infra"]).returncode == 0
    runs, states = (now - then for now, then in zip(orchestrations(reactor), before, strict=True))
    # One run or two, and a registration unless the start of the master has brought it already.
    assert states <= 1
    assert runs <= 3


def test_a_storm_of_events_ends_in_few_runs_and_every_machine_is_registered(lab, applied, reactor):
    port = 9631
    begun = time.monotonic()
    for name in ("node-1", NEW[0]):
        facts = {"targets": [{"job": "pgsql", "port": port, "cls": "storm", "ins": name}]}
        lab.machine(name).write("/var/lib/infra/register.d/storm.json", json.dumps(facts))
        lab.machine(name).salt_call("infra_register.send")
    before = orchestrations(reactor)
    ids = ["node-1", NEW[0], "infra-1", "infra-2", "nobody", INJECTED]
    storm = [("salt/minion/x/start", {"id": ids[number % len(ids)]}) for number in range(300)]
    for name in ("node-1", NEW[0]):
        send_events(lab.machine(name), storm)

    def registered():
        return all(
            f"{address}:{port}" in targets(lab.machine(infra)).get(f"pgsql/{address}.yml", [])
            for infra in INFRA
            for address in (CLIENTS["node-1"], NEW[1])
        )

    assert eventually(registered, seconds=180)
    assert eventually(lambda: idle(reactor), seconds=180)
    runs, states = (now - then for now, then in zip(orchestrations(reactor), before, strict=True))
    # 600 events: as many runs as intervals of 30 s have passed, one registration, and no apply.
    assert runs <= 4 + (time.monotonic() - begun) // 30
    assert states == 1
    for name in ("node-1", NEW[0]):
        lab.machine(name).run(["rm", "/var/lib/infra/register.d/storm.json"])
        lab.machine(name).salt_call("infra_register.send")


def test_an_orchestration_by_hand_refuses_what_is_no_minion(lab, applied):
    for value in (INJECTED, "*", "infra-1,node-1", "nobody"):
        pillar = f"pillar={json.dumps({'infra_join': value})}"
        done = lab.master.run(["salt-run", "state.orchestrate", "infra.orch.join", pillar],
                              check=False)  # fmt: skip
        assert done.returncode != 0
        assert "infra_join: expected " in done.stdout + done.stderr


def test_the_reactor_registers_a_machine_that_starts_and_forgets_one_that_is_deleted(
    lab, applied, reactor
):
    master = reactor
    name, address = "node-4", "10.10.10.24"
    lab.add(name, address, internet=False)

    def known():
        return all(
            answers(lab.machine(infra), name, "127.0.0.1")["values"] == [address]
            and f"node/{address}.yml" in targets(lab.machine(infra))
            for infra in INFRA
        )

    assert eventually(known, seconds=300)
    lab.machine(name).run(["systemctl", "is-active", "node_exporter"])
    lab.machine(name).run(["systemctl", "stop", "salt-minion"])
    master.run(["salt-key", "-y", "-d", name])
    assert eventually(lambda: not known(), seconds=120)
    assert eventually(
        lambda: all(
            answers(lab.machine(infra), name, "127.0.0.1")["values"] == [] for infra in INFRA
        ),
        seconds=120,
    )
    for infra in INFRA:
        gone_from(lab.machine(infra), name, address)
    # What joins below is applied by hand.
    master.run(["rm", "/etc/salt/master.d/reactor.conf"])
    master.run(["systemctl", "restart", "salt-master"])
    answering(lab, {*INFRA, "node-1", NEW[0]})


LAST_STEPS = ("infra-orch-clients-applied", "infra-orch-clients-registered",
              "infra-orch-clients-answered")  # fmt: skip


def test_a_site_is_deployed_by_orchestration_which_stops_and_resumes(lab, applied):
    master = lab.master

    def deploy(*arguments, **given):
        words = ["salt-run", "--out=json", "state.orchestrate", "infra.orch.deploy", *arguments]
        pillar = f"pillar={json.dumps({'infra_deploy': given})}"
        done = master.run([*words, pillar], check=False, timeout=1200)
        text = done.stdout[done.stdout.index("{") :]
        found = next(iter(json.loads(text)["data"].values()))
        order = sorted(found.values(), key=lambda s: s["__run_num__"])
        steps = {s["__id__"]: s["result"] for s in order}
        steps.pop("infra-orch-modules-loaded", None)  # where this is the first orchestration
        return done.returncode, steps

    code, steps = deploy(batch="50%")
    assert code == 0
    assert list(steps) == [
        "infra-orch-S@10.10.10.10-applied",
        "infra-orch-S@10.10.10.11-applied",
        *LAST_STEPS,
    ]
    assert set(steps.values()) == {True}
    # A client on which a state fails: what comes behind it is not done.
    broken = lab.machine("node-1")
    broken.run(["sh", "-c", "rm /etc/chrony/chrony.conf && mkdir /etc/chrony/chrony.conf"])
    code, steps = deploy()
    assert code != 0
    assert steps["infra-orch-clients-applied"] is False
    assert steps.get("infra-orch-clients-registered") is not True
    broken.run(["rmdir", "/etc/chrony/chrony.conf"])
    code, steps = deploy(**{"from": "clients"})
    assert code == 0
    assert tuple(steps) == LAST_STEPS
    code, steps = deploy(test=True)
    assert code == 0
    # On the command line it means the same: what differs stays as it is.
    broken.run(["sh", "-c", "echo '# by hand' >> /etc/chrony/chrony.conf"])
    code, steps = deploy("test=True")
    assert tuple(steps)[2:] == LAST_STEPS
    assert False not in steps.values()
    broken.run(["grep", "-q", "by hand", "/etc/chrony/chrony.conf"])
    code, steps = deploy(**{"from": "clients"})
    assert code == 0
    assert broken.run(["grep", "by hand", "/etc/chrony/chrony.conf"], check=False).returncode == 1
    # A client that is down is named in the step that fails, and the others are registered.
    broken.run(["systemctl", "stop", "salt-minion"])
    code, steps = deploy(**{"from": "clients"})
    assert code != 0
    assert tuple(steps.values()) == (True, True, False)
    assert deploy(**{"from": "clients"}, missing="warn")[0] == 0
    broken.run(["systemctl", "start", "salt-minion"])
    answering(lab, {"node-1"})


def test_a_third_infra_node_is_whole_and_its_clients_follow(lab, applied, pillar):
    """One apply on it and one on the others, as the user's documents have it."""
    name, address = "infra-3", "10.10.10.12"
    lab.add(name, address)
    hosts = {**pillar["infra"]["infra_hosts"], address: {"infra_seq": 3}}
    given = {"infra": {**pillar["infra"], "infra_hosts": hosts}}
    lab.master.write("/srv/pillar/infra.sls", "#!json\n" + json.dumps(given))
    lab.salt("*", "saltutil.refresh_pillar", "wait=True")
    done = lab.salt("--timeout=900", name, "state.apply", "infra", check=False)[name]
    assert isinstance(done, dict), done
    assert [s["comment"] for s in done.values() if s["result"] is False] == []
    machine = lab.machine(name)
    others = ["infra-1", "infra-2", "node-1", NEW[0]]
    assert set(machine.salt_call("infra_register.nodes")) == {*others, name}
    done = lab.salt("--timeout=900", "-L", ",".join(others), "state.apply", "infra", check=False)
    failed = [
        s["comment"] for states in done.values() for s in states.values() if s["result"] is False
    ]
    assert failed == []
    client = lab.machine("node-1")
    for server in (*INFRA.values(), address):
        assert answers(client, "i.pigsty", server)["values"] == ["10.10.10.10"]
        assert answers(client, "db.pigsty", server)["values"] == ["10.10.10.21"]
        assert answers(client, name, server)["values"] == [address]
    uris = client.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).stdout.split()
    assert f"http://{address}/pigsty/" in uris
    assert address in [s["address"] for s in client.salt_call("infra_ntp.status")["sources"]]
    for infra in (*INFRA, name):
        assert targets(lab.machine(infra))[f"node/{address}.yml"]
    client.run(["curl", "-fsS", "--cacert", "/etc/pki/ca.crt", f"https://{address}/"])
    again = lab.salt("--timeout=900", "-L", ",".join([*others, name]), "state.apply", "infra")
    changed = {m: [s["__id__"] for s in d.values() if s["changes"]] for m, d in again.items()}
    assert changed == {m: [] for m in [*others, name]}


def test_another_admin_address_is_followed_by_names_and_clients(lab, applied):
    address, client = INFRA["infra-2"], lab.machine("node-1")
    given = json.loads(lab.master.read("/srv/pillar/infra.sls").removeprefix("#!json\n"))
    given["infra"]["admin_ip"] = address
    lab.master.write("/srv/pillar/infra.sls", "#!json\n" + json.dumps(given))
    lab.salt("*", "saltutil.refresh_pillar", "wait=True")
    for name, states in {"infra-2": "infra.dns", "node-1": "infra.node,infra.ntp"}.items():
        done = lab.salt("--timeout=300", name, "state.apply", states, check=False)[name]
        assert [s["comment"] for s in done.values() if s["result"] is False] == []
    assert answers(client, "i.pigsty", address)["values"] == [address]
    assert f"{address} i.pigsty" in client.read("/etc/hosts")
    nameservers = re.findall(r"^nameserver (\S+)", client.read("/etc/resolv.conf"), re.MULTILINE)
    assert nameservers[0] == address
    sources = re.findall(r"^server (\S+)", client.read("/etc/chrony/chrony.conf"), re.MULTILINE)
    assert sources[0] == address


def test_the_way_back_leaves_a_client_as_it_was(lab, applied):
    client = lab.machine("node-1")
    assert "table inet infra" in client.run(["nft", "list", "tables"]).stdout
    for state in ("infra.register.clean", "infra.node.clean", "infra.ntp.clean",
                  "infra.firewall.clean"):  # fmt: skip
        allowed = "pillar={'infra': {'infra_safeguard': False}}"
        words = ("--timeout=300", "node-1", "state.apply", state, allowed)
        done = lab.salt(*words, check=False)["node-1"]
        assert [s["comment"] for s in done.values() if s["result"] is False] == []
    assert "table inet infra" not in client.run(["nft", "list", "tables"]).stdout
    assert reached(lab.machine(NEW[0]), "10.10.10.21", [9100]) == {9100}
    assert "pigsty" not in client.run(["ls", "/etc/apt/sources.list.d"]).stdout
    assert not set(INFRA.values()) & set(
        re.findall(r"^nameserver (\S+)", client.read("/etc/resolv.conf"), re.MULTILINE)
    )
    assert "# pigsty dns" not in client.read("/etc/hosts")
    assert (
        client.run(["systemctl", "is-active", "chrony"], check=False).stdout.strip() == "inactive"
    )
