# The account comes first: a package that brings one of its own takes ours as it is.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

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
  pkg.installed:
    - name: {{ infra.dns_package | tojson }}
    - require:
      - user: infra-dns-user-present
