"""Which parameters are secrets, how two pillars become one, and that no message shows a value."""

import re

import pytest
import salt.utils.dictupdate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula import credentials
from infra_formula.grafana import settings as grafana_settings
from infra_formula.parameters import schema as infra_schema
from infra_formula.parameters import secrets as infra_secrets
from infra_formula.parameters import validation
from infra_formula.portal import attributes
from infra_formula.repository import request_rules

from tools import formula, parameters

SCHEMA = parameters.read()
RULES = infra_schema.parameters(SCHEMA)
CANARY = "cAnArY-9a7f"
WORDS = re.compile(
    r"passw|passphrase|\btoken|secret|credential|private|\bkeys?\b|api_key|htpasswd|_key\b|auth\b"
    r"|webhook|receiver|proxy_env|bearer|login|pgurl|options$",
    re.IGNORECASE,
)
PUBLIC = {
    "infra_streams": "ports, endpoints and paths of certificates",
    "infra_hosts": "addresses and numbers",
    "infra_listen": "a choice of three words",
    "infra_secrets_strict": "a switch",
    "ca_name_constraints": "domains and networks",
    "ca_source": "a path",
    "portal_haproxy_logins": "names of machines",
    "certs": "paths of keys, which the formula makes",
    "portal_auth": "a choice of three words",
    "certbot_ca": "a path",
    "certbot_key_type": "a choice of three words",
    "repo_key_file": "a path",
    "repo_key_passphrase_file": "a path",
    "repo_archive_fingerprint": "a fingerprint is for everybody",
    "dns_options": "lines of dnsmasq, which knows no secrets",
    "node_dns_options": "lines of resolv.conf",
    "node_firewall_intranet": "networks",
    "nginx_auth_over_http": "a switch",
    "vmcluster_hosts": "addresses and roles",
    "vlcluster_hosts": "addresses",
    "vtcluster_hosts": "addresses",
    "alertmanager_severities": "names of receivers",
    "grafana_auth_proxy": "a switch",
    "vector_buffer_size": "a size",
}


