"""Directives of the level http, formats of logs and rate limits, by a real nginx."""

import json
import re
import time

import portal_samples
import pytest
from infra_formula.errors import Refused
from infra_formula.portal import entries, http_config, rendering, server
from nginx_server import Server, Upstream
from portal_samples import LOADER, facts, settings

JSON_LOG = 'log_format json escape=json \'{"host":"$host","uri":"$request_uri","status":$status}\';'
HTTP = f"""
map $request_method $is_write {{ default 1; GET 0; HEAD 0; }}
limit_req_zone $http_x_client zone=clients:1m rate=1r/m;
{JSON_LOG}
keepalive_timeout 7;
gzip off;
server_tokens on;
"""


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def portal(tmp_path_factory, upstream):
    there = f"127.0.0.1:{upstream.port}"
    found = Server(
        tmp_path_factory.mktemp("nginx"),
        {
            "app": {"domain": "a.p", "endpoint": there, "config": "return 200 $is_write;"},
            "slow": {"domain": "s.p", "endpoint": there, "limit_req": {"rate": "1r/m"}},
            "burst": {"domain": "b.p", "endpoint": there,
                      "limit_req": {"rate": "1r/m", "burst": 2, "nodelay": True, "status": 503}},
            "zone": {"domain": "z.p", "endpoint": there, "limit_req": {"zone": "clients"}},
            "files": {"domain": "f.p", "path": "/www/f", "limit_req": {"rate": "1r/m"}},
            "plain": {"domain": "p.p", "endpoint": there, "log_format": "combined"},
        },
        nginx_http_config=HTTP, nginx_log_format="json",
    )  # fmt: skip
    yield found
    found.close()


def logged(portal, name):
    """The lines of an access log; nginx writes one after it has answered."""
    deadline = time.monotonic() + 10
    path = portal.root / "log" / name
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text.splitlines()
        time.sleep(0.02)
    raise AssertionError(f"nothing in {path}")


def test_a_map_is_before_all_sites(portal):
    assert portal.get("a.p")[2] == "0"
    assert portal.get("a.p", method="DELETE")[2] == "1"


def test_a_directive_that_the_formula_sets_there_is_replaced(portal):
    text = (portal.root / "etc/nginx.conf").read_text()
    assert not re.search(r"keepalive_timeout|gzip on|server_tokens", text)
    assert "gzip_vary on;" in text
    assert portal.get("a.p")[1]["server"].startswith("nginx/")


def test_access_logs_are_json_where_no_entry_says_otherwise(portal):
    assert portal.get("s.p", "/logged")[0] in (200, 429)
    row = json.loads(logged(portal, "slow.log")[0])
    assert row["host"] == "s.p"
    portal.get("p.p", "/logged")
    assert '"GET /logged HTTP/1.1" 200' in logged(portal, "plain.log")[0]


@pytest.mark.parametrize(
    ("name", "codes"), [("s.p", [429]), ("b.p", [200, 200, 503]), ("f.p", [429])]
)
def test_who_asks_too_often_is_told_so_and_no_upstream_is_asked(portal, upstream, name, codes):
    portal.get(name, "/first")
    asked = len(upstream.seen)
    assert [portal.get(name, "/again")[0] for _ in codes] == codes
    assert len(upstream.seen) - asked == codes.count(200)


def test_a_zone_of_the_site_counts_by_its_own_key(portal):
    assert portal.get("z.p", X_Client="one")[0] == 200
    assert portal.get("z.p", X_Client="one")[0] == 429
    assert portal.get("z.p", X_Client="two")[0] == 200
    assert portal.get("z.p")[0] == portal.get("z.p")[0] == 200  # an empty key is not counted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gzip off", "expected whole nginx directives, its last directive lacks a ;"),
        ("}", "expected whole nginx directives, a } closes the block around it"),
        ("client_max_body_size 1g;", "expected no client_max_body_size for all sites; use the par"),
        ("add_header X-A b;", "expected no add_header for all sites; use an attribute of an entry"),
        ("set_real_ip_from 10.0.0.1;", "for all sites; use the parameter nginx_trusted_proxies"),
        ("auth_basic x;", "expected no auth_basic for all sites"),
        ("server { listen 81; add_header X-A b; }", None),
        ("# only a comment\n", None),
    ],
)
def test_what_is_dead_there_or_not_whole_is_refused(text, expected):
    found = entries.problems({}, settings(nginx_http_config=text))
    assert (not found) if expected is None else expected in found[0]
    assert all(message.startswith("nginx_http_config: ") for message in found)


@pytest.mark.parametrize(
    ("changes", "entry", "expected"),
    [
        ({"nginx_log_format": "json"}, {}, "nginx_log_format: expected one of combined"),
        ({"nginx_http_config": JSON_LOG, "nginx_log_format": "json"}, {}, None),
        ({"nginx_http_config": JSON_LOG}, {"log_format": "jsno"}, "did you mean 'json'?"),
        ({"nginx_http_config": "include /etc/formats;"}, {"log_format": "any"}, None),
        ({}, {"limit_req": {"rate": "10r/s", "burst": 5, "nodelay": True}}, None),
        ({}, {"limit_req": {}}, "limit_req: expected either rate or zone"),
        ({}, {"limit_req": {"rate": "1r/s", "zone": "x"}}, "expected either rate or zone"),
        ({}, {"limit_req": {"rate": "10/s"}}, "limit_req.rate: expected a rate like 10r/s"),
        ({}, {"limit_req": {"zone": "none"}}, "limit_req.zone: expected a zone of a limit_req_zon"),
        ({}, {"limit_req": {"rate": "1r/s", "nodelay": True}}, "nodelay: expected a burst beside"),
        ({}, {"limit_req": {"rate": "1r/s", "brust": 1}}, "did you mean 'burst'?"),
        (
            {},
            {"limit_req": {"rate": "1r/s", "burst": 9, "delay": 3, "nodelay": True}},
            "delay: expected nothing beside nodelay",
        ),
    ],
)
def test_references_and_combinations_are_checked_by_name(changes, entry, expected):
    portal = {"web": {"domain": "web.p", "path": "/web", **entry}}
    found = entries.problems(portal, settings(**changes))
    assert (not found) if expected is None else expected in " ".join(found)


def test_a_variable_of_the_portal_is_not_replaced():
    given = settings(nginx_http_config="map $uri $is_hidden { default ''; }")
    with pytest.raises(Refused, match=r"nginx_http_config: .*\$is_hidden, which the portal"):
        rendering.files({}, given, facts(), LOADER)


def test_what_nginx_refuses_there_is_led_back_to_the_parameter(tmp_path):
    text = f"gzip off;\nno_such {portal_samples.REPO};"
    files = rendering.files({}, settings(nginx_http_config=text), facts(), LOADER)
    (tmp_path / http_config.FILE).write_text(files[http_config.FILE]["text"])
    message = f'nginx: [emerg] unknown directive "no_such" in {tmp_path}/{http_config.FILE}:3'
    assert server.explain(message, str(tmp_path), {}).startswith(
        'nginx_http_config: nginx refuses its line 2: unknown directive "no_such": no_such '
    )


def test_without_it_nothing_of_it_is_there():
    files = rendering.files({}, settings(), facts(), LOADER)
    assert http_config.FILE not in files
    assert http_config.FILE not in files["nginx.conf"]["text"]
