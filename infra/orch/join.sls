# Make a minion a client and register it. One that the mine knows is only registered anew.
#   salt-run state.orchestrate infra.orch.join pillar='{"infra_join": "node-3"}'
{% from "infra/orch/minion.jinja" import checked, deploy_settings, step with context %}
{% set id = salt['pillar.get']('infra_join', '') %}
{{- checked('infra_join', id) }}
{% set settings = deploy_settings() | load_json %}
{% set known = salt['saltutil.runner']('mine.get', tgt=[id], fun='infra_register.facts', tgt_type='list') %}

include:
  - infra.orch.register

{% if not (known.get(id) or {}).get('ip') %}

{{ ('infra-orch-' ~ id ~ '-applied') | tojson }}:
  infra_fleet.applied:
    - tgt: {{ [id] | tojson }}
    - tgt_type: list
    - sls: infra
{{ step(settings) }}
    - missing: {{ settings.missing | tojson }}
    - failhard: true
    - require_in:
      - infra_fleet: infra-orch-machines-registered
{% endif %}
