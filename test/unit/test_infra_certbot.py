"""What is asked of certbot, when, and what is made of its answers."""

import datetime
import json
import shlex
from unittest.mock import create_autospec

import portal_samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths, process
from infra_formula.errors import CommandFailed
from infra_formula.pki import certbot as infra_certbot
from infra_formula.pki import certbot_record, certbot_requests
from infra_formula.portal.views import views as portal_views
from salt.exceptions import CommandExecutionError, SaltInvocationError

from _states import infra_certbot as certbot_state

REQUEST = {
    "email": "root@pigsty.cc",
    "server": "https://acme.example/dir",
    "key_type": "",
    "challenge": "http",
    "webroot": "/www/acme",
    "dns_plugin": "",
    "dns_credentials": False,
    "dns_propagation": None,
    "options": "",
    "environment": {},
}
DNS = {**REQUEST, "dns_plugin": "rfc2136", "dns_credentials": True, "dns_propagation": 5}
SPEC = {"name": "site", "domains": ["a.cc", "b.cc"], "challenge": "http"}
HAVE = {
    "names": ["b.cc", "a.cc"],
    "days": 90.0,
    "days_left": 60.0,
    "not_after": "2031-01-01T00:00:00+00:00",
    "issuer": "CN=some CA",
    "renewal": {
        "server": REQUEST["server"],
        "authenticator": "webroot",
        "webroot_path": "/www/acme",
        "key_type": "rsa",
    },
}
REFUSED = """Requesting a certificate for a.cc and b.cc

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority \
reported these problems:
  Domain: a.cc
  Type:   connection
  Detail: Get "http://a.cc:80/x": dial tcp 10.0.0.1:80: connect: connection refused

  Identifier: b.cc
  Type:   dns
  Detail: no such name

Hint: The Certificate Authority failed to download the temporary challenge files.
"""


def views(portal):
    return portal_views(portal, portal_samples.settings())


def test_names_are_grouped_by_certificate():
    found = certbot_requests.group_names(views(portal_samples.DEMO), REQUEST)
    assert [(s["name"], s["challenge"]) for s in found] == [
        ("pigsty.demo", "http"),
        ("pigsty.cc", "http"),
        ("pigsty.doc", "http"),
    ]
    names = {s["name"]: s["domains"] for s in found}
    assert names["pigsty.doc"] == ["en.pigsty.cc", "pigsty.cc", "zh.pigsty.cc", "pro.pigsty.cc"]


def test_an_entry_that_is_not_served_asks_for_nothing():
    known = {"home": {}, "x": {"endpoint": "1.2.3.4:5", "certbot": "x"}}
    assert certbot_requests.group_names(views(known), REQUEST) == []


def test_a_wildcard_is_validated_over_dns():
    portal = {"apps": {"domain": "*.apps.cc", "path": "/www/a", "certbot": "apps"}}
    (spec,) = certbot_requests.group_names(views(portal), DNS)
    assert spec["challenge"] == "dns"
    argv = certbot_requests.command(spec, DNS)
    assert "--webroot" not in argv
    assert argv[-7:] == [
        "--dns-rfc2136",
        *("--dns-rfc2136-credentials", str(certbot_requests.credentials_path())),
        *("--dns-rfc2136-propagation-seconds", "5"),
        *("--domain", "*.apps.cc"),
    ]


def test_the_command_line_has_the_options_last():
    request = {**REQUEST, "options": "-v --preferred-chain 'A Root'", "key_type": "rsa"}
    argv = certbot_requests.command(SPEC, request, force=True)
    assert argv[-3:] == ["-v", "--preferred-chain", "A Root"]
    assert "--force-renewal" in argv
    assert "--keep-until-expiring" not in argv
    assert argv[argv.index("--key-type") + 1] == "rsa"
    assert [argv[i + 1] for i, word in enumerate(argv) if word == "--domain"] == ["a.cc", "b.cc"]


@pytest.mark.parametrize(
    ("have", "request_", "reason", "force"),
    [
        (None, {}, "there is none yet", False),
        ({**HAVE, "names": ["a.cc"]}, {}, "with b.cc", False),
        ({**HAVE, "names": ["a.cc", "b.cc", "c.cc"]}, {}, "without c.cc", False),
        ({**HAVE, "names": ["a.cc", "z.cc"]}, {}, "with b.cc and without z.cc", False),
        (HAVE, {"server": "https://other/dir"}, "server is now https://other/dir, it was", True),
        (HAVE, {"webroot": "/srv/acme"}, "webroot_path is now /srv/acme", True),
        (HAVE, {"key_type": "ecdsa"}, "key_type is now ecdsa, it was rsa", True),
        ({**HAVE, "days_left": 22.0}, {}, "it ends in 22.0 days, and was not renewed", True),
        ({"fault": "key: expected a file"}, {}, "cannot be used: key: expected a file", True),
    ],
)
def test_why_a_certificate_is_asked_for(have, request_, reason, force):
    told, forced = certbot_requests.issue_reason(SPEC, {**REQUEST, **request_}, have)
    assert reason in told
    assert forced is force


