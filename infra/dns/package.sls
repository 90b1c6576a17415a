{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-dns-package-installed:
  pkg.installed:
    - name: {{ infra.dns_package | tojson }}
    - refresh: false

# Packages that come without an account of their own leave it to us.
infra-dns-group-present:
  group.present:
    - name: dnsmasq
    - system: true
    - require:
      - pkg: infra-dns-package-installed

infra-dns-user-present:
  user.present:
    - name: dnsmasq
    - system: true
    - usergroup: true
    - createhome: false
{%- if not salt['user.info']('dnsmasq') %}
    - home: /var/lib/dnsmasq
    - shell: /usr/sbin/nologin
{%- endif %}
    - groups: [dnsmasq]
    - remove_groups: false
    - require:
      - group: infra-dns-group-present
