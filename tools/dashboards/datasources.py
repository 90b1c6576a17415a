"""Queries to the data sources that the SDK has no types for.

The fields are those of the plugins themselves: `Query` in src/types.ts of
VictoriaMetrics/victorialogs-datasource, and `JaegerQuery` in Grafana's own Jaeger data source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import DataqueryConfig
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

LOG_FORMS = ("instant", "stats", "statsRange", "hits")


@dataclass
class LogsQuery(Dataquery):
    """A question to VictoriaLogs; `form` says which of its interfaces is asked (LOG_FORMS)."""

    expr: str
    form: str
    ref_id: str
    datasource: DataSourceRef
    legend: str = ""
    most_lines: int = 500

    def to_json(self) -> dict[str, object]:
        """The query as the plugin stores it."""
        told: dict[str, object] = {
            "datasource": self.datasource,
            "editorMode": "code",
            "expr": self.expr,
            "queryType": self.form,
            "refId": self.ref_id,
        }
        if self.form == "instant":
            told["maxLines"] = self.most_lines
        if self.legend:
            told["legendFormat"] = self.legend
        return told

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LogsQuery:
        """Read what `to_json` makes; KeyError or ValueError for anything else."""
        known = {
            "datasource",
            "editorMode",
            "expr",
            "queryType",
            "refId",
            "maxLines",
            "legendFormat",
        }
        if set(data) - known or data["queryType"] not in LOG_FORMS:
            raise ValueError(f"no query to VictoriaLogs: {data}")
        return cls(
            expr=data["expr"],
            form=data["queryType"],
            ref_id=data["refId"],
            datasource=DataSourceRef.from_json(data["datasource"]),
            legend=data.get("legendFormat", ""),
            most_lines=data.get("maxLines", 500),
        )


@dataclass
class TracesQuery(Dataquery):
    """A search for traces of a service."""

    service: str
    ref_id: str
    datasource: DataSourceRef
    limit: int = 50

    def to_json(self) -> dict[str, object]:
        """The query as Grafana stores it."""
        return {
            "datasource": self.datasource,
            "limit": self.limit,
            "queryType": "search",
            "refId": self.ref_id,
            "service": self.service,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TracesQuery:
        """Read what `to_json` makes; KeyError or ValueError for anything else."""
        known = {"datasource", "limit", "queryType", "refId", "service"}
        if set(data) - known or data["queryType"] != "search":
            raise ValueError(f"no search for traces: {data}")
        source = DataSourceRef.from_json(data["datasource"])
        return cls(data["service"], data["refId"], source, data["limit"])


@dataclass
class Built(Builder[Dataquery]):
    """A query as one that the SDK's panels take."""

    query: Dataquery

    def build(self) -> Dataquery:
        """The query itself."""
        return self.query


VARIANTS = (
    DataqueryConfig("victoriametrics-logs-datasource", LogsQuery.from_json),
    DataqueryConfig("jaeger", TracesQuery.from_json),
)
"""For the SDK's reader of JSON."""
