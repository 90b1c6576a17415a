"""Basic-auth files, hashed by the real openssl."""

from unittest.mock import create_autospec

import pytest
from infra_formula import process
from infra_formula.portal import htpasswd as infra_htpasswd
from salt.exceptions import CommandExecutionError, SaltInvocationError

HASHED = "$6$salt$" + "a" * 86


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    commands = []
    run = process.run

    def recorded(command, **options):
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(process, "run", create_autospec(run, side_effect=recorded))
    return commands


def test_passwords_become_hashes_and_stay_out_of_the_process_list(calls):
    text = infra_htpasswd.lines({"zoe": "se:cret $1 ü", "adam": "x"})
    assert [line.split(":")[0] for line in text.splitlines()] == ["adam", "zoe"]
    assert all(line.split(":")[1].startswith("$6$") for line in text.splitlines())
    assert "cret" not in str(calls)
    assert "se:cret" not in text


def test_a_hash_that_still_fits_is_kept():
    text = infra_htpasswd.lines({"adam": "one"})
    assert infra_htpasswd.lines({"adam": "one"}, text) == text
    changed = infra_htpasswd.lines({"adam": "two"}, text)
    assert changed != text
    assert infra_htpasswd.lines({"adam": "two"}, changed) == changed


@pytest.mark.parametrize(
    "known", ["", "adam", "adam:", "adam:$6$x$short", "adam:{PLAIN}one", ":::"]
)
def test_what_else_stood_there_is_hashed_anew(known):
    assert infra_htpasswd.lines({"adam": "one"}, known).startswith("adam:$6$")


@pytest.mark.parametrize("given", [HASHED, "$2y$05$abc", "$apr1$a$b", "$5$a$b", "{SSHA}abc="])
def test_a_hash_is_taken_as_it_is(given, calls):
    assert infra_htpasswd.lines({"adam": given}) == f"adam:{given}\n"
    assert calls == []


@pytest.mark.parametrize(("user", "password"), [("a:b", "x"), ("", "x"), ("a b", "x"), ("a", "")])
def test_what_cannot_be_a_user_is_refused_without_its_password(user, password):
    with pytest.raises(SaltInvocationError, match=r"^nginx_users"):
        infra_htpasswd.lines({user: password})


def test_a_failing_openssl_is_told():
    process.run.side_effect = None
    process.run.return_value = {"retcode": 1, "stdout": "", "stderr": "no luck"}
    with pytest.raises(CommandExecutionError, match="no luck"):
        infra_htpasswd.lines({"adam": "x"})
