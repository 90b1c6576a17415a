# The way back: this machine no longer trusts the CA. The CA itself stays: losing it is for good.
{%- from "infra/map.jinja" import infra with context %}

infra-ca-trust-removed:
  file.absent:
    - name: {{ infra.ca_trust_dir }}/ca.crt

infra-ca-trust-updated-without:
  cmd.run:
    - name: {{ infra.ca_trust_command | tojson }}
    - onchanges:
      - file: infra-ca-trust-removed
