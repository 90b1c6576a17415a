"""What is fuzzed: every parser of pillar, mine, archive, package metadata and programs' output.

A target takes one example, hands it to the parser, and returns; what the parser documents that it
raises is no finding. An example is data that JSON can hold (bytes as Latin-1 text), so that what
was found is kept as a file.
"""

import gzip
import io
import json
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from hypothesis import strategies as st
from salt.exceptions import CommandExecutionError, SaltInvocationError

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
sys.path.insert(0, str(REPO / "test" / "support"))

from portal_samples import DEMO, LOADER, facts, settings  # noqa: E402

from tools import formula  # noqa: E402

# tools.formula puts the library on sys.path.
from infra_formula.daemon import checks  # noqa: E402  # isort: skip
from infra_formula.dns import client, records, resolver  # noqa: E402  # isort: skip
from infra_formula import paths  # noqa: E402  # isort: skip
from infra_formula.fileset import manifest as file_sets  # noqa: E402  # isort: skip
from infra_formula.fileset.file_set import FileSet  # noqa: E402  # isort: skip
from infra_formula.logs import vector  # noqa: E402  # isort: skip
from infra_formula.ntp import chrony as ntp  # noqa: E402  # isort: skip
from infra_formula.parameters import validation  # noqa: E402  # isort: skip
from infra_formula.pigsty import conversion  # noqa: E402  # isort: skip
from infra_formula.portal import entries as portal_entries  # noqa: E402  # isort: skip
from infra_formula.portal import htpasswd, rendering  # noqa: E402  # isort: skip
from infra_formula.registration import facts as own_facts  # noqa: E402  # isort: skip
from infra_formula.registration import inventory as site_inventory  # noqa: E402  # isort: skip
from infra_formula.registration import generated  # noqa: E402  # isort: skip
from infra_formula.repository import marker as marker_file  # noqa: E402  # isort: skip
from infra_formula.repository import apt, catalogue  # noqa: E402  # isort: skip
from infra_formula.repository import client_trust  # noqa: E402  # isort: skip
from infra_formula.repository import archive as offline_package  # noqa: E402  # isort: skip
from infra_formula.repository import other_sources, signing  # noqa: E402  # isort: skip
from infra_formula.status import report  # noqa: E402  # isort: skip

REFUSED = (SaltInvocationError, CommandExecutionError)


@dataclass(frozen=True)
class Target:
    """A parser under test.

    Attributes:
        run: takes an example.
        examples: strategy of examples.
        raises: what the parser documents beside a refusal.
    """

    run: object
    examples: st.SearchStrategy
    raises: tuple[type[Exception], ...] = ()
    refused: tuple[type[Exception], ...] = field(default=REFUSED)


# -- examples ------------------------------------------------------------------------------------

NASTY_TEXT = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from(" \t\n\r\0\\\"'{}[]()#$:;,/.-_%&|<>=@~0aA\u2028é"), max_size=20),
    st.sampled_from(
        ["", "0", "-1", "../../etc/passwd", "${admin_ip}", "$(id)", "{{ 1 }}", "{% raise %}",
         "10.10.10.10", "::1", "[::1]:80", "999.1.1.1", "a" * 300, "1e9", "nan", "yes", "*.a.b",
         "http://[", "http://a:99999/", "http://a b/", "\ud800", "٣", "²", "1_0", "१"]
    ),
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 65535, 65536, 2**63, 10**30]),
    st.floats(),
    NASTY_TEXT,
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw, sample):
    """A sample with some of its values, at any depth, put out, doubled or made something else."""
    value = json.loads(json.dumps(sample))
    holder = {"": value}
    for _ in range(draw(st.integers(1, 4))):
        place, key = holder, ""
        for _ in range(draw(st.integers(0, 5))):
            inner = place[key]
            if isinstance(inner, dict) and inner:
                place, key = inner, draw(st.sampled_from(sorted(inner, key=str)))
            elif isinstance(inner, list) and inner:
                place, key = inner, draw(st.integers(0, len(inner) - 1))
            else:
                break
        act = draw(st.sampled_from(["replace", "replace", "rename", "delete", "double"]))
        if act == "replace" or place is holder:
            place[key] = draw(ANYTHING)
        elif act == "delete":
            del place[key]
        elif act == "rename" and isinstance(place, dict):
            place[draw(NASTY_TEXT)] = place.pop(key)
        elif act == "double" and isinstance(place, list):
            place.append(place[key])
        holder = {"": holder[""]}
    return holder[""]


