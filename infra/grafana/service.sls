# It runs and answers, and its administrator is who the parameters say.
{%- from "infra/map.jinja" import infra, daemons with context %}
{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.grafana.config
{{ running('grafana') }}

infra-grafana-administrator-known:
  infra_grafana.administrator:
    - name: {{ infra.grafana_admin_username | tojson }}
    - daemon: {{ daemons.grafana | tojson }}
    - password: {{ infra.grafana_admin_password | tojson }}
    - require:
      - infra_daemon: infra-grafana-service-healthy
