# Metrics of this machine.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/daemon/states.jinja" import configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('node_exporter') }}

{{ configured('node_exporter') }}

{{ running('node_exporter') }}
