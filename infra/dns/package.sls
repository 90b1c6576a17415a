# The account comes first: a package that brings one of its own takes ours as it is.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-dns-installation-recorded:
  infra_before.recorded:
    - name: dns
    - paths:
      - /etc/systemd/system/dnsmasq.service
      - /etc/hosts.d
      - /etc/dnsmasq.d
      - /etc/dnsmasq.conf
      - /var/lib/infra/started/dnsmasq
    - accounts: [dnsmasq]
    - groups: [dnsmasq]
    - units: [dnsmasq]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-dns-group-present:
  group.present:
    - name: dnsmasq
    - system: true

infra-dns-user-present:
  user.present:
    - name: dnsmasq
    - system: true
    - createhome: false
{%- if not salt['user.info']('dnsmasq') %}
    - gid: dnsmasq
    - home: /var/lib/dnsmasq
    - shell: /usr/sbin/nologin
{%- endif %}
    - groups: [dnsmasq]
    - remove_groups: false
    - require:
      - group: infra-dns-group-present

infra-dns-package-installed:
  infra_package.installed:
    - component: dns
    - name: {{ infra.dns_package | tojson }}
    - require:
      - user: infra-dns-user-present
