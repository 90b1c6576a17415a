"""The portal's pure part: what is refused, and what is rendered."""

import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest
import yaml
from infra_formula import paths
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.portal import applied, attributes, htpasswd, pages, rendering, server
from infra_formula.portal import entries as portal_entries
from infra_formula.portal.views import views
from infra_formula.registration import inventory
from infra_formula.templates import SaltLoader
from portal_samples import ALL_COMPONENTS, DEMO, LOADER, TEMPLATES, facts, settings
from salt.exceptions import CommandExecutionError, SaltInvocationError


def errors(entries, **changes):
    return portal_entries.problems(entries, settings(**changes))


def render(entries, fact=None, **changes):
    assert errors(entries, **changes) == []
    return rendering.files(entries, settings(**changes), facts(**(fact or {})), LOADER)


def text(entries, key, fact=None, **changes):
    return render(entries, fact, **changes)[f"conf.d/{key}.conf"]["text"]


PROXY = {"domain": "w.pigsty", "endpoint": "127.0.0.1:8000"}


def proxy(**more):
    return {"wiki": {**PROXY, **more}}


# -- bad input: one error, which names the key path and what was expected

CASES = Path(__file__).parent / "cases"
BAD = yaml.safe_load((CASES / "portal_bad.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("entries", "expected"), BAD)
def test_bad_entries_are_named(entries, expected):
    found = errors(entries)
    assert len(found) == 1, found
    assert expected in found[0]
    assert found[0].startswith("infra_portal")


@pytest.mark.parametrize(
    ("entries", "changes", "expected"),
    [
        (
            proxy(auth=True),
            {"nginx_users": False},
            "infra_portal.wiki.auth: expected users in nginx_users",
        ),
        (
            proxy(enforce_https=True),
            {"nginx_sslmode": "disable"},
            "infra_portal.wiki.enforce_https",
        ),
        (proxy(hsts=True), {"nginx_sslmode": "disable"}, "infra_portal.wiki.hsts"),
        (proxy(), {"nginx_ssl_port": 80}, "nginx_ssl_port: expected another port"),
        (
            {},
            {"portal_auth": "basic", "nginx_users": False},
            "portal_auth: expected users in nginx_users",
        ),
        ({}, {"portal_auth": "oidc"}, "portal_auth: expected an oauth2_proxy_endpoint"),
        (
            {"home": {"auth": False}},
            {"portal_auth": "basic"},
            "infra_portal.home.auth: expected true, or nothing, beside portal_auth",
        ),
    ],
)
def test_entries_that_contradict_the_settings_are_named(entries, changes, expected):
    assert [e for e in errors(entries, **changes) if expected in e]


def test_every_error_is_told_at_once():
    found = errors({"a": {"domain": "w p"}, "b": {"domain": "v.p"}, "c": None})
    assert [e.split(":")[0] for e in found] == [
        "infra_portal.a.domain",
        "infra_portal.b",
        "infra_portal.c",
    ]


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("", None),
        ("# just a comment }", None),
        ('add_header X "a;b}";', None),
        ("rewrite ^/a(.*)$ /b$1 last;  # {", None),
        ('if ($x ~ "a{2}") { return 404; }', None),
        ("set $a ${host}x;", None),
        ("return 200 a\\;b\\};", None),
        ("location / { return 200; }\nlocation /b { deny all; }", None),
        ("set $a b#c;", None),
        ("location / { return 200 }", "a directive before } lacks its ;"),
        ("}", "a } closes the block around it"),
        ("gzip on; deny", "its last directive lacks a ;"),
        ("a '", "a quote ' is not closed"),
    ],
)
def test_config_fault(config, fault):
    assert portal_entries.config_fault(config) == fault


# -- what is rendered


def test_the_demo_renders_each_served_name_and_nothing_else():
    out = render(DEMO, components=ALL_COMPONENTS)
    served = {k for k, e in DEMO.items() if "domain" in e}
    confs = {r[7:-5] for r in out if re.fullmatch(r"conf\.d/[^/]+\.conf", r)}
    assert confs == served | {"00-infra"}
    assert not {"blackbox", "vmalert"} & confs
    for key in served:
        assert f"server_name {DEMO[key]['domain']}" in out[f"conf.d/{key}.conf"]["text"]