def test_a_good_certificate_is_left_alone():
    assert certbot_requests.issue_reason(SPEC, REQUEST, HAVE) is None
    # What an older certbot did not write down is no difference.
    bare = {**HAVE, "renewal": {"authenticator": "webroot"}}
    assert certbot_requests.issue_reason(SPEC, {**REQUEST, "key_type": "ecdsa"}, bare) is None
    # A third of its life is left when certbot's own timer renews it; that is no reason yet.
    assert certbot_requests.issue_reason(SPEC, REQUEST, {**HAVE, "days_left": 29.0}) is None


RENEWAL = """# renew_before_expiry = 30 days
version = 2.1.0
cert = /etc/letsencrypt/live/pigsty.cc/cert.pem

# Options used in the renewal process
[renewalparams]
account = 354e
server = https://10.10.10.53:14000/dir
authenticator = webroot
webroot_path = /www/acme,
[[webroot_map]]
wiki.pigsty.cc = /www/acme
"""


def test_what_certbot_remembers_of_a_renewal():
    assert certbot_requests.renewal_parameters(RENEWAL) == {
        "account": "354e",
        "server": "https://10.10.10.53:14000/dir",
        "authenticator": "webroot",
        "webroot_path": "/www/acme",
    }


@given(st.text())
def test_no_renewal_file_is_too_strange(text):
    found = certbot_requests.renewal_parameters(text)
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in found.items())


def test_what_an_acme_server_refuses_is_told_name_by_name():
    assert certbot_requests.extract_error(REFUSED) == (
        'a.cc: connection: Get "http://a.cc:80/x": dial tcp 10.0.0.1:80: connect: connection '
        "refused; b.cc: dns: no such name"
    )
    other = "Saving debug log to /x\nAn unexpected error occurred:\nno route\nAsk for help at x"
    assert certbot_requests.extract_error(other) == "An unexpected error occurred: no route"
    assert certbot_requests.extract_error("Saving debug log to /x") == "Saving debug log to /x"


def test_the_wait_doubles_up_to_a_day():
    assert [certbot_record.wait_seconds(n) // 3600 for n in range(1, 8)] == [1, 2, 4, 8, 16, 24, 24]


GOOD = {"certbot_sign": True, "certbot_email": "root@pigsty.cc"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"certbot_email": ""}, "certbot_email: expected the address"),
        ({"nginx_enabled": False}, "certbot_sign: expected nginx_enabled"),
        ({"nginx_sslmode": "disable"}, "certbot_sign: expected nginx_sslmode"),
        ({"certbot_challenge": "dns"}, "certbot_dns_plugin: expected a plugin beside"),
        ({"certbot_dns_credentials": "x"}, "certbot_dns_plugin: expected a plugin beside"),
        ({"certbot_options": "'"}, "certbot_options: expected words"),
        (
            {"infra_portal": {"x": {"domain": "*.x.cc", "certbot": "x"}}},
            "infra_portal.x.certbot: expected a certbot_dns_plugin for a wildcard",
        ),
    ],
)
def test_a_pillar_that_does_not_fit_is_told(parameters, expected):
    (error,) = certbot_requests.problems({**GOOD, **parameters})
    assert error.startswith(expected)
    assert certbot_requests.problems({**GOOD, **parameters, "certbot_sign": False}) == []


def test_a_pillar_that_fits():
    assert certbot_requests.problems({**GOOD, "infra_portal": portal_samples.DEMO}) == []
    wild = {"x": {"domain": "*.x.cc", "certbot": "x"}}
    assert (
        certbot_requests.problems({**GOOD, "certbot_dns_plugin": "x", "infra_portal": wild}) == []
    )