@st.composite
def spliced(draw, samples):
    """A text of which some parts were cut out, doubled, swapped for others or written over."""
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 6))):
        one = draw(st.integers(0, len(text)))
        other = draw(st.integers(one, min(len(text), one + 40)))
        part = draw(
            st.one_of(
                st.just(""),
                st.just(text[one:other] * 2),
                NASTY_TEXT,
                st.sampled_from(samples).map(lambda s: s[: len(s) // 2]),
            )
        )
        text = text[:one] + part + text[other:]
    return text


def chars(data):
    """Bytes as text that JSON can hold."""
    return data.decode("latin-1")


def octets(text):
    """The bytes of such a text; what is none of them is left out."""
    return text.encode("latin-1", "ignore")


# -- pillar --------------------------------------------------------------------------------------


MINION = formula.minion()


def pillar(example):
    """All parameters together, as ``infra_pillar.validate`` has them."""
    validation.check(MINION, example, all_minions=True)


def portal(example):
    """The portal: what is not refused has to render."""
    given = settings()
    if not portal_entries.problems(example, given):
        rendering.files(example, given, facts(), LOADER)


def repo_request(example):
    """The request for a repository."""
    if isinstance(example, dict):
        catalogue.plan(example)
    catalogue.upstream_problems(example)


def dns_records(example):
    """Records in the syntax of hosts(5)."""
    records.render(records.parse(example, "10.10.10.10")[0])


def users(example):
    """Users and what stands in the file of passwords already."""
    htpasswd.lines({"a": "$6$x$y"}, example)


def size(example):
    """A size in words."""
    vector.size(example)


REQUEST = {
    "name": "pigsty",
    "home": "/www",
    "targets": ["d12.x86_64", "el9.x86_64"],
    "modules": "infra,node",
    "region": "default",
    "packages": ["nginx,dnsmasq", "node-distro"],
    "extra_packages": ["a=1.0 b"],
    "url_packages": [{"url": "http://a/b.deb", "checksum": "sha256:" + "0" * 64}],
    "upstream": [
        {"name": "x", "module": "infra", "releases": [9, 12], "arch": ["x86_64"],
         "baseurl": {"default": "http://a/ generic main", "china": "http://b/$releasever/$basearch"},
         "gpgkey": "http://a/key", "fingerprint": "0" * 40, "meta": {"gpgcheck": 1}},
        {"name": "y", "module": "node", "releases": [12], "arch": ["x86_64", "aarch64"],
         "baseurl": "http://c ${distro_codename} main", "trusted": True},
    ],
}  # fmt: skip
PILLAR = {
    "infra_hosts": {"10.10.10.10": {"infra_seq": 1}, "infra-2": {"infra_seq": 2, "ip": "10.1.1.2"}},
    "infra_portal": DEMO,
    "nginx_users": {"admin": "x"},
    "dns_records": ["${admin_ip} a.b c.d"],
    "dns_wildcards": {"a.b": "${admin_ip}"},
    "dns_cnames": {"a.b": "c.d"},
    "dns_upstream": ["1.1.1.1", "/corp/10.0.0.1#53"],
    "ntp_networks": ["10.0.0.0/8"],
    "node_ntp_servers": ["pool pool.ntp.org iburst"],
    "node_dns_options": ["options timeout:1"],
    "node_etc_hosts": ["10.1.1.1 x"],
    "vmetrics_options": "-a=1 -b='2 3'",
    "vmetrics_scrape_jobs": [{"job_name": "x", "static_configs": [{"targets": ["a:1"]}]}],
    "vmalert_rules": {"mine": [{"name": "g", "rules": [{"record": "x", "expr": "up"}]}]},
    "alertmanager_receivers": {"hook": {"webhook": {"url": "http://a/"}}},
    "alertmanager_routes": [{"receiver": "hook", "matchers": ['a="b"']}],
    "alertmanager_inhibit_rules": [{"source_matchers": ['a="b"'], "equal": ["ins"]}],
    "blackbox_targets": {"tcp_connect": ["a:1"]},
    "blackbox_modules": {"m": {"prober": "http"}},
    "register": {"db": {"targets": [{"job": "pgsql", "port": 9630, "labels": {"a": "b"}}]}},
    "register_others": {"m": {"ip": "10.1.1.9", "ins": "m", "cls": "c"}},
    "infra_extra_services": [{"name": "W", "url": "https://w/", "desc": "d", "icon": "file"}],
    "vector_log_endpoint": ["infra", "http://a/"],
    "vector_buffer_size": "1GiB",
    "repo_upstream": REQUEST["upstream"],
    "repo_packages": ["nginx"],
}  # fmt: skip


def inventory(example):
    """An inventory of Pigsty: what comes of it is a pillar that can be written down."""
    json.dumps(conversion.from_text(MINION, example))


# -- the mine ------------------------------------------------------------------------------------

FACTS = {
    "contract": 1,
    "ip": "10.10.10.21",
    "ins": "node-1",
    "cls": "nodes",
    "infra_seq": 1,
    "haproxy": 9101,
    "targets": [{"job": "node", "port": 9100, "ins": "x", "cls": "y", "labels": {"a": "b"}}],
    "dns": [{"address": "10.10.10.21", "names": ["node-1", "a.b"]}],
    "ca": "-----BEGIN CERTIFICATE-----\n" + "QUJD" * 20 + "\n-----END CERTIFICATE-----\n",
}


REGISTRATION = {
    "reserved": {"a.b": "x"},
    "portal_names": ["i.pigsty"],
    "jobs": list(own_facts.JOBS),
    "others": {},
    "dns_records": [],
    "admin_ip": "10.10.10.10",
    "domains": None,
    "networks": ["10.0.0.0/8", "fd00::/8"],
    "assigned": {},
    "cluster": "nodes",
    "components": ["vmetrics"],
    "own_id": "infra-1",
    "own_addresses": ["10.10.10.10"],
}


def mine(example):
    """What minions publish, all the way to targets, records, pages and CA certificates."""
    if not isinstance(example, dict):
        own_facts.problems(example)
        return
    nodes = [{"key": "10.10.10.10", "ip": "10.10.10.10", "seq": 1}]
    taken = site_inventory.accept(example, {**REGISTRATION, "nodes": nodes}, {})["nodes"]
    again = site_inventory.accept(example, {**REGISTRATION, "nodes": nodes}, taken)
    assert again["nodes"] == taken
    generated.target_files(taken, "infra")
    generated.records(taken)
    generated.haproxy(taken)
    generated.page_nodes(taken, "10.10.10.10")
    assert site_inventory.divided_authorities(example, nodes, [])["trusted"] == {}


# -- archives and package metadata ---------------------------------------------------------------


@cache
def _archives():
    samples = []
    for with_manifest in (True, False):
        plain = io.BytesIO()
        files = {"repo_complete": b"", "pool/a_1_all.deb": b"x" * 700}
        sums = {rel: [len(data), "0" * 64] for rel, data in files.items()}
        manifest = {"format": 1, "name": "pigsty", "info": {}, "files": sums, "links": {"l": "a"}}
        if with_manifest:
            files = {"repo_manifest.json": json.dumps(manifest).encode(), **files}
        with tarfile.open(fileobj=plain, mode="w") as tar:
            for rel, data in files.items():
                member = tarfile.TarInfo(f"pigsty/{rel}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        samples.append(plain.getvalue())
    return samples


@st.composite
def archives(draw):
    """An archive with some bytes of its headers or of its content written over."""
    data = bytearray(draw(st.sampled_from(_archives())))
    for _ in range(draw(st.integers(0, 8))):
        part = draw(st.binary(min_size=1, max_size=12))
        at = draw(st.integers(0, 2300))
        data[at : at + len(part)] = part
    if draw(st.booleans()):  # a header whose sum is right is looked at further
        for start in range(0, min(len(data), 3 * 512), 512):
            header = data[start : start + 512]
            header[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    return chars(bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data))


def archive(example):
    """An offline package: nothing of it may come to lie outside of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tgz")
        path.write_bytes(gzip.compress(octets(example), 1))
        inside = Path(folder, "in")
        inside.mkdir()
        try:
            offline_package.unpack(str(path), str(inside))
        except REFUSED:
            pass
        finally:
            assert {p.name for p in Path(folder).iterdir()} == {"a.tgz", "in"}
            for found in inside.rglob("*"):
                assert inside in found.resolve().parents
        offline_package.peek(str(path))


def marker(example):
    """The list of what a complete repository holds."""
    found = marker_file.read(example)
    assert not [rel for rel in found if rel.startswith("/") or ".." in rel.split("/")]


def apt_output(example):
    """What apt says of candidates and of where to fetch them."""
    apt.parse_policy(example)
    apt.parse_uris(example)


def keys(example):
    """What gpg and rpm say of keys and signatures; armoured keys themselves."""
    signing.parse_keys(example)
    signing.parse_checksig(example)


def armour(example):
    """Armoured keys, as an upstream gives them."""
    signing.dearmor(octets(example))


def definition(example):
    """A definition of a repository, as an INFRA node publishes it; and a machine's own sources."""
    for kind in ("sources", "repo"):
        try:
            client_trust.definition_of(example, "pigsty-infra-1", "http://a/pigsty", kind)
        except REFUSED:
            continue
    for kind in ("list", "sources", "repo"):
        off = other_sources.disabled(example, kind)
        assert other_sources.disabled(off, kind) == off
    other_sources.enabled(example)


# -- what programs and the network say -----------------------------------------------------------


def chrony(example):
    """chronyc's answers."""
    for parse in (ntp.parse_tracking, ntp.parse_sources):
        try:
            parse(example)
        except ValueError:
            continue


def dns_message(example):
    """A name server's answer."""
    client.decode_message(octets(example))


def texts(example):
    """Files of the machine's own: resolv.conf, hosts, records of others."""
    resolver.nameservers(example)
    resolver.resolv_conf(["10.10.10.10"], ["options a"], example)
    once = resolver.hosts_text(example, ["10.1.1.1 a"])
    assert resolver.hosts_text(once, ["10.1.1.1 a"]) == once
    records.pairs(example)


def manifest(example):
    """What is recorded of a file set, damaged in any way."""
    with tempfile.TemporaryDirectory() as folder:
        before, paths.STATE_DIR = paths.STATE_DIR, Path(folder)
        try:
            path = file_sets.manifest_path("set")
            path.parent.mkdir()
            path.write_bytes(octets(example))
            root = Path(folder, "etc")
            root.mkdir()
            FileSet("set", root).plan({"a": {"text": "x"}})
            FileSet("set", root).remove(test=True)
        finally:
            paths.STATE_DIR = before


def status_output(example):
    """What systemctl, ss and programs asked for their version say."""
    report.unit_of(example)
    report.listening(example, lambda pid: str(pid))
    report.version_in(example)
    checks.extract_error_lines(example)


_INVENTORIES = [
    path.read_text(encoding="utf-8")
    for path in sorted((REPO / "test/unit/cases/pigsty").glob("*.yml"))
]
_TRACKING = (
    "7F7F0101,,10,1732400000.1,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,0.000000000,"
    "0.000000000,0.0,Normal\n"
)
_SOURCES = "^,*,10.10.10.10,10,6,377,20,0.000001,0.000002,0.0003\n"
_COLONS = (
    "pub:u:4096:1:ABCD:1700000000:::u:::scESC::::::23::0:\nfpr:::::::::" + "A" * 40 + ":\n"
    "uid:u::::1700000000::H::a <a@b>::::::::::0:\nsub:u:4096:1:EF:1700000000::::::e::::::23:\n"
)
_CHECKSIG = (
    "a.rpm:\n    Header V4 RSA/SHA256 Signature, key ID 1: OK\n    Payload SHA256 digest: OK\n"
)
_POLICY = (
    "nginx:\n  Installed: (none)\n  Candidate: 1.22.1-9\n  Version table:\n     1.22.1-9 500\n"
)
_URIS = "'http://a/pool/a_1_amd64.deb' a_1_amd64.deb 1234 SHA256:" + "0" * 64 + "\n"
_DEB822 = (
    "# Managed by Salt (infra formula)\nX-Repolib-Name: p\nTypes: deb\nURIs: http://a/\n"
    "Suites: bookworm\nComponents: main\nEnabled: yes\nSigned-By:\n -----BEGIN PGP\n .\n\n"
)
_YUM = "[main]\na=1\n[p]\nname=p\nbaseurl=http://a/\nenabled=1\ngpgkey=http://a/key\n"
_DNS = (
    b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x01b\x00\x00\x01\x00\x01"
    b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01c\xc0\x0c"
)
_MANIFEST = '{"version": 1, "root": "/etc", "files": {"a": "00"}, "pending": true}'
_RESOLV = "nameserver 10.10.10.10\nsearch a.b\noptions timeout:1\n127.0.0.1 localhost\n"
_ARMOUR = (
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nQUJD\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
)
_STATUS = (
    "Id=nginx.service\nActiveState=active\nExecMainStartTimestamp=Tue 2026-11-24 06:00:00 UTC\n"
    'tcp LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=12,fd=6))\nnginx version: 1.22\n'
)

TARGETS = {
    "pillar": Target(pillar, mutated(PILLAR) | ANYTHING),
    "portal": Target(portal, mutated(DEMO) | ANYTHING),
    "repo_request": Target(
        repo_request, mutated(REQUEST) | mutated(REQUEST["upstream"]) | ANYTHING
    ),
    "dns_records": Target(dns_records, st.lists(NASTY_TEXT | SCALARS, max_size=5) | ANYTHING),
    "users": Target(users, spliced(["admin:$6$a$b\n", "x:{PLAIN}y\n"])),
    "size": Target(size, spliced(["1GiB", "500MB"]) | NASTY_TEXT),
    "inventory": Target(
        inventory,
        spliced(_INVENTORIES)
        | st.sampled_from([text for text in _INVENTORIES if " !" not in text])
        .map(yaml.safe_load)
        .flatmap(mutated)
        .map(lambda data: yaml.safe_dump(data, allow_unicode=True)),
    ),
    "mine": Target(mine, mutated({"infra-1": FACTS, "node-1": FACTS}) | mutated(FACTS) | ANYTHING),
    "archive": Target(archive, archives()),
    "marker": Target(
        marker, spliced(["0" * 64 + "  pool/a.deb\n", "0" * 32 + " *b.rpm\n"]), (ValueError,)
    ),
    "apt_output": Target(apt_output, spliced([_POLICY, _URIS])),
    "keys": Target(keys, spliced([_COLONS, _CHECKSIG])),
    "armour": Target(armour, spliced([_ARMOUR]), (ValueError,)),
    "definition": Target(definition, spliced([_DEB822, _YUM, "deb [a=b] http://a b c\n"])),
    "chrony": Target(chrony, spliced([_TRACKING, _SOURCES])),
    "dns_message": Target(
        dns_message,
        spliced([chars(_DNS)]) | st.binary(max_size=80).map(chars),
        (ValueError,),
    ),
    "texts": Target(texts, spliced([_RESOLV])),
    "manifest": Target(manifest, spliced([_MANIFEST])),
    "status_output": Target(status_output, spliced([_STATUS])),
}
