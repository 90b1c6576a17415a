# The way back: this machine no longer trusts the CA, and nothing is renewed. The CA itself stays:
# losing it is for good.
{%- from "infra/map.jinja" import infra with context %}

infra-ca-renewal-stopped:
  service.dead:
    - name: infra-cert-renew.timer
    - enable: false

infra-ca-renewal-removed:
  file.absent:
    - names:
      - /etc/systemd/system/infra-cert-renew.timer
      - /etc/systemd/system/infra-cert-renew.service
    - require:
      - service: infra-ca-renewal-stopped
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-ca-renewal-removed

infra-ca-trust-removed:
  file.absent:
    - name: {{ infra.ca_trust_dir }}/ca.crt

infra-ca-trust-updated-without:
  cmd.run:
    - name: {{ infra.ca_trust_command | tojson }}
    - onchanges:
      - file: infra-ca-trust-removed
