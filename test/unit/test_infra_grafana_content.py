"""Data sources, folders and dashboards of Grafana, as files; and the states that publish them."""

import json
from pathlib import Path

import pytest
import salt.utils.yaml
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths, systemd
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.grafana import api, data_sources, provisioning
from infra_formula.grafana import dashboards as grafana_dashboards
from infra_formula.parameters import schema as infra_schema
from lab.standins import grafana_settings
from salt.exceptions import CommandExecutionError, SaltInvocationError
from support.doubles import double

from _states import infra_grafana as states

REPO = Path(__file__).resolve().parents[2]
ROWS = salt.utils.yaml.safe_load(
    (REPO / "infra/grafana/datasources.yaml").read_text(encoding="utf-8")
)
DEFAULTS = yaml.safe_load((REPO / "infra/defaults.yaml").read_text(encoding="utf-8"))
SCHEMA = infra_schema.parameters(
    yaml.safe_load((REPO / "infra/schema.yaml").read_text(encoding="utf-8"))
)
VALUES = {
    "vmetrics_port": 8428,
    "vlogs_port": 9428,
    "vtraces_port": 10428,
    "vmetrics_scrape_interval": "10s",
    "grafana_meta": "",
    "meta_endpoint": "",
    "meta_database": "",
    "grafana_view_password": "DBUser$Viewer",
}
CMDB = {"grafana_meta": "x", "meta_endpoint": "10.0.0.9:5432", "meta_database": "meta"}
NODES = [{"ip": "10.10.10.10", "seq": 1}, {"ip": "10.10.10.11", "seq": 2}]
STACK = ["vmetrics", "vlogs", "vtraces"]
DAEMON = {"unit": "grafana-server", "port": 3000}


@pytest.fixture
def configure_loader_modules():
    names = ("__salt__", "__grains__", "__context__")
    return {states: {**{name: {} for name in names}, "__opts__": {"test": False}}}


def sources(enabled=STACK, nodes=NODES, site=None, **values):
    return data_sources.sources(ROWS, {**VALUES, **values}, enabled, nodes, site)


def problems(parameters):
    return data_sources.problems(parameters) + grafana_dashboards.problems(parameters)


# -- data sources ---


def test_there_is_one_of_each_kind_and_one_of_each_node_with_uids_that_stay():
    found = {one["name"]: one for one in sources()}
    assert {name: one["uid"] for name, one in found.items()} == {
        "Metrics": "ds-metrics",
        "Prometheus": "ds-prometheus",
        "VictoriaMetrics": "ds-vmetrics",
        "Logs": "ds-vlogs",
        "Traces": "ds-vtraces",
        "Static": "ds-static",
        **{f"{kind}-{seq}": f"{kind}-{seq}" for kind in STACK for seq in (1, 2)},
    }
    assert found["vlogs-2"]["url"] == "http://10.10.10.11:9428"
    assert [one["name"] for one in found.values() if one.get("isDefault")] == ["Metrics"]
    assert not any(one["editable"] for one in found.values())


def test_the_cmdb_is_there_only_where_it_is_declared():
    assert "ds-meta" not in {one["uid"] for one in sources()}
    (meta,) = [one for one in sources(**CMDB) if one["uid"] == "ds-meta"]
    assert (meta["url"], meta["jsonData"]["database"]) == ("10.0.0.9:5432", "meta")


def test_what_links_to_a_component_that_is_off_is_left_out():
    found = sources(enabled=["vmetrics", "vlogs"])
    known = {one["uid"] for one in found}
    assert "ds-vtraces" not in known
    assert links(found) <= known
    assert links(sources()) == {"ds-metrics", "ds-vlogs", "ds-vtraces", "vlogs-1", "vlogs-2",
                                "vtraces-1", "vtraces-2"}  # fmt: skip


