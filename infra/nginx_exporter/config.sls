{%- from "infra/daemon/states.jinja" import configured with context %}

include:
  - infra.nginx_exporter.package
{{ configured('nginx_exporter') }}
