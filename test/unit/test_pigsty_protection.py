"""No damage of an inventory makes its conversion less protected than Pigsty is.

What Pigsty makes of a value is modelled here by itself, from the facts of its templates: `X|bool`
of Ansible, and a template's `is defined`.
"""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula.data import load
from infra_formula.parameters import locked, merging, validation
from infra_formula.pigsty import conversion, values
from infra_formula.portal.views import views

from tools import formula

MINION = formula.minion()
UNKNOWN = "{{ defined_nowhere }}"
VAULT = {"__ansible_vault": "x"}
DAMAGE = [
    UNKNOWN, "{{ x | b64decode }}", "{{ broken", VAULT, None, "", [], {}, [UNKNOWN], {"a": UNKNOWN},
    "maybe", "yes", "off", True, False, 0, 1, 2, -1, 1.5, "a\tb", "a\nb", "a b;", '"', "x" * 300,
    ["a"], {"a": 1}, "${admin_ip}", "10.1.0.10:80",
]  # fmt: skip


def is_known(value):
    return UNKNOWN not in repr(value) and "{{" not in repr(value) and value != VAULT


def as_bool(value):
    """Ansible's filter `bool`."""
    if isinstance(value, str):
        return value.lower() in ("yes", "on", "1", "true")
    return value in (True, 1)


def convert(variables):
    hosts = {"10.1.0.10": {"infra_seq": 1}}
    all_vars = {"version": "v4.5.0", "admin_ip": "10.1.0.10", **variables}
    inventory = {"all": {"children": {"infra": {"hosts": hosts}}, "vars": all_vars}}
    text = yaml.safe_dump(inventory).replace("__ansible_vault: x", "__ansible_vault: ''")
    pillar, report = conversion.from_text(MINION, text)
    whole = merging.with_secrets(pillar["infra"], pillar.get("infra_secrets"))
    refused = bool(validation.check_data(MINION, pillar)["errors"])
    assert refused == bool(locked.problems(pillar))
    assert not refused or report["closed"]
    defaults = {n: r["default"] for s in load("schema").values() for n, r in s.items()
                if "default" in r}  # fmt: skip
    return {**defaults, **whole}, refused


def portal_views(parameters):
    settings_ = {
        "nginx_sslmode": parameters["nginx_sslmode"], "nginx_port": 80, "nginx_ssl_port": 443,
        "nginx_home": "/www", "nginx_users": bool(parameters["nginx_users"]),
        "admin_ip": "10.1.0.10", "portal_auth": "", "oauth2_proxy_endpoint": "",
        "oauth2_proxy_cookie_name": "c", "portal_haproxy_logins": [], "addresses": [],
        "components": {}, "closed_ports": [], "ca_bundle": "/x", "own_addresses": [],
        "own_names": [], "infra_names": [], "dns_records": [], "own_address": "10.1.0.10",
        **{f"nginx_{a}": "1" for a in ("client_max_body_size", "proxy_connect_timeout",
                                       "proxy_read_timeout", "proxy_send_timeout")},
    }  # fmt: skip
    return views(parameters["infra_portal"], settings_)


CLOSED_BY_DEFAULT = {"domain": "i.shop.example", "auth": True, "index": False}
ATTRIBUTES = (
    "domain", "domains", "auth", "realm", "enforce_https", "config", "scheme", "endpoint", "path",
    "index", "cert", "key", "certbot", "log", "websocket", "conf", "expose",
)  # fmt: skip


def check_entry(key, entry, variables):
    """An entry of Pigsty that asks for a login, or redirects, still does; or it is not served."""
    portal = {"home": {"domain": "i.pigsty"}, key: entry}
    parameters, refused = convert({"infra_portal": portal, **variables})
    if refused:
        return
    assert parameters["nginx_users"] or not any(
        isinstance(e, dict) and e.get("auth") for e in parameters["infra_portal"].values()
    )
    if isinstance(entry, dict) and isinstance(entry.get("domain"), str) and key != "home":
        view = portal_views(parameters).get(key)
        if view is None or view["kind"] == "unserved":
            return  # closed
    else:
        view = portal_views(parameters)["home"]
        if key != "home":
            return
    if not isinstance(entry, dict):
        # Pigsty serves nothing of it, but the formula always serves a home page.
        assert view["auth"]
        return
    if as_bool(entry.get("auth")) or not is_known(entry.get("auth", "")):
        assert view["auth"], "the entry lost its login"
    mode = variables.get("nginx_sslmode", "enable")
    if as_bool(entry.get("enforce_https")) and mode != "disable" and key != "home":
        assert view["redirect"], "the entry lost its redirect"
    if entry.get("config") not in (None, "") and isinstance(entry["config"], str):
        assert view["config"] == entry["config"].strip("\n"), "the entry lost its directives"
    if entry.get("scheme") == "https":
        assert view["scheme"] == "https"
    if key == "home" and "index" in entry and not as_bool(entry["index"]):
        assert not view["index"], "the home page lists files"


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: repr(d)[:20])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_wrong_attribute_opens_no_entry(attribute, damage):
    home = {**CLOSED_BY_DEFAULT, attribute: damage}
    check_entry("home", home, {"nginx_users": {"ops": "pw"}})
    entry = {"domain": "a.shop.example", "endpoint": "10.1.0.2:80", "auth": True,
             "enforce_https": True, "config": "allow 10.0.0.0/8;\ndeny all;", "scheme": "https",
             attribute: damage}  # fmt: skip
    check_entry("app", entry, {"nginx_users": {"ops": "pw"}})


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: repr(d)[:20])
def test_a_wrong_home_page_is_closed(damage):
    parameters, refused = convert({"infra_portal": {"home": damage}})
    assert refused or portal_views(parameters)["home"]["auth"]
    parameters, refused = convert({"infra_portal": damage})
    assert refused or portal_views(parameters)["home"]["auth"]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: repr(d)[:20])
