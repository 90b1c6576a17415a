# What this minion is decides what is included: an INFRA node is a key of infra:infra_hosts.
{%- from "infra/map.jinja" import infra with context %}
{%- import_yaml "infra/components.yaml" as components %}

include:
  - infra.sync
  - infra.pillar
{%- for component in components if infra.identity is not none or component.role == 'every' %}
  {%- if component.switch is not defined or infra[component.switch] %}
  - infra.{{ component.name }}
  {%- endif %}
  {%- if component.name == 'ca' %}
  # Before the repository is built, which takes minutes: other minions wait for these facts.
  - infra.register.publish
  {%- endif %}
{%- endfor %}
