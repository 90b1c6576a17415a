# chronyd reads its configuration only when it starts, so a change of it restarts it.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/ntp/settings.jinja" import ntp with context %}

include:
  - infra.ntp.config

infra-ntp-service-current:
  infra_service.current:
    - name: {{ infra.ntp_unit | tojson }}
    - files:
      - {{ infra.ntp_config | tojson }}
      - {{ ('/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d/infra.conf') | tojson }}
      - /etc/default/infra-chrony
      - {{ ('/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d/infra-hardening.conf') | tojson }}
    - require:
      - file: infra-ntp-unit-hardened
      - infra_ntp: infra-ntp-config-managed

infra-ntp-service-running:
  service.running:
    - name: {{ infra.ntp_unit | tojson }}
    - enable: true
    - require:
      - infra_service: infra-ntp-service-current

infra-ntp-time-synchronised:
  infra_ntp.synchronised:
    - settings: {{ ntp | tojson }}
    - unit: {{ infra.ntp_unit | tojson }}
    - wait: {{ infra.node_wait | tojson }}
    - require:
      - service: infra-ntp-service-running
