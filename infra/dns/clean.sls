# The way back: dnsmasq stopped, its configuration and our records gone; records of others stay.
include:
  - infra.sync

infra-dns-service-stopped:
  service.dead:
    - name: dnsmasq
    - enable: false

{%- for name in ('dns', 'register-names') %}

infra-dns-set-{{ name }}-removed:
  infra_files.absent:
    - name: {{ name }}
    - root: /etc/hosts.d
    - require:
      - service: infra-dns-service-stopped
{%- endfor %}

infra-dns-config-removed:
  file.absent:
    - names:
      - /etc/dnsmasq.conf
      - /etc/systemd/system/dnsmasq.service
    - require:
      - service: infra-dns-service-stopped
