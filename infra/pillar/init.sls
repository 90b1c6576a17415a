# Pillar validation, before anything changes: an error ends the run here, and names the key.
# Large values are passed as JSON text: Salt copies that without walking through it.
{%- from "infra/map.jinja" import infra, secrets with context %}

include:
  - infra.sync

infra-pillar-valid:
  infra_pillar.valid:
    - parameters: {{ infra.given | tojson | tojson }}
{%- if infra.identity is not none %}
    - secrets: {{ secrets | tojson | tojson }}
{%- elif secrets %}
    - secrets: {{ (secrets.keys() | map('string') | list if secrets is mapping else ['?']) | tojson }}
{%- endif %}
    - order: 1
    - failhard: true
    - require:
      - infra_library: infra-sync-modules-loaded
{%- if grains['os_family'] == 'Debian' %}

# A power cut in the middle of an installation would have every later one refused.
infra-pillar-packages-finished:
  infra_dpkg.finished:
    - order: 3
    - require:
      - infra_pillar: infra-pillar-valid
{%- endif %}
