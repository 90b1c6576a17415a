{% from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

{% if infra.node_timezone %}

infra-node-timezone-recorded:
  infra_before.recorded:
    - name: node
    - timezones: [{{ infra.node_timezone | tojson }}]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-node-timezone-set:
  timezone.system:
    - name: {{ infra.node_timezone | tojson }}
    - utc: true
{% endif %}
