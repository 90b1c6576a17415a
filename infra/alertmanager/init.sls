# Alertmanager: routes alerts to people; one mesh over all INFRA nodes.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/legacy/carried.jinja" import carried with context %}
{% from "infra/map.jinja" import arguments, daemons, yaml with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ installed('alertmanager') }}

{{ carried('alertmanager', daemons.alertmanager, daemons.alertmanager.user,
           ['file: infra-alertmanager-directory-present'], 'infra_alert: infra-alertmanager-receivers-managed') }}

# Receivers and routes of alerts, checked by amtool; and how the Alertmanagers of all INFRA nodes find each other.

infra-alertmanager-receivers-managed:
  infra_alert.managed:
    - name: /etc/alertmanager.yml
    - daemon: {{ yaml(daemons.alertmanager) }}
    - settings: {{ yaml(arguments.alertmanager) }}
    - require:
      - infra_daemon: infra-alertmanager-package-installed
{{ configured('alertmanager', ['infra_alert: infra-alertmanager-receivers-managed']) }}
{{ running('alertmanager') }}
