# vmstorage: a member of the cluster of VictoriaMetrics that stores samples.
{% from "infra/daemon/states.jinja" import daemon_states with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ daemon_states('vmstorage') }}
