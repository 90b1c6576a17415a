{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.node_exporter.config
{{ running('node_exporter') }}
