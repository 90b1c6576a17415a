# VictoriaLogs: takes logs in, keeps them and answers.
{% from "infra/daemon/states.jinja" import daemon_states with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ daemon_states('vlogs') }}
