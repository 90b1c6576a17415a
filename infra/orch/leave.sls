# A machine leaves: infra.clean removes from it what its pillar allows, then the INFRA nodes remove it
# from their inventory.
#   salt-run state.orchestrate infra.orch.leave pillar='{"infra_leave": "node-1"}'
{% from "infra/orch/minion.jinja" import checked with context %}
{% set id = salt['pillar.get']('infra_leave', '') %}
{{- checked('infra_leave', id) }}

include:
  - infra.orch.register

{{ ('infra-orch-' ~ id ~ '-cleaned') | tojson }}:
  salt.state:
    - tgt: {{ [id] | tojson }}
    - tgt_type: list
    - sls: infra.clean
    - queue: 100
    - pillar:
        infra:
          infra_safeguard: false
    - failhard: true
    - require_in:
      - salt: infra-orch-machines-registered