@pytest.mark.parametrize("values", [{}, CMDB], ids=["stack", "database"])
def test_grafana_s_stand_in_takes_what_is_provisioned(values, tmp_path):
    made = {
        **data_sources.files(sources(**values)),
        **grafana_dashboards.providers("/infra/grafana", ["node"], True, {"Mine": "/srv/boards"}),
    }
    for rel, spec in made.items():
        path = tmp_path / rel.removeprefix("provisioning/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(spec["text"], encoding="utf-8")
    read = grafana_settings.sources(str(tmp_path))
    assert {one["uid"] for one in read} == {one["uid"] for one in sources(**values)}
    assert grafana_settings.providers(str(tmp_path))


def links(value):
    """Every uid that a data source leads to."""
    if isinstance(value, dict):
        own = {value["datasourceUid"]} if "datasourceUid" in value else set()
        return own.union(*map(links, value.values()))
    return set().union(*map(links, value)) if isinstance(value, list) else set()


def test_logs_lead_to_traces_and_traces_to_logs_and_metrics():
    found = {one["uid"]: one["jsonData"] for one in sources() if "jsonData" in one}
    assert {f["datasourceUid"] for f in found["ds-vlogs"]["derivedFields"]} == {"ds-vtraces"}
    assert found["ds-vtraces"]["tracesToLogsV2"]["datasourceUid"] == "ds-vlogs"
    assert found["ds-vtraces"]["tracesToMetrics"]["datasourceUid"] == "ds-metrics"
    exemplars = found["ds-metrics"]["exemplarTraceIdDestinations"]
    assert {e["datasourceUid"] for e in exemplars} == {"ds-vtraces"}


def grafana_reads(text):
    """A value as Grafana reads it from a provisioning file: `$$` is a `$`, others are variables."""
    return "$".join(part.partition("$")[0] for part in text.split("$$"))


def test_a_dollar_is_one_to_grafana_and_a_secret_is_in_the_file_without_a_difference():
    files = data_sources.files(sources(**CMDB))
    text = files[data_sources.SOURCES]["text"]
    url = yaml.safe_load(text)["datasources"][3]["jsonData"]["derivedFields"][0]["url"]
    assert grafana_reads(url) == "${__value.raw}"
    apart = files[data_sources.SECRET_SOURCES]
    (meta,) = yaml.safe_load(apart["text"])["datasources"]
    assert grafana_reads(meta["secureJsonData"]["password"]) == VALUES["grafana_view_password"]
    assert apart["secret"]
    assert "Viewer" not in text
    assert all((f["mode"], f["group"]) == ("0640", "grafana") for f in files.values())
    assert data_sources.SECRET_SOURCES not in data_sources.files(sources())


def test_removed_ones_are_removed_by_grafana():
    for spec in data_sources.files(sources(**CMDB)).values():
        assert yaml.safe_load(spec["text"])["prune"] is True


def test_a_source_of_the_site_gets_a_uid_and_may_be_the_default():
    found = sources(
        site={"My shop": {"type": "prometheus", "url": "http://s:1", "isDefault": True}}
    )
    assert [one["name"] for one in found if one.get("isDefault")] == ["My shop"]
    assert found[-1]["uid"] == "my-shop"


@pytest.mark.parametrize(
    "site",
    [
        {"Metrics": {"type": "prometheus", "uid": "mine"}},
        {"mine": {"type": "prometheus", "uid": "ds-vlogs"}},
        {"a b": {"type": "prometheus"}, "a-b": {"type": "loki"}},
    ],
)
def test_a_name_or_uid_that_is_taken_is_named(site):
    with pytest.raises(SaltInvocationError, match=r"grafana_datasources\..*is taken by"):
        sources(site=site)


def test_a_row_that_names_no_parameter_is_an_error():
    with pytest.raises(SaltInvocationError, match="no_such"):
        data_sources.sources([{"name": "x", "uid": "x", "url": "${no_such}"}], {}, [], [])


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)


