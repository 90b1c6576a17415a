# Grafana, and the packages of its plugins.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/daemon/package.jinja" import installed with context %}

include:
  - infra.daemon
{{ installed('grafana') }}
{%- if infra.grafana_plugins %}

infra-grafana-plugins-installed:
  infra_package.installed:
    - component: grafana
    - pkgs: {{ infra.grafana_plugins | tojson }}
    - require:
      - infra_daemon: infra-grafana-package-installed
    - require_in:
      - infra_daemon: infra-grafana-unit-configured
{%- endif %}
