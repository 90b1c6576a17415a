# Its configuration (a change restarts it) and its records (a change is read while it runs).
{%- from "infra/map.jinja" import infra, fleet with context %}
{%- from "infra/dns/settings.jinja" import dns with context %}

include:
  - infra.dns.package

infra-dns-unit-managed:
  file.managed:
    - name: /etc/systemd/system/dnsmasq.service
    - source: salt://infra/dns/files/dnsmasq.service
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - infra_package: infra-dns-package-installed

infra-dns-directories-present:
  file.directory:
    - names:
      - /etc/hosts.d
      - /etc/dnsmasq.d
    - user: root
    - group: root
    - mode: '0755'
    - require:
      - infra_package: infra-dns-package-installed

infra-dns-config-managed:
  infra_dns.configured:
    - name: /etc/dnsmasq.conf
    - settings: {{ dns | tojson }}
    - upstream: {{ infra.dns_upstream | tojson }}
    - own: {{ (grains.get('ipv4', []) + grains.get('ipv6', []) + fleet.addresses) | tojson }}
    - require:
      - file: infra-dns-directories-present

infra-dns-records-migrated:
  infra_dns.migrated:
    - name: /etc/hosts.d
    - require:
      - file: infra-dns-directories-present

infra-dns-records-managed:
  infra_dns.records:
    - lines: {{ infra.dns_records | tojson }}
    - admin_ip: {{ infra.admin_ip | tojson }}
    - port: {{ infra.dns_port | tojson }}
    - require:
      - infra_dns: infra-dns-records-migrated
