# Packages that every minion has.
{% from "infra/map.jinja" import infra, site, yaml with context %}

include:
  - infra.pillar
{% if not site.is_infra_node or not infra.repo_enabled %}
  - infra.node.repo
{% endif %}

{% if infra.node_default_packages %}

infra-node-packages-installed:
  infra_package.installed:
    - component: node
    - apart: true
    - pkgs: {{ yaml(infra.node_default_packages) }}
{% endif %}
{% if infra.node_packages %}

infra-node-packages-latest:
  infra_package.latest:
    - component: node
    - apart: true
    - pkgs: {{ yaml(infra.node_packages) }}
{% endif %}
{% if site.is_infra_node and infra.infra_packages %}

infra-node-packages-infra-installed:
  infra_package.installed:
    - component: node
    - apart: true
    - pkgs: {{ yaml((infra.infra_packages | join(' ')).replace(',', ' ').split() | unique | list) }}
{% endif %}
