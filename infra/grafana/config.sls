# Its settings, with secrets in files of their own; and the drop-in of its unit.
{%- from "infra/map.jinja" import infra, daemons with context %}
{%- from "infra/daemon/states.jinja" import configured with context %}
{%- from "infra/grafana/settings.jinja" import settings with context %}

include:
  - infra.grafana.package

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