@given(JSON)
def test_whatever_stands_in_a_source_of_the_site_arrives_as_it_is(data):
    one = {"name": "x", "uid": "x", "type": "t", "jsonData": {"data": data}}
    (found,) = yaml.safe_load(data_sources.files([one])[data_sources.SOURCES]["text"])[
        "datasources"
    ]

    def read(value):
        if isinstance(value, dict):
            return {key: read(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [read(inner) for inner in value]
        return value.replace("$$", "$") if isinstance(value, str) else value

    assert read(found["jsonData"]["data"]) == data


# -- dashboards ---


def board(uid="one", **more):
    return {"uid": uid, "title": f"Board {uid}", "panels": [], **more}


def collect(own=None, site=None, folders=None, texts=None):
    return grafana_dashboards.files(own or {}, site or {}, folders or {}, texts or {})


def test_dashboards_lie_in_one_directory_per_folder():
    found = collect(
        {"home.json": json.dumps(board("home")), "node/a.json": json.dumps(board("a"))},
        {"b": board("b"), "c": json.dumps(board("c")), "d": "salt://d.json"},
        {"grafana_dashboard_dirs.My shop": {"x/e.json": json.dumps(board("e"))}},
        {"salt://d.json": json.dumps(board("d"))},
    )
    assert set(found) == {"home/home.json", "node/a.json", "site/b.json", "site/c.json",
                          "site/d.json", "my-shop/x/e.json"}  # fmt: skip
    assert all(spec["group"] == "infra" for spec in found.values())


def test_a_dashboard_without_a_uid_gets_that_of_its_name():
    found = collect(site={"mine": {"title": "Mine"}})
    assert json.loads(found["site/mine.json"]["text"])["uid"] == "mine"


def test_a_resource_as_of_grafana_12_is_taken():
    resource = {"apiVersion": "dashboard.grafana.app/v2", "kind": "Dashboard",
                "metadata": {"name": "new"}, "spec": {"title": "New"}}  # fmt: skip
    found = collect(site={"new": resource})
    assert json.loads(found["site/new.json"]["text"]) == resource


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "expected the JSON of a dashboard"),
        ("[]", "a dictionary"),
        ({"uid": "x"}, "with a title"),
        (board("a b"), "expected a uid"),
        (board("x" * 41), "expected a uid"),
        (board(__inputs=[{"name": "DS"}]), "exported for sharing"),
        (
            board(__inputs=[{"name": "DS", "type": "datasource", "pluginId": "loki"}]),
            "asks for DS of type loki",
        ),
        ({"dashboard": board(), "meta": {}}, "response of the API"),
    ],
)
def test_what_is_no_dashboard_is_named(given, told):
    with pytest.raises(SaltInvocationError, match=rf"grafana_dashboards\.mine: .*{told}"):
        collect(site={"mine": given})
    (error,) = grafana_dashboards.problems({"grafana_dashboards": {"mine": given}})
    assert error.startswith("grafana_dashboards.mine: ")


def test_two_with_one_uid_are_named_both():
    with pytest.raises(SaltInvocationError, match=r"grafana_dashboards\.b: .*one is that of .*a\b"):
        collect(site={"a": board(), "b": board()})
    with pytest.raises(SaltInvocationError, match=r"grafana_dashboards\.a: .*infra/x\.json"):
        collect({"infra/x.json": json.dumps(board())}, {"a": board()})


def test_a_path_that_is_not_served_is_named():
    with pytest.raises(SaltInvocationError, match=r"grafana_dashboards\.a: salt://no"):
        collect(site={"a": "salt://no"})


def test_folders():
    dirs = {"My shop": "salt://shop/boards", "Local": "/srv/boards"}
    (spec,) = grafana_dashboards.providers("/infra/grafana", ["node", "infra"], True, dirs).values()
    found = yaml.safe_load(spec["text"])["providers"]
    assert [(p["folder"], p.get("folderUid"), p["options"]["path"]) for p in found] == [
        ("", None, "/infra/grafana/home"),
        ("INFRA", "infra", "/infra/grafana/infra"),
        ("NODE", "node", "/infra/grafana/node"),
        ("Site", "site", "/infra/grafana/site"),
        ("My shop", "my-shop", "/infra/grafana/my-shop"),
        ("Local", "local", "/srv/boards"),
    ]
    assert {(p["disableDeletion"], p["allowUiUpdates"]) for p in found} == {(False, False)}


# -- parameters ---


