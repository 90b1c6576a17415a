# Grafana: dashboards over metrics, logs and traces.
{% from "infra/map.jinja" import infra, daemons, enabled, nodes with context %}
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/daemon/states.jinja" import configured, running with context %}
{% from "infra/grafana/settings.jinja" import settings, administrator, root with context %}
{% import_yaml "infra/grafana/datasources.yaml" as rows %}

include:
  - infra.daemon
  - infra.daemon.stable

# Grafana, and the packages of its plugins.
{{ installed('grafana') }}
{% if infra.grafana_plugins %}

infra-grafana-plugins-installed:
  infra_package.installed:
    - component: grafana
    - pkgs: {{ infra.grafana_plugins | tojson }}
    - require:
      - infra_daemon: infra-grafana-package-installed
    - require_in:
      - infra_daemon: infra-grafana-unit-configured
{% endif %}

# Its settings, with secrets in files of their own; and the drop-in of its unit.

infra-grafana-settings-managed:
  infra_grafana.configured:
    - name: /etc/grafana/grafana.ini
    - daemon: {{ daemons.grafana | tojson }}
    - settings: {{ settings | tojson }}
    - config: {{ infra.grafana_config | tojson }}
    - require:
      - infra_daemon: infra-grafana-package-installed

infra-grafana-data-cleaned:
  infra_daemon.cleaned:
    - name: grafana
    - directories: [/var/lib/grafana/grafana.db]
    - unit: {{ daemons.grafana.unit }}
    - clean: {{ infra.grafana_clean | tojson }}
    - confirm: {{ infra.grafana_clean_confirm | tojson }}
    - require_in:
      - infra_daemon: infra-grafana-unit-configured
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
{% set values = {'grafana_meta': infra.grafana_meta, 'grafana_view_password': infra.grafana_view_password} %}
{% for key in ('vmetrics_port', 'vlogs_port', 'vtraces_port', 'vmetrics_scrape_interval') %}
  {% do values.update({key: infra[key]}) %}
{% endfor %}
{% set place = infra.grafana_meta.split('/') %}
{% do values.update({'meta_endpoint': place[0], 'meta_database': place[-1]}) %}

infra-grafana-content-recorded:
  infra_before.recorded:
    - name: grafana
    - paths: [{{ root | tojson }}]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-grafana-dashboards-directory-present:
  file.directory:
    - name: {{ root | tojson }}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - sls: infra.daemon

infra-grafana-datasources-managed:
  infra_grafana.datasources:
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ administrator | tojson }}
    - rows: {{ rows | tojson }}
    - values: {{ values | tojson }}
    - enabled: {{ enabled.keys() | list | tojson }}
    - nodes: {{ nodes | tojson }}
    - site: {{ infra.grafana_datasources | tojson | tojson }}
    - require:
      - infra_grafana: infra-grafana-administrator-known

infra-grafana-dashboards-managed:
  infra_grafana.dashboards:
    - name: {{ root | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ administrator | tojson }}
    - site: {{ infra.grafana_dashboards | tojson | tojson }}
    - dirs: {{ infra.grafana_dashboard_dirs | tojson }}
    - require:
      - file: infra-grafana-dashboards-directory-present
      - infra_grafana: infra-grafana-datasources-managed

infra-grafana-providers-managed:
  infra_grafana.providers:
    - name: {{ root | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ administrator | tojson }}
    - own: [infra, node]
    - site: {{ (infra.grafana_dashboards | length > 0) | tojson }}
    - dirs: {{ infra.grafana_dashboard_dirs | tojson }}
    - require:
      - infra_grafana: infra-grafana-dashboards-managed

infra-grafana-content-shown:
  infra_grafana.shown:
    - name: {{ root | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - administrator: {{ administrator | tojson }}
    - require:
      - infra_grafana: infra-grafana-providers-managed
