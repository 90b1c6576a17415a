{%- from "infra/map.jinja" import infra, recorded with context %}

include:
  - infra.pillar

{%- if infra.node_timezone %}
{{ recorded('node', 'node-timezone', {'timezones': [infra.node_timezone]}) }}

infra-node-timezone-set:
  timezone.system:
    - name: {{ infra.node_timezone | tojson }}
    - utc: true
{%- endif %}
