"""No secret leaves the library: every spelling of one is found, and nothing else is replaced."""

import base64
import html
import importlib
import inspect
import json
import logging
import pkgutil
import shlex
import time
from pathlib import Path
from types import ModuleType
from urllib.parse import quote, quote_plus

import infra_formula
import pytest
import salt.utils.args
import salt.utils.yaml
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from infra_formula import credentials, redaction
from infra_formula.errors import CommandFailed
from infra_formula.state import Plan, converge
from salt.utils.context import func_globals_inject

from _modules import infra_register

REPO = Path(__file__).resolve().parents[2]
CANARY = "cAnArY-9a7f"


@pytest.fixture(autouse=True)
def nothing_is_learned():
    yield
    redaction.forget()


VALUES = st.text(
    st.characters(
        min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc", "Zl", "Zp"]
    ),
    min_size=8,
    max_size=40,
).filter(lambda text: len(text.strip()) >= 8 and len(set(text)) > 5 and "secret" not in text)
SPELLINGS = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON of every character": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps({"a": value})),
    "YAML": lambda value: yaml.safe_dump([value], allow_unicode=True, width=4096),
    "YAML of Salt": lambda value: salt.utils.yaml.safe_dump({"a": value}, width=4096),
    "YAML in single quotes": lambda value: "'" + value.replace("'", "''") + "'",
    "Python": repr,
    "a list in Python": lambda value: repr([value]),
    "an error of Python": lambda value: repr(KeyError(value)),
    "URL": lambda value: quote(value, safe=""),
    "path of a URL": quote,
    "form": quote_plus,
    "URL in small letters": lambda value: (
        quote(value, safe="").lower()
        if value.isascii() and value.lower() == value
        else quote(value)
    ),
    "HTML": html.escape,
    "shell": shlex.quote,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "basic auth": lambda value: base64.b64encode(f"ann:{value}".encode()).decode(),
    "basic auth of another": lambda value: base64.b64encode(f"bo:{value}".encode()).decode(),
    "basic auth of a third": lambda value: base64.b64encode(f"otto:{value}\n".encode()).decode(),
    "base64 of a URL": lambda value: base64.urlsafe_b64encode(f"x:{value}".encode()).decode(),
    "unit of systemd": lambda value: value.replace("%", "%%"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(value=VALUES)
@example(value="p'a\"ss\\w%r{d$")
@example(value="  padded value ")
@example(value="é-ß/+?&=ü")
def test_every_spelling_of_a_secret_is_replaced(spelling, value):
    spelled = SPELLINGS[spelling](value)
    text = f"x: refused {spelled}; y"
    found = redaction.Scrubber([value]).text(text)
    assert redaction.PLACEHOLDER in found, (value, spelled)
    assert value.strip() not in found
    assert found.startswith("x: refused ")
    assert found.endswith("; y")
    # Nothing of an encoded one is left either.
    if "64" in spelling or "basic" in spelling:
        assert found == f"x: refused {redaction.PLACEHOLDER}; y"


@given(value=VALUES, cut=st.integers(8, 20), ellipsis=st.sampled_from(["…", "..."]))
def test_what_is_left_of_a_secret_that_was_cut_off_is_replaced(value, cut, ellipsis):
    # Where the secret goes on as the ellipsis does, more of the text may be the secret's.
    if cut < len(value) and value[cut] != ellipsis[0]:
        found = redaction.Scrubber([value]).text(f"got {value[:cut]}{ellipsis}")
        assert found == f"got {redaction.PLACEHOLDER}{ellipsis}"


@given(
    values=st.lists(VALUES, max_size=4),
    text=st.text(max_size=60),
)
def test_a_text_without_a_secret_stays_as_it_is(values, text):
    if not any(value[:4] in text for value in values):
        assert redaction.Scrubber(values).text(text) == text


@given(st.lists(VALUES, min_size=1, max_size=5), st.randoms())
def test_of_several_secrets_none_is_left(values, random):
    words = [*values, "and", "with", *values]
    random.shuffle(words)
    found = redaction.Scrubber(values).text(" ".join(words))
    assert not any(value in found for value in values)


@pytest.mark.parametrize("value", ["", "a", "ab", "abc", " x "])
def test_a_value_of_less_than_four_characters_mangles_no_text(value):
    text = "a abc ab x: alertmanager_receivers.abc: expected a string"
    assert redaction.Scrubber([value]).text(text) == text


@pytest.mark.parametrize(
    ("value", "text", "wanted"),
    [
        ("infra", "infra_portal.home in /srv/infra/x, infra.nginx, infra-1", None),
        ("infra", "password infra, 'infra', infra.", "password *, '*', *."),
        ("hunter2", "wrong password: hunter2.", "wrong password: *."),
        ("hunter2", "hunter22 and xhunter2", None),
        ("pigsty", "http://u:pigsty@h and pigsty", "http://*@h and *"),
        ("prometheus", "prometheus_targets of prometheus.yml", None),
        ("123456", "port 1234567, pin 123456", "port 1234567, pin *"),
        ("Summer#2026!", "xSummer#2026!x", "x*x"),
    ],
)
def test_a_short_or_ordinary_secret_is_replaced_as_a_word_only(value, text, wanted):
    redaction.learn([value])
    wanted = text if wanted is None else wanted.replace("*", redaction.PLACEHOLDER)
    assert redaction.scrub(text) == wanted


def test_each_line_of_a_private_key_is_replaced():
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkq", "hkiG9w0BAQEFAASC", "-----END"]
    scrubber = redaction.Scrubber(["\n".join(lines)])
    assert scrubber.text(f"  - {lines[1]}\n+ {lines[2]}") == "  - <secret>\n+ <secret>"
    assert scrubber.text(lines[0]) == lines[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("logs are sent to http://u:pw@h:9428/x.", "logs are sent to http://*@h:9428/x."),
        ("https://ghp_token@github.com/a.git", "https://*@github.com/a.git"),
        ("postgres://a:p@ss@10.0.0.1/meta", "postgres://*@10.0.0.1/meta"),
        ("https://h/x?a=1&token=abc&b=2", "https://h/x?a=1&token=*&b=2"),
        ("https://h/?access_token=abc", "https://h/?access_token=*"),
        ("https://h/?X-Amz-Signature=abc#x", "https://h/?X-Amz-Signature=*#x"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer *"),
        ("'Proxy-Authorization': 'Basic dTpw'", "'Proxy-Authorization': 'Basic *'"),
        ("http://10.10.10.10/a?b=c and a@b.example", None),
        ("http://h/path@2x.png", None),
        ("grafana_admin_password: expected a string, got a number", None),
        ("mail ops@example.com about http://h", None),
    ],
)
def test_credentials_of_a_url_or_a_header_are_replaced_whoever_knows_them(text, wanted):
    wanted = text if wanted is None else wanted.replace("*", redaction.PLACEHOLDER)
    assert redaction.scrub(text) == wanted
    assert redaction.scrub(wanted) == wanted


def test_data_keeps_its_form_and_what_holds_no_secret_is_the_same_object():
    redaction.learn([CANARY])
    plain = {"a": [1, None, ("x", {"b": True})]}
    assert redaction.scrub_data(plain) is plain
    data = {f"http://u:{CANARY}@h": [CANARY.encode(), (f"-{CANARY}", 2)], "n": 1}
    assert redaction.scrub_data(data) == {
        "http://<secret>@h": [b"<secret>", ("-<secret>", 2)],
        "n": 1,
    }
    both = {f"http://{CANARY}@h": 1, f"http://x{CANARY}@h": 2}
    assert redaction.scrub_data(both) == {"http://<secret>@h": 1, "http://<secret>@h (2)": 2}


# -- how long a secret is held ---------------------------------------------------------------------


def test_the_secrets_of_a_run_take_the_place_of_those_of_the_run_before():
    redaction.learn([CANARY])
    redaction.learn(["another secret"])
    assert redaction.scrub(f"{CANARY} another secret") == f"{CANARY} <secret>"


def test_secrets_that_nothing_uses_for_hours_are_dropped(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    redaction.learn([CANARY])
    for _ in range(3):
        now += 3600
        assert redaction.scrub(CANARY) == "<secret>"
    now += 5 * 3600
    assert redaction.scrub("x") == "x"
    assert (redaction._RUN.scrubber, redaction._RUN.values) == (None, frozenset())
    assert redaction.scrub(CANARY) == CANARY


def test_the_secrets_of_a_call_are_dropped_at_its_end():
    def call(password, text):
        redaction.add("one that was read")
        assert redaction.scrub(f"{password} one that was read") == "<secret> <secret>"
        return [text]

    assert redaction.guarded(call)(CANARY, f"a {CANARY}") == ["a <secret>"]
    assert redaction.scrub(f"{CANARY} one that was read") == f"{CANARY} one that was read"
    assert redaction._CALLS == []


def test_a_guarded_state_knows_of_its_call_what_salt_tells_it(monkeypatch):
    """Salt puts it into the globals of what it calls, which are not those of the state's module."""
    here = {"__name__": "states_of_a_test"}
    exec("def call(name):\n    return [name, __low__['__sls__']]", here)  # noqa: S102
    redaction.guard(here)
    for sls in ("infra.dns", "infra.ntp"):
        with func_globals_inject(here["call"], __low__={"__sls__": sls}):
            assert here["call"]("x") == ["x", sls]
    assert "__low__" not in here


# -- where text leaves -----------------------------------------------------------------------------


def failing(error):
    def call(password):
        try:
            raise ValueError(f"inner {password}", password.encode())
        except ValueError as err:
            raise error(f"outer {password}") from err

    return redaction.guarded(call)


class Strange(Exception):
    """An exception with more than its arguments."""

    def __init__(self, text):
        super().__init__("see details")
        self.details = {"text": [text]}


@pytest.mark.parametrize("error", [CommandFailed, RuntimeError, KeyError, OSError, Strange])
def test_an_exception_has_no_secret_in_its_chain_its_arguments_or_its_attributes(error):
    with pytest.raises(error) as caught:
        failing(error)(password=CANARY)
    seen, err = [], caught.value
    while err:
        seen += [str(err), repr(err), repr(err.args), repr(vars(err))]
        err = err.__cause__ or err.__context__
    assert len(seen) == 8
    assert CANARY not in "".join(seen)
    assert "<secret>" in "".join(seen)


class Several(Exception):
    """Errors in one, as ExceptionGroup of Python 3.11 has them."""

    def __init__(self, *exceptions):
        super().__init__("several")
        self.exceptions = exceptions


def test_an_error_of_the_system_its_notes_and_a_group_of_errors_have_no_secret():
    err = OSError(2, f"no {CANARY}", f"/x/{CANARY}")
    group = Several(err, ValueError(CANARY))
    group.__notes__ = [CANARY]
    redaction.learn([CANARY])
    redaction.scrub_exception(group)
    seen = [str(err), err.filename, err.strerror, err.args, vars(group), group.exceptions]
    assert CANARY not in repr(seen)


def test_a_log_has_no_secret(caplog):
    log = redaction.logger("infra_formula.test")
    redaction.learn([CANARY])
    with caplog.at_level(logging.DEBUG):
        log.debug("Running %s", ["x", f"--password={CANARY}"])
        try:
            raise ValueError(CANARY)
        except ValueError:
            log.exception("failed: %(a)s", {"a": CANARY})
    assert CANARY not in caplog.text
    assert caplog.text.count("<secret>") >= 3


def test_every_logger_of_the_library_has_the_filter():
    for module in pkgutil.walk_packages(infra_formula.__path__, "infra_formula."):
        if module.name.endswith((".spool", ".dnf_solver")):
            continue  # the one is loaded alone by the reactor, the other is a program
        found = vars(importlib.import_module(module.name)).get("log")
        if found is not None:
            assert [type(each).__name__ for each in found.filters] == ["_Filter"], module.name
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in (REPO / "_utils").rglob("*.py")
        if path.name not in ("spool.py", "redaction.py")
    )
    assert "getLogger" not in text


def test_a_logger_that_is_made_again_has_one_filter():
    assert len(redaction.logger("infra_formula.test").filters) == 1
    assert len(redaction.logger("infra_formula.test").filters) == 1


MODULES = sorted(
    path
    for folder in ("_modules", "_states", "_runners")
    for path in (REPO / folder).glob("*.py")
    # They import nothing of the library, which is not there yet, and are given no secret: what is
    # wrong with a pillar is said without them.
    if path.name not in ("infra_library.py", "infra_pillar.py") or path.parent.name == "_modules"
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_salt_loads_is_guarded_at_its_end(path):
    assert path.read_text(encoding="utf-8").endswith("\n\n\nredaction.guard(globals())\n")
    module = importlib.import_module(f"{path.parent.name}.{path.stem}")
    public = {
        name: function
        for name, function in vars(module).items()
        if not name.startswith("_") and getattr(function, "__module__", "") == module.__name__
    }
    for name, function in public.items():
        assert function.__wrapped__, name
        # Salt still sees its arguments.
        argspec = salt.utils.args.get_function_argspec(function)
        assert argspec.args == salt.utils.args.get_function_argspec(function.__wrapped__).args


@pytest.mark.parametrize("test", [True, False])
def test_the_return_of_a_state_has_no_secret_of_the_run(test):
    redaction.learn([CANARY])

    def fail():
        raise CommandFailed(f"refused {CANARY}")

    sub = {"name": "n", "result": True, "changes": {"a": CANARY}, "comment": CANARY}
    plan = Plan({"a": f"-{CANARY}"}, CANARY, CANARY, warnings=[CANARY], sub_states=[sub])
    for ret in (
        converge("x", test, lambda: plan),
        converge("x", test, fail),
        converge("x", test, lambda: Plan({"a": 1}, apply=fail)),
        converge("x", test, lambda: Plan(comment=f"sent to {CANARY}")),
    ):
        assert CANARY not in repr(ret)


# -- what is recognized ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        f"http://u:{CANARY}@h/x",
        f"http://u:{CANARY}@/x@h",
        f"{CANARY}@",
        f"u:{CANARY}@proxy:3128",
        f"-remoteWrite.basicAuth.password={CANARY} -x",
        f"--http.basic-auth-password '{CANARY}'",
        f"https://h/?api_key={CANARY}&x=1",
        f"Authorization: Bearer {CANARY}",
        {"basic_auth": {"username": "u", "password": CANARY}},
        {"params": {"apikey": [CANARY]}},
        [{"oauth2": {"client_secret": CANARY}}],
        {"secureJsonData": {"anything": CANARY}},
        {"headers": {"Authorization": f"Bearer {CANARY}"}},
        f"proxy_set_header Authorization 'Bearer {CANARY}';",
        f"params:\n  apikey:\n  - {CANARY}\n",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
    ],
)
def test_a_credential_is_recognized_where_it_stands(value):
    if value == f"{CANARY}@":
        assert not credentials.recognized(value)
        return
    scrubber = redaction.Scrubber(credentials.recognized(value))
    assert scrubber.text(f"x {CANARY} y") == "x <secret> y"


