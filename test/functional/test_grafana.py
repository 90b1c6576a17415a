"""A pillar with a mistake about Grafana: one error that names it, out of all checks there are."""

import pytest
from infra_formula.grafana import dashboards

SHOP = {"uid": "shop", "title": "Shop", "panels": []}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grafana_datasources": {"x": {"url": "http://x"}}}, "grafana_datasources.x.type"),
        ({"grafana_datasources": {"x": {"type": "prometheus", "jsonDta": {}}}},
         "grafana_datasources.x.jsonDta"),
        ({"grafana_datasources": {"x": {"type": "prometheus", "url": "http://h:port"}}},
         "grafana_datasources.x.url"),
        ({"grafana_anonymous": "admin"}, "grafana_anonymous"),
        ({"grafana_dashboards": {"x": "{"}}, "grafana_dashboards.x"),
        ({"grafana_dashboards": {"x": SHOP, "y": SHOP}}, "grafana_dashboards.y"),
        ({"grafana_pgurl": "postgres://u:hush@h"}, "grafana_pgurl"),
        ({"grafana_config": {"paths": {"data": "/x"}}}, "grafana_config['paths'].data"),
        ({"grafana_auth_proxy": True}, "grafana_auth_proxy"),
        ({"grafana_enabled": True, "infra_packaging": "distro", "vlogs_enabled": False,
          "vtraces_enabled": False, "vector_enabled": False}, "grafana_enabled"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_is_done(modules, given, named):
    told = modules.infra_pillar.validate(pillar={"infra": given})
    assert told["valid"] is False
    (error,) = told["errors"]
    assert error.startswith(f"{named}: ")
    assert "hush" not in error


def test_what_is_served_is_found_by_folder(minion):
    found = dashboards.served(minion, {"shop": SHOP}, {})
    assert "site/shop.json" in found
    assert {path.split("/")[0] for path in found} <= {"home", "infra", "node", "site"}
