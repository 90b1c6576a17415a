# What the INFRA nodes make of the mine: scrape targets, names, sub-paths and cards of the portal.
{% from "infra/map.jinja" import infra, site with context %}

include:
  - infra.register.publish
{% if site.is_infra_node %}
  - infra.register.inventory
  {% if infra.vmetrics_enabled or infra.vmagent_enabled %}
  - infra.register.targets
  {% endif %}
  {% if infra.dns_enabled %}
  - infra.register.names
  {% endif %}
  {% if infra.nginx_enabled %}
  - infra.nginx.portal
  {% endif %}
{% endif %}
