"""Vector's programs as they are rendered, compiled and run by the compiler of their language."""

import json
import re
from pathlib import Path

import pytest
import vector_samples
import vrl
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

TABLE = yaml.safe_load(
    (Path(__file__).parent / "cases/vector_lines.yaml").read_text(encoding="utf-8")
)
ALWAYS = TABLE.pop("always")
CASES = [(program, name) for program, cases in TABLE.items() for name in cases]
SYSLOG = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
LEVELS = {
    "node_logs": SYSLOG,
    "nginx_access_logs": {"info", "warning", "error"},
    "nginx_error_logs": {"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"},
    "grafana_logs": {"trace", "debug", "info", "warn", "error", "crit", "critical"},
}
by_engine = pytest.mark.parametrize("engine", vrl.ENGINES, ids=lambda engine: engine.name)


def sources(**changes):
    """The programs of a rendered configuration, by the transform."""
    return {
        path.split(".")[1]: source
        for path, source in vrl.programs(vector_samples.whole(**changes)).items()
    }


SOURCES = sources()


def spelled_out(value):
    """`{repeat: y, times: 3}` of the table is `yyy`."""
    if isinstance(value, dict) and "repeat" in value:
        return value["repeat"] * value["times"] + value.get("end", "")
    return value


def asked(case):
    """The event that a source hands over."""
    if "event" in case:
        return {key: spelled_out(value) for key, value in case["event"].items()}
    return {"message": case["line"], **({"file": case["file"]} if "file" in case else {})}


def wanted(program, case):
    """The event that is to be shipped."""
    gives = {key: spelled_out(value) for key, value in case["gives"].items()}
    return {"message": case.get("line", ""), "_time": vrl.READ_AT, **ALWAYS[program], **gives}


def wrong(engine, program, source):
    """Names of the cases of the table that a program does not do right; all, if it does not run."""
    cases = TABLE[program]
    try:
        shipped = engine.run(source, [asked(case) for case in cases.values()])
    except vrl.VRLError:
        return list(cases)
    return [
        name
        for (name, case), event in zip(cases.items(), shipped, strict=True)
        if event != wanted(program, case)
    ]


def test_there_is_a_compiler_and_a_table():
    assert "vrl_python" in [engine.name for engine in vrl.ENGINES]
    assert set(TABLE) == set(SOURCES) == set(ALWAYS) == set(LEVELS)
    assert len(CASES) >= 40


@by_engine
@pytest.mark.parametrize("sample", vector_samples.SAMPLES)
def test_every_program_that_is_rendered_compiles(engine, sample):
    found = sources(**vector_samples.SAMPLES[sample])
    assert found
    assert {name: engine.problem(source) for name, source in found.items()} == dict.fromkeys(
        found, ""
    )


@by_engine
@pytest.mark.parametrize(("program", "name"), CASES)
def test_a_line_becomes_the_event_that_the_table_says(engine, program, name):
    case = TABLE[program][name]
    assert engine.run(SOURCES[program], [asked(case)]) == [wanted(program, case)]


@by_engine
@pytest.mark.parametrize("program", TABLE)
def test_names_are_the_ones_of_the_parameters_whatever_they_are(engine, program):
    sample = vector_samples.SAMPLES["names of signs"]
    (shipped,) = engine.run(sources(**sample)[program], [{"message": "x"}])
    if program == "node_logs":
        assert {key: shipped[key] for key in sample} == sample
    assert shipped["ip"] == vector_samples.SETTINGS["ip"]


def test_a_time_without_a_zone_is_the_machine_s():
    (engine,) = (engine for engine in vrl.ENGINES if engine.name == "vrl_python")
    line = {"message": "2026/11/28 16:43:45 [warn] 7#7: x"}
    (shipped,) = engine.run(SOURCES["nginx_error_logs"], [line], "Asia/Shanghai")
    assert shipped["_time"] == "2026-11-28T08:43:45+00:00"


# -- whatever the line

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PIECES = st.sampled_from(
    ['"', "\\", "-", " ", "[", "]", "=", "\n", "\0", "\x1b", "é", "%", ", client: ", ", request: "]
)
LINES = sorted(
    case["line"]
    for cases in TABLE.values()
    for case in cases.values()
    if isinstance(case.get("line"), str)
)


@st.composite
def damaged(draw):
    """A line of the table with something else in the place of a part of it."""
    line = draw(st.sampled_from(LINES))
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, len(line)))
    return (line[:start] + draw(PIECES | TEXT) + line[end:]).encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_PID", "file", "message", "timestamp")
EVENTS = st.dictionaries(st.sampled_from(FIELDS), VALUES) | st.builds(
    dict, message=st.binary(max_size=80) | TEXT.map(str.encode) | damaged(), PRIORITY=TEXT
)


