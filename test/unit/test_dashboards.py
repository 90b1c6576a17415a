"""Grafana's dashboards: what is committed is what the code makes, and holds together."""

import copy
import json
import re
import sys
from pathlib import Path

import panels
import pytest
from grafana_foundation_sdk.models import units as known_units

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tools"))

import grafana_schema  # noqa: E402 - found by the line above
from dashboards import build, catalogue, model  # noqa: E402

BOARDS = panels.load()
CODE = {board.uid: board for board in catalogue.boards()}
UNITS = {value for name, value in vars(known_units).items() if isinstance(value, str)}
each_board = pytest.mark.parametrize("uid", CODE)


def variables(board):
    return {one["name"] for one in board["templating"]["list"]}


def links(board):
    """Every way to another dashboard in its JSON: uid and what goes along."""
    text = json.dumps(board, ensure_ascii=False)
    return re.findall(r"/d/([\w-]+)(?:\?([^\"\\]*))?", text)


def test_what_is_committed_is_what_the_code_makes():
    wrong = [
        str(path)
        for path, text in catalogue.files().items()
        if not (REPO / path).exists() or (REPO / path).read_text(encoding="utf-8") != text
    ]
    assert wrong == [], "run `make dashboards`"
    written = {path for path in catalogue.files() if path.suffix == ".json"}
    present = {path.relative_to(REPO) for path in panels.FOLDER.rglob("*.json")}
    assert present == written


def test_each_has_a_uid_of_its_own_which_is_the_name_of_its_file():
    found = [
        (json.loads(path.read_text())["uid"], path.stem) for path in panels.FOLDER.rglob("*.json")
    ]
    uids = [uid for uid, _ in found]
    assert len(uids) == len(set(uids))
    assert [(uid, stem) for uid, stem in found if uid != stem] == [("pigsty", "home")]
    titles = [board["title"] for board in BOARDS.values()]
    assert len(titles) == len(set(titles))


@each_board
def test_it_is_what_grafanas_schema_says(uid):
    assert grafana_schema.problems(BOARDS[uid]) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda b: b.update(no_such_key=1), "no_such_key"),
        (lambda b: b.update(schemaVersion="41"), "schema_version"),
        (lambda b: b["panels"][1].update(type="no-such-panel"), "no-such-panel"),
        (lambda b: b["panels"][1]["options"].update(noSuchOption=1), "noSuchOption"),
        (lambda b: b["panels"][1]["targets"][0].update(expression="up"), "expression"),
        (lambda b: b["panels"][1]["fieldConfig"]["defaults"].update(unit=5), "unit"),
        (lambda b: b["templating"]["list"][0].update(refresh=9), "refresh"),
        (lambda b: b["links"][0].update(keepTime="yes"), "keep_time"),
        (lambda b: b["panels"][1]["gridPos"].update(w="half"), "grid_pos.w"),
    ],
)
def test_the_check_of_the_schema_sees_what_is_wrong(change, named):
    board = copy.deepcopy(BOARDS["nginx-instance"])
    change(board)
    assert any(named in problem for problem in grafana_schema.problems(board))


@each_board
def test_a_query_for_logs_or_traces_of_an_unknown_form_is_seen(uid):
    board = copy.deepcopy(BOARDS[uid])
    asked = [
        target
        for panel in panels.panels(board)
        for target in panel.get("targets", [])
        if target["datasource"]["uid"] != model.METRICS
    ]
    for target in asked:
        target["queryType"] = "no such form"
    assert bool(grafana_schema.problems(board)) == bool(asked)


@each_board
def test_it_says_what_it_is_for_and_each_panel_what_it_shows(uid):
    board = BOARDS[uid]
    assert re.fullmatch(r"[A-Z][^.]*\.", board["description"]), "one sentence"
    for panel in panels.panels(board):
        assert panel["title"]
        assert re.search(r"[.%]$", panel["description"]), panel["title"]


@each_board
def test_units_are_grafanas(uid):
    for panel in panels.panels(BOARDS[uid]):
        field = panel.get("fieldConfig", {})
        found = [field.get("defaults", {}).get("unit")]
        for override in field.get("overrides", []):
            found += [p["value"] for p in override["properties"] if p["id"] == "unit"]
        assert {unit for unit in found if unit} <= UNITS, panel["title"]


