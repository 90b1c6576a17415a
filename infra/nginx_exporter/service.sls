{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.nginx_exporter.config
{{ running('nginx_exporter') }}