def test_home_is_there_even_if_it_is_not_given():
    assert "server_name i.pigsty;" in text({}, "home")


def test_order_and_content_do_not_depend_on_other_entries():
    one = text(proxy(), "wiki")
    both = text({**DEMO, **proxy()}, "wiki")
    assert one == both


@pytest.mark.parametrize(("version", "listen"), [([1, 22, 1], "ssl http2;"), ([1, 25, 1], "ssl;")])
def test_http2_as_this_nginx_wants_it(version, listen):
    body = text(proxy(), "wiki", {"nginx_version": version})
    assert f"listen 443 {listen}" in body
    assert ("http2 on;" in body) is (version == [1, 25, 1])


def test_listeners_follow_mode_and_ports():
    both = text(proxy(), "wiki", nginx_port=8080, nginx_ssl_port=8443)
    assert "listen 8080;" in both
    assert "listen [::]:8443 ssl" in both
    assert "listen 80" not in re.sub("8080", "", both)
    assert "Host $portal_host$visitor_port;" in both
    plain = text(proxy(), "wiki", nginx_sslmode="disable")
    assert "ssl" not in plain
    assert "[::]" not in text(proxy(), "wiki", {"ipv6": False})


@pytest.mark.parametrize(
    ("entry", "mode", "redirects"),
    [
        ({}, "enable", False),
        ({"enforce_https": True}, "enable", True),
        ({}, "enforce", True),
        ({"enforce_https": False}, "enforce", False),
    ],
)
def test_redirect_to_https(entry, mode, redirects):
    body = text(proxy(**entry), "wiki", nginx_sslmode=mode, nginx_ssl_port=8443)
    assert ("return 301 https://$portal_host:8443$request_uri;" in body) is redirects
    assert body.count("listen 80;") == 1
    assert body.count("server {") == 1 + redirects


def test_home_stays_on_plain_http_unless_it_asks():
    assert "return 301 https" not in text({}, "home", nginx_sslmode="enforce")
    asked = text({"home": {"enforce_https": True}}, "home")
    repo = asked[asked.index("location ^~ /pigsty/") : asked.index("location = /404")]
    assert "return 301 https://$portal_host$request_uri;" in asked
    assert "301" not in repo


def test_several_endpoints_are_balanced_and_marked():
    body = text(proxy(endpoint=["a:1", "[::1]:2", "unix:/run/x"]), "wiki")
    assert body.count("max_fails=1 fail_timeout=10s;") == 3
    assert "server unix:/run/x max_fails" in body
    assert "error timeout http_502" in body
    assert "max_fails=0" in text(proxy(), "wiki")


def test_admin_ip_is_put_into_endpoints():
    body = text(proxy(endpoint=["${admin_ip}:1", "b:2"]), "wiki", admin_ip="10.1.1.1")
    assert "server 10.1.1.1:1 " in body


def test_websocket_and_forwarded_headers():
    body = text(proxy(websocket=True), "wiki")
    assert "Upgrade $websocket;" in body
    assert "proxy_set_header Upgrade '';" in text(proxy(), "wiki")
    assert "include infra-proxy-headers.conf;" in body
    headers = render(proxy())["infra-proxy-headers.conf"]["text"]
    for header in ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"):
        assert f"proxy_set_header {header} $" in headers
    assert "proxy_set_header X-WEBAUTH-USER '';" in headers


def test_an_https_upstream_is_asked_by_name_and_verified_when_asked():
    body = text(proxy(scheme="https", endpoint="m.pigsty.io:9001"), "wiki")
    assert "proxy_pass https://m.pigsty.io:9001$at_run_time;" in body
    assert "proxy_ssl_name m.pigsty.io;" in body
    assert "proxy_ssl_verify" not in body
    verified = text(proxy(scheme="https", endpoint="10.0.0.1:1", proxy_ssl_verify=True), "wiki")
    assert "proxy_ssl_verify on;" in verified
    assert "proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;" in verified
    assert "proxy_ssl_name w.pigsty;" in verified


def test_limits_are_those_of_the_entry_or_the_default():
    body = text(proxy(client_max_body_size="2g", proxy_read_timeout="1h"), "wiki")
    assert "client_max_body_size 2g;" in body
    assert "proxy_read_timeout 1h;" in body
    assert "proxy_connect_timeout 5s;" in body


