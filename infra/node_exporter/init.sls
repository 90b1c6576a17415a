# Metrics of this machine.
{% from "infra/daemon/states.jinja" import daemon_states with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ daemon_states('node_exporter') }}
