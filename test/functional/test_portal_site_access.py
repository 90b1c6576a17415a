"""Who comes in to a site: its users, addresses and client certificates, by a real nginx."""

import base64
import http.client
import re
import socket
import ssl

import pem
import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.portal import access, entries, htpasswd
from nginx_server import PASSWORD, Server, Upstream, drain
from portal_samples import settings

CA = pem.pair("people", ca=True)
CLIENT = pem.pair("ann", issuer=CA)
STRANGER = pem.pair("ann", issuer=pem.pair("others", ca=True))


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


def basic(user):
    text = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


@pytest.fixture(scope="module")
def start(tmp_path_factory, upstream):
    running = []

    def start(portal, **changes):
        folder = tmp_path_factory.mktemp("nginx")
        (folder / "ca.crt").write_text(CA.crt)
        there = {"endpoint": f"127.0.0.1:{upstream.port}"}
        filled = {}
        for key, entry in portal.items():
            entry = dict(entry)
            if entry.get("ssl_client_certificate") == "CA":
                entry["ssl_client_certificate"] = str(folder / "ca.crt")
            filled[key] = entry if key == "home" or "path" in entry else {**there, **entry}
        server = Server(folder, filled, **changes)
        main = htpasswd.files({"ann": PASSWORD, "bob": PASSWORD}, "root", str(folder))
        sites = {".htpasswd.team": ["bob"], ".htpasswd.part": ["bob"], ".htpasswd.some": ["bob"]}
        for name, file in {**main, **htpasswd.of_sites(main, sites)}.items():
            (folder / "etc" / name).write_text(file["text"])
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def server(start):
    return start(
        {
            "all": {"domain": "all.p", "auth": True},
            "team": {"domain": "team.p", "users": ["bob"]},
            "part": {"domain": "part.p", "users": ["bob"], "auth_paths": ["/admin"]},
            "some": {"domain": "some.p", "users": ["bob"], "locations": {"/in": {"auth": True}}},
            "near": {"domain": "near.p", "allow": ["127.0.0.2", "127.0.1.0/24"]},
            "nest": {"domain": "nest.p", "allow": ["127.0.0.0/8", "127.0.0.3"],
                     "deny": ["127.0.0.0/24"]},
            "deny": {"domain": "deny.p", "deny": "127.0.0.2"},
            "files": {"domain": "files.p", "path": "/www/f", "deny": "all"},
            "any": {"domain": "any.p", "auth": True, "allow": "127.0.0.2", "satisfy": "any"},
            "both": {"domain": "both.p", "auth": True, "allow": "127.0.0.2"},
            "acme": {"domain": "acme.p", "auth": True, "deny": "all", "certbot": "x",
                     "ssl_client_certificate": "CA"},
            "mtls": {"domain": "mtls.p", "ssl_client_certificate": "CA"},
            "maybe": {"domain": "maybe.p", "ssl_client_certificate": "CA",
                      "ssl_verify_client": "optional",
                      "proxy_set_header": {"X-Verified": "$ssl_client_verify"}},
            "off": {"domain": "off.p", "ssl_client_certificate": "CA", "ssl_verify_client": False},
        }
    )  # fmt: skip


def ask(server, name, path="/", source="127.0.0.1", tls=True, sni=None, pair=None, **headers):
    """Ask as a machine of an address does, with a certificate; returns status, headers, body."""
    port = server.tls_port if tls else server.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    plain = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
    connection.sock = plain
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if pair is not None:
            path_of_pair = server.root / "client.pem"
            path_of_pair.write_text(pair.crt + pair.key)
            context.load_cert_chain(path_of_pair)
        connection.sock = context.wrap_socket(plain, server_hostname=sni or name)
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request("GET", path, headers={"Host": name, "Connection": "close", **given})
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


def test_only_the_users_of_a_site_come_in(server, upstream):
    assert [ask(server, "all.p", **basic(user))[0] for user in ("ann", "bob")] == [200, 200]
    assert [ask(server, "team.p", **basic(user))[0] for user in ("ann", "bob")] == [401, 200]
    assert upstream.header("X-Forwarded-User") == "bob"
    assert ask(server, "team.p")[0] == 401


@pytest.mark.parametrize(("name", "path"), [("part.p", "/admin/x"), ("some.p", "/in/x")])
def test_users_are_those_of_the_paths_that_need_a_login(server, name, path):
    assert ask(server, name)[0] == 200
    assert [ask(server, name, path, **basic(user))[0] for user in ("ann", "bob")] == [401, 200]


