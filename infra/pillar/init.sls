# Pillar validation, while the run is rendered. If the pillar is not valid, one failed state says so
# and no other state of the formula is in the run: nothing changes, and test=True is as short.
{% from "infra/map.jinja" import site, yaml with context %}

{% if site.errors %}

exclude:
{# All but this one. #}
{% for pattern in ('infra', 'infra.[!p]*', 'infra.p[!i]*') %}
  - sls: {{ pattern }}
{% endfor %}
{% else %}

include:
  - infra.sync
{% endif %}

infra-pillar-valid:
  infra_pillar.valid:
    - errors: {{ yaml(site.errors) }}
    - warnings: {{ yaml(site.warnings) }}
    - order: 1
    - failhard: true
{% if not site.errors %}
    - require:
      - sls: infra.sync

{% if grains['os_family'] == 'Debian' %}

# A power cut in the middle of an installation would have every later one refused.
infra-pillar-packages-finished:
  infra_dpkg.finished:
    - order: 3
    - require:
      - infra_pillar: infra-pillar-valid
{% endif %}
{% endif %}
