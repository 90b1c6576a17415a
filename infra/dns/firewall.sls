# Queries through firewalld or ufw, where one of them runs.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.dns.package

{%- if infra.node_firewall_mode == 'zone' %}

infra-dns-firewall-open:
  infra_firewall.open:
    - ports:
      - {{ (infra.dns_port ~ '/udp') | tojson }}
      - {{ (infra.dns_port ~ '/tcp') | tojson }}
{%- endif %}
