# What it shows: data sources, dashboards and their folders. It reads them again where they changed.
{%- from "infra/map.jinja" import infra, daemons, enabled, nodes with context %}
{%- from "infra/grafana/settings.jinja" import administrator, root with context %}
{%- import_yaml "infra/grafana/datasources.yaml" as rows %}
{%- set values = {'grafana_meta': infra.grafana_meta, 'grafana_view_password': infra.grafana_view_password} %}
{%- for key in ('vmetrics_port', 'vlogs_port', 'vtraces_port', 'vmetrics_scrape_interval') %}
  {%- do values.update({key: infra[key]}) %}
{%- endfor %}
{%- set place = infra.grafana_meta.split('/') %}
{%- do values.update({'meta_endpoint': place[0], 'meta_database': place[-1]}) %}

include:
  - infra.grafana.service

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
