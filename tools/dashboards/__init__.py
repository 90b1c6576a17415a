"""Grafana dashboards as code: `make dashboards` writes them and their page.

A module per dashboard, below the folder that it has in Grafana. It says what is shown, in the words
of `model`, with the help of `parts`; `build` makes Grafana's JSON of it with grafana-foundation-sdk.
What is written lies in infra/grafana/dashboards and docs/dashboards.md, and is committed.
"""