MINION = formula.minion("infra-1")
HOSTS = {"infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}}
CLIENT = formula.minion("node-1")


def check(infra, secrets=None, **options):
    """Errors and warnings of an INFRA node, or of all minions."""
    infra = infra if options.get("all_minions") else {**HOSTS, **infra}
    return validation.check(MINION, infra, secrets, **options)


def check_client(infra, secrets=None):
    return validation.check(CLIENT, {**HOSTS, **infra}, secrets)


# -- the marks -------------------------------------------------------------------------------------

MARKED = {name for name, *_ in parameters.secrets(SCHEMA)}


def texts(rule):
    """Names and descriptions in a rule, its own default and example left out."""
    found = [str(rule.get("about", ""))] if not isinstance(rule.get("about"), dict) else []
    found += [text for pair in rule.get("entries", {}).get("about", {}).items() for text in pair]
    for key, inner in rule.get("keys", {}).items():
        found += [key, *texts(inner)]
    for choice in ([rule["items"]] if "items" in rule else []) + rule.get("either", []):
        found += texts(choice)
    return found


def speaks_of_secrets(name):
    return [text for text in (name, *texts(RULES[name])) if WORDS.search(text)]


@pytest.mark.parametrize("name", RULES)
def test_a_parameter_that_speaks_of_secrets_is_marked_or_public_for_a_reason(name):
    assert not speaks_of_secrets(name) or name in MARKED or PUBLIC.get(name)


def test_a_reason_is_given_only_where_one_is_needed():
    asked = {name for name in RULES if name not in MARKED and speaks_of_secrets(name)}
    assert asked == set(PUBLIC)


def test_what_clients_need_is_marked_and_each_mark_is_one_of_two_words():
    assert {n for n, rule in RULES.items() if "clients" in rule} <= MARKED

    def marks(rule):
        yield from [rule["secret"]] if "secret" in rule else []
        for inner in (
            *rule.get("keys", {}).values(),
            *([rule["items"]] if "items" in rule else []),
        ):
            yield from marks(inner)

    assert {mark for rule in RULES.values() for mark in marks(rule)} == {True, "maybe"}


def test_the_marked_keys_of_entries_are_keys_of_entries():
    assert set(RULES["infra_portal"]["entries"]["secret"]) <= set(attributes.ENTRY)
    rule = request_rules.UPSTREAM_RULE
    assert set(RULES["repo_upstream"]["entries"]["secret"]) <= set(rule.get("keys", rule))


# -- what is recognized ----------------------------------------------------------------------------

HELD = [
    "http://u:p@proxy:3128",
    "u:p@proxy:3128",
    "-remoteWrite.url=http://a/ -remoteWrite.basicAuth.password=x",
    "--http.basic-auth-password x",
    "-remoteWrite.bearerToken='x y'",
    "-remoteWrite.oauth2.clientSecret=x",
    "--eab-kid 1 --eab-hmac-key abc",
    'proxy_set_header Authorization "Basic dTpw";',
    "proxy_set_header X-Api-Key abc;",
    "set $token abc;",
    "-----BEGIN PRIVATE KEY-----\nabc",
    {"basic_auth": {"username": "u", "password": "x"}},
    {"authorization": {"credentials": "x"}},
    {"headers": {"Authorization": ["Bearer x"]}},
    {"oauth2": {"client_secret": "x"}},
    {"smtp": {"password": 12345}},
    {"security": {"secret_key": "x"}},
    {"http": {"headers": {"Cookie": "a=b"}}},
    ["a", {"proxy_url": "http://u:p@h"}],
    {"params": {"access_token": ["x"]}},
]
NOT_HELD = [
    "http://10.10.10.10:9428/insert",
    "infra",
    "",
    None,
    5,
    True,
    [],
    {},
    "-insert.maxLineSizeBytes=1MB -search.maxQueryDuration=120s",
    "--no-collector.softnet --collector.processes",
    "-httpAuth.password=file:///etc/x",
    {"basic_auth": {"username": "u", "password_file": "/etc/x"}},
    {"module": ["http_2xx"], "tls_config": {"key_file": "/etc/x"}},
    'proxy_set_header Authorization "";',
    "proxy_set_header Authorization $http_authorization;",
    "rewrite ^/zh/(.*)$ /$1 permanent; # the token is refreshed",
    {"smtp": {"enabled": True, "host": "mail.example.com:25"}},
    {"auth.anonymous": {"enabled": True}},
    {"targets": ["a@b.example", "http://[::1]:80/"]},
]


@pytest.mark.parametrize("value", HELD, ids=repr)
def test_a_secret_is_recognized(value):
    assert credentials.holds_credentials(value)
    assert credentials.recognized(value)


@pytest.mark.parametrize("value", NOT_HELD, ids=repr)
def test_what_is_harmless_is_not_taken_for_a_secret(value):
    assert not credentials.holds_credentials(value)


NAMES = [
    "password",
    "bearer_token",
    "client_secret",
    "secret_key",
    "X-Api-Key",
    "authToken",
    "passwd",
    "credentials",
    "private_key",
    "Authorization",
    "smtp_pass",
    "basicAuthPassword",
]
PLAIN = st.text("abcdefgh", min_size=1, max_size=6)


@given(st.sampled_from(NAMES), st.lists(st.sampled_from(["map", "list"]), max_size=4), PLAIN)
def test_a_secret_is_recognized_however_deep_it_lies(name, around, key):
    value = {name: CANARY}
    for kind in around:
        value = [value, 1] if kind == "list" else {key: value, "other": 1}
    assert credentials.holds_credentials(value)


@given(st.sampled_from(NAMES), PLAIN, PLAIN)
def test_a_flag_and_an_address_with_a_secret_are_recognized(name, prefix, value):
    assert credentials.holds_credentials(f"--{prefix}.{name}={value}")
    assert credentials.holds_credentials(f"--a=b -{prefix}.{name} {value}")
    assert credentials.holds_credentials(f"-remoteWrite.url=https://{prefix}:{value}@h.example/x")


@given(
    st.sampled_from(["admin_password", "client_secret", "secret_key", "url", "token", "license"]),
    st.sampled_from(["plain", "http://u:p@h/", "x y"]),
)
def test_what_grafana_keeps_in_a_file_of_its_own_is_a_secret_here(key, value):
    if grafana_settings.is_secret(key, value):
        assert credentials.holds_credentials({"section": {key: value}})


# -- one pillar, divided ---------------------------------------------------------------------------

SECRETS = {
    "ca_key": CANARY,
    "nginx_users": {"ann": CANARY},
    "nginx_http_config": f"server {{ set $token {CANARY}; }}",
    "nginx_certificates": {"shop": {"crt": "for everybody", "key": CANARY}},
    "infra_portal": {"web.io": {"domain": "a.b", "config": f"set $token {CANARY};"}},
    "certbot_options": f"--eab-hmac-key {CANARY}",
    "certbot_dns_credentials": f"x = {CANARY}",
    "repo_endpoint": f"http://u:{CANARY}@h/",
    "repo_endpoints": [f"http://u:{CANARY}@h/"],
    "repo_url_packages": [{"url": f"http://u:{CANARY}@h/a.deb"}],
    "proxy_env": {"no_proxy": "localhost", "http_proxy": f"http://u:{CANARY}@h:1"},
    "vmetrics_options": f"-remoteWrite.basicAuth.password={CANARY}",
    "vmetrics_remote_write": [{"url": "http://h", "username": "u", "password": CANARY}],
    "vmagent_options": f"-remoteWrite.bearerToken={CANARY}",
    "vminsert_options": f"-httpAuth.password={CANARY}",
    "vmselect_options": f"-httpAuth.password={CANARY}",
    "vmstorage_options": f"-httpAuth.password={CANARY}",
    "vmetrics_scrape_jobs": [{"job_name": "a", "basic_auth": {"password": CANARY}}],
    "vlogs_options": f"-httpAuth.password={CANARY}",
    "vlstorage_options": f"-httpAuth.password={CANARY}",
    "vtraces_options": f"-httpAuth.password={CANARY}",
    "vtstorage_options": f"-httpAuth.password={CANARY}",
    "vmalert_options": f"-remoteRead.bearerToken={CANARY}",
    "vmalert_logs_options": f"-remoteRead.bearerToken={CANARY}",
    "alertmanager_options": f"--x.token {CANARY}",
    "alertmanager_receivers": {"ops": {"slack": {"api_url": f"https://hooks/{CANARY}"}}},
    "alertmanager_global": {"smtp_auth_password": CANARY},
    "alertmanager_tracing": {"http_headers": {"Authorization": f"Bearer {CANARY}"}},
    "grafana_admin_password": CANARY,
    "grafana_pgurl": f"postgres://u:{CANARY}@h/grafana",
    "grafana_view_password": CANARY,
    "grafana_datasources": {
        "Shop": {"type": "prometheus", "secureJsonData": {"basicAuthPassword": CANARY}},
        "Wiki": {"type": "x", "url": f"http://u:{CANARY}@h", "jsonData": {"token": CANARY}},
    },
    "grafana_config": {"smtp": {"password": CANARY}, "log": {"level": "info"}},
    "blackbox_options": f"--x.password={CANARY}",
    "blackbox_modules": {"x": {"http": {"headers": {"Authorization": CANARY}}}},
    "blackbox_targets": {"http_2xx": [f"https://u:{CANARY}@h/"]},
    "repo_upstream": [{"name": "a", "baseurl": {"default": f"http://u:{CANARY}@h/"}}],
    "node_exporter_options": f"--x.password={CANARY}",
    "vector_log_endpoint": [f"http://u:{CANARY}@h/"],
}
"""A secret in each parameter that is marked."""
CLIENTS = {name for name, rule in RULES.items() if rule.get("clients")}


def test_there_is_an_example_of_each_marked_parameter():
    assert set(SECRETS) == MARKED


@pytest.mark.parametrize("name", SECRETS)
def test_each_marked_secret_is_taken_out_of_what_all_may_have(name):
    for values, path in (
        ({name: SECRETS[name]}, name),
        ({"nodes": {"10.10.10.11": {name: SECRETS[name]}}}, f"nodes['10.10.10.11'].{name}"),
    ):
        public, secret = validation.split(MINION, values)
        found = check_client(values)
        strict = check_client({**values, "infra_secrets_strict": True})
        if name in CLIENTS:
            assert (public, secret) == (values, {})
            assert found["warnings"] == strict["warnings"] == []
            assert not [error for error in strict["errors"] if "no INFRA node" in error]
            continue
        assert CANARY not in repr(public)
        assert salt.utils.dictupdate.merge(public, secret, strategy="recurse") == values
        (message,) = found["warnings"]
        assert path in message
        assert "infra_secrets" in message
        assert CANARY not in message
        assert strict == {"errors": [message, *found["errors"]], "warnings": []}
        # An INFRA node may have it.
        found = check({**values, "infra_secrets_strict": True})
        assert not [m for m in found["errors"] + found["warnings"] if "no INFRA node" in m]


def test_defaults_are_no_secrets_and_a_pillar_without_one_is_left_alone():
    values = {name: rule["default"] for name, rule in RULES.items()}
    assert infra_secrets.split(RULES, values) == (values, {}, [])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(HELD),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["password", "a", "Shop", "b.c"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*RULES, "unknown"]), ANYTHING, max_size=4))
