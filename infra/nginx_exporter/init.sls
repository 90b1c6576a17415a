# Metrics of the portal's nginx; without the portal there are none.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/daemon/states.jinja" import configured, running with context %}
{% from "infra/map.jinja" import infra with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{% if infra.nginx_enabled %}
{{ installed('nginx_exporter') }}
{{ configured('nginx_exporter') }}
{{ running('nginx_exporter') }}
{% endif %}
