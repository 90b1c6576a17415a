# Packages that every minion has.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar
{%- if infra.identity is none or not infra.repo_enabled %}
  - infra.node.repo
{%- endif %}

{%- if infra.node_default_packages %}

infra-node-packages-installed:
  pkg.installed:
    - pkgs: {{ infra.node_default_packages | tojson }}
{%- endif %}
{%- if infra.node_packages %}

infra-node-packages-latest:
  pkg.latest:
    - pkgs: {{ infra.node_packages | tojson }}
{%- endif %}