class World:
    """certbot, the machine's certificates and nginx, as the state sees them."""

    def __init__(self, folder, monkeypatch):
        self.have, self.ran, self.answers, self.reloads = {}, [], [], 0
        self.test, self.clock = False, datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
        self.follows = {"result": True, "changes": {"change": ["x"]}, "comment": ""}
        monkeypatch.setattr(paths, "STATE_DIR", folder)
        monkeypatch.setattr(paths, "LETSENCRYPT", folder / "letsencrypt")
        monkeypatch.setattr(infra_certbot, "certificates", lambda: self.have)
        monkeypatch.setattr(certbot_record, "_now", lambda: self.clock)
        monkeypatch.setattr(infra_certbot.time, "sleep", lambda _: None)
        self.program = create_autospec(process.run, side_effect=self.run)
        monkeypatch.setattr(process, "run", self.program)
        states = {"infra_portal.certificates_refreshed": self.followed}
        monkeypatch.setattr(certbot_state, "__states__", states, raising=False)
        (folder / "letsencrypt").mkdir()
        self.folder = folder

    def run(self, argv, **_):
        self.ran.append(argv)
        answer = self.answers.pop(0) if self.answers else {"retcode": 0}
        name = argv[argv.index("--cert-name") + 1] if "--cert-name" in argv else ""
        verb = argv[1] if len(argv) > 1 else ""
        if verb == "certonly" and not answer["retcode"] and "--dry-run" not in argv:
            names = [argv[i + 1] for i, word in enumerate(argv) if word == "--domain"]
            renewal = {**HAVE["renewal"], "server": argv[argv.index("--server") + 1]}
            if "--dns-rfc2136" in argv:
                renewal = {**renewal, "authenticator": "dns-rfc2136"}
            self.have[name] = {**HAVE, "names": names, "renewal": renewal}
        if verb == "delete":
            del self.have[name]
        return {"stdout": "", "stderr": "", **answer}

    def followed(self, *_):
        self.reloads += 1
        return self.follows

    def apply(self, portal, request=REQUEST, test=False):
        certbot_state.__opts__ = {"test": test}
        return certbot_state.managed("x", json.dumps(portal), portal_samples.settings(), request)

    def runs(self, ret):
        return {run["name"]: run["result"] for run in ret["sub_state_run"]}


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def site(key, *names, certbot=None):
    entry = {"domain": names[0], "path": f"/www/{key}", "certbot": certbot or key}
    return {key: {**entry, "domains": list(names[1:])} if names[1:] else entry}


def test_issue_then_nothing_then_expand(world):
    told = world.apply(site("a", "a.cc"), test=True)
    assert (told["result"], told["changes"]) == (None, {"certificates": ["a"]})
    assert world.ran == []
    assert world.reloads == 0
    assert not certbot_record.record_path().exists()
    done = world.apply(site("a", "a.cc"))
    assert done["result"] is True
    assert done["changes"]["certificates"] == ["a"]
    assert (len(world.ran), world.reloads) == (1, 1)
    assert certbot_record.record_path().stat().st_mode & 0o777 == 0o600
    for test in (False, True):
        again = world.apply(site("a", "a.cc"), test=test)
        assert (again["result"], again["changes"]) == (True, {})
    assert (len(world.ran), world.reloads) == (1, 1)
    more = world.apply(site("a", "a.cc", "b.cc"))
    assert more["sub_state_run"][0]["changes"]["a"]["reason"] == "its names changed: with b.cc"
    assert world.have["a"]["names"] == ["a.cc", "b.cc"]


def test_a_failure_is_of_its_name_alone_and_not_repeated_at_once(world):
    portal = {**site("bad", "bad.cc"), **site("good", "good.cc")}
    world.answers = [{"retcode": 1, "stdout": REFUSED}]
    first = world.apply(portal)
    assert first["result"] is False
    assert world.runs(first) == {"bad": False, "good": True}
    assert "a.cc: connection" in first["sub_state_run"][0]["comment"]
    assert first["changes"]["certificates"] == ["good"]
    assert world.reloads == 1
    for test in (False, True):
        second = world.apply(portal, test=test)
        assert world.runs(second) == {"bad": False, "good": True}
        comment = second["sub_state_run"][0]["comment"]
        assert "not requested again before 2030-01-01T01:00:00Z" in comment
        assert len(world.ran) == 2
    world.clock += datetime.timedelta(hours=1, seconds=1)
    world.answers = [{"retcode": 1, "stdout": REFUSED}]
    assert world.runs(world.apply(portal))["bad"] is False
    assert infra_certbot.status()["bad"]["failure"]["count"] == 2
    assert infra_certbot.status()["bad"]["failure"]["next"] == "2030-01-01T03:00:01Z"


def test_a_changed_question_or_retry_is_asked_at_once(world):
    world.answers = [{"retcode": 1, "stdout": REFUSED}]
    world.apply(site("bad", "bad.cc"))
    assert world.runs(world.apply(site("bad", "better.cc"))) == {"bad": True}
    assert infra_certbot.status()["bad"].get("failure") is None
    world.answers = [{"retcode": 1, "stdout": REFUSED}]
    world.apply(site("worse", "worse.cc"))
    assert infra_certbot.retry("other") == []
    assert infra_certbot.retry("worse") == ["worse"]
    assert world.runs(world.apply(site("worse", "worse.cc")))["worse"] is True