def test_whatever_is_divided_is_whole_again_when_it_is_merged(values):
    public, secret, paths = infra_secrets.split(RULES, values)
    assert bool(secret) == bool(paths)
    assert infra_secrets.split(RULES, public)[1:] == ({}, [])
    if public and secret:
        merged = salt.utils.dictupdate.merge(public, secret, strategy="recurse")
        assert merged == values


# -- two pillars, checked --------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    values=st.dictionaries(st.sampled_from(sorted(MARKED)), st.just(None), max_size=3),
    data=st.data(),
)
def test_no_error_shows_a_value_of_infra_secrets_or_of_a_marked_parameter(values, data):
    shapes = [
        CANARY,
        [CANARY],
        {"a": CANARY},
        {"a": {"type": CANARY}},
        f"{CANARY}\n",
        [{"name": CANARY}],
        {"a": [CANARY]},
        f"-x='{CANARY}",
        f"--{CANARY}",
        f"http://u:{CANARY}@",
    ]
    values = {name: data.draw(st.sampled_from(shapes)) for name in values}
    apart = data.draw(st.booleans())
    given_values = ({}, values) if apart else (values, {})
    errors = check(*given_values, all_minions=True)["errors"] + check(*given_values)["errors"]
    assert not any(CANARY in error for error in errors), errors
    if apart:
        assert all(error.startswith("infra_secrets:") for error in errors), errors
        assert not any(CANARY in e for e in validation.check_secrets(MINION, values)["errors"])