@by_engine
@pytest.mark.parametrize("program", TABLE)
@settings(max_examples=150)
@given(event=EVENTS)
@example(event={})
@example(event={"message": b"\xff" * 300000})
def test_any_event_is_shipped_whole_with_a_level_that_is_known(engine, program, event):
    if isinstance(event.get("timestamp"), str):
        del event["timestamp"]
    (shipped,) = engine.run(SOURCES[program], [event])
    assert shipped["level"] in LEVELS[program] | {"unknown"}
    fixed = {key: value for key, value in ALWAYS[program].items() if key in ("job", "ip", "ins")}
    assert {key: shipped[key] for key in fixed} == fixed
    message = event.get("message")
    if isinstance(message, bytes):
        message = message.decode(errors="replace")
    if isinstance(message, str):
        whole = program != "node_logs" or len(message) <= 150000
        assert shipped["message"] == (message if whole else message[:150000] + " [cut]")
    elif program == "node_logs":
        assert json.loads(shipped["message"]).get("message") == message


@by_engine
@settings(max_examples=100)
@given(event=EVENTS)
def test_only_a_priority_of_the_journal_makes_an_error(engine, event):
    priority = event.get("PRIORITY")
    event.pop("timestamp", None)
    (shipped,) = engine.run(SOURCES["node_logs"], [event])
    if not re.fullmatch(r"\+?0*[0-7]", str(priority)):
        assert shipped["level"] == "unknown"
        assert "p" not in shipped


# -- the test itself: a program that was broken on purpose

# Literals of a program: text, numbers, signs of comparison. Each of them does something.
LITERALS = re.compile(r"""r'[^']*'|"[^"]*"|\b\d+\b|[=!]=|>=|<=|&&|\|\|""")
SIGNS = {"==": ["!="], "!=": ["=="], ">=": [">", "<"], "<=": ["<"], "&&": ["||"], "||": ["&&"]}
# What no line can show: either way the level, or the server, is unknown; or it cannot fail, but the
# compiler does not know.
EQUAL = {
    ("nginx_access_logs", "file", '""'),
    ("nginx_access_logs", "status", "0"),
    ("node_logs", "priority, err", '""'),
    ("node_logs", "priority, err", "10"),
    ("grafana_logs", "level", '"unknown"'),
}


def broken(source):
    """Copies of a program with one thing broken in each, and the statement and its part."""
    lines = [line for line in source.splitlines() if not line.strip().startswith("#")]
    for index, line in enumerate(lines):
        statement = line.strip().partition(" = ")[0]
        for found in LITERALS.finditer(line):
            literal = found[0]
            if literal.isdigit():
                others = [str(int(literal) + 1)]
            elif literal.startswith("r'"):
                others = [literal.replace("r'", "r'x", 1)]
            elif literal.startswith('"'):
                others = [literal[:-1] + '_"']
            else:
                others = SIGNS[literal]
            for other in others:
                changed = line[: found.start()] + other + line[found.end() :]
                copy = [*lines[:index], changed, *lines[index + 1 :]]
                yield (statement, literal), "\n".join(copy)
        yield (statement, "the line"), "\n".join(lines[:index] + lines[index + 1 :])


@pytest.mark.parametrize("program", TABLE)
def test_a_program_that_is_broken_on_purpose_is_found(program):
    engine, source = vrl.ENGINES[0], SOURCES[program]
    assert wrong(engine, program, source) == []
    copies = list(broken(source))
    assert len(copies) > 20
    missed = [
        what
        for what, copy in copies
        if not engine.problem(copy) and wrong(engine, program, copy) == []
    ]
    assert [what for what in missed if (program, *what) not in EQUAL] == []


@by_engine
def test_what_does_not_compile_is_told(engine):
    was = """
parsed, err = parse_nginx_log(string(.message) ?? "", "combined")
.status = to_int(parsed.status) ?? 0
"""
    assert "unnecessary error coalescing" in engine.problem(was)
    with pytest.raises(vrl.VRLError):
        engine.run(".x = to_int!(.message)", [{"message": "x"}])


def test_programs_are_found_wherever_they_stand():
    config = {
        "sources": {"a": {"source": "no program"}},
        "transforms": {
            "a": {"type": "remap", "source": "1"},
            "b": {"type": "filter", "condition": "2"},
            "c": {"type": "filter", "condition": {"type": "vrl", "source": "3"}},
            "d": {"type": "route", "route": {"x": "4", "y": {"type": "vrl", "source": "5"}}},
            "e": {"type": "exclusive_route", "routes": [{"name": "x", "condition": "6"}]},
        },
    }
    assert sorted(vrl.programs(config).values()) == ["1", "2", "3", "4", "5", "6"]
