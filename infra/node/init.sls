# What every minion is: known to the INFRA nodes, and their client.
{% from "infra/map.jinja" import infra, site with context %}

include:
  - infra.register.publish
{% if not site.is_infra_node %}
  - infra.node.ca
{% endif %}
{% if not site.is_infra_node or not infra.repo_enabled %}
  - infra.node.repo
{% endif %}
  - infra.node.packages
  - infra.node.hosts
  - infra.node.resolver
  - infra.node.timezone
