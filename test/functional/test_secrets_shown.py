"""Secrets in every secret parameter, in right and wrong shapes: none is in anything that comes out.

Each state of the formula is called as Salt calls it, with ``test=True``; the programs that check a
configuration are replaced by one that prints the file that it is given, and refuses it.
"""

import json
import logging
import stat
from pathlib import Path

import pem
import pytest
import salt.utils.yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infra_formula import credentials, paths, redaction, state_tree
from infra_formula.daemon import checks
from infra_formula.errors import CommandFailed
from infra_formula.fileset import contents, manifest
from infra_formula.logs import vector
from infra_formula.monitoring import alertmanager, blackbox, scraping
from infra_formula.parameters import merging, schema, validation
from infra_formula.portal import applied

CANARY = "cAnArY-9a7f"
URL = f"http://u:{CANARY}@10.10.10.30:9000"
SHOP = pem.pair("shop.pigsty")
RIGHT = {
    "ca_key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
    "nginx_users": {"ann": CANARY},
    "nginx_certificates": {"shop": {"crt": SHOP.crt, "key": f"{CANARY}\n{SHOP.key}"}},
    "nginx_http_config": f'map $uri $x {{ default "Bearer {CANARY}"; }}',
    "infra_portal": {
        "home": {"domain": "i.pigsty"},
        "wiki": {
            "domain": "wiki.pigsty",
            "endpoint": "10.10.10.21:9002",
            "config": f'location /a {{ proxy_set_header Authorization "Bearer {CANARY}"; }}',
        },
    },
    "certbot_options": f"--eab-kid 1 --eab-hmac-key {CANARY}",
    "certbot_dns_credentials": f"dns_x_api_token = {CANARY}\n",
    "repo_endpoint": URL,
    "repo_endpoints": [URL],
    "repo_upstream": [
        {
            "name": "mine",
            "module": "infra",
            "releases": [12, 9],
            "arch": ["x86_64"],
            "baseurl": f"{URL}/deb bookworm main",
            "trusted": True,
        }
    ],
    "repo_url_packages": [f"https://u:{CANARY}@10.10.10.30/x.deb"],
    "proxy_env": {"http_proxy": URL, "https_proxy": URL},
    "vmetrics_options": f"-remoteWrite.basicAuth.password={CANARY}",
    "vmetrics_remote_write": [{"url": "http://10.10.10.31", "username": "u", "password": CANARY}],
    "vmagent_options": f"-remoteWrite.bearerToken={CANARY}",
    "vminsert_options": f"-httpAuth.password={CANARY}",
    "vmselect_options": f"-httpAuth.password={CANARY}",
    "vmstorage_options": f"-httpAuth.password={CANARY}",
    "vmetrics_scrape_jobs": [
        {"job_name": "a", "targets": "a", "basic_auth": {"username": "u", "password": CANARY}},
        {"job_name": "b", "static_configs": [], "params": {"api_key": [CANARY]}},
    ],
    "vlogs_options": f"-httpAuth.password={CANARY}",
    "vlstorage_options": f"-httpAuth.password={CANARY}",
    "vtraces_options": f"-httpAuth.password={CANARY}",
    "vtstorage_options": f"-httpAuth.password={CANARY}",
    "vmalert_options": f"-datasource.bearerToken={CANARY}",
    "vmalert_logs_options": f"-datasource.bearerToken={CANARY}",
    "alertmanager_options": f"--web.token={CANARY}",
    "alertmanager_receivers": {"ops": {"slack": {"api_url": f"https://hooks/{CANARY}"}}},
    "alertmanager_tracing": {"http_headers": {"Authorization": f"Bearer {CANARY}"}},
    "alertmanager_global": {"smtp_auth_password": CANARY},
    "grafana_admin_password": CANARY,
    "grafana_pgurl": f"postgres://u:{CANARY}@10.10.10.10/grafana",
    "grafana_view_password": CANARY,
    "grafana_datasources": {
        "Shop": {
            "type": "prometheus",
            "url": f"http://10.10.10.30:9090/?token={CANARY}",
            "jsonData": {"sigV4SecretKey": CANARY, "secret": CANARY},
            "secureJsonData": {"httpHeaderValue1": CANARY},
        }
    },
    "grafana_config": {"smtp": {"password": CANARY}},
    "blackbox_options": f"--web.token={CANARY}",
    "blackbox_modules": {
        "mine": {"prober": "http", "http": {"basic_auth": {"password": CANARY}}},
        "other": {"prober": "http", "http": {"headers": {"Authorization": f"Bearer {CANARY}"}}},
    },
    "blackbox_targets": {"http_2xx": [f"https://u:{CANARY}@example.com/"]},
    "node_exporter_options": f"--web.token={CANARY}",
    "vector_log_endpoint": ["infra", f"https://u:{CANARY}@logs.example/x?token={CANARY}"],
}
INFRA = {
    "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
    "infra_portal": {"home": {"domain": "i.pigsty"}},
    "repo_enabled": True,
}
WRONG = [
    CANARY,
    [CANARY],
    [[CANARY]],
    {CANARY[:3]: CANARY},
    {"a": [CANARY]},
    {"a": {"b": CANARY}},
    {"a": {"mail": [CANARY]}},
    [{"job_name": {"a": CANARY}}],
    [{"name": CANARY, "url": [CANARY]}],
    {1: CANARY},
    {"a": {"type": CANARY, "secureJsonData": CANARY, "url": [CANARY]}},
    {"a": {"prober": [CANARY], "http": CANARY}},
    f"{CANARY}\n\x01",
    f"-x='{CANARY}",
    f"http://u:{CANARY}@",
    f"ftp://u:{CANARY}@h:x/",
]


