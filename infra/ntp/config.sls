{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/ntp/settings.jinja" import ntp with context %}

include:
  - infra.ntp.package

infra-ntp-unit-hardened:
  file.managed:
    - name: {{ ('/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d/infra-hardening.conf') | tojson }}
    - source: salt://infra/ntp/files/chrony.service.conf
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
    - require:
      - infra_package: infra-ntp-package-installed
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-ntp-unit-hardened

infra-ntp-config-managed:
  infra_ntp.configured:
    - name: {{ infra.ntp_config | tojson }}
    - unit: {{ infra.ntp_unit | tojson }}
    - settings: {{ ntp | tojson }}
    - require:
      - infra_package: infra-ntp-package-installed