@pytest.mark.parametrize(("hsts", "age"), [(True, 31536000), (600, 600)])
def test_hsts_is_sent_over_tls_only(hsts, age):
    body = text(proxy(hsts=hsts), "wiki")
    assert f"add_header Strict-Transport-Security $hsts_{age} always;" in body
    shared = render(proxy(hsts=hsts))["conf.d/00-infra.conf"]["text"]
    assert f"map $https $hsts_{age} {{\n    default '';\n    on      'max-age={age}';" in shared
    assert "Strict-Transport" not in text(proxy(), "wiki")


def test_auth_names_its_realm_and_covers_home_but_what_machines_fetch():
    assert 'auth_basic "Auth wiki";' in text(proxy(auth=True), "wiki")
    home = text({"home": {"auth": True}}, "home", components=ALL_COMPONENTS)
    assert 'auth_basic "Pigsty Home Auth";' in home
    blocks = re.findall(r"location (\S+ ?\S*) \{\n        ([^\n]*)", home)
    opened = {name for name, _first in blocks if _block(home, name).count("auth_basic off;")}
    assert opened == {
        "= /nginx",
        "^~ /pigsty/",
        r"~ ^/[A-Za-z0-9_-]+\.(repo|sources|asc|gpg)$",
        "= /ca.crt",
        "= /404.html",
        "/ui/",
        "/ui/api/live/",
    }


@pytest.mark.parametrize(
    ("entry", "method"),
    [
        ({"endpoint": "127.0.0.1:8428"}, "oidc"),
        ({"endpoint": ["10.0.0.1:1", "${admin_ip}:9059"]}, "oidc"),
        ({"endpoint": "10.10.10.11:9059"}, "oidc"),  # of another INFRA node
        ({"endpoint": "10.10.10.12:9059"}, ""),  # of somebody else
        ({"endpoint": "127.0.0.1:3000"}, ""),  # Grafana has a login of its own
        ({"endpoint": "127.0.0.1:8428", "auth": False}, ""),
        ({"endpoint": "127.0.0.1:1", "auth": True}, "oidc"),
        ({"endpoint": "127.0.0.1:1", "auth": "basic"}, "basic"),
    ],
)
def test_an_entry_is_as_closed_as_what_it_leads_to(entry, method):
    given = settings(
        portal_auth="oidc",
        oauth2_proxy_endpoint="127.0.0.1:4180",
        components=ALL_COMPONENTS,
        addresses=["10.10.10.10", "10.10.10.11"],
    )
    shown = views({"x": {"domain": "x.p", **entry}}, given)
    assert (shown["x"]["auth"], shown["x"]["redirect"]) == (method, bool(method))
    assert views({"x": {"domain": "x.p", **entry}}, settings())["x"]["auth"] in ("", "basic")


def test_what_only_the_node_reaches_is_asked_on_loopback():
    near = {"own_address": "10.10.10.10", "closed_ports": [8428], "components": ALL_COMPONENTS}
    shown = views(
        {"p": {"domain": "p.p", "endpoint": ["${admin_ip}:8428", "10.10.10.11:8428", "[::1]:1"]}},
        settings(**near),
    )
    assert shown["p"]["endpoints"] == ["127.0.0.1:8428", "10.10.10.11:8428", "[::1]:1"]
    assert "/vlogs/insert/" not in text({}, "home", **near)


def test_logs_come_in_through_the_portal_where_nothing_else_is_reached():
    near = {"closed_ports": [9428], "components": ALL_COMPONENTS, "portal_auth": "basic"}
    home = text({}, "home", **near)
    assert "auth_basic off;" in _block(home, "^~ /vlogs/insert/")
    # Else each batch of this node's lines would be a line, which makes the next batch.
    assert "combined if=$insert_logged;" in _block(home, "^~ /vlogs/insert/")
    assert "return 301" not in _block(home, "^~ /vlogs/insert/")
    assert "return 301" in _block(home, "/vlogs/")
    assert "/vtraces/insert/" not in home


def _block(body, name):
    start = body.index(f"location {name} {{")
    return body[start : body.index("\n    }", start)]


