# VictoriaTraces: a storage node of the cluster, which keeps a part of the traces.
{% from "infra/daemon/states.jinja" import daemon_states with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ daemon_states('vtstorage') }}
