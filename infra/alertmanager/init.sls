# Alertmanager: routes alerts to people; one mesh over all INFRA nodes.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/map.jinja" import infra, daemons with context %}
{% from "infra/daemon/states.jinja" import cleaned, configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('alertmanager') }}

# Receivers and routes of alerts, checked by amtool; and how the Alertmanagers of all INFRA nodes find each other.
{% set settings = {} %}
{% for key in ('receivers', 'severities', 'routes', 'route', 'inhibit_rules', 'global') %}
  {% do settings.update({key: infra['alertmanager_' ~ key]}) %}
{% endfor %}

infra-alertmanager-receivers-managed:
  infra_alert.managed:
    - name: /etc/alertmanager.yml
    - daemon: {{ daemons.alertmanager | tojson }}
    - settings: {{ settings | tojson }}
    - require:
      - infra_daemon: infra-alertmanager-package-installed
{{ cleaned('alertmanager', infra.alertmanager_clean, infra.alertmanager_clean_confirm) }}
{{ configured('alertmanager', ['infra_alert: infra-alertmanager-receivers-managed']) }}

{{ running('alertmanager') }}
