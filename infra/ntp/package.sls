{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-ntp-package-installed:
  pkg.installed:
    - name: {{ infra.ntp_package | tojson }}
