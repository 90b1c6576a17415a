# A machine leaves: infra.clean removes from it what its pillar allows, then the INFRA nodes remove it
# from their inventory.
#   salt-run state.orchestrate infra.orch.leave pillar='{"infra_leave": "node-1"}'
{% from "infra/orch/minion.jinja" import checked, deploy_settings, step with context %}
{% set id = salt['pillar.get']('infra_leave', '') %}
{{- checked('infra_leave', id) }}
{% set settings = deploy_settings() | load_json %}
{% set switched_off = {'infra_safeguard': false} %}
{% set removal = {'pillar': {'infra': switched_off} } %}

include:
  - infra.orch.register

{{ ('infra-orch-' ~ id ~ '-cleaned') | tojson }}:
  infra_fleet.applied:
    - tgt: {{ [id] | tojson }}
    - tgt_type: list
    - sls: infra.clean
{{ step(settings, removal) }}
    - missing: {{ settings.missing | tojson }}
    - failhard: true
    - require_in:
      - infra_fleet: infra-orch-machines-registered
