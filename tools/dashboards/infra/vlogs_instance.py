"""The stores of logs."""

from .. import parts, stores
from ..model import Board
from ..parts import query, series

BOARD = Board(
    uid="vlogs-instance",
    title="VictoriaLogs Instance",
    folder="infra",
    about="vlogs",
    purpose="What the stores of logs take in, what they refuse, how fast they answer, and how long they last.",
    selector='job="infra", cls=~"vlogs|vlstorage", ins=~"$ins"',
    variables=parts.of_component("vlogs", "vlstorage"),
    alerts='ip=~"$ip",category="infra"',
    links=(*parts.around("vlogs"), parts.Link("node-vector", "across", carry=("ip",))),
    rows=(
        stores.overview("vl", "log lines"),
        stores.traffic("vl", "log lines"),
        stores.questions("vl"),
        stores.storage("vl", (
            series("Lines too long", "Lines per second that are longer than -insert.maxLineSizeBytes: they "
                   "are thrown away.",
                   query("rate(vl_too_long_lines_skipped_total{@}[$__rate_interval])"), unit="ops",
                   width=24, height=6, steps=parts.ANY_WARNS),
        )),
        parts.process(victoria=True),
        parts.journal("vlogs", "VictoriaLogs"),
    ),
)  # fmt: skip