@each_board
def test_series_have_names_that_tell_them_apart(uid):
    for panel in panels.panels(BOARDS[uid]):
        if panel["type"] in ("timeseries", "state-timeline", "bargauge"):
            names = [target.get("legendFormat", "") for target in panel["targets"]]
            assert "__auto" not in names, panel["title"]
            assert len(names) == len(set(names)), panel["title"]


@each_board
def test_panels_stand_beside_each_other_on_the_grid(uid):
    taken = set()
    for panel in BOARDS[uid]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= build.WIDTH, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in grafana_schema._panels(BOARDS[uid])]
    assert len(numbers) == len(set(numbers))


def test_a_panel_that_is_wider_than_the_grid_is_refused():
    panel = model.Panel("stat", "Wide", "It is.", width=25)
    with pytest.raises(ValueError, match="Wide: 25 columns"):
        build.layout(model.Row("Row", (panel,)), 0)


@each_board
def test_it_asks_only_data_sources_that_are_provisioned(uid):
    for target in panels.targets(BOARDS[uid]):
        assert target.source in model.SOURCES, target
    for panel in panels.panels(BOARDS[uid]):
        found = {json.dumps(t["datasource"], sort_keys=True) for t in panel.get("targets", [])}
        assert found <= {
            json.dumps({"type": kind, "uid": name}, sort_keys=True)
            for name, kind in model.SOURCES.items()
        }


@each_board
def test_variables_are_there_and_each_is_used(uid):
    board = BOARDS[uid]
    names = variables(board)
    values = {name: "x" for name in names}
    for target in panels.targets(board):
        panels.filled(target.expr, values)  # raises for one that is not there
    for name in names:
        text = json.dumps({k: board[k] for k in ("panels", "links", "templating", "annotations")})
        assert re.search(rf"\$\{{?{name}\b", text), name
    if CODE[uid].folder:
        assert {"ins", "ip"} <= names


@each_board
def test_a_variable_depends_only_on_those_before_it(uid):
    known = {}
    for variable in BOARDS[uid]["templating"]["list"]:
        asked = variable.get("query", "")
        panels.filled(asked if isinstance(asked, str) else asked["query"], known)
        known[variable["name"]] = "x"


@each_board
def test_each_way_leads_to_a_dashboard_that_takes_what_goes_along(uid):
    found = links(BOARDS[uid])
    assert found
    for to, query in found:
        assert to in BOARDS, to
        for part in filter(None, query.split("&")):
            if part == "${__url_time_range}":
                continue
            name = re.match(r"var-(\w+)=|\$\{(\w+):queryparam\}", part)
            assert name, part
            assert (name[1] or name[2]) in variables(BOARDS[to]), (to, part)
            if name[2]:
                assert name[2] in variables(BOARDS[uid]), part


@each_board
def test_the_time_range_goes_along_on_every_way(uid):
    board = BOARDS[uid]
    assert all(link["keepTime"] for link in board["links"])
    at_top = [link["url"] for link in board["links"]]
    text = json.dumps(board)
    for url in re.findall(r"\"url\": \"(/d/[^\"]*)\"", text):
        assert url in at_top or url.endswith("${__url_time_range}"), url


def test_every_dashboard_is_reached_from_the_home():
    reached, todo = set(), ["pigsty"]
    while todo:
        uid = todo.pop()
        if uid not in reached:
            reached.add(uid)
            todo += [to for to, _ in links(BOARDS[uid])]
    assert reached == set(BOARDS)


@each_board
def test_it_leads_up_across_to_logs_and_to_alerts(uid):
    ways = {link["url"].split("?")[0] for link in BOARDS[uid]["links"]}
    for to in {"pigsty", "logs-instance", "node-alert"} - {uid}:
        assert f"/d/{to}" in ways


@each_board
def test_a_rate_is_over_a_window_that_fits_the_resolution(uid):
    for target in panels.targets(BOARDS[uid]):
        if target.source != model.METRICS or target.instant:
            continue
        for window in re.findall(r"\b(?:rate|irate)\([^\[\]]*\[([^\]]+)\]", target.expr):
            assert window in ("$__rate_interval", "1h"), target


@each_board
def test_nothing_is_averaged_twice(uid):
    for target in panels.targets(BOARDS[uid]):
        assert not re.search(r"avg[^(]*\((?:avg by|node:(cls|env):\w+_(usage|util))", target.expr)
