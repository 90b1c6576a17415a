# Make a minion a client and register it. One that the mine knows is only registered anew.
#   salt-run state.orchestrate infra.orch.join pillar='{"infra_join": "node-3"}'
{% from "infra/orch/minion.jinja" import checked with context %}
{% set id = salt['pillar.get']('infra_join', '') %}
{{- checked('infra_join', id) }}
{% set known = salt['saltutil.runner']('mine.get', tgt=[id], fun='infra_register.facts', tgt_type='list') %}

include:
  - infra.orch.register

{% if id not in known %}

{{ ('infra-orch-' ~ id ~ '-applied') | tojson }}:
  salt.state:
    - tgt: {{ [id] | tojson }}
    - tgt_type: list
    - sls: infra
    - queue: 100
    - failhard: true
    - require_in:
      - salt: infra-orch-machines-registered
{% endif %}
