"""All logs: how many, what they say, and the way into one of them."""

from typing import Any

from .. import parts
from ..model import LOGS, Board, Link, Panel, Query, Row, Variable

WHERE = "{job=~`${job:regex}`,ins=~`${ins:regex}`,ip=~`${ip:regex}`}"
FILTER = f"{WHERE} cls:~`^(?:${{cls:regex}})$` level:~`^(?:${{level:regex}})$` ($search)"


def top(title: str, says: str, by: str, **more: Any) -> Panel:
    """The values of a field that stand in most lines."""
    expr = f"{FILTER} | stats by ({by}) count() lines | sort by (lines desc) limit 10"
    asked = (Query(expr, f"{{{{{by}}}}}", LOGS, "stats"),)
    return Panel("bargauge", title, says, asked, **{"width": 6, "low": 0, "about": "vlogs", **more})


def choice(name: str, says: str, within: str = "*") -> Variable:
    """A field whose values can be chosen."""
    return Variable(name, says, within, LOGS)


BOARD = Board(
    uid="logs-instance",
    title="Logs",
    folder="infra",
    about="vlogs",
    purpose="Search all logs, see how many lines there are of what, and drill down by machine, program and level.",
    variables=(
        choice("cls", "Clusters: the field cls"),
        choice("job", "Where the lines come from: syslog (the journal), nginx, grafana"),
        choice("ins", "Instances: the field ins", '{job=~`${job:regex}`}'),
        choice("ip", "Addresses of machines: the field ip", '{job=~`${job:regex}`,ins=~`${ins:regex}`}'),
        choice("level", "Levels: the field level", '{job=~`${job:regex}`,ins=~`${ins:regex}`}'),
        Variable("search", "What is searched for, in LogsQL: word, \"a phrase\", unit:vmetrics, status:>=500, NOT …",
                 default="*"),
    ),
    links=(
        parts.HOME,
        Link("infra-overview", "up", carry=("ip",)),
        Link("node-overview", "up", carry=("ip",)),
        Link("node-instance", "down", "Machine", carry=("ip",)),
        Link("vlogs-instance", "across", carry=()),
        parts.ALERTS,
    ),
    rows=(
        Row("Volume", (
            parts.volume("Lines by level", "How many lines there are, by level.",
                         f"{FILTER} | stats by (level) count() lines", "{{level}}", width=12, height=8),
            parts.volume("Lines by instance", "How many lines there are, by instance.",
                         f"{FILTER} | stats by (ins) count() lines", "{{ins}}", width=12, height=8),
            top("Units", "Units of systemd that write most.", "unit"),
            top("Programs", "Programs that write most.", "app"),
            top("Machines", "Instances that write most: a click shows the machine.", "ins", to="node-instance", carry=("ins",)),
            top("Levels", "Lines by level.", "level"),
        )),
        Row("Search", (
            parts.lines("Found", "The lines that match, newest first. A line opens to its fields; one of them can be "
                        "searched for by a click.", FILTER, height=16),
        )),
        Row("Errors", (
            parts.volume("Errors by unit", "Lines of level error and worse, by unit of systemd.",
                         f"{WHERE} level:in(emerg, alert, crit, err, error) | stats by (unit) count() lines", "{{unit}}"),
            Panel("table", "What is complained of most", "Lines of level error and worse, the most frequent first; "
                  "numbers in them are left out, so that like is counted with like.",
                  (Query(f"{WHERE} level:in(emerg, alert, crit, err, error) | collapse_nums prettify "
                         "| stats by (unit, _msg) count() lines | sort by (lines desc) limit 20", "", LOGS, "stats"),),
                  width=24, height=10),
            parts.lines("Errors", "Lines of level error and worse; newest first.",
                        f"{WHERE} level:in(emerg, alert, crit, err, error)", height=10),
        ), folded=True),
    ),
)  # fmt: skip
