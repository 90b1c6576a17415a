"""ACME's challenge is shown to everybody, whatever closes the name that it is for."""

import pytest
from nginx_server import Server, Upstream

CHALLENGE = "/.well-known/acme-challenge/a-token_1"
OWN_LOGIN = "auth_basic own;\nauth_basic_user_file .htpasswd;"
CLOSED = {  # how a name is closed → attributes of its entry
    "addresses": {"config": "allow 203.0.113.1;\ndeny all;"},
    "a login or an address": {"config": f"satisfy any;\ndeny all;\n{OWN_LOGIN}"},
    "a login and an address": {"config": f"satisfy all;\ndeny all;\n{OWN_LOGIN}"},
    "a login of its own": {"config": OWN_LOGIN},
    "a sign-in of its own": {
        "config": "auth_request /own-auth;\nlocation = /own-auth {\n    return 401;\n}"
    },
    "a redirect": {"config": "return 301 https://elsewhere.example$request_uri;"},
    "a rewrite": {"config": "rewrite ^ https://elsewhere.example/ permanent;"},
    "a condition": {"config": "if ($scheme = http) {\n    return 301 https://x.example;\n}"},
    "a variable": {"config": "set $closed 1;\nif ($closed) {\n    return 403;\n}"},
    "a page for errors": {"config": "deny all;\nerror_page 403 =200 /other;"},
    "dot files": {"config": "location ~ /\\. {\n    deny all;\n}"},
    "the portal's login": {"auth": True},
    "the portal's sign-in": {"auth": "oidc"},
    "https": {"enforce_https": True},
    "all of it": {
        "auth": True,
        "enforce_https": True,
        "config": "satisfy all;\ndeny all;\nreturn 301 https://x.example;",
    },
}


OPEN = {False: ["dot files"], True: ["dot files", "a condition", "https"]}
"""What these close is not all of a name."""


@pytest.fixture(scope="module")
def behind():
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def portal(tmp_path_factory, behind):
    """One portal with each closed name twice: files, and a server behind it; and the home page."""
    root = tmp_path_factory.mktemp("challenges")
    entries = {"home": {"domain": "i.pigsty", "certbot": "all", "config": "deny all;\nreturn 403;"}}
    for number, attributes in enumerate(CLOSED.values()):
        common = {**attributes, "certbot": "all"}
        entries[f"files-{number}"] = {"domain": f"f{number}.p", "path": "/srv/x", **common}
        there = f"127.0.0.1:{behind.port}"
        entries[f"proxy-{number}"] = {"domain": f"p{number}.p", "endpoint": there, **common}
    server = Server(root, entries, oauth2_proxy_endpoint="127.0.0.1:1")
    folder = server.home / "acme" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "a-token_1").write_text("the answer")
    yield server
    server.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("how", CLOSED)
def test_a_challenge_is_shown_though_the_name_is_closed_by(portal, how, tls):
    number = list(CLOSED).index(how)
    for name in (f"f{number}.p", f"p{number}.p"):
        status, _headers, body = portal.get(name, CHALLENGE, tls=tls)
        assert (status, body) == (200, "the answer"), name
        # It is the exception: all else is as closed as before.
        if how not in OPEN[tls]:
            assert portal.get(name, "/", tls=tls)[0] != 200, name


def test_the_home_page_shows_a_challenge_too(portal):
    assert portal.get("i.pigsty", CHALLENGE, tls=False)[::2] == (200, "the answer")
    assert portal.get("i.pigsty", "/", tls=False)[0] == 403


def test_beside_a_challenge_nothing_is_opened(portal):
    number = list(CLOSED).index("a redirect")
    for path in ("/.well-known/", "/.well-known/acme-challenge", "/x/.well-known/acme-challenge/a"):
        assert portal.get(f"f{number}.p", path, tls=False)[0] == 301, path
    assert portal.get(f"f{number}.p", "/.well-known/acme-challenge/../../x", tls=False)[0] == 301
