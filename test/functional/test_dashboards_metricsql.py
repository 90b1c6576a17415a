"""Every question of every dashboard, asked of a real VictoriaMetrics: it reads all of them."""

import re
import time
from urllib.error import HTTPError

import panels
import programs
import pytest
from victoriametrics import Store

BOARDS = panels.load()
# As Grafana fills them in: All, and several values at a time.
CHOICES = {"all": ".*", "several": r"(10\\.10\\.10\\.10|infra-1)"}
VALUES_OF = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")


VARIANTS = programs.variants("victoria-metrics")


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def store(request, tmp_path_factory):
    running = Store(tmp_path_factory.mktemp("store"), request.param)
    yield running
    running.stop()


def refusal(store, path, **query):
    """What VictoriaMetrics says of a question that it cannot read."""
    try:
        store.get(path, **query)
    except HTTPError as err:
        return err.read().decode()
    return None


def values(board, chosen):
    return {variable["name"]: CHOICES[chosen] for variable in board["templating"]["list"]}


@pytest.mark.parametrize("chosen", CHOICES)
@pytest.mark.parametrize("uid", BOARDS)
def test_each_panels_question_can_be_read(store, uid, chosen):
    now = int(time.time())
    filled = values(BOARDS[uid], chosen)
    refused = {}
    for target in panels.targets(BOARDS[uid]):
        if target.source != "ds-metrics":
            continue
        expr = panels.filled(target.expr, filled)
        if target.instant:
            said = refusal(store, "/api/v1/query", query=expr, time=now)
        else:
            said = refusal(
                store, "/api/v1/query_range", query=expr, start=now - 60, end=now, step=30
            )
        if said:
            refused[f"{target.panel} {target.name}"] = said
    assert refused == {}


@pytest.mark.parametrize("uid", BOARDS)
def test_each_variables_question_can_be_read(store, uid):
    filled = values(BOARDS[uid], "several")
    for variable in BOARDS[uid]["templating"]["list"]:
        if variable["type"] != "query" or variable["datasource"]["uid"] != "ds-metrics":
            continue
        asked = VALUES_OF.fullmatch(variable["query"])
        assert asked, variable["query"]
        path = f"/api/v1/label/{asked['label']}/values"
        assert refusal(store, path, **{"match[]": panels.filled(asked["series"], filled)}) is None


@pytest.mark.parametrize("uid", BOARDS)
def test_the_marks_of_alerts_can_be_asked_for(store, uid):
    for mark in BOARDS[uid]["annotations"]["list"]:
        expr = panels.filled(mark["expr"], values(BOARDS[uid], "several"))
        assert refusal(store, "/api/v1/query", query=expr) is None


def test_a_question_that_cannot_be_read_is_seen(store):
    assert "sum((" in refusal(store, "/api/v1/query", query="sum((")
