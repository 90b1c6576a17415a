# Grafana: dashboards over metrics, logs and traces.
{% from "infra/map.jinja" import infra, arguments, daemons, recorded, yaml with context %}
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% set grafana = arguments.grafana %}

include:
  - infra.daemon
  - infra.daemon.stable

# Grafana, and the packages of its plugins.
{{ installed('grafana') }}
{% if infra.grafana_plugins %}

infra-grafana-plugins-installed:
  infra_package.installed:
    - component: grafana
    - pkgs: {{ yaml(infra.grafana_plugins) }}
    - require:
      - infra_daemon: infra-grafana-package-installed
    - require_in:
      - infra_daemon: infra-grafana-unit-configured
{% endif %}

# Its settings, with secrets in files of their own; and the drop-in of its unit.

infra-grafana-settings-managed:
  infra_grafana.configured:
    - name: /etc/grafana/grafana.ini
    - daemon: {{ yaml(daemons.grafana) }}
    - settings: {{ yaml(grafana.settings) }}
    - config: {{ yaml(infra.grafana_config) }}
    - require:
      - infra_daemon: infra-grafana-package-installed
{{ configured('grafana', ['infra_grafana: infra-grafana-settings-managed']) }}

# It runs and answers, and its administrator is who the parameters say.
{{ running('grafana') }}

infra-grafana-administrator-known:
  infra_grafana.administrator:
    - name: {{ yaml(infra.grafana_admin_username) }}
    - daemon: {{ yaml(daemons.grafana) }}
    - password: {{ yaml(infra.grafana_admin_password) }}
    - require:
      - infra_daemon: infra-grafana-service-healthy

# What it shows: data sources, dashboards and their folders. It reads them again where they changed.
{{ recorded('grafana', 'grafana-content', {'paths': [grafana.directory]}) }}

infra-grafana-dashboards-directory-present:
  file.directory:
    - name: {{ yaml(grafana.directory) }}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - sls: infra.daemon

infra-grafana-datasources-managed:
  infra_grafana.datasources:
    - daemon: {{ yaml(daemons.grafana) }}
    - administrator: {{ yaml(grafana.administrator) }}
{% for option, value in grafana.data_sources.items() %}
    - {{ option }}: {{ yaml(value) }}
{% endfor %}
    - site: {{ yaml(infra.grafana_datasources | tojson) }}
    - require:
      - infra_grafana: infra-grafana-administrator-known

infra-grafana-dashboards-managed:
  infra_grafana.dashboards:
    - name: {{ yaml(grafana.directory) }}
    - daemon: {{ yaml(daemons.grafana) }}
    - administrator: {{ yaml(grafana.administrator) }}
    - site: {{ yaml(infra.grafana_dashboards | tojson) }}
    - dirs: {{ yaml(infra.grafana_dashboard_dirs) }}
    - require:
      - file: infra-grafana-dashboards-directory-present
      - infra_grafana: infra-grafana-datasources-managed

infra-grafana-providers-managed:
  infra_grafana.providers:
    - name: {{ yaml(grafana.directory) }}
    - daemon: {{ yaml(daemons.grafana) }}
    - administrator: {{ yaml(grafana.administrator) }}
    - own: [infra, node]
    - site: {{ yaml(infra.grafana_dashboards | length > 0) }}
    - dirs: {{ yaml(infra.grafana_dashboard_dirs) }}
    - require:
      - infra_grafana: infra-grafana-dashboards-managed

infra-grafana-content-shown:
  infra_grafana.shown:
    - name: {{ yaml(grafana.directory) }}
    - daemon: {{ yaml(daemons.grafana) }}
    - administrator: {{ yaml(grafana.administrator) }}
    - require:
      - infra_grafana: infra-grafana-providers-managed
