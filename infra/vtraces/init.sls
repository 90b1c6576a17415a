# VictoriaTraces: takes traces in over OTLP, keeps them and answers, also as Jaeger.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/map.jinja" import infra with context %}
{% from "infra/daemon/states.jinja" import cleaned, configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('vtraces') }}

{{ cleaned('vtraces', infra.vtraces_clean, infra.vtraces_clean_confirm) }}
{{ configured('vtraces') }}

{{ running('vtraces') }}
