{% from "infra/map.jinja" import infra, recorded, yaml with context %}

include:
  - infra.pillar

{% if infra.node_timezone %}
{{ recorded('node', 'node-timezone', {'timezones': [infra.node_timezone]}) }}

infra-node-timezone-set:
  timezone.system:
    - name: {{ yaml(infra.node_timezone) }}
    - utc: true
{% endif %}
