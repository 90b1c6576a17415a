# dnsmasq: the names of the site.
{% from "infra/map.jinja" import infra, arguments, recorded, yaml with context %}

include:
  - infra.pillar
  - infra.daemon.stable

# The account comes first: a package that brings one of its own takes ours as it is.

{{ recorded('dns', 'dns-installation', {
     'paths': [
       '/etc/systemd/system/dnsmasq.service',
       '/etc/hosts.d',
       '/etc/dnsmasq.d',
       '/etc/dnsmasq.conf',
       '/var/lib/infra/started/dnsmasq',
     ],
     'accounts': ['dnsmasq'],
     'groups': ['dnsmasq'],
     'units': ['dnsmasq'],
   }) }}

infra-dns-group-present:
  group.present:
    - name: dnsmasq
    - system: true

infra-dns-user-present:
  user.present:
    - name: dnsmasq
    - system: true
    - createhome: false
{% if not salt['user.info']('dnsmasq') %}
    - gid: dnsmasq
    - home: /var/lib/dnsmasq
    - shell: /usr/sbin/nologin
{% endif %}
    - groups: [dnsmasq]
    - remove_groups: false
    - require:
      - group: infra-dns-group-present

infra-dns-package-installed:
  infra_package.installed:
    - component: dns
    - name: {{ yaml(infra.dns_package) }}
    - require:
      - user: infra-dns-user-present

# Its configuration (a change restarts it) and its records (a change is read while it runs).

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
    - settings: {{ yaml(arguments.dns) }}
    - upstream: {{ yaml(infra.dns_upstream) }}
    - own: {{ yaml(arguments.own_addresses) }}
    - require:
      - file: infra-dns-directories-present

infra-dns-records-migrated:
  infra_dns.migrated:
    - name: /etc/hosts.d
    - require:
      - file: infra-dns-directories-present

infra-dns-records-managed:
  infra_dns.records:
    - lines: {{ yaml(infra.dns_records) }}
    - admin_ip: {{ yaml(infra.admin_ip) }}
    - port: {{ yaml(infra.dns_port) }}
    - require:
      - infra_dns: infra-dns-records-migrated

# Queries through firewalld or ufw, where one of them runs.
{% if infra.node_firewall_mode == 'zone' %}

infra-dns-firewall-open:
  infra_firewall.open:
    - ports:
      - {{ yaml(infra.dns_port ~ '/udp') }}
      - {{ yaml(infra.dns_port ~ '/tcp') }}
{% endif %}

# dnsmasq reads its configuration only when it starts, so a change of it restarts it.

infra-dns-service-current:
  infra_service.current:
    - name: dnsmasq
    - files:
      - /etc/systemd/system/dnsmasq.service
      - /etc/dnsmasq.conf
    - require:
      - file: infra-dns-unit-managed
      - infra_dns: infra-dns-config-managed
      - infra_dns: infra-dns-records-managed

infra-dns-service-running:
  infra_service.running:
    - name: dnsmasq
    - require:
      - infra_service: infra-dns-service-current

{% for address in arguments.dns.listen %}

{{ yaml('infra-dns-server-' ~ address ~ '-answering') }}:
  infra_dns.answering:
    - name: {{ yaml(address) }}
    - lines: {{ yaml(infra.dns_records[:20]) }}
    - admin_ip: {{ yaml(infra.admin_ip) }}
    - port: {{ yaml(infra.dns_port) }}
    - require:
      - infra_service: infra-dns-service-running
{% endfor %}
