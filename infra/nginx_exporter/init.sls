# Metrics of the portal's nginx; without the portal there are none.
{% from "infra/daemon/states.jinja" import daemon_states with context %}
{% from "infra/map.jinja" import infra with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{% if infra.nginx_enabled %}
{{ daemon_states('nginx_exporter') }}
{% endif %}
