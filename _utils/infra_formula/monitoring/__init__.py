"""Metrics, rules, alerts and probes: what their programs read, and what they answer."""