@given(st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8) | st.sampled_from(
        ["password", "token", "url"]), inner),
    max_leaves=8,
))  # fmt: skip
def test_what_holds_credentials_has_some_that_are_recognized(value):
    texts = credentials.recognized(value)
    assert all(isinstance(text, str) for text in texts)
    if not credentials.holds_credentials(value):
        assert not {text for text in texts if CANARY in text}


def test_ordinary_words_are_secret_only_where_a_secret_is_expected():
    receivers = {"ops": {"telegram": {"bot_token": "hunter", "parse_mode": "HTML", "chat_id": -42}}}
    assert credentials.all_texts(receivers) == {"hunter"}
    assert credentials.all_texts("hunter") == {"hunter"}
    found = credentials.all_texts({"x": ["hunter", 1234567, 8080, True], "password": 8080})
    assert found == {"1234567", "8080"}


@pytest.mark.parametrize(
    ("url", "bare", "user"),
    [
        ("https://u:p%40w@h:1/x?y", "https://h:1/x?y", ("u", "p@w")),
        ("https://token@h/", "https://h/", ("token", "")),
        ("https://h/a@b", "https://h/a@b", None),
        ("file:///x@y", "file:///x@y", None),
    ],
)
def test_user_and_password_of_a_url_are_separated_from_it(url, bare, user):
    assert credentials.without_userinfo(url) == bare
    assert credentials.userinfo(url) == user


def test_what_salt_sets_in_the_globals_of_a_function_reaches_the_module():
    """``__low__`` and ``__env__`` of a state; Salt sets them where the function it calls looks."""
    module = ModuleType("infra_guarded")
    module.redaction = redaction
    source = "def state(name):\n    return {'name': name, 'changes': {}, 'comment': __env__}\n"
    exec(source + "redaction.guard(globals())", module.__dict__)  # noqa: S102
    with func_globals_inject(module.state, __env__="dev"):
        assert module.state("some")["comment"] == "dev"
    assert list(inspect.signature(module.state).parameters) == ["name"]


def test_what_the_mine_takes_is_as_it_is():
    """The base64 of a password stood in the site's certificate, which was changed in the mine."""
    code = base64.b64encode(f"x{CANARY}".encode()).decode()
    facts = {"ca": f"-----BEGIN CERTIFICATE-----\n{code}\n", "ins": CANARY}

    def for_people():
        return dict(facts)

    @redaction.verbatim
    def for_mine():
        return dict(facts)

    redaction.learn([CANARY])
    assert CANARY not in repr(redaction.guarded(for_people)())
    assert redaction.guarded(for_mine)() == facts
    assert infra_register.facts.__wrapped__ in redaction._VERBATIM
