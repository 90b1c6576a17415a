"""Two pillars through Salt's own compiler: what INFRA nodes and what clients make of them."""

import json
import shutil
import subprocess
from pathlib import Path

import pem
import pytest

CANARY = "cAnArY-9a7f"
INFRA = {
    "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
    "infra_packaging": "upstream",
    "infra_portal": {
        "home": {"domain": "i.pigsty"},
        "wiki": {"domain": "wiki.pigsty", "path": "/www/wiki", "auth": True},
    },
    "grafana_datasources": {"Shop": {"type": "prometheus", "url": "http://10.10.10.30:9090"}},
}
CLIENT = {**INFRA, "infra_hosts": {"infra-9": {"infra_seq": 1, "ip": "10.10.10.10"}}}
SECRETS = {
    "nginx_users": {"ann": CANARY},
    "grafana_admin_password": CANARY,
    "grafana_datasources": {"Shop": {"secureJsonData": {"httpHeaderValue1": CANARY}}},
    "alertmanager_global": {"smtp_auth_password": CANARY},
}


@pytest.fixture(autouse=True)
def reset_loaders_state():
    """Nothing is applied here, so that there is nothing to reset."""


def low(modules, pillar, sls="infra"):
    found = modules.state.show_low_sls(sls, pillar=pillar)
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == []
    return {chunk["__id__"]: chunk for chunk in found}


def gate(modules, states, pillar, test=False):
    """The return of the state that looks at the pillar, as an apply has it."""
    chunk = low(modules, pillar, "infra.pillar")["infra-pillar-valid"]
    arguments = {key: chunk[key] for key in ("errors", "warnings") if key in chunk}
    (told,) = states.infra_pillar.valid("infra-pillar-valid", test=test, **arguments).raw.values()
    return told


def test_an_infra_node_goes_by_both_pillars(modules, states, given_pillar):
    pillar = {"infra": INFRA, "infra_secrets": SECRETS}
    chunks = low(modules, given_pillar(pillar))
    portal = chunks["infra-nginx-portal-managed"]
    assert portal["users"] == {"ann": CANARY}
    shop = json.loads(chunks["infra-grafana-datasources-managed"]["site"])["Shop"]
    pillars = (INFRA, SECRETS)
    assert shop == {k: v for p in pillars for k, v in p["grafana_datasources"]["Shop"].items()}
    for test in (False, True):
        told = gate(modules, states, given_pillar(pillar), test)
        assert (told["result"], told["changes"]) == (True, {}), told["comment"]
        assert not told.get("warnings")


def test_the_second_run_sees_a_secret_that_changed(modules, given_pillar):
    for password in ("first", "second"):
        given = {"infra": INFRA, "infra_secrets": {**SECRETS, "nginx_users": {"ann": password}}}
        chunks = low(modules, given_pillar(given))
        assert chunks["infra-nginx-portal-managed"]["users"] == {"ann": password}


def test_a_client_renders_nothing_of_infra_secrets_but_is_warned_of_them(
    modules, states, given_pillar
):
    pillar = {"infra": CLIENT, "infra_secrets": SECRETS}
    chunks = low(modules, given_pillar(pillar))
    assert CANARY not in repr(chunks)
    told = gate(modules, states, given_pillar(pillar))
    assert (told["result"], told["changes"]) == (True, {}), told["comment"]
    (message,) = told["warnings"]
    assert "infra_secrets (" + ", ".join(sorted(SECRETS)) + ")" in message.replace(
        ", ".join(SECRETS), ", ".join(sorted(SECRETS))
    )


def test_a_client_with_a_secret_below_infra_is_warned_by_name_and_refused_where_strict(
    modules, states, given_pillar
):
    shop = {**CLIENT["grafana_datasources"]["Shop"], **SECRETS["grafana_datasources"]["Shop"]}
    pillar = {"infra": {**CLIENT, **SECRETS, "grafana_datasources": {"Shop": shop}}}
    for test in (False, True):
        told = gate(modules, states, given_pillar(pillar), test)
        assert (told["result"], told["changes"]) == (True, {}), told["comment"]
        (message,) = told["warnings"]
        for name in (
            "nginx_users",
            "grafana_admin_password",
            "alertmanager_global",
            "grafana_datasources.Shop.secureJsonData",
            "infra_secrets",
            "top.sls",
        ):
            assert name in message
        assert CANARY not in repr(told)
    pillar["infra"]["infra_secrets_strict"] = True
    told = gate(modules, states, given_pillar(pillar))
    assert told["result"] is False
    assert "nginx_users" in told["comment"]
    assert CANARY not in repr(told)


def test_a_client_without_a_secret_is_not_warned(modules, states, given_pillar):
    told = gate(modules, states, given_pillar({"infra": {**CLIENT, "infra_secrets_strict": True}}))
    assert told["result"] is True, told["comment"]
    assert not told.get("warnings")


@pytest.mark.parametrize(
    "secrets",
    [
        None,
        "x",
        ["x"],
        {"nginx_port": {"a": 1}},
        {"infra_portal": 1},
        {"infra_hosts": {}},
        {"nodes": "x"},
        {1: 2},
    ],
)
@pytest.mark.parametrize("infra", [INFRA, CLIENT])
def test_whatever_infra_secrets_are_all_renders_and_the_gate_names_them(
    modules, states, infra, secrets
):
    portal = {"home": {"domain": "i.pigsty"}}
    told = gate(
        modules, states, {"infra": {**infra, "infra_portal": portal}, "infra_secrets": secrets}
    )
    if infra is INFRA and secrets is not None:
        assert told["result"] is False
        assert "infra_secrets" in told["comment"]
    else:
        assert told["result"] is True, told["comment"]
        assert bool(told.get("warnings")) is (secrets is not None)


