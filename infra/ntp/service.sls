# chronyd reads its configuration only when it starts, so a change of it restarts it.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/ntp/settings.jinja" import ntp with context %}

include:
  - infra.ntp.config

infra-ntp-service-running:
  service.running:
    - name: {{ infra.ntp_unit | tojson }}
    - enable: true
    - watch:
      - infra_ntp: infra-ntp-config-managed
      - file: infra-ntp-unit-hardened

infra-ntp-time-synchronised:
  infra_ntp.synchronised:
    - settings: {{ ntp | tojson }}
    - unit: {{ infra.ntp_unit | tojson }}
    - wait: {{ infra.node_wait | tojson }}
    - require:
      - service: infra-ntp-service-running
