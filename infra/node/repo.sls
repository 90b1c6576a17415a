# Where a client's packages come from: the INFRA nodes, each of which is a whole replica, and
# upstreams. An INFRA node that has no repository of its own takes them from upstreams, too.
{% from "infra/map.jinja" import infra, site, arguments, yaml with context %}
{% set client = arguments.repository_of_client %}

include:
  - {{ 'infra.pillar' if site.is_infra_node else 'infra.node.ca' }}

{% if client.modules %}
{% if client.request %}

# Keys that come over the network are looked at before they are trusted.
infra-node-repo-gpg-installed:
  infra_package.installed:
    - component: node
    - name: {{ yaml(infra.gpg_package) }}
    - require:
      - infra_pillar: infra-pillar-valid
    - require_in:
      - infra_node: infra-node-repo-defined
{% endif %}

infra-node-repo-defined:
  infra_node.repository:
    - nodes: {{ yaml(client.nodes) }}
    - ports: {{ yaml(client.ports) }}
    - exclusive: {{ yaml(infra.node_repo_remove) }}
    - wait: {{ yaml(infra.node_wait) }}
{% if infra.repo_remove_check %}
    - needs: {{ yaml(arguments.repository_needs) }}
{% endif %}
{% if client.request %}
    - request: {{ yaml(client.request) }}
{% endif %}
    - require:
      - {{ 'infra_pillar: infra-pillar-valid' if site.is_infra_node else 'infra_node: infra-node-ca-present' }}
{% endif %}