WRONG = [
    ({}, {"nginx_port": CANARY}, "infra_secrets:nginx_port: expected a port"),
    ({}, {"nginx_prot": 80}, "infra_secrets:nginx_prot: unknown key; did you mean 'nginx_port'?"),
    (
        {},
        {"infra_hosts": {"a": {"infra_seq": 1}}},
        "infra_secrets:infra_hosts: expected below `infra`",
    ),
    ({}, {"infra_secrets_strict": True}, "infra_secrets:infra_secrets_strict: expected below"),
    ({}, [CANARY], "infra_secrets: expected a dictionary"),
    ({}, CANARY, "infra_secrets: expected a dictionary"),
    (
        {},
        {"infra_portal": {"web.io": {"domain": CANARY + "_"}}},
        "infra_secrets:infra_portal.web.io.",
    ),
    (
        {"infra_portal": {"w": {"domain": "w.pigsty", "path": "/w"}}},
        {"infra_portal": {"w": {"realm": CANARY + '"'}}},
        "infra_secrets:infra_portal.w.realm: expected",
    ),
    (
        {},
        {"nodes": {"10.10.10.11": {"nginx_port": CANARY}}},
        "infra_secrets:nodes['10.10.10.11'].nginx_port: expected a port",
    ),
    (
        {},
        {"vector_log_endpoint": ["infra", f"ftp://u:{CANARY}@h"]},
        "infra_secrets:vector_log_endpoint[1]: expected infra or",
    ),
    (
        {"grafana_datasources": {"Shop": {"type": "prometheus"}}},
        {"grafana_datasources": {"Shop": {"secureJsonData": {"x": [CANARY]}}}},
        "infra_secrets:grafana_datasources.Shop.secureJsonData.x: expected",
    ),
    # What is wrong is below `infra`, whatever stands beside it.
    (
        {"infra_portal": {"w": {"domain": "w_"}}},
        {"infra_portal": {"w": {"realm": "r"}}},
        "infra_portal.w.domain: expected a domain",
    ),
    ({"nginx_port": "x"}, {"nginx_users": {"a": "b"}}, "nginx_port: expected a port"),
]


@pytest.mark.parametrize(("infra", "secrets", "wanted"), WRONG)
def test_an_error_names_the_pillar_that_it_is_in_and_no_secret(infra, secrets, wanted):
    for errors in (
        check(infra, secrets, all_minions=True)["errors"],
        check(infra, secrets)["errors"],
    ):
        assert any(error.startswith(wanted) for error in errors), errors
        assert CANARY not in repr(errors)


