# VictoriaTraces: takes traces in over OTLP, keeps them and answers, also as Jaeger.
{% from "infra/daemon/states.jinja" import daemon_states with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ daemon_states('vtraces') }}