def test_static_site():
    body = text({"s": {"domain": "s.p", "path": "/www/s", "index": True, "log": "x.log"}}, "s")
    assert "root /www/s;" in body
    assert "autoindex on;" in body
    assert "access_log /var/log/nginx/x.log combined if=$access_logged;" in body
    quiet = text({"s": {"domain": "s.p", "path": "/www/s"}}, "s")
    assert "autoindex" not in quiet
    assert "access_log" not in quiet


def test_sub_paths_are_those_of_the_enabled_components():
    home = text({}, "home", components={"vmetrics": {"port": 18428}})
    assert "proxy_pass http://127.0.0.1:18428/;" in home
    for absent in ("/vlogs/", "/ui/", "/alertmgr/", "/code/", "/pev"):
        assert f"location {absent}" not in home
    every = text({}, "home", components=ALL_COMPONENTS)
    for path in ("/ui/", "/vmetrics/", "/vlogs/", "/vtraces/", "/vmalert/", "/alertmgr/",
                 "/blackbox/", "/code/", "/jupyter/", "= /pev"):  # fmt: skip
        assert f"location {path} {{" in every
    assert "stub_status" not in text({}, "home", nginx_exporter_enabled=False)


GRAFANA = {**ALL_COMPONENTS, "grafana": {"port": 3000, "endpoints": ["127.0.0.1:3000"]}}
TRUSTED = {**GRAFANA, "grafana": {**GRAFANA["grafana"], "auth_proxy": True}}
USER = re.compile(r"proxy_set_header X-WEBAUTH-USER (\S+);")


def test_grafana_trusts_the_sign_in_of_the_portal_only_where_there_is_one():
    for auth, components, wanted in (
        (True, TRUSTED, ["$remote_user"]), (False, TRUSTED, []), (True, GRAFANA, [])
    ):  # fmt: skip
        body = text({"home": {"domain": "i.pigsty", "auth": auth}}, "home", components=components)
        for prefix in ("/ui/", "/ui/api/live/"):
            block = _block(body, prefix)
            assert USER.findall(block) == wanted
            assert ("auth_basic off" in block) is (auth and not wanted)
            assert ("proxy_set_header Authorization '';" in block) is bool(wanted)
            assert ("proxy_set_header Authorization $bearer_token;" in block) is (
                auth and not wanted
            )
        assert USER.findall(_block(body, "/vmetrics/")) == []


@pytest.mark.parametrize(
    ("more", "components", "wanted"),
    [
        ({"auth": True, "endpoint": "127.0.0.1:3000"}, TRUSTED, ["$remote_user"]),
        ({"auth": False, "endpoint": "127.0.0.1:3000"}, TRUSTED, []),
        ({"auth": True, "endpoint": "127.0.0.1:3000"}, GRAFANA, []),
        ({"auth": True, "endpoint": "127.0.0.1:8000"}, TRUSTED, []),
        ({"auth": True, "endpoint": ["127.0.0.1:3000", "10.0.0.9:3000"]}, TRUSTED, []),
    ],
)
def test_an_entry_of_grafana_is_trusted_as_the_home_page_is(more, components, wanted):
    assert USER.findall(text(proxy(**more), "wiki", components=components)) == wanted


def test_an_alertmanager_without_a_page_leads_to_the_one_that_stands_in():
    there = "location = /alertmgr/ {\n        return 302 /vmalert/vmalert/alerts;"
    known = {"alertmanager": {"port": 9059}, "vmalert": {"port": 8880}}
    assert there not in text({}, "home", components=known)
    page = {"alerts_page": "/vmalert/vmalert/alerts"}
    assert there in text({}, "home", components=known, **page)
    assert there not in text({}, "home", components={"vmalert": {"port": 8880}}, **page)


def test_every_access_log_leaves_out_what_this_formula_asks():
    entries = {"p": {"domain": "p.p", "endpoint": "a:1"}, "s": {"domain": "s.p", "path": "/www/s"}}
    for rel, spec in render(entries, components=ALL_COMPONENTS, closed_ports=[9428]).items():
        for line in re.findall(r"access_log [^;]+;", spec.get("text", "")):
            assert (
                line == "access_log off;"
                or line.endswith(" if=$access_logged;")
                or (rel == "conf.d/home.conf" and line.endswith(" if=$insert_logged;"))
            ), (rel, line)


