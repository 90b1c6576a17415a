# Time through firewalld or ufw, where one of them runs and this machine serves it.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.ntp.package

{%- if infra.node_firewall_mode == 'zone' and infra.identity is not none %}

infra-ntp-firewall-open:
  infra_firewall.open:
    - ports:
      - 123/udp
{%- endif %}
