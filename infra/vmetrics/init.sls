# VictoriaMetrics: scrapes, stores and answers.
include:
  - infra.vmetrics.package
  - infra.vmetrics.config
  - infra.vmetrics.service
  - infra.daemon.stable