def test_haproxy_consoles():
    out = render({}, haproxy={"node-1": "10.10.10.21:9101"})
    assert "server 10.10.10.21:9101" in out["conf.d/haproxy/upstream-node-1.conf"]["text"]
    location = out["conf.d/haproxy/location-node-1.conf"]["text"]
    assert "location ^~ /haproxy/node-1/ {" in location
    assert "WWW-Authenticate" not in location


def test_a_machine_that_gets_logins_is_named_and_none_is_beside_basic_auth():
    changes = {"haproxy": {"node-1": "10.0.0.1:1"}, "portal_haproxy_logins": ["node-1"]}
    out = render({}, **changes)
    assert "WWW-Authenticate" in out["conf.d/haproxy/location-node-1.conf"]["text"]
    assert "'~^node-1 [Bb]asic '" in out["conf.d/00-infra.conf"]["text"]
    for entries, more in (({"home": {"auth": True}}, {}), ({}, {"portal_auth": "basic"})):
        (error,) = errors(entries, **changes, **more)
        assert error.startswith("portal_haproxy_logins: expected no names beside")
    assert errors({}, oauth2_proxy_endpoint="127.0.0.1:1", portal_auth="oidc", **changes) == []


@pytest.mark.parametrize("name", ["", "a b", "a;b", 'a"', "a=b", "ü", "a" * 101])
def test_a_name_of_a_cookie_that_is_none_is_named(name):
    (error,) = errors({}, oauth2_proxy_cookie_name=name)
    assert error.startswith("oauth2_proxy_cookie_name: expected a name")
    assert errors({}, oauth2_proxy_cookie_name="__Host-o.p_1") == []


def test_certificates_are_linked_to_what_there_is():
    entries = {"a": {**PROXY, "certbot": "site"}, "b": {"domain": "*.p", "path": "/www/b"}}
    out = render(entries, {"lineages": ["site"]})
    assert out["conf.d/cert/w.pigsty.crt"]["link"] == "/etc/letsencrypt/live/site/fullchain.pem"
    assert out["conf.d/cert/_.p.key"]["link"] == "pigsty.key"
    assert render(entries)["conf.d/cert/w.pigsty.key"]["link"] == "pigsty.key"
    own = render({"a": {**PROXY, "cert": "/a.crt", "key": "/a.key"}})
    assert "conf.d/cert/w.pigsty.crt" not in own
    assert "ssl_certificate /a.crt;" in own["conf.d/a.conf"]["text"]


def test_a_challenge_that_another_infra_node_has_is_asked_of_it_once():
    peers = ["10.10.10.11", "10.10.10.12"]
    body = text(proxy(certbot="x", enforce_https=True), "wiki", acme_peers=peers)
    assert body.count("try_files $uri @acme;") == 2
    assert body.count("proxy_set_header Host acme.infra.localhost;") == 2
    shared = render(proxy(), acme_peers=peers)["conf.d/00-infra.conf"]["text"]
    upstream, _, rest = shared.partition("upstream acme-peers {")[2].partition("}")
    assert upstream.split(";")[:2] == [
        "\n    server 10.10.10.11:80 max_fails=0",
        "\n    server 10.10.10.12:80 max_fails=0",
    ]
    # What a peer is asked under answers from its own folder, and asks nobody else.
    assert "server_name acme.infra.localhost;" in rest
    assert "@acme" not in rest
    assert "acme" not in render(proxy())["conf.d/00-infra.conf"]["text"]


def test_acme_challenge_is_answered_where_a_certificate_is_asked_for():
    body = text(proxy(certbot="x", auth=True, enforce_https=True), "wiki")
    assert body.count("location ^~ /.well-known/acme-challenge/ {\n        auth_basic off;") == 2
    assert "acme" not in text(proxy(), "wiki")


def test_raw_config_is_kept_as_it_is():
    config = "# to /\nlocation /zh/ {\n    rewrite ^/zh/(.*)$ /$1 permanent;\n}\n"
    body = text(proxy(config=config), "wiki")
    assert "    location /zh/ {\n        rewrite ^/zh/(.*)$ /$1 permanent;\n    }\n}" in body