def test_wrong_users_let_nobody_in(damage):
    """Who may log in is a user of the inventory with its password, and nobody else."""
    for users in (damage, {"ops": damage}, {"ops": "pw", "dev": damage}):
        home = {"domain": "i.shop.example", "auth": True}
        parameters, refused = convert({"infra_portal": {"home": home}, "nginx_users": users})
        assert not refused  # nobody can log in, and the rest of the site runs
        assert parameters["nginx_users"]
        for user, password in parameters["nginx_users"].items():
            assert password == values.LOCKED or str(users[user]) == password
        assert portal_views(parameters)["home"]["auth"]


SECRETS = ("grafana_admin_password", "grafana_view_password", "grafana_pgurl")


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: repr(d)[:20])
@pytest.mark.parametrize("name", [*SECRETS, "grafana_admin_username"])
def test_a_wrong_login_is_no_public_one(name, damage):
    parameters, refused = convert({name: damage})
    default = {n: r.get("default") for s in load("schema").values() for n, r in s.items()}[name]
    means_unset = name in ("grafana_pgurl", "grafana_view_password") and damage in (None, "")
    if not refused and not means_unset:
        assert parameters[name] == str(damage)
        assert parameters[name] != default


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: repr(d)[:20])
@pytest.mark.parametrize("name", sorted(load("pigsty")["protects"]))
def test_every_variable_that_protects_is_kept_or_locked(name, damage):
    """A value that cannot be known is never the default."""
    parameters, refused = convert({name: damage})
    if not is_known(damage) and name not in ("nginx_users",) and isinstance(damage, (str, dict)):
        if damage == {"a": UNKNOWN} and name == "infra_portal":
            assert portal_views(parameters)["home"]["auth"]
        else:
            assert refused
    if name.endswith("_enabled") and is_known(damage):
        assert parameters[name] is as_bool(damage)
    if name.endswith("_options") and not refused and isinstance(damage, str) and damage:
        lost = set(damage.split()) - set(parameters[name].split())
        assert not any("auth" in word for word in lost)


def test_flags_with_a_login_are_never_lost():
    for name in ("vmetrics_options", "vlogs_options", "vtraces_options", "vmalert_options",
                 "alertmanager_options", "blackbox_options", "node_exporter_options"):  # fmt: skip
        for flag in ("-httpAuth.password=a", '-httpAuth.password="a$b"', "--web.config.file=/etc/w",
                     "-tls", "-httpListenAddr=127.0.0.1:9"):  # fmt: skip
            parameters, refused = convert({name: f"-other=1 {flag} -more=2"})
            assert refused or flag in parameters[name], (name, flag)
    _, refused = convert({"version": "v3.5.0", "prometheus_options": "--web.config.file=/etc/w"})
    assert refused


GOOD = st.sampled_from([True, False, "yes", "no", UNKNOWN, None, "", VAULT, "maybe", 1])
ENTRIES = st.fixed_dictionaries(
    {"domain": st.sampled_from(["a.shop.example", "i.shop.example", "", UNKNOWN, "bad domain;"])},
    optional={
        "auth": GOOD, "enforce_https": GOOD, "index": GOOD, "websocket": GOOD,
        "endpoint": st.sampled_from(["10.1.0.2:80", "10.1.0.2", "", UNKNOWN, "x:y:z", 80]),
        "path": st.sampled_from(["/www/a", "a", "", UNKNOWN, "/tmp/x"]),
        "config": st.sampled_from(["deny all;", "deny all", "", UNKNOWN, "}", "allow 1.2.3.4;"]),
        "scheme": st.sampled_from(["http", "https", "ftp", "", UNKNOWN]),
        "realm": st.sampled_from(["Ops", '"', UNKNOWN]),
        "certbot": st.sampled_from(["", "a", "a b"]),
        "cert": st.sampled_from(["", "/etc/a.crt", UNKNOWN]), "log": st.sampled_from(["", "a.log"]),
    },
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(["home", "app"]), ENTRIES, st.sampled_from([{}, {"ops": "pw"}, {"ops": ""}]),
       st.sampled_from(["enable", "enforce", "disable"]))  # fmt: skip
def test_no_entry_is_less_protected(key, entry, users, mode):
    check_entry(key, entry, {"nginx_users": users, "nginx_sslmode": mode})
