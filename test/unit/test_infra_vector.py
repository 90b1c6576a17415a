"""Vector's configuration: receivers, sizes, and where it begins to read."""

from pathlib import Path

import pytest
import vector_samples
import yaml
from infra_formula.logs import vector as infra_vector
from infra_formula.monitoring import vmalert as infra_rules
from salt.exceptions import SaltInvocationError
from support.rule_templates import TEMPLATES
from vector_samples import SETTINGS

REPO = Path(__file__).resolve().parents[2]


def rendered(**changes):
    files = vector_samples.files(**changes)
    return {name: (yaml.safe_load(spec["text"]), spec) for name, spec in files.items()}


@pytest.mark.parametrize(
    ("endpoints", "wanted"),
    [
        (["infra"], ["http://10.0.0.1:9428/insert/jsonline", "http://10.0.0.2:9428/insert/jsonline"]),
        ([], []),
        (["http://${admin_ip}:9428"], ["http://10.0.0.1:9428/insert/jsonline"]),
        (["https://logs/insert/x?y=1"], ["https://logs/insert/x?y=1"]),
        (["infra", "http://10.0.0.2:9428/"],
         ["http://10.0.0.1:9428/insert/jsonline", "http://10.0.0.2:9428/insert/jsonline"]),
    ],
)  # fmt: skip
def test_receivers(endpoints, wanted):
    nodes = ["10.0.0.1:9428", "10.0.0.2:9428"]
    assert infra_vector.receivers(endpoints, nodes, "10.0.0.1") == wanted


def test_logs_go_through_the_portal_where_nothing_else_is_reached():
    told = infra_vector.receivers(["infra"], ["10.0.0.1:80/vlogs"], "10.0.0.1")
    assert told == ["http://10.0.0.1:80/vlogs/insert/jsonline"]


@pytest.mark.parametrize(("text", "wanted"), [("1GiB", 2**30), ("300MB", 3 * 10**8)])
def test_sizes(text, wanted):
    assert infra_vector.size(text) == wanted


@pytest.mark.parametrize("text", ["", "1", "1 GB x", "100MiB", "much"])
def test_a_size_that_vector_would_not_take_is_refused_by_name(text):
    with pytest.raises(SaltInvocationError, match="vector_buffer_size"):
        infra_vector.size(text)


def test_a_sink_for_each_receiver_with_a_buffer_on_disk_and_acknowledgements():
    whole, spec = rendered()["vector.yaml"]
    sinks = [s for s in whole["sinks"].values() if s["type"] == "http"]
    assert [s["uri"] for s in sinks] == SETTINGS["receivers"]
    for sink in sinks:
        assert sink["buffer"] == {"type": "disk", "max_size": 2**30, "when_full": "drop_newest"}
        assert sink["acknowledgements"] == {"enabled": True}
        assert sink["request"]["headers"]["VL-Stream-Fields"] == "job,ins,ip"
    assert spec["secret"]
    assert spec["mode"] == "0640"


def test_with_one_receiver_logs_wait_where_they_are():
    whole, _ = rendered(receivers=SETTINGS["receivers"][:1])["vector.yaml"]
    assert whole["sinks"]["receiver_1"]["buffer"]["when_full"] == "block"


def test_without_receivers_there_are_metrics_only():
    whole, _ = rendered(receivers=[])["vector.yaml"]
    assert list(whole["sinks"]) == ["exporter"]


def test_what_ships_ends_in_logs_so_that_files_of_others_take_part():
    for name, (whole, _) in rendered().items():
        if name != "vector.yaml":
            assert all(key.endswith("_logs") for key in whole["transforms"])


def test_names_are_quoted_in_the_program():
    whole, _ = rendered()["node.yaml"]
    assert '"ins": "a\\"b"' in whole["transforms"]["node_logs"]["source"]


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"vector_log_endpoint": ["infra", "10.0.0.1:9428"]}, "vector_log_endpoint[1]"),
        ({"vector_buffer_size": "1KB"}, "vector_buffer_size"),
    ],
)
def test_a_fault_is_told_by_its_key(parameters, path):
    (message,) = infra_vector.problems(parameters)
    assert message.startswith(path)


def test_reading_from_the_end_holds_for_the_journal_and_for_files():
    for read_from, since_now in (("beginning", False), ("end", True)):
        sources = vector_samples.whole(read_from=read_from)["sources"]
        assert sources["journal"]["since_now"] is since_now
        files = [source for source in sources.values() if source["type"] == "file"]
        assert len(files) == 3
        assert {source["read_from"] for source in files} == {read_from}


def test_a_line_of_nginx_is_never_too_long_to_be_read():
    # Request, referrer and agent of 16 KiB each, every byte of them written in four.
    for source in vector_samples.whole()["sources"].values():
        if source["type"] == "file":
            assert source["max_line_bytes"] > 3 * 4 * 16 * 1024


def test_an_address_with_a_dollar_is_taken_as_it_is():
    sample = vector_samples.SAMPLES["a password of signs"]
    text = vector_samples.files(**sample)["vector.yaml"]["text"]
    assert "$" not in text  # releases before 0.57 would put in a variable of the environment
    assert yaml.safe_load(text)["sinks"]["receiver_1"]["uri"] == sample["receivers"][0]


@pytest.mark.parametrize("name", ["a\nb", "a\0", "a\u2028b", "\x1b[31m"])
def test_a_name_that_no_program_can_hold_is_refused(name):
    with pytest.raises(SaltInvocationError, match="control characters"):
        vector_samples.files(ins=name)


# -- rules ---


def rules(**changes):
    settings = {"node_exporter_port": 9100, "vector_port": 9598, "portal_url": "http://i.pigsty",
                "nodes": 1, "timeout_seconds": 8, "dashboards": True,
                "alertmanager_cluster_port": 9094,
                "logs": True}  # fmt: skip
    custom = changes.pop("custom", None)
    logs = changes.pop("own_logs", None)
    return infra_rules.files({**settings, **changes}, TEMPLATES, custom, logs)


def test_rules_over_logs_are_there_where_logs_are():
    assert "logs/node.yml" in rules()
    assert not [rel for rel in rules(logs=False, own_logs={"x": []}) if rel.startswith("logs/")]


def test_rules_name_the_ports_of_the_parameters():
    assert ".*:19100" in rules(node_exporter_port=19100)["agent.yml"]["text"]


def test_a_site_adds_files_of_rules():
    group = {"name": "g", "rules": [{"record": "x", "expr": "1"}]}
    made = rules(custom={"mine": [group]}, own_logs={"theirs": {"groups": [group]}})
    assert yaml.safe_load(made["site-mine.yml"]["text"]) == {"groups": [group]}
    (typed,) = yaml.safe_load(made["logs/site-theirs.yml"]["text"])["groups"]
    assert typed["type"] == "vlogs"


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"vmalert_rules": {"a/b": []}}, "vmalert_rules.a/b"),
        ({"vmalert_rules": {"a": {"x": 1}}}, "vmalert_rules.a"),
        ({"vmalert_logs_rules": {"a": [{"name": "g"}]}}, "vmalert_logs_rules.a[0]"),
        ({"vmetrics_enabled": False}, "vmalert_enabled: expected false"),
    ],
)
def test_a_fault_in_the_rules_is_told_by_its_key(parameters, path):
    (message,) = infra_rules.problems(parameters)
    assert message.startswith(path)
