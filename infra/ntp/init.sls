# chrony: the time, from the INFRA nodes first; on an INFRA node, for the site.
{%- from "infra/map.jinja" import infra, site, arguments, recorded with context %}
{%- set drop_ins = '/etc/systemd/system/' ~ infra.ntp_unit ~ '.service.d' %}

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
    - name: {{ infra.ntp_package | tojson }}

infra-ntp-unit-hardened:
  file.managed:
    - name: {{ (drop_ins ~ '/infra-hardening.conf') | tojson }}
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
    - settings: {{ arguments.ntp | tojson }}
    - require:
      - infra_package: infra-ntp-package-installed

# Time through firewalld or ufw, where one of them runs and this machine serves it.
{%- if infra.node_firewall_mode == 'zone' and site.is_infra_node %}

infra-ntp-firewall-open:
  infra_firewall.open:
    - ports:
      - 123/udp
{%- endif %}

# chronyd reads its configuration only when it starts, so a change of it restarts it.

infra-ntp-service-current:
  infra_service.current:
    - name: {{ infra.ntp_unit | tojson }}
    - files:
      - {{ infra.ntp_config | tojson }}
      - {{ (drop_ins ~ '/infra.conf') | tojson }}
      - /etc/default/infra-chrony
      - {{ (drop_ins ~ '/infra-hardening.conf') | tojson }}
    - require:
      - file: infra-ntp-unit-hardened
      - infra_ntp: infra-ntp-config-managed

infra-ntp-service-running:
  infra_service.running:
    - name: {{ infra.ntp_unit | tojson }}
    - require:
      - infra_service: infra-ntp-service-current

infra-ntp-time-synchronised:
  infra_ntp.synchronised:
    - settings: {{ arguments.ntp | tojson }}
    - unit: {{ infra.ntp_unit | tojson }}
    - wait: {{ infra.node_wait | tojson }}
    - require:
      - infra_service: infra-ntp-service-running
