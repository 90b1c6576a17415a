# The name servers of the INFRA nodes are asked first; on an INFRA node, its own before the others.
{%- from "infra/map.jinja" import infra, site, arguments, recorded with context %}

include:
  - infra.pillar
{%- if not site.is_infra_node %}
  - infra.node.repo
{%- elif infra.dns_enabled %}
  - infra.dns
{%- endif %}

{{ recorded('node', 'node-resolver', {'paths': [
     '/etc/systemd/resolved.conf.d/infra.conf',
     '/etc/NetworkManager/conf.d/infra-dns.conf',
     '/var/lib/infra/resolver.json',
   ]}) }}

infra-node-resolver-configured:
  infra_resolver.configured:
    - method: {{ infra.node_dns_method | tojson }}
    - servers: {{ arguments.resolver_servers | tojson }}
    - options: {{ infra.node_dns_options | tojson }}
    - own: {{ arguments.own_addresses | tojson }}
{%- if site.is_infra_node and infra.dns_enabled %}
    - require:
{%- for address in arguments.dns.listen %}
      - infra_dns: {{ ('infra-dns-server-' ~ address ~ '-answering') | tojson }}
{%- endfor %}
{%- endif %}
