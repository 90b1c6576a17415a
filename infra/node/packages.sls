# Packages that every minion has.
{% from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar
{% if infra.identity is none or not infra.repo_enabled %}
  - infra.node.repo
{% endif %}

{% if infra.node_default_packages %}

infra-node-packages-installed:
  infra_package.installed:
    - component: node
    - pkgs: {{ infra.node_default_packages | tojson }}
{% endif %}
{% if infra.node_packages %}

infra-node-packages-latest:
  infra_package.latest:
    - component: node
    - pkgs: {{ infra.node_packages | tojson }}
{% endif %}
