# What every minion is: known to the INFRA nodes, and their client.
{% from "infra/map.jinja" import infra with context %}

include:
  - infra.register.publish
{% if infra.identity is none %}
  - infra.node.ca
{% endif %}
{% if infra.identity is none or not infra.repo_enabled %}
  - infra.node.repo
{% endif %}
  - infra.node.packages
  - infra.node.hosts
  - infra.node.resolver
  - infra.node.timezone
