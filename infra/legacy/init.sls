# A machine that Pigsty laid out is taken over in place (see infra/legacy.yaml); any other is none of
# its business.
{% from "infra/map.jinja" import arguments, yaml with context %}

include:
  - infra.pillar

infra-legacy-taken-over:
  infra_legacy.taken_over:
{% for option, value in arguments.takeover.items() %}
    - {{ option }}: {{ yaml(value) }}
{% endfor %}
    - order: 3
    - require:
      - infra_pillar: infra-pillar-valid

infra-legacy-left-overs-removed:
  infra_legacy.tidied:
{% for option, value in arguments.takeover.items() %}
    - {{ option }}: {{ yaml(value) }}
{% endfor %}
    - order: last
    - require:
      - infra_legacy: infra-legacy-taken-over
