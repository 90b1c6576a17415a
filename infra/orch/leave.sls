# A machine leaves: it is cleaned as far as its pillar says, then the INFRA nodes forget it.
#   salt-run state.orchestrate infra.orch.leave pillar='{"infra_leave": "node-1"}'
{%- set id = salt['pillar.get']('infra_leave', '') %}
{%- if not id %}
  {{- raise('infra_leave: expected the id of the minion that leaves') }}
{%- endif %}

include:
  - infra.orch.register

infra-orch-{{ id }}-cleaned:
  salt.state:
    - tgt: {{ id | tojson }}
    - tgt_type: list
    - sls: infra.clean
    - pillar:
        infra:
          infra_safeguard: false
    - failhard: true
    - require_in:
      - salt: infra-orch-machines-registered