@pytest.mark.parametrize(
    ("name", "source", "code"),
    [
        ("near.p", "127.0.0.2", 200),
        ("near.p", "127.0.1.77", 200),
        ("near.p", "127.0.0.1", 403),
        ("nest.p", "127.0.0.3", 200),
        ("nest.p", "127.0.0.4", 403),
        ("nest.p", "127.9.9.9", 200),
        ("deny.p", "127.0.0.2", 403),
        ("deny.p", "127.0.0.1", 200),
        ("files.p", "127.0.0.1", 403),
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_addresses_come_in_by_the_smallest_network_that_has_them(
    server, upstream, name, source, code, tls
):
    before = len(upstream.seen)
    assert ask(server, name, source=source, tls=tls, X_Forwarded_For="127.0.0.2")[0] == code
    assert len(upstream.seen) - before == (code == 200)


def test_satisfy_any_lets_in_by_either_and_all_by_both(server, upstream):
    assert ask(server, "any.p", source="127.0.0.2")[0] == 200
    assert ask(server, "any.p", **basic("ann"))[0] == 200
    assert ask(server, "any.p")[0] == 401
    assert ask(server, "both.p", source="127.0.0.2")[0] == 401
    assert ask(server, "both.p", **basic("ann"))[0] == 403
    assert ask(server, "both.p", source="127.0.0.2", **basic("ann"))[0] == 200
    assert upstream.header("X-Forwarded-User") == "ann"


def test_who_comes_in_by_address_is_not_known_by_the_name_he_gives(server, upstream):
    """nginx takes the name of an Authorization header that it has not verified."""
    claim = "Basic " + base64.b64encode(b"root:x").decode()
    assert ask(server, "any.p", source="127.0.0.2", Authorization=claim)[0] == 200
    assert upstream.header("X-Forwarded-User") is None
    assert upstream.header("Authorization") is None


def test_a_site_with_client_certificates_is_for_who_has_one(server, upstream):
    before = len(upstream.seen)
    assert ask(server, "mtls.p")[0] == 400
    assert ask(server, "mtls.p", pair=STRANGER)[0] == 400
    assert len(upstream.seen) == before
    assert ask(server, "mtls.p", pair=CLIENT)[0] == 200
    assert ask(server, "off.p")[0] == 200


def test_with_optional_the_upstream_decides(server, upstream):
    for pair, verified in ((CLIENT, "SUCCESS"), (None, "NONE")):
        assert ask(server, "maybe.p", pair=pair, X_Verified="SUCCESS")[0] == 200
        assert upstream.header("X-Verified") == verified
    assert ask(server, "maybe.p", pair=STRANGER)[0] == 400


@pytest.mark.parametrize("name", ["mtls.p", "maybe.p"])
def test_neither_plain_http_nor_another_name_leads_past_a_certificate(server, upstream, name):
    before = len(upstream.seen)
    assert ask(server, name, tls=False)[0] == 301
    assert ask(server, name, tls=False, X_Forwarded_Proto="https")[0] == 301
    assert ask(server, name, sni="all.p")[0] in (400, 421)
    # A connection without a name is one to the home page.
    assert ask(server, "mtls.p", sni="unknown.p")[0] in (400, 421)
    assert len(upstream.seen) == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_another_name_does_not_stand_for_a_certificate(server, upstream, version):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version

    def talk(name, session=None):
        plain = socket.create_connection(("127.0.0.1", server.tls_port), 20)
        with context.wrap_socket(plain, server_hostname=name, session=session) as channel:
            request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            channel.sendall(request.encode())
            code = int(re.match(rb"HTTP/1.1 (\d+)", drain(channel))[1])
            return code, channel.session

    code, session = talk("maybe.p")
    assert code == 200
    before = len(upstream.seen)
    assert talk("mtls.p", session)[0] == 400
    assert len(upstream.seen) == before


def test_a_challenge_is_for_everybody_whatever_closes_the_site(server):
    path = server.home / "acme/.well-known/acme-challenge/token"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a proof")
    got = ask(server, "acme.p", "/.well-known/acme-challenge/token", tls=False)
    assert got[::2] == (200, "a proof")


def test_behind_a_trusted_proxy_a_certificate_is_shown_to_the_portal_itself(start, upstream):
    server = start(
        {"mtls": {"domain": "mtls.p", "ssl_client_certificate": "CA"},
         "home": {"ssl_client_certificate": "CA"}},
        nginx_trusted_proxies=["127.0.0.1"],
    )  # fmt: skip
    before = len(upstream.seen)
    for name in ("mtls.p", "i.pigsty"):
        assert ask(server, name, tls=False, X_Forwarded_Proto="https")[0] == 301
    assert len(upstream.seen) == before
    assert ask(server, "mtls.p", pair=CLIENT)[0] == 200


def test_a_home_page_for_some_addresses_still_serves_packages_to_all(start):
    server = start({"home": {"allow": "127.0.0.2", "certbot": "x"}})
    (server.home / "pigsty").mkdir()
    for name in ("pigsty/a.deb", "ca.crt", "index.html"):
        (server.home / name).write_text("a file")
    assert ask(server, "i.pigsty", source="127.0.0.2")[0] == 200
    assert ask(server, "i.pigsty")[0] == 403
    assert ask(server, "i.pigsty", "/index.html", tls=False)[0] == 403
    for path in ("/pigsty/a.deb", "/ca.crt"):
        assert ask(server, "i.pigsty", path, tls=False)[::2] == (200, "a file")
    assert ask(server, "i.pigsty", "/nginx", tls=False)[0] == 200
    assert ask(server, "i.pigsty", "/nginx", source="127.0.0.2", tls=False)[0] == 403


@pytest.mark.parametrize(
    ("entry", "changes", "expected"),
    [
        ({"users": ["ann"]}, {}, None),
        ({"users": ["anm"]}, {}, "users[0]: expected a user of nginx_users, got 'anm'; did you me"),
        ({"users": []}, {}, "users: expected at least one of nginx_users"),
        ({"users": ["ann"], "auth": False}, {}, "users: expected auth: basic"),
        ({"users": ["ann"], "auth": "oidc"}, {"oauth2_proxy_endpoint": "127.0.0.1:1"},
         "users: expected auth: basic"),
        ({"users": "ann"}, {}, "users: expected a list"),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.1.1"]}, {}, None),
        ({"allow": "10.0.0.1/8"}, {}, "allow: expected an address or a network"),
        ({"allow": ["ten"]}, {}, "allow[0]: expected an address or a network"),
        ({"allow": "all", "deny": "all"}, {}, "deny: expected no all, which allow has, too"),
        ({"satisfy": "any", "auth": True}, {}, "satisfy: expected a login and allow or deny"),
        ({"satisfy": "some"}, {}, "satisfy: expected one of all, any"),
        ({"allow": "10.0.0.1", "config": "deny all;"}, {}, "config: expected no allow/deny beside"),
        ({"ssl_verify_client": True}, {}, "ssl_client_certificate: expected beside ssl_verify_cl"),
        ({"ssl_client_certificate": "ca"}, {}, "ssl_client_certificate: expected an absolute path"),
        ({"ssl_client_certificate": "/c"}, {"nginx_sslmode": "disable"}, "expected nginx_ssl"),
        ({"ssl_client_certificate": "/c", "enforce_https": False}, {}, "enforce_https: expected"),
        ({"conf": "a.j2", "allow": "10.0.0.1"}, {}, "allow: expected nothing beside conf"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(entry, changes, expected):
    given = settings(user_names=["ann", "bob"], **changes)
    found = entries.problems({"web": {"domain": "web.p", "path": "/web", **entry}}, given)
    assert (not found) if expected is None else expected in " ".join(found), found
    assert all(message.startswith("infra_portal.web.") for message in found)


NETWORKS = st.sampled_from(
    ["all", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "::/0", "2001:db8::/32", "2001:db8::1"]
)


@given(st.lists(NETWORKS, unique=True), st.lists(NETWORKS, unique=True))
def test_a_smaller_network_is_tried_before_a_larger_one(allow, deny):
    rules = [rule.split() for rule in access.rules(allow, deny)]
    assert sorted(r for r in rules if r[1] != "all") == sorted(
        [["allow", n] for n in allow if n != "all"] + [["deny", n] for n in deny if n != "all"]
    )
    order = ["10.1.1.1", "10.1.0.0/16", "10.0.0.0/8"]
    positions = [order.index(n) for _, n in rules if n in order]
    assert positions == sorted(positions)
    if allow:
        assert rules[-1][1] == "all" or "all" in allow + deny