def test_a_template_of_ones_own():
    def served(text):
        minion = Minion(
            {"cp.get_file_str": lambda url: text if url.endswith("/mine.j2") else served_file(url)}
        )
        return SaltLoader(minion, rendering.TEMPLATES)

    entries = {"a": {"domain": "w.p", "conf": "mine.j2"}}
    out = rendering.files(entries, settings(), facts(), served("server_name {{ entry.domain }};"))
    assert out["conf.d/a.conf"]["text"] == "server_name w.p;"
    for body in ("", "{{ missing }}", "{% if %}"):
        with pytest.raises(SaltInvocationError, match=r"^infra_portal\.a\.conf: "):
            rendering.files(entries, settings(), facts(), served(body))


def test_the_hash_changes_with_every_file_and_certificate():
    def config_hash(files):
        return rendering.config_hash(files["conf.d/00-infra.conf"]["text"])

    first = config_hash(render(proxy()))
    assert config_hash(render(proxy())) == first
    assert config_hash(render(proxy(websocket=True))) != first
    assert config_hash(render(proxy(), {"certificates": "new"})) != first
    assert config_hash(render(proxy(), {"lineages": ["x"]})) == first


def test_nginx_complaints_are_brought_back_to_the_pillar(tmp_path):
    stage = tmp_path / "stage"
    (stage / "conf.d").mkdir(parents=True)
    (stage / "conf.d" / "wiki.conf").write_text("server {\n    gzip maybe;\n}\n")
    (stage / "conf.d" / "theirs.conf").write_text("oops\n")
    entries = proxy(config="gzip maybe;")

    def said(reason, rel, line):
        return server.explain(
            f"nginx: [emerg] {reason} in {stage}/{rel}:{line}", str(stage), entries
        )

    assert said("invalid value", "conf.d/wiki.conf", 2) == (
        "infra_portal.wiki.config: nginx refuses line 2 of conf.d/wiki.conf: "
        "invalid value: gzip maybe;"
    )
    assert said("bad", "conf.d/wiki.conf", 1).startswith("infra_portal.wiki: nginx refuses line 1")
    assert said('host not found in upstream "x:1"', "conf.d/wiki.conf", 1).startswith(
        "infra_portal.wiki.endpoint: "
    )
    assert "which is not of this portal" in said("unknown directive", "conf.d/theirs.conf", 1)
    other = server.explain(f"nginx: [emerg] open() {stage}/x failed", str(stage), entries)
    assert other == "nginx refuses the configuration: open() /etc/nginx/x failed"


def test_what_the_home_page_is_told():
    context = pages.portal_context(DEMO, settings(nginx_ssl_port=8443), [], "v4.5.0")
    sites = {s["key"]: s for s in context["sites"]}
    assert context["home"] == "home.pigsty.cc"
    assert sites["web.cc"]["names"] == ["pigsty.cc", "zh.pigsty.cc"]
    assert sites["web.cc"]["kind"] == "static"
    assert sites["gitea"]["url"] == "https://git.pigsty.cc:8443/"
    assert not {"home", "blackbox", "vmalert"} & set(sites)


_STATIC = {"domain": "w.p", "path": "/www/w"}
BASES = {
    "index": _STATIC,
    "spa": _STATIC,
    "realm": {**PROXY, "auth": True},
    "open_paths": {**PROXY, "auth": True},
    "redirect": {"domain": "w.p", "redirect": "https://u.p"},
    "balance": {**PROXY, "endpoint": ["a:1", "b:1"]},
}
"""What an attribute is added to, where that is not an entry with an HTTPS endpoint."""


