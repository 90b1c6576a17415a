"""A run asks its master once for each file of the formula, and not for SLS that are not served."""

from unittest.mock import create_autospec

import pytest
from infra_formula import served
from infra_formula.minion import Minion
from salt.fileclient import RemoteClient

NAMES = ["infra/init.sls", "infra/dns/init.sls", "infra/map.jinja"]


@pytest.fixture
def client():
    found = create_autospec(RemoteClient, instance=True)
    found.file_list.return_value = NAMES
    found.hash_file.side_effect = lambda path, saltenv: {"hsum": f"{path} {saltenv}"}
    return found


@pytest.fixture
def asked(client):
    """Calls of the client's own method."""
    own = client.hash_file
    served.ask_once(Minion({}, {"file_client": "remote"}, {}, {"fileclient": client}))
    return own.call_args_list


def test_a_file_of_the_formula_is_asked_for_once_in_each_environment(client, asked):
    for _ in range(3):
        assert client.hash_file("salt://infra/map.jinja") == {"hsum": "salt://infra/map.jinja base"}
    client.hash_file("salt://infra/map.jinja", "dev")
    assert len(asked) == 2


def test_an_sls_that_is_a_folder_is_not_asked_for_as_a_file(client, asked):
    assert client.hash_file("salt://infra/dns.sls", "base") == ""
    assert client.hash_file("salt://infra/dns/init.sls", "base")
    assert len(asked) == 1
    client.file_list.assert_called_once_with("base", "infra/")


def test_an_sls_that_is_not_listed_yet_is_asked_for(client, asked):
    """As after an upgrade: a master lists its files anew every 20 seconds only."""
    assert client.hash_file("salt://infra/new.sls", "base")
    assert client.hash_file("salt://infra/new/init.sls", "base")
    assert len(asked) == 2


def test_what_is_not_of_the_formula_is_asked_for_each_time(client, asked):
    """A state of the same run may write it, where a minion is the master, too."""
    for _ in range(2):
        client.hash_file("salt://other/file", "base")
        client.hash_file("/etc/hosts", "base")
    assert len(asked) == 4


def test_a_file_that_is_missing_may_still_come(client, asked):
    client.hash_file._ask.side_effect = ["", {"hsum": "1"}]
    assert client.hash_file("salt://infra/nginx/files/x", "base") == ""
    assert client.hash_file("salt://infra/nginx/files/x", "base") == {"hsum": "1"}


def test_a_second_sls_of_the_run_keeps_what_is_known(client, asked):
    client.hash_file("salt://infra/map.jinja", "base")
    served.ask_once(Minion({}, {"file_client": "remote"}, {}, {"fileclient": client}))
    client.hash_file("salt://infra/map.jinja", "base")
    assert len(asked) == 1


def test_nothing_is_changed_without_a_master(client):
    own = client.hash_file
    served.ask_once(Minion({}, {"file_client": "local"}, {}, {"fileclient": client}))
    assert client.hash_file is own
    served.ask_once(Minion({}, {}, {}, {}))
