# Before anything is changed: a pillar with an error in it ends the run here, naming the key.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.sync

infra-pillar-valid:
  infra_pillar.valid:
    - parameters: {{ infra.given | tojson }}
    - infra_node: {{ (infra.identity is not none) | tojson }}
    - order: 1
    - failhard: true
    - require:
      - saltutil: infra-sync-modules
      - saltutil: infra-sync-states