def test_every_attribute_changes_something():
    """An attribute that is accepted and does nothing would be a promise that is not kept."""
    plain = {"domain": "w.p", "endpoint": "a:1", "scheme": "https", "proxy_ssl_verify": True}
    values = {
        "domain": "v.p", "domains": ["v.p"], "endpoint": "b:1", "path": "/x", "scheme": "http",
        "websocket": True, "index": True, "auth": True, "realm": "x", "cert": "/a", "key": "/a",
        "certbot": "x", "enforce_https": True, "log": "x", "config": "gzip off;",
        "conf": "static.conf.j2", "client_max_body_size": 1, "proxy_connect_timeout": "1s",
        "proxy_read_timeout": "1s", "proxy_send_timeout": "1s", "proxy_ssl_verify": False,
        "proxy_ssl_trusted_certificate": "/a", "proxy_ssl_name": "v.p", "hsts": True,
        "auth_paths": ["/a"], "open_paths": ["/a"], "accel_redirect": True,
        "users": ["ann"], "allow": "10.0.0.0/8", "deny": ["10.0.0.0/8"], "satisfy": "all",
        "ssl_client_certificate": "/a", "ssl_verify_client": "optional",
        "log_format": "x", "limit_req": {"rate": "1r/s"},
        "balance": "least_conn", "large_client_header_buffers": "32k", "maintenance": True,
        "http3": True, "proxy_http_version": "1.0", "host": "h", "proxy_set_header": {"X-A": "b"},
        "proxy_next_upstream": "off", "proxy_buffering": True, "proxy_buffer_size": "32k",
        "proxy_request_buffering": True, "proxy_cache": True, "spa": True, "redirect": "https://v.p",
        "expires": "1d", "gzip": False, "brotli": True, "locations": {"/a": {"websocket": True}},
    }  # fmt: skip
    assert values.keys() == attributes.ENTRY.keys()
    for attribute, value in values.items():
        base = BASES.get(attribute, plain)
        more = {
            "cert": {"key": "/a"}, "key": {"cert": "/a"},
            "ssl_verify_client": {"ssl_client_certificate": "/a"},
        }.get(attribute, {})  # fmt: skip
        formats = {"nginx_http_config": "log_format x '';"}
        before = text({"wiki": base}, "wiki", **formats)
        assert text({"wiki": {**base, attribute: value, **more}}, "wiki", **formats) != before, (
            attribute
        )


def test_every_attribute_of_a_location_changes_something():
    plain = {"domain": "w.p", "endpoint": "a:1", "scheme": "https", "proxy_ssl_verify": True}
    values = {
        "endpoint": "b:1", "path": "/x", "scheme": "http", "websocket": True, "index": True,
        "auth": True, "realm": "x", "client_max_body_size": 1, "proxy_connect_timeout": "1s",
        "proxy_read_timeout": "1s", "proxy_send_timeout": "1s", "proxy_ssl_verify": False,
        "proxy_ssl_trusted_certificate": "/a", "proxy_ssl_name": "v.p", "accel_redirect": True,
        "balance": "least_conn", "proxy_http_version": "1.0", "host": "h",
        "proxy_set_header": {"X-A": "b"}, "proxy_next_upstream": "off", "proxy_buffering": True,
        "proxy_buffer_size": "32k", "proxy_request_buffering": True, "proxy_cache": True,
        "spa": True, "redirect": "/b", "expires": "1d", "gzip": False, "brotli": True,
        "strip_prefix": True,
    }  # fmt: skip
    assert values.keys() == attributes.IN_LOCATIONS.keys()
    for attribute, value in values.items():
        base = {
            "index": {"path": "/x"}, "spa": {"path": "/x"}, "realm": {"auth": True},
            "balance": {"endpoint": ["b:1", "c:1"]},
        }.get(attribute, {})  # fmt: skip
        before = text({"wiki": {**plain, "locations": {"/a": base}}}, "wiki")
        after = text({"wiki": {**plain, "locations": {"/a": {**base, attribute: value}}}}, "wiki")
        assert after != before, attribute