def test_a_part_of_an_entry_may_stand_in_infra_secrets():
    infra = {
        "grafana_datasources": {"Shop": {"type": "prometheus", "url": "http://10.10.10.30:9090"}},
        "infra_portal": {"home": {"domain": "i.pigsty"}, "w": {"domain": "w.pigsty", "path": "/w"}},
        "proxy_env": {"no_proxy": "localhost"},
    }
    secrets = {
        "grafana_datasources": {"Shop": {"secureJsonData": {"basicAuthPassword": CANARY}}},
        "infra_portal": {"w": {"config": "# x"}},
        "proxy_env": {"http_proxy": f"http://u:{CANARY}@h:1"},
        "nginx_users": {"ann": CANARY},
    }
    good = {"errors": [], "warnings": []}
    assert check(infra, secrets, all_minions=True) == good
    assert check(infra, secrets) == good
    assert validation.check_secrets(MINION, secrets) == good


def test_what_both_pillars_set_differently_is_warned_about_by_its_key_path():
    infra = {
        "nginx_port": 80,
        "proxy_env": {"http_proxy": "http://a:1"},
        "dns_records": ["10.0.0.1 a"],
        "nginx_users": {"ann": "same"},
    }
    secrets = {
        "nginx_port": 81,
        "proxy_env": {"http_proxy": f"http://u:{CANARY}@a:1"},
        "dns_records": ["10.0.0.2 a"],
        "nginx_users": {"ann": "same", "bob": CANARY},
    }
    found = check(infra, secrets)
    assert [message.split(" ")[0] for message in found["warnings"]] == [
        "infra_secrets:nginx_port",
        "infra_secrets:proxy_env.http_proxy",
        "infra_secrets:dns_records",
    ]
    assert CANARY not in repr(found)


def test_nodes_may_replace_what_infra_secrets_say_of_an_entry():
    secrets = {"grafana_datasources": {"Shop": {"secureJsonData": {"x": CANARY}}}}
    own = {"grafana_datasources": {"Shop": {"type": "prometheus", "url": ["x"]}}}
    errors = check({"nodes": {"infra-1": own}}, secrets)["errors"]
    assert any("grafana_datasources.Shop.url" in error for error in errors)
    assert CANARY not in repr(errors)


def test_infra_secrets_on_another_minion_are_named():
    found = check_client({}, {"nginx_users": {"ann": CANARY}})
    (message,) = found["warnings"]
    assert "infra_secrets (nginx_users)" in message
    assert CANARY not in message
    assert check_client({}, ["nginx_users"]) == found
    assert check_client({}, {}) == {"errors": [], "warnings": []}


@given(st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3), st.data())
def test_a_key_path_leads_back_to_what_it_names(value, data):
    path, keys, here = "", [], value
    while isinstance(here, (dict, list)) and here:
        if isinstance(here, list):
            key = data.draw(st.integers(0, len(here) - 1))
            path = f"{path}[{key}]"
        else:
            key = data.draw(st.sampled_from(sorted(here)))
            path = infra_schema.join(path, key)
        keys.append(key)
        here = here[key]
    if keys:
        assert infra_schema.locate(f"{path}: expected x, got 'y'", value) == keys


def test_a_client_needs_no_secret_for_what_refers_to_one():
    """Of these parameters a client has the half that is no secret."""
    infra = {
        "infra_portal": {"home": {"domain": "i.pigsty"}, "w": {"domain": "w.a", "auth": True}},
        "portal_auth": "basic",
        "alertmanager_severities": {"CRIT": "ops"},
        "alertmanager_routes": [{"receiver": "ops"}],
        "certbot_sign": True,
        "certbot_email": "a@example.com",
        "certbot_challenge": "dns",
        "certbot_dns_plugin": "cloudflare",
        "grafana_datasources": {"Shop": {"url": "http://10.10.10.30:9090"}},
        "vmetrics_targets": {"app": [{"targets": ["10.10.10.30:1"]}]},
    }
    assert check_client(infra)["errors"] == []
    assert check(infra)["errors"] != []
    # What it goes by itself is checked as ever.
    wrong = {**infra, "vector_log_endpoint": ["x"]}
    (error,) = check_client(wrong)["errors"]
    assert error.startswith("vector_log_endpoint[0]: expected")
