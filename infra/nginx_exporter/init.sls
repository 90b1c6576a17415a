# Metrics of the portal's nginx; where there is none there is nothing to tell.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.nginx_exporter.package
  - infra.daemon.stable
{%- if infra.nginx_enabled %}
  - infra.nginx_exporter.config
  - infra.nginx_exporter.service
{%- endif %}
