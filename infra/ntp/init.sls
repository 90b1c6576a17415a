# chrony: the time, from the INFRA nodes first; on an INFRA node, for the site.
{% from "infra/map.jinja" import infra, site, arguments, recorded, yaml with context %}
{% set drop_ins = '/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d' %}

include:
  - infra.pillar
  - infra.daemon.stable

{{ recorded('ntp', 'ntp-installation', {
     'paths': [
       infra.ntp_config,
       drop_ins ~ '/infra.conf',
       drop_ins ~ '/infra-hardening.conf',
       '/etc/default/infra-chrony',
       '/var/lib/infra/started/' ~ infra.ntp_unit,
     ],
     'units': [infra.ntp_unit],
   }) }}

infra-ntp-package-installed:
  infra_package.installed:
    - component: ntp
    - name: {{ yaml(infra.ntp_package) }}

infra-ntp-unit-hardened:
  file.managed:
    - name: {{ yaml(drop_ins ~ '/infra-hardening.conf') }}
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
    - name: {{ yaml(infra.ntp_config) }}
    - unit: {{ yaml(infra.ntp_unit) }}
    - settings: {{ yaml(arguments.ntp) }}
    - require:
      - infra_package: infra-ntp-package-installed

# Time through firewalld or ufw, where one of them runs and this machine serves it.
{% if infra.node_firewall_mode == 'zone' and site.is_infra_node %}

infra-ntp-firewall-open:
  infra_firewall.open:
    - ports:
      - 123/udp
{% endif %}

# chronyd reads its configuration only when it starts, so a change of it restarts it.

infra-ntp-service-current:
  infra_service.current:
    - name: {{ yaml(infra.ntp_unit) }}
    - files:
      - {{ yaml(infra.ntp_config) }}
      - {{ yaml(drop_ins ~ '/infra.conf') }}
      - /etc/default/infra-chrony
      - {{ yaml(drop_ins ~ '/infra-hardening.conf') }}
    - require:
      - file: infra-ntp-unit-hardened
      - infra_ntp: infra-ntp-config-managed

infra-ntp-service-running:
  infra_service.running:
    - name: {{ yaml(infra.ntp_unit) }}
    - require:
      - infra_service: infra-ntp-service-current

infra-ntp-time-synchronised:
  infra_ntp.synchronised:
    - settings: {{ yaml(arguments.ntp) }}
    - unit: {{ yaml(infra.ntp_unit) }}
    - wait: {{ yaml(infra.node_wait) }}
    - require:
      - infra_service: infra-ntp-service-running
