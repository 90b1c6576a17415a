# What this minion is decides what is included: an INFRA node is a key of infra:infra_hosts.
{% from "infra/map.jinja" import site with context %}

include:
  - infra.sync
  - infra.pillar
  - infra.preflight
{% for component in site.components if component.applied %}
  - infra.{{ component.name }}
  {% if component.name == 'ca' %}
  # Before the repository is built, which takes minutes: other minions wait for these facts.
  - infra.register.publish
  {% endif %}
{% endfor %}