def test_changed_credentials_are_a_changed_question(world):
    portal = site("wild", "*.w.cc")
    world.answers = [{"retcode": 1, "stdout": "unauthorized"}]
    (certbot_requests.credentials_path()).write_text("secret = wrong")
    world.apply(portal, {**DNS, "dns_propagation": None})
    assert world.runs(world.apply(portal, {**DNS, "dns_propagation": None})) == {"wild": False}
    (certbot_requests.credentials_path()).write_text("secret = right")
    assert world.runs(world.apply(portal, {**DNS, "dns_propagation": None})) == {"wild": True}


def test_what_we_got_and_nobody_asks_for_goes_what_others_got_stays(world):
    world.have["theirs"] = {**HAVE, "names": ["t.cc"]}
    world.apply({**site("ours", "o.cc"), **site("theirs", "t.cc")})
    assert [argv[argv.index("--cert-name") + 1] for argv in world.ran] == ["ours"]
    told = world.apply({"home": {}}, test=True)
    assert (told["result"], world.runs(told)) == (None, {"ours": None})
    gone = world.apply({"home": {}})
    assert world.runs(gone) == {"ours": True}
    assert set(world.have) == {"theirs"}
    assert world.apply({"home": {}})["changes"] == {}


def test_a_renamed_certificate_is_got_before_the_old_one_goes(world):
    world.apply(site("x", "x.cc", certbot="old"))
    world.ran.clear()
    world.apply(site("x", "x.cc", certbot="new"))
    assert [argv[1] for argv in world.ran] == ["certonly", "delete"]


def test_another_certbot_is_waited_for_and_is_no_failure(world):
    world.answers = [{"retcode": 1, "stderr": f"{infra_certbot._BUSY}."}, {"retcode": 0}]
    assert world.apply(site("a", "a.cc"))["result"] is True
    assert len(world.ran) == 2


def test_a_certbot_that_is_content_without_a_result_is_not_believed(world, monkeypatch):
    monkeypatch.setattr(infra_certbot, "certificates", dict)
    done = world.apply(site("a", "a.cc"))
    assert done["result"] is False
    assert "certbot succeeded, but" in done["sub_state_run"][0]["comment"]


def test_a_rehearsal_changes_nothing(world):
    done = world.apply(site("a", "a.cc"), {**REQUEST, "options": "--dry-run"})
    assert (done["result"], done["changes"], world.reloads) == (True, {}, 0)
    assert not certbot_record.record_path().exists()
    assert "issued nothing" in done["sub_state_run"][0]["comment"]


def test_an_nginx_that_does_not_follow_is_an_error(world):
    world.follows = {"result": False, "changes": {}, "comment": "nginx refuses it"}
    done = world.apply(site("a", "a.cc"))
    assert done["result"] is False
    assert "nginx refuses it" in done["comment"]


def test_replace_gets_a_new_one_reloads_and_then_revokes(world):
    with pytest.raises(SaltInvocationError, match="expected a certificate that"):
        infra_certbot.replace("a")
    world.apply(site("a", "a.cc"))
    live = paths.LETSENCRYPT / "live/a"
    live.mkdir(parents=True)
    (live / "cert.pem").write_text("old")
    world.ran.clear()
    with pytest.raises(SaltInvocationError, match="revoke: expected one of"):
        infra_certbot.replace("a", revoke="whim")
    infra_certbot.replace("a", revoke="keycompromise")
    assert [argv[1:2] for argv in world.ran] == [["certonly"], [], ["revoke"]]
    assert "--force-renewal" in world.ran[0]
    assert world.ran[1][0].endswith("renewal-hooks/deploy/infra-nginx")
    assert shlex.join(world.ran[2]).endswith("--reason keycompromise --server " + REQUEST["server"])
    world.ran.clear()
    world.answers = [{"retcode": 1, "stderr": "no"}]
    with pytest.raises(CommandExecutionError, match="no"):
        infra_certbot.replace("a", revoke="keycompromise")
    assert [argv[1] for argv in world.ran] == ["certonly"]


def test_a_damaged_record_is_no_obstacle(world):
    certbot_record.record_path().write_text("{")
    assert world.apply(site("a", "a.cc"))["result"] is True
    assert json.loads(certbot_record.record_path().read_text())["asked"]["a"]["ours"] is True


def test_a_certbot_that_is_not_there_is_named(world):
    def missing(*_, **__):
        raise CommandFailed("certbot: No such file or directory")

    world.program.side_effect = missing
    with pytest.raises(CommandExecutionError, match="certbot cannot run"):
        infra_certbot.issue(SPEC, REQUEST)


def test_an_authority_that_another_user_can_write_is_not_asked_with(world, tmp_path):
    bundle = tmp_path / "ca.crt"
    bundle.write_text("x")
    bundle.chmod(0o666)
    request = {**REQUEST, "environment": {"REQUESTS_CA_BUNDLE": str(bundle)}}
    with pytest.raises(CommandExecutionError, match=r"certbot_ca: .* is not trusted: others can"):
        infra_certbot.issue(SPEC, request)
    assert world.ran == []
