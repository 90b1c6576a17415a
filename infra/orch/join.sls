# What the reactor runs for a minion that started: an unknown one is made a client; then the INFRA
# nodes take what the mine holds. Known is who is in the mine.
#   salt-run state.orchestrate infra.orch.join pillar='{"infra_join": "node-3"}'
{%- set id = salt['pillar.get']('infra_join', '') %}
{%- set known = salt['saltutil.runner']('mine.get', tgt=id, fun='infra_register.facts', tgt_type='list') %}

include:
  - infra.orch.register

{%- if id not in known %}

infra-orch-{{ id }}-applied:
  salt.state:
    - tgt: {{ id | tojson }}
    - tgt_type: list
    - sls: infra
    - failhard: true
    - require_in:
      - salt: infra-orch-machines-registered
{%- endif %}
