# Where a client's packages come from: the INFRA nodes, each of which is a whole replica, and
# upstreams. An INFRA node that has no repository of its own takes them from upstreams, too.
{%- from "infra/map.jinja" import infra, site, arguments with context %}
{%- set client = arguments.repository_of_client %}

include:
  - {{ 'infra.pillar' if site.is_infra_node else 'infra.node.ca' }}

{%- if client.modules %}
{%- if client.request %}

# Keys that come over the network are looked at before they are trusted.
infra-node-repo-gpg-installed:
  infra_package.installed:
    - component: node
    - name: {{ infra.gpg_package | tojson }}
    - require:
      - infra_pillar: infra-pillar-valid
    - require_in:
      - infra_node: infra-node-repo-defined
{%- endif %}

infra-node-repo-defined:
  infra_node.repository:
    - nodes: {{ client.nodes | tojson }}
    - ports: {{ client.ports | tojson }}
    - exclusive: {{ infra.node_repo_remove | tojson }}
    - wait: {{ infra.node_wait | tojson }}
{%- if client.request %}
    - request: {{ client.request | tojson }}
{%- endif %}
    - require:
      - {{ 'infra_pillar: infra-pillar-valid' if site.is_infra_node else 'infra_node: infra-node-ca-present' }}
{%- endif %}