def test_the_defaults_are_good():
    assert problems(DEFAULTS) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grafana_datasources": {"x": {"type": "A B"}}}, "grafana_datasources.x.type"),
        ({"grafana_datasources": {"x": {"type": "p", "url": "ftp://x"}}}, "x.url: expected http"),
        ({"grafana_datasources": {"x": {"type": "p", "url": "http://h:port/"}}}, "x.url: expected"),
        ({"grafana_datasources": {"x": {"type": "p", "url": "http://u:hush@h"}}},
         "x.url: expected no password"),
        ({"grafana_datasources": {"x": {"type": "p", "uid": "a/b"}}}, "x.uid: expected"),
        ({"grafana_datasources": {"$x": {"type": "p"}}}, "grafana_datasources.$x: expected a name"),
        ({"grafana_datasources": {"x": {"type": "p", "isDefault": True},
                                  "y": {"type": "p", "isDefault": True}}}, "expected one default"),
        ({"grafana_dashboards": {"a/b": board()}}, "grafana_dashboards.a/b: expected a name"),
        ({"grafana_dashboards": {"a": board(), "b": board()}}, "dashboards.b: expected a uid of"),
        ({"grafana_dashboard_dirs": {"NODE": "salt://x"}}, "NODE: expected another title"),
        ({"grafana_dashboard_dirs": {"A b": "/x", "a-b": "/y"}}, "a-b: expected another title"),
        ({"grafana_dashboard_dirs": {"X": "http://x"}}, "X: expected salt://"),
        ({"grafana_dashboard_dirs": {"X": "salt://../x"}}, "X: expected salt://"),
        ({"grafana_dashboard_dirs": {"X/y": "/x"}}, "expected a folder's title"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_key(given, named):
    (error,) = problems(given)
    assert named in error
    assert "hush" not in error


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grafana_anonymous": "admin"}, "grafana_anonymous: expected one of"),
        ({"grafana_theme": "pink"}, "grafana_theme: expected one of"),
        ({"grafana_datasources": {"x": {"tpye": "prometheus"}}}, "grafana_datasources.x"),
        ({"grafana_datasources": {"x": {"type": "p", "jsonDta": {}}}}, "jsonDta"),
        ({"grafana_datasources": {"x": {"type": "p", "access": "dirct"}}}, "x.access"),
        ({"grafana_dashboards": {"x": 1}}, "grafana_dashboards.x"),
        ({"grafana_config": {"smtp": "x"}}, "grafana_config.smtp"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(given, named):
    errors = infra_schema.check("", given, {"type": "map", "keys": SCHEMA})
    assert errors
    assert any(named in error for error in errors)


@pytest.mark.parametrize(
    "given",
    [
        {"grafana_admin_password": 190219},
        {"grafana_pgurl": ["190219"]},
        {"grafana_datasources": {"x": {"type": "p", "secureJsonData": {"password": 190219}}}},
    ],
)
def test_a_secret_of_the_wrong_kind_is_not_quoted(given):
    (error,) = infra_schema.check("", given, {"type": "map", "keys": SCHEMA})
    assert "expected a string" in error
    assert "190219" not in error


@given(
    st.dictionaries(TEXT, st.one_of(st.text(max_size=40), st.dictionaries(TEXT, JSON, max_size=3)),
                    max_size=3)
)  # fmt: skip
def test_any_dashboard_is_taken_or_complained_of(site):
    errors = grafana_dashboards.problems({"grafana_dashboards": site})
    assert all(error.startswith("grafana_dashboards.") for error in errors)
    loaded = {name: one for name, one in site.items()
              if not (isinstance(one, str) and one.startswith("salt://"))}  # fmt: skip
    if not errors and loaded == site:
        for spec in collect(site=site).values():
            assert json.loads(spec["text"])["uid"]


@given(st.dictionaries(TEXT, TEXT, max_size=3))
def test_any_directory_is_taken_or_complained_of(dirs):
    errors = grafana_dashboards.problems({"grafana_dashboard_dirs": dirs})
    if not errors:
        (spec,) = grafana_dashboards.providers("/infra/grafana", ["home"], False, dirs).values()
        found = yaml.safe_load(spec["text"])["providers"]
        assert len({p["name"] for p in found}) == len(dirs) + 1


# -- the states ---

FILES = {"infra/a.json": {"text": json.dumps(board("a"))}}
SETS = FileSet("grafana-dashboards", "/infra/grafana")
FOUND = FilePlan(SETS, FILES, create=["infra/a.json"], diff={"infra/a.json": "created"})


def published(monkeypatch, tmp_path, test=False, active=True, there=None, found=FOUND):
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    returns = {
        (grafana_dashboards, "served"): FILES,
        (FileSet, "plan"): found,
        (systemd, "unit_state"): {"active": active},
        (api, "uids"): {"dashboards": set(there or {})},
        (api, "reload"): None,
        (FilePlan, "apply"): None,
    }
    calls = {
        name: double(monkeypatch, module, name, return_value=value)
        for (module, name), value in returns.items()
    }
    double(monkeypatch, api, "dashboard", side_effect=lambda who, uid: there[uid])
    states.__opts__["test"] = test
    return states.dashboards("/infra/grafana", DAEMON, {"username": "admin"}), calls


def test_dashboards_are_published_and_read_again(monkeypatch, tmp_path):
    ret, calls = published(monkeypatch, tmp_path)
    assert ret["result"] is True
    assert ret["changes"] == {"infra/a.json": "created"}
    calls["apply"].call_args.kwargs["reload"]()
    assert calls["reload"].call_args.args[1] == "dashboards"


def test_where_grafana_does_not_run_nothing_is_asked(monkeypatch, tmp_path):
    ret, calls = published(monkeypatch, tmp_path, active=False)
    assert ret["result"] is True
    assert calls["apply"].call_args.kwargs["reload"] is None
    calls["uids"].assert_not_called()


def test_in_test_mode_and_without_a_difference_nothing_is_published(monkeypatch, tmp_path):
    ret, calls = published(monkeypatch, tmp_path, test=True)
    assert (ret["result"], ret["changes"]) == (None, {"infra/a.json": "created"})
    calls["apply"].assert_not_called()
    same = FilePlan(SETS, FILES)
    ret, calls = published(monkeypatch, tmp_path, found=same)
    assert (ret["result"], ret["changes"]) == (True, {})
    calls["apply"].assert_not_called()


@pytest.mark.parametrize("provisioned", [True, False])
def test_a_dashboard_of_somebody_elses_is_kept_and_told(monkeypatch, tmp_path, provisioned):
    theirs = {"dashboard": {"title": "Theirs"}, "meta": {"provisioned": provisioned}}
    ret, _ = published(monkeypatch, tmp_path, there={"a": theirs})
    kept = tmp_path / "replaced/grafana/a.json"
    assert kept.exists() is not provisioned
    assert ("dashboard a" in ret["changes"]) is not provisioned
    if not provisioned:
        assert json.loads(kept.read_text()) == {"title": "Theirs"}


def shown(monkeypatch, wanted, there, seconds=0):
    double(monkeypatch, provisioning, "provisioned_uids", return_value=wanted)
    double(monkeypatch, api, "uids", return_value=there)
    return states.shown("/infra/grafana", DAEMON, {}, seconds)


def test_what_grafana_has_not_taken_up_is_an_error(monkeypatch):
    both = {"datasources": {"a"}, "dashboards": {"b"}}
    assert shown(monkeypatch, both, both)["result"] is True
    ret = shown(monkeypatch, both, {**both, "dashboards": set()})
    assert ret["result"] is False
    assert "dashboards: b" in ret["comment"]


def test_what_is_wanted_is_read_from_the_files_that_lie_there(monkeypatch, tmp_path):
    monkeypatch.setattr(provisioning, "ROOT", str(tmp_path))
    files = data_sources.files(sources(**CMDB))
    for rel, spec in files.items():
        (tmp_path / rel).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / rel).write_text(spec["text"])
    (tmp_path / "boards/infra").mkdir(parents=True)
    (tmp_path / "boards/infra/a.json").write_text(json.dumps(board("a")))
    found = provisioning.provisioned_uids(str(tmp_path / "boards"))
    assert found["datasources"] == {one["uid"] for one in sources(**CMDB)}
    assert found["dashboards"] == {"a"}
    (tmp_path / "boards/infra/b.json").write_text("{")
    with pytest.raises(CommandExecutionError):
        provisioning.provisioned_uids(str(tmp_path / "boards"))


def test_a_dashboard_of_grafana_com_gets_the_formulas_data_sources():
    shared = {
        "__inputs": [
            {"name": "DS_PROMETHEUS", "type": "datasource", "pluginId": "prometheus"},
            {"name": "DS_EXPRESSION", "type": "datasource", "pluginId": "__expr__"},
            {"name": "VAR_JOB", "type": "constant", "value": "node"},
        ],
        "__requires": [{"type": "grafana", "id": "grafana", "version": "11.0.0"}],
        "id": 1860,
        "title": "Shared",
        "panels": [
            {
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "targets": [{"expr": 'up{job="${VAR_JOB}", ins="${ins}"}'}],
            },
            {"datasource": "${DS_PROMETHEUS}"},
        ],
    }
    made = json.loads(
        grafana_dashboards.files({}, {"shared": shared}, {}, {})["site/shared.json"]["text"]
    )
    assert not {"__inputs", "__requires"} & {*made}
    assert made["id"] is None
    first, second = made["panels"]
    assert first["datasource"]["uid"] == second["datasource"] == "ds-metrics"
    assert first["targets"][0]["expr"] == 'up{job="node", ins="${ins}"}'
