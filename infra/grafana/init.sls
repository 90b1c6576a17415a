# Grafana: dashboards over metrics, logs and traces.
include:
  - infra.grafana.package
  - infra.grafana.config
  - infra.grafana.service
  - infra.grafana.content
  - infra.daemon.stable
