# The way back: chrony stopped, and what we told its unit gone. The clock goes on by itself.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.sync

infra-ntp-service-stopped:
  service.dead:
    - name: {{ infra.ntp_unit | tojson }}
    - enable: false

infra-ntp-config-removed:
  file.absent:
    - names:
      - {{ infra.ntp_config | tojson }}
      - /etc/systemd/system/{{ infra.ntp_unit }}.service.d/infra.conf
      - /etc/default/infra-chrony
    - require:
      - service: infra-ntp-service-stopped
