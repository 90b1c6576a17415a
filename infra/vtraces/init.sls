# VictoriaTraces: takes traces in over OTLP, keeps them and answers, also as Jaeger.
include:
  - infra.vtraces.package
  - infra.vtraces.config
  - infra.vtraces.service
  - infra.daemon.stable