@pytest.fixture(autouse=True)
def nothing_is_learned():
    yield
    redaction.forget()


@pytest.fixture
def refusing(tmp_path):
    """A program that prints every file that it is given, and refuses it."""
    program = tmp_path / "amtool"
    program.write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do file=${word#*=}; [ -d "$file" ] && cat "$file"/*; '
        '[ -f "$file" ] && while read -r line; do echo "error: cannot parse \\"$line\\""; '
        'done < "$file"; done | grep -E "cAnArY|<|uri" >&2\nexit 1\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def seen(call, caplog):
    """All that comes out of a call: what it returns or raises, and our logs."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        try:
            out = [repr(call())]
        except Exception as err:
            out, found = [], err
            while found is not None:
                out += [str(found), repr(found), repr(found.args), repr(vars(found))]
                found = found.__cause__ or found.__context__
    own = [r for r in caplog.records if r.name.startswith(("infra_formula", "salt.state"))]
    return "\n".join([*out, *(record.getMessage() for record in own)])


def chunks(modules, infra):
    found = modules.state.show_low_sls("infra", pillar={"infra": {**INFRA, **infra}})
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == []
    return [
        chunk
        for chunk in found
        if chunk["state"].startswith("infra_")
        and chunk["state"] not in ("infra_pillar", "infra_library")
    ]


def run(loaders, chunk, **changed):
    """Call a state as Salt does; its return."""
    private = ("state", "fun", "name", "order", "fail_with_changes", "names", "failhard")
    arguments = {
        key: value
        for key, value in {**chunk, **changed}.items()
        if key not in private and not key.startswith("__")
        and key not in ("require", "watch", "onchanges", "require_in", "watch_in", "reload_modules",
                        "onlyif", "unless", "prereq", "onfail", "retry", "check_cmd")
    }  # fmt: skip
    function = f"{chunk['state']}.{chunk['fun']}"
    return loaders.modules.state.single(function, chunk["name"], test=True, **arguments)


def with_programs(value, program):
    """A chunk in which each program of a daemon is another."""
    if isinstance(value, dict):
        return {k: program if k == "program" else with_programs(v, program)
                for k, v in value.items()}  # fmt: skip
    return value


def test_every_secret_parameter_is_planted(modules):
    # What is not valid is in no argument of a state.
    pillar = {"infra": {**INFRA, **RIGHT}}
    assert modules.infra_pillar.validate(pillar=pillar)["errors"] == []
    marked = {n for n, rule in merging.rules().items() if schema.has_secret(rule) and n != "nodes"}
    assert set(RIGHT) == marked
    text = json.dumps(RIGHT)
    assert all(CANARY in json.dumps(value) for value in RIGHT.values())
    assert text.count(CANARY) > len(RIGHT)


@pytest.mark.parametrize("learned", [True, False], ids=["in a run", "called alone"])
def test_no_state_shows_a_secret_of_its_arguments(
    loaders, modules, caplog, refusing, monkeypatch, learned
):
    """In a run the scrubber knows the pillar; a state called alone has its arguments only."""
    monkeypatch.setenv("PATH", f"{Path(refusing).parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    found = chunks(modules, {**RIGHT, "infra_packaging": "upstream"})
    with_secret = [chunk for chunk in found if CANARY in repr(chunk)]
    assert len(with_secret) > 8
    failures = 0
    for chunk in with_secret:
        if not learned:
            redaction.forget()
        given_chunk = with_programs(chunk, refusing)
        text = seen(lambda given_chunk=given_chunk: run(loaders, given_chunk), caplog)
        assert CANARY not in text, (chunk["__id__"], text)
        failures += "'result': False" in text
    assert failures > 3


# What a part of the pillar is called as an argument of a state.
ARGUMENTS = {
    "infra-alertmanager-receivers-managed": [("settings", "receivers"), ("settings", "global")],
    "infra-vmagent-scrape-managed": [("custom",)],
    "infra-blackbox-modules-managed": [("custom",)],
    "infra-nginx-portal-managed": [("users",), ("portal",)],
    "infra-vector-sources-managed": [("endpoints",)],
    "infra-grafana-datasources-managed": [("site",)],
    "infra-repo-packages-published": [("request", "url_packages"), ("transfer", "proxy_env")],
}


def test_no_state_shows_a_secret_of_an_argument_of_another_shape(loaders, modules, caplog):
    found = {chunk["__id__"]: chunk for chunk in chunks(modules, RIGHT)}
    tried = 0
    for name, places in ARGUMENTS.items():
        chunk = found[name]
        for place in places:
            for wrong in WRONG[::2]:
                value = json.dumps(wrong) if place == ("site",) else wrong
                changed = {place[0]: value}
                if len(place) == 2:
                    changed = {place[0]: {**chunk[place[0]], place[1]: value}}
                text = seen(lambda c=chunk, k=changed: run(loaders, c, **k), caplog)
                tried += 1
                assert CANARY not in text, (name, place, wrong, text)
    assert tried == 8 * 10


def test_the_scrape_configuration_shows_neither_its_new_password_nor_the_one_before(
    loaders, modules, caplog, tmp_path
):
    (chunk,) = (
        c for c in chunks(modules, {**RIGHT, "infra_data": str(tmp_path)})
        if (c["state"], c["fun"]) == ("infra_scrape", "managed")
    )  # fmt: skip
    before = scraping._yaml(
        {"scrape_configs": [{"job_name": "old", "params": {"api_key": [f"old-{CANARY}"]}}]}
    )
    (tmp_path / scraping.CONFIGURATION).write_text(before)
    manifest.write("scrape", manifest.Manifest(str(tmp_path), {scraping.CONFIGURATION: ""}))
    chunk = with_programs(chunk, "/nonexistent")
    for custom in (RIGHT["vmetrics_scrape_jobs"], []):
        redaction.forget()
        text = seen(lambda custom=custom: run(loaders, chunk, custom=custom), caplog)
        assert scraping.CONFIGURATION in text
        assert redaction.PLACEHOLDER in text
        assert CANARY not in text
    manifest.manifest_path("scrape").unlink()
    assert Path("/var/lib/infra") != paths.STATE_DIR


def test_what_the_command_line_says_of_the_applied_portal_holds_no_secret(
    modules, caplog, tmp_path, monkeypatch
):
    (chunk,) = (
        c for c in chunks(modules, {"infra_portal": RIGHT["infra_portal"]})
        if (c["state"], c["fun"]) == ("infra_portal", "managed")
    )  # fmt: skip
    portal = chunk["portal"]
    portal = json.loads(portal) if isinstance(portal, str) else portal
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    (tmp_path / "manifest").mkdir()
    applied.record(portal, chunk["settings"])
    assert CANARY in applied.record_path().read_text()
    redaction.forget()
    found = seen(modules.infra_portal.render, caplog)
    assert "conf.d/wiki.conf" in found
    assert redaction.PLACEHOLDER in found
    assert CANARY not in found
    for function in ("diff", "entries", "validate"):
        assert CANARY not in seen(getattr(modules.infra_portal, function), caplog)


# -- pillar validation -----------------------------------------------------------------------------


def planted(shape, value):
    """A wrong shape with a secret in place of the canary."""
    return json.loads(json.dumps(shape).replace(CANARY, json.dumps(value)[1:-1]))


NASTY = st.text("aB3-'\"\\%{}$ é/", min_size=8, max_size=20).filter(lambda s: len(set(s)) > 4)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_finding_about_the_pillar_shows_a_secret(minion, data):
    names = data.draw(st.lists(st.sampled_from(sorted(RIGHT)), min_size=1, max_size=3, unique=True))
    secret = data.draw(NASTY)
    values = {
        name: planted(data.draw(st.sampled_from([*WRONG, RIGHT[name]])), secret) for name in names
    }
    apart = data.draw(st.booleans())
    pillars = (INFRA, values) if apart else ({**INFRA, **values}, None)
    for all_minions in (True, False):
        found = validation.check(minion, *pillars, all_minions=all_minions)
        assert secret not in "\n".join(found["errors"] + found["warnings"])
    found = state_tree.values(minion, *pillars)
    assert secret not in "\n".join(found["errors"] + found["warnings"])
    if apart:
        found = validation.check_secrets(minion, values)
        assert secret not in "\n".join(found["errors"])


@pytest.mark.parametrize("shape", range(len(WRONG)))
def test_what_is_wrong_with_a_pillar_is_reported_without_its_secrets(modules, caplog, shape):
    pillar = {"infra": {**INFRA, **dict.fromkeys(RIGHT, WRONG[shape])}}
    text = seen(lambda: modules.infra_pillar.validate(pillar=pillar), caplog)
    assert "'valid': False" in text
    assert CANARY not in text


@pytest.mark.parametrize(
    "text",
    [
        f"infra_secrets:\n  nginx_users: {{ann: {CANARY}\n  x: 1\n",
        f"infra_secrets:\n  nginx_users:\n    ann: {CANARY}: x\n",
        f"infra_secrets:\n\tnginx_users: {CANARY}\n",
        f"infra_secrets:\n  a: *{CANARY}\n",
        f"infra_secrets:\n  a: {CANARY}\n  b: {{{{ nothing.is.here }}}}\n",
        f"infra_secrets:\n  a: {CANARY}\n  b: {{% if %}}\n",
        f"infra_secrets: !unknown {CANARY}\n",
        f"{CANARY}",
    ],
)
def test_a_file_that_is_no_yaml_is_reported_by_its_line_and_not_by_its_text(
    modules, tmp_path, caplog, text
):
    path = tmp_path / "secrets.sls"
    path.write_text(text)
    out = seen(lambda: modules.infra_pillar.validate(str(path)), caplog)
    assert str(path) in out
    assert CANARY not in out


# -- library ---------------------------------------------------------------------------------------


def test_the_quotes_of_programs_hold_no_secret_of_the_file_that_they_refuse(refusing, caplog):
    jobs = RIGHT["vmetrics_scrape_jobs"]
    limits = {"register_sample_limit": 0, "register_label_limit": 0}
    config = scraping.config([], limits, "10s", "8s", jobs)
    modules = blackbox.modules({"ca_bundle": "/x", "dns_name": "i"}, RIGHT["blackbox_modules"])
    alerts = {
        **{key: {} for key in ("severities", "route")},
        **{key: [] for key in ("routes", "inhibit_rules")},
        "receivers": RIGHT["alertmanager_receivers"],
        "global": RIGHT["alertmanager_global"],
    }
    for call in (
        lambda: scraping.check(config, refusing, jobs),
        lambda: blackbox.check(modules, refusing, RIGHT["blackbox_modules"]),
        lambda: alertmanager.check(alerts, refusing),
    ):
        with pytest.raises(CommandFailed, match=r"refuses it: .*<secret>") as caught:
            call()
        assert CANARY not in str(caught.value)
        assert CANARY not in seen(call, caplog)


def test_the_quote_of_vector_holds_no_credentials_of_a_url(tmp_path, refusing):
    (tmp_path / "vector.yaml").write_text(f"error: uri: {RIGHT['vector_log_endpoint'][1]}\n")
    with pytest.raises(CommandFailed) as caught:
        vector.check_staged(str(tmp_path), refusing)
    assert CANARY not in str(caught.value)


DIFFERING = [
    text
    for text in (
        *(salt.utils.yaml.safe_dump(value) for value in RIGHT.values()),
        RIGHT["infra_portal"]["wiki"]["config"],
        RIGHT["certbot_dns_credentials"],
    )
    # Of the others only the pillar says that they are secret; their files are marked.
    if credentials.holds_credentials(text)
]
HARMLESS = ["a: 1\n", "server { listen 80; }\n", ""]


@pytest.mark.parametrize("secret", DIFFERING)
@pytest.mark.parametrize("harmless", HARMLESS)
def test_no_difference_of_a_file_shows_a_credential_that_is_added_or_removed(secret, harmless):
    added = contents.difference(("text", harmless.encode()), {"text": secret})
    removed = contents.difference(("text", secret.encode()), {"text": harmless})
    assert CANARY not in added + removed
    assert added == removed == redaction.PLACEHOLDER


def test_a_long_quote_is_cut_after_its_secrets_are_removed():
    secret = f"{CANARY}-{'x' * 80}"
    redaction.learn([secret])
    assert schema.show([secret]) == "['<secret>']"
    line = f"error: {'a' * 480} {secret}"
    assert "cAnA" not in checks.extract_error_lines(line)
