# The way back: stopped, its settings, data sources and dashboards gone; the package's own settings are
# put back. Its database and its packages stay.
{%- from "infra/daemon/states.jinja" import removed with context %}
{%- from "infra/grafana/settings.jinja" import root with context %}

include:
  - infra.pillar
{{ removed('grafana') }}

infra-grafana-files-absent:
  infra_grafana.absent:
    - name: {{ root | tojson }}
    - require:
      - service: infra-grafana-service-dead
