{%- from "infra/daemon/states.jinja" import configured with context %}

include:
  - infra.node_exporter.package
{{ configured('node_exporter') }}