@pytest.mark.parametrize("given_pillar", ["by a master"], indirect=True)
def test_this_minion_is_validated_with_both_pillars(modules, given_pillar):
    given_pillar({"infra": INFRA, "infra_secrets": {**SECRETS, "nginx_port": CANARY}})
    found = modules.infra_pillar.validate()
    assert found["errors"] == [
        "infra_secrets:nginx_port: expected a port, an integer from 1 to 65535"
    ]


def test_files_are_validated_together_and_infra_secrets_alone(modules, tmp_path):
    infra, secrets = tmp_path / "infra.sls", tmp_path / "infra_secrets.sls"
    infra.write_text(json.dumps({"infra": INFRA}), encoding="utf-8")
    secrets.write_text(json.dumps({"infra_secrets": SECRETS}), encoding="utf-8")
    validate = modules.infra_pillar.validate
    good = {"valid": True, "errors": [], "warnings": []}
    assert validate(str(infra), secrets=str(secrets)) == good
    assert validate(str(secrets)) == good
    secrets.write_text(json.dumps({"infra_secrets": {"nginx_prot": CANARY}}), encoding="utf-8")
    wanted = ["infra_secrets:nginx_prot: unknown key; did you mean 'nginx_port'?"]
    assert validate(str(infra), secrets=str(secrets))["errors"] == wanted
    assert validate(str(secrets))["errors"] == wanted
    infra.write_text("nothing: 1\n", encoding="utf-8")
    with pytest.raises(Exception, match="expected a dictionary with the key infra"):
        validate(str(infra))


# -- where secrets come from -----------------------------------------------------------------------


@pytest.fixture
def gpg_home(loaders, tmp_path_factory):
    """A keyring with a key of its own, for the gpg renderer."""
    assert shutil.which("gpg"), "gpg is not installed; tools/prepare does that"
    # A short path: gpg-agent's socket lies in it.
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--passphrase", "", "--quick-generate-key",
         "salt@example.com", "default", "default", "never"],
        check=True, capture_output=True,
    )  # fmt: skip
    before = loaders.opts.get("gpg_keydir")
    loaders.opts["gpg_keydir"] = str(home)
    yield home
    loaders.opts["gpg_keydir"] = before
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def encrypted(home, text):
    return subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--armor", "--trust-model", "always", "--encrypt",
         "--recipient", "salt@example.com"],
        input=text, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_a_secret_that_is_encrypted_for_the_gpg_renderer_is_merged_in_the_clear(
    loaders, modules, states, formula_roots, gpg_home
):
    lines = encrypted(gpg_home, CANARY).splitlines()
    text = "#!yaml|gpg\ninfra_secrets:\n  nginx_users:\n    ann: |\n" + "".join(
        f"      {line}\n" for line in lines
    )
    assert CANARY not in text
    (folder,) = map(Path, formula_roots["pillar_roots"]["base"])
    before = (folder / "top.sls").read_text(encoding="utf-8")
    (folder / "infra.sls").write_text(json.dumps({"infra": INFRA}), encoding="utf-8")
    (folder / "infra_secrets.sls").write_text(text, encoding="utf-8")
    # As the documents assign them.
    (folder / "top.sls").write_text(
        "base: {'*': [infra], 'infra-*': [infra_secrets]}", encoding="utf-8"
    )
    try:
        found = modules.state.show_low_sls("infra")
        assert [chunk for chunk in found if not isinstance(chunk, dict)] == []
        (portal,) = (c for c in found if c["__id__"] == "infra-nginx-portal-managed")
        assert portal["users"] == {"ann": CANARY}
        errors = modules.infra_pillar.validate(
            str(folder / "infra.sls"), secrets=str(folder / "infra_secrets.sls")
        )["errors"]
        assert errors == []
    finally:
        (folder / "top.sls").write_text(before, encoding="utf-8")


@pytest.fixture
def store(loaders, tmp_path):
    """A store that sdb knows by the name `certificates`; its driver reads a file."""
    shop = pem.pair("shop.pigsty")
    path = tmp_path / "store.yaml"
    path.write_text(json.dumps({"shop": shop.as_pillar()}), encoding="utf-8")
    loaders.opts["certificates"] = {"driver": "yaml", "files": [str(path)]}
    yield shop
    del loaders.opts["certificates"]


def test_a_certificate_of_an_sdb_store_reaches_the_portal(modules, states, formula_roots, store):
    text = """
infra_secrets:
  nginx_certificates:
    shop:
      crt: {{ salt.sdb.get('sdb://certificates/shop:crt') | yaml_dquote }}
      key: {{ salt.sdb.get('sdb://certificates/shop:key') | yaml_dquote }}
"""
    portal = {"shop": {"domain": "shop.pigsty", "path": "/www/shop", "cert": "shop"}}
    (folder,) = map(Path, formula_roots["pillar_roots"]["base"])
    before = (folder / "top.sls").read_text(encoding="utf-8")
    infra = {**INFRA, "infra_portal": {"home": {"domain": "i.pigsty"}, **portal}}
    (folder / "infra.sls").write_text(json.dumps({"infra": infra}), encoding="utf-8")
    (folder / "infra_secrets.sls").write_text(text, encoding="utf-8")
    (folder / "top.sls").write_text(
        "base: {'*': [infra], 'infra-*': [infra_secrets]}", encoding="utf-8"
    )
    try:
        found = modules.state.show_low_sls("infra")
        (chunk,) = (c for c in found if c["__id__"] == "infra-nginx-portal-managed")
        assert chunk["certificates"] == {"shop": store.as_pillar()}
        others = [c for c in found if c is not chunk]
        assert store.key.splitlines()[1] not in json.dumps(others)
    finally:
        (folder / "top.sls").write_text(before, encoding="utf-8")
