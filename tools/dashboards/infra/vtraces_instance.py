"""The stores of traces, and the traces themselves."""

from .. import parts, stores
from ..model import TRACES, Board, Panel, Query, Row, Variable
from ..parts import query, series

BOARD = Board(
    uid="vtraces-instance",
    title="VictoriaTraces Instance",
    folder="infra",
    about="vtraces",
    purpose="What the stores of traces take in, how they answer, and the latest traces of a service.",
    selector='job="infra", cls=~"vtraces|vtstorage", ins=~"$ins"',
    variables=(
        *parts.of_component("vtraces", "vtstorage"),
        Variable("service", "Service whose traces are listed: the resource attribute service.name"),
    ),
    alerts='ip=~"$ip",category="infra"',
    links=parts.around("vtraces"),
    rows=(
        stores.overview("vt", "spans"),
        Row("Traces", (
            Panel("table", "Latest traces", "The latest traces of the service that is named above; a click on "
                  "one shows its spans.",
                  (Query("$service", source=TRACES, form="search"),), width=24, height=10),
        )),
        stores.traffic("vt", "spans"),
        stores.questions("vt"),
        stores.storage("vt", (
            series("Active traces", "Traces that got a span lately.",
                   query("vt_active_traces{@}"), width=24, height=6),
        )),
        parts.process(victoria=True),
        parts.journal("vtraces", "VictoriaTraces"),
    ),
)  # fmt: skip
