"""The parser of LogsQL, on queries of the published grammar and on what it forbids."""

from contextlib import suppress
from pathlib import Path

import logsql
import panels
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.monitoring import vmalert as infra_rules
from support.rule_templates import TEMPLATES

REPO = Path(__file__).resolve().parents[2]

GOOD = r"""
*
error
"a phrase" word
error OR warning AND NOT (foo bar)
!error -foo
_time:5m error
_time:[2024-01-01, 2024-02-01) level:error
_time:1d offset 1h error
{app="nginx"} error
{app=~"nginx|web", env!="dev"} _time:5m
{app in ("a", "b")}
_stream:{app="nginx"} -foo
level:in(err, "crit", emerg)
level:in(*)
user:in(_time:1d admin | fields user)
status:>=400
status:range[400, 499]
size:len_range(5, 10)
app:~"^(?:a|b)$"
ip:ipv4_range("10.0.0.0/8")
_msg:="exact"
unit:=vmetrics
unit:!=vmetrics
foo*
"foo bar"*
app:foo*
app:(foo or bar*)
"quoted field":bar
message:seq("a", "b")
* | stats count() lines
* | stats by (level) count() lines, count_uniq(ip) as ips
* | stats by (_time:5m, host) count() if (level:error) errors
* | sort by (_time desc, ip) limit 10
* | filter lines:>100 | limit 5
* | collapse_nums prettify | stats by (_msg) count() n | sort by (n desc) limit 20
* | uniq by (ip) limit 100
* | top 5 by (ip)
error | fields _time, _msg # the end
""".strip().splitlines()  # fmt: skip
BAD = r"""
(error
error)
error or
and error
"open
{app="nginx"
{app=nginx}
{app:"nginx"}
{app="a" env="b"}
level:in(err
level:in(err warn)
app:~"("
app:~`^(?:a`
status:>
_time:soon
"a\.b"
* | stats by (level)
* | stats by level count()
* | stats nothing() x
* | sort by (a limit 5
* | limit five
* | no_such_pipe
* | fields
* |
| stats count()
error | stats by (level) count() lines filter lines:>1
""".strip().splitlines()  # fmt: skip


@pytest.mark.parametrize("query", GOOD)
def test_a_query_of_the_grammar_is_read(query):
    logsql.parse(query)


@pytest.mark.parametrize("query", BAD)
def test_another_is_refused(query):
    with pytest.raises(logsql.LogsQLError):
        logsql.parse(query)


def test_an_empty_query_is_refused():
    with pytest.raises(logsql.LogsQLError, match="found 'the end'"):
        logsql.parse("")


@given(st.text(max_size=40))
def test_whatever_it_is_given_it_ends(text):
    with suppress(logsql.LogsQLError):
        logsql.parse(text)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="`"), min_size=1))
def test_any_text_can_be_searched_for(text):
    logsql.parse(f"_msg:`{text}` or `{text}`")


# What the rules over metrics name besides.
PORTS = (
    "node_exporter_port",
    "vector_port",
    "nodes",
    "timeout_seconds",
    "dashboards",
    "alertmanager_cluster_port",
)
VALUES = {
    "all": dict.fromkeys(("cls", "ins", "ip", "job", "level"), ".*"),
    "several": dict.fromkeys(("cls", "ins", "ip", "job", "level"), r"(10\.10\.10\.10|infra-1)"),
}


@pytest.mark.parametrize("chosen", VALUES)
@pytest.mark.parametrize("uid", panels.load())
def test_the_dashboards_ask_what_can_be_read(uid, chosen):
    board = panels.load()[uid]
    for search in ("*", 'unit:vmetrics status:>=500 or "a phrase"'):
        values = {**VALUES[chosen], "search": search}
        for target in panels.targets(board):
            if target.source == "ds-vlogs":
                logsql.parse(panels.filled(target.expr, values))
        for variable in board["templating"]["list"]:
            if isinstance(variable.get("query"), dict):
                logsql.parse(panels.filled(variable["query"]["query"], values))


def test_a_panel_that_counts_ends_in_a_count_and_one_of_lines_does_not():
    for board in panels.load().values():
        for target in panels.targets(board):
            if target.source == "ds-vlogs":
                assert ("| stats " in target.expr) == target.form.startswith("stats"), target


def test_the_rules_over_logs_ask_what_can_be_read():
    settings = {"portal_url": "https://i.pigsty", "logs": True}
    settings |= dict.fromkeys(PORTS, 1)
    made = infra_rules.files(settings, TEMPLATES)
    texts = [spec["text"] for path, spec in made.items() if path.startswith("logs/")]
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    asked = [rule["expr"] for group in groups for rule in group["rules"]]
    assert asked
    for expr in asked:
        logsql.parse(expr)
