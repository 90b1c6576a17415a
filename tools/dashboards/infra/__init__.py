"""Dashboards of the INFRA folder: what the INFRA nodes run."""
