"""Dashboards of the NODE folder: the machines."""
