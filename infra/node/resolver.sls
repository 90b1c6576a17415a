# The name servers of the INFRA nodes are asked first; on an INFRA node, its own before the others.
{% from "infra/map.jinja" import infra, site, arguments, recorded, yaml with context %}

include:
  - infra.pillar
{% if not site.is_infra_node %}
  - infra.node.repo
{% elif infra.dns_enabled %}
  - infra.dns
{% endif %}

{{ recorded('node', 'node-resolver', {'paths': [
     '/etc/systemd/resolved.conf.d/infra.conf',
     '/etc/NetworkManager/conf.d/infra-dns.conf',
     '/var/lib/infra/resolver.json',
   ]}) }}

infra-node-resolver-configured:
  infra_resolver.configured:
    - method: {{ yaml(infra.node_dns_method) }}
    - servers: {{ yaml(arguments.resolver_servers) }}
    - options: {{ yaml(infra.node_dns_options) }}
    - own: {{ yaml(arguments.own_addresses) }}
{% if site.is_infra_node and infra.dns_enabled %}
    - require:
{% for address in arguments.dns.listen %}
      - infra_dns: {{ yaml('infra-dns-server-' ~ address ~ '-answering') }}
{% endfor %}
{% endif %}
