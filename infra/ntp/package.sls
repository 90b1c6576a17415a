{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-ntp-installation-recorded:
  infra_before.recorded:
    - name: ntp
    - paths:
      - {{ infra.ntp_config | tojson }}
      - {{ ('/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d/infra.conf') | tojson }}
      - {{ ('/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d/infra-hardening.conf') | tojson }}
      - /etc/default/infra-chrony
      - {{ ('/var/lib/infra/started/' ~ infra.ntp_unit) | tojson }}
    - units:
      - {{ infra.ntp_unit | tojson }}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-ntp-package-installed:
  infra_package.installed:
    - component: ntp
    - name: {{ infra.ntp_package | tojson }}
