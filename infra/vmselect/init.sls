# vmselect: answers queries from all members of the cluster of VictoriaMetrics.
{% from "infra/daemon/states.jinja" import daemon_states with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ daemon_states('vmselect') }}
