"""Grafana: settings, data sources, dashboards."""
