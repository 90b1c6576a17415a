"""300 entries of real shapes at once: one that is broken costs no other anything."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from infra_formula.errors import Refused
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import server as nginx
from nginx_check import make_prefix, render, stage
from nginx_server import Server, Upstream
from portal_samples import settings
from real_entries import BROKEN, REFUSED, real_entries

COUNT = 300
NAME = "broken.example.com"
OTHERS = {
    key: {name: value for name, value in entry.items() if name != "hsts"}
    for key, entry in real_entries(COUNT, "127.0.0.1:9", "/www/site").items()
}


def with_broken(entry):
    """300 entries, and a broken one in their middle."""
    keys = sorted(OTHERS)
    broken = {"domain": NAME, **entry}
    return {**{k: OTHERS[k] for k in keys[:150]}, "broken": broken,
            **{k: OTHERS[k] for k in keys[150:]}}  # fmt: skip


def test_there_are_more_than_40_ways():
    assert len(BROKEN) + len(REFUSED) >= 40
    assert portal_entries.problems(OTHERS, settings()) == []


@pytest.mark.parametrize("way", sorted(BROKEN))
def test_a_broken_entry_is_one_error_with_its_name(way):
    entry, begins = BROKEN[way]
    (error,) = portal_entries.problems(with_broken(entry), settings())
    assert error.startswith(f"infra_portal.broken{begins}"), error


@pytest.mark.parametrize("key", ["00-infra", "acme-peers", "localhost", "LOCALHOST", "127.0.0.1"])
def test_a_key_that_nginx_has_for_something_else_is_refused(key):
    """The file of all entries would be replaced, or requests of other upstreams be taken."""
    entry = {"domain": NAME, "endpoint": "10.0.0.1:9"}
    (error,) = portal_entries.problems({**OTHERS, key: entry}, settings())
    assert error.startswith(f"infra_portal.{key}: expected another key")


def test_another_entry_of_the_portal_may_be_an_endpoint():
    entry = {"domain": NAME, "endpoint": "127.0.0.1:80", "host": "docs-18.example.com"}
    assert portal_entries.problems({**OTHERS, "alias": entry}, settings()) == []


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return make_prefix(tmp_path_factory.mktemp("nginx"))


def refusal(prefix, portal):
    """What nginx's refusal of a portal is turned into; empty if it accepts it."""
    root = stage(prefix, render(portal, nginx_sslmode="disable", nginx_auth_over_http=True))
    try:
        nginx.check_staged(str(root), portal)
    except Refused as err:
        return str(err)
    finally:
        assert not (root / "nginx-part.conf").exists()
    return ""


def test_all_of_them_are_accepted(prefix):
    assert refusal(prefix, OTHERS) == ""


@pytest.mark.parametrize("way", sorted(REFUSED))
def test_what_only_nginx_finds_is_led_back_to_entry_and_attribute(prefix, way):
    added, attribute = REFUSED[way]
    portal = with_broken({"endpoint": "127.0.0.1:9", **added})
    assert (
        portal_entries.problems(
            portal, settings(nginx_sslmode="disable", nginx_auth_over_http=True)
        )
        == []
    )
    said = refusal(prefix, portal)
    assert len(said.splitlines()) == 1, said
    assert said.startswith(f"infra_portal.broken{attribute}"), said
    assert "nginx refuses" in said


def test_every_faulty_entry_is_named_at_once(prefix):
    portal = {key: OTHERS[key] for key in sorted(OTHERS)[:40]}
    for number, way in enumerate(sorted(REFUSED)):
        added, _attribute = REFUSED[way]
        portal[f"bad-{number}"] = {
            "domain": f"bad-{number}.example.com", "endpoint": "127.0.0.1:9", **added
        }  # fmt: skip
    lines = refusal(prefix, portal).splitlines()
    named = {line.split(":")[0].split(".")[1] for line in lines}
    assert named == {f"bad-{number}" for number in range(len(REFUSED))}


# -- what is broken while nginx runs


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


RUNTIME = {
    "refuses": ({"endpoint": "127.0.0.1:1"}, 502),
    "no-socket": ({"endpoint": "unix:/run/none/such.sock"}, 502),
    "no-name": ({"endpoint": "no.such.host.invalid:80"}, 502),
    "no-names": ({"endpoint": ["no.such.host.invalid:80", "neither.invalid:80"]}, 502),
    "no-directory": ({"path": "/var/lib/none/such"}, 404),
    "empty-directory": ({"path": "/var/empty-none"}, 404),
    "no-tls": ({"endpoint": "127.0.0.1:{port}", "scheme": "https",
                "proxy_connect_timeout": "1s"}, 502),
    "no-grpc": ({"endpoint": "127.0.0.1:{port}", "scheme": "grpc",
                 "proxy_read_timeout": "1s"}, 502),
    "no-fastcgi": ({"endpoint": "127.0.0.1:1", "config":
                    "location ^~ /x { fastcgi_pass 127.0.0.1:1; }"}, 502),
    "down": ({"endpoint": "127.0.0.1:1", "maintenance": True}, 503),
}  # fmt: skip


def test_what_breaks_while_nginx_runs_costs_only_its_own_entry(upstream):
    there = f"127.0.0.1:{upstream.port}"
    with TemporaryDirectory(prefix="infra-nginx-", dir="/var/lib") as folder:
        site, root = Path(folder, "site"), Path(folder, "server")
        site.mkdir()
        root.mkdir()
        for name in ("index.html", "x.css"):
            (site / name).write_text("a file of the site")
        others = real_entries(COUNT, there, str(site))
        broken = {
            key: {"domain": f"{key}.broken.example.com", **entry}
            for key, (entry, _code) in RUNTIME.items()
        }
        for entry in broken.values():
            if isinstance(entry.get("endpoint"), str):
                entry["endpoint"] = entry["endpoint"].replace("{port}", str(upstream.port))
        server = Server(root, {**others, **broken})
        try:
            wrong = {}
            for key, entry in others.items():
                code, told, body = server.get(entry["domain"], "/")
                kind = key.rpartition("-")[0]
                wanted = {"moved": 308, "closed": 401}.get(kind, 200)
                expected = "a file of the site" if "path" in entry else "upstream /"
                if code != wanted or (code == 200 and expected not in body):
                    wrong[key] = (code, told, body)
            assert wrong == {}
            for key, (_entry, wanted) in RUNTIME.items():
                code = server.get(f"{key}.broken.example.com", "/")[0]
                assert code in ((502, 504) if wanted == 502 else (wanted,)), key
        finally:
            server.close()
