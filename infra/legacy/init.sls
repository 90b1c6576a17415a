# A machine that Pigsty laid out is taken over in place (see infra/legacy.yaml); any other is none of
# its business.
{% from "infra/map.jinja" import infra with context %}
{% import_yaml "infra/legacy.yaml" as legacy %}
{% set values = {'infra_data': infra.infra_data} %}

include:
  - infra.pillar

infra-legacy-taken-over:
  infra_legacy.taken_over:
    - legacy: {{ legacy | tojson }}
    - parameters: {{ values | tojson }}
    - order: 3
    - require:
      - infra_pillar: infra-pillar-valid

infra-legacy-left-overs-removed:
  infra_legacy.tidied:
    - legacy: {{ legacy | tojson }}
    - parameters: {{ values | tojson }}
    - order: last
    - require:
      - infra_legacy: infra-legacy-taken-over