def test_the_status_of_an_entry_has_the_upstream_of_each_location(monkeypatch):
    monkeypatch.setattr(applied, "_code", create_autospec(applied._code, return_value=200))
    status = create_autospec(applied._upstream_status, side_effect=lambda e, _t: f"{e} ok")
    monkeypatch.setattr(applied, "_upstream_status", status)
    portal = {
        "one": {"domain": "one.p", "locations": {"/api": {"endpoint": ["b:2", "c:3"]}}},
        "two": {"domain": "two.p", "endpoint": "a:1", "locations": {"/x": {"websocket": True}}},
    }
    assert errors(portal) == []
    rows = {
        key: applied._entry_status(view, settings(), 1.0)
        for key, view in views(portal, settings()).items()
    }
    assert rows["one"]["upstream"] is None
    assert rows["one"]["locations"] == {
        "locations['/api']": {"upstream": "b:2", "upstream_status": "b:2 ok"}
    }
    assert rows["two"]["upstream_status"] == "a:1 ok"
    assert "locations" not in rows["two"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine below a folder, whose portal can be recorded, rendered and compared."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    monkeypatch.setattr(rendering, "ROOT", str(tmp_path / "nginx"))
    monkeypatch.setattr(inventory, "PATH", tmp_path / "register.json")
    monkeypatch.setattr(rendering, "version", create_autospec(rendering.version, return_value=[1]))
    minion = Minion({"cp.get_file_str": served_file})
    given = settings(nginx_group="root")

    def publish(portal, users=()):
        files = rendering.rendered(minion, portal, given, {})
        files.update(htpasswd.files(dict(users), "root", rendering.ROOT))
        FileSet("portal", rendering.ROOT).plan(files).apply()
        applied.record(portal, given)

    return SimpleNamespace(minion=minion, publish=publish, root=tmp_path / "nginx")


def served_file(url):
    path = TEMPLATES / url.removeprefix(f"{rendering.TEMPLATES}/")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_a_difference_is_one_from_what_was_applied_and_leaves_the_users_out(machine):
    machine.publish(proxy(), {"ann": "$6$salt$hash"})
    assert applied.diff(machine.minion) == {}
    assert (machine.root / ".htpasswd").exists()
    conf = machine.root / "conf.d/wiki.conf"
    conf.write_text(conf.read_text().replace("w.pigsty", "other.pigsty"))
    assert list(applied.diff(machine.minion)) == ["conf.d/wiki.conf"]
    machine.publish(proxy())
    assert set(applied.diff(machine.minion, {"new": {**PROXY, "domain": "n.p"}})) == {
        "conf.d/00-infra.conf", "conf.d/new.conf", "conf.d/wiki.conf",
        "conf.d/cert/n.p.crt", "conf.d/cert/n.p.key",
        "conf.d/cert/w.pigsty.crt", "conf.d/cert/w.pigsty.key",
    }  # fmt: skip


def test_questions_without_a_portal_are_about_the_one_that_was_applied(machine):
    with pytest.raises(CommandExecutionError, match="no portal was applied on this minion"):
        applied.entries()
    machine.publish(proxy(auth=True))
    assert applied.entries()["wiki"]["endpoints"] == ["127.0.0.1:8000"]
    assert applied.entries()["wiki"]["auth"] is True
    assert applied.validate() == {"valid": True, "errors": []}
    (error,) = applied.validate({"wiki": {"domain": "w p", "endpoint": "a:1"}})["errors"]
    assert error.startswith("infra_portal.wiki.domain: expected")
    assert "server_name w.pigsty;" in applied.render(machine.minion)["conf.d/wiki.conf"]
    assert applied.render(machine.minion, {})["conf.d/cert/i.pigsty.crt"] == "-> pigsty.crt"


def test_the_record_of_a_portal_is_for_root_alone(machine):
    machine.publish(proxy(config="set $token secret;"))
    assert applied.record_path().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("key", ["home", "wiki", "files"])
@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("app-access", "/var/log/nginx/app-access.log combined if=$access_logged"),
        ("app-access.log", "/var/log/nginx/app-access.log combined if=$access_logged"),
        ("app.LOG", "/var/log/nginx/app.LOG.log combined if=$access_logged"),
        ("off", "off"),
        ("Off", "off"),
        (False, "off"),  # what YAML makes of off without quotes
    ],
)
def test_a_log_has_a_name_that_is_rotated_and_shipped(key, log, expected):
    """The patterns of logrotate and Vector are /var/log/nginx/*.log."""
    entries = {
        "home": {"log": log},
        "wiki": {"domain": "w.p", "endpoint": "127.0.0.1:1", "log": log},
        "files": {"domain": "f.p", "path": "/www/f", "log": log},
    }
    assert portal_entries.problems(entries, settings()) == []
    body = text(entries, key)
    assert f"\n    access_log {expected};" in body
    assert body.count("\n    access_log ") == 1
