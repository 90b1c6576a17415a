# Grafana: dashboards over metrics, logs and traces.
{%- from "infra/map.jinja" import infra, arguments, daemons, recorded with context %}
{%- from "infra/daemon/states.jinja" import installed, configured, running with context %}
{%- set grafana = arguments.grafana %}

include:
  - infra.daemon
  - infra.daemon.stable

# Grafana, and the packages of its plugins.
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

# Its settings, with secrets in files of their own; and the drop-in of its unit.

infra-grafana-settings-managed:
  infra_grafana.configured:
    - name: /etc/grafana/grafana.ini
    - daemon: {{ daemons.grafana | tojson }}
    - settings: {{ grafana.settings | tojson }}
    - config: {{ infra.grafana_config | tojson }}
    - require:
      - infra_daemon: infra-grafana-package-installed
{{ configured('grafana', ['infra_grafana: infra-grafana-settings-managed']) }}

# It runs and answers, and its administrator is who the parameters say.
{{ running('grafana') }}

infra-grafana-administrator-known:
  infra_grafana.administrator:
    - name: {{ infra.grafana_admin_username | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - password: {{ infra.grafana_admin_password | tojson }}
    - require:
      - infra_daemon: infra-grafana-service-healthy

# What it shows: data sources, dashboards and their folders. It reads them again where they changed.
{{ recorded('grafana', 'grafana-content', {'paths': [grafana.directory]}) }}

infra-grafana-dashboards-directory-present:
  file.directory:
    - name: {{ grafana.directory | tojson }}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - sls: infra.daemon

infra-grafana-datasources-managed:
  infra_grafana.datasources:
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ grafana.administrator | tojson }}
{%- for option, value in grafana.data_sources.items() %}
    - {{ option }}: {{ value | tojson }}
{%- endfor %}
    - site: {{ infra.grafana_datasources | tojson | tojson }}
    - require:
      - infra_grafana: infra-grafana-administrator-known

infra-grafana-dashboards-managed:
  infra_grafana.dashboards:
    - name: {{ grafana.directory | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ grafana.administrator | tojson }}
    - site: {{ infra.grafana_dashboards | tojson | tojson }}
    - dirs: {{ infra.grafana_dashboard_dirs | tojson }}
    - require:
      - file: infra-grafana-dashboards-directory-present
      - infra_grafana: infra-grafana-datasources-managed

infra-grafana-providers-managed:
  infra_grafana.providers:
    - name: {{ grafana.directory | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ grafana.administrator | tojson }}
    - own: [infra, node]
    - site: {{ (infra.grafana_dashboards | length > 0) | tojson }}
    - dirs: {{ infra.grafana_dashboard_dirs | tojson }}
    - require:
      - infra_grafana: infra-grafana-dashboards-managed

infra-grafana-content-shown:
  infra_grafana.shown:
    - name: {{ grafana.directory | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ grafana.administrator | tojson }}
    - require:
      - infra_grafana: infra-grafana-providers-managed
