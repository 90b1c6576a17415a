# The name servers of the INFRA nodes are asked first; on an INFRA node, its own before the others.
{% from "infra/map.jinja" import infra, fleet with context %}
{% from "infra/dns/settings.jinja" import dns with context %}
{% set servers = [] %}
{% for server in infra.node_dns_servers or [] %}
  {% do servers.append((server | string).replace('${admin_ip}', infra.admin_ip)) %}
{% endfor %}
{% if infra.node_dns_servers is none and infra.dns_enabled and infra.dns_port == 53 %}
  {% set servers = ([fleet.own.ip] if fleet.own else []) + fleet.others %}
{% endif %}

include:
  - infra.pillar
{% if infra.identity is none %}
  - infra.node.repo
{% elif infra.dns_enabled %}
  - infra.dns
{% endif %}

infra-node-resolver-recorded:
  infra_before.recorded:
    - name: node
    - paths:
      - /etc/systemd/resolved.conf.d/infra.conf
      - /etc/NetworkManager/conf.d/infra-dns.conf
      - /var/lib/infra/resolver.json
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-node-resolver-configured:
  infra_resolver.configured:
    - method: {{ infra.node_dns_method | tojson }}
    - servers: {{ servers | tojson }}
    - options: {{ infra.node_dns_options | tojson }}
    - own: {{ (grains.get('ipv4', []) + grains.get('ipv6', []) + fleet.addresses) | tojson }}
{% if infra.identity is not none and infra.dns_enabled %}
    - require:
{% for address in dns.listen %}
      - infra_dns: {{ ('infra-dns-server-' ~ address ~ '-answering') | tojson }}
{% endfor %}
{% endif %}
