# Before anything is changed: a pillar with an error in it ends the run here, naming the key.
# What may be large goes to states as JSON text, which costs Salt nothing to carry around.
{%- from "infra/map.jinja" import infra, secrets with context %}
{%- from "infra/clean.jinja" import files with context %}

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

# What is there now is noted before it is changed, so that there is a way back (infra.clean).
infra-before-noted:
  infra_before.noted:
    - files: {{ files | tojson }}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-before-packages-noted:
  infra_before.installed:
    - order: last
{%- if grains['os_family'] == 'Debian' %}

# A power cut in the middle of an installation would have every later one refused.
infra-pillar-packages-finished:
  infra_dpkg.finished:
    - order: 3
    - require:
      - infra_pillar: infra-pillar-valid
{%- endif %}
