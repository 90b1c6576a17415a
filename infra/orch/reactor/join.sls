# A reactor: a minion that starts is made a client and registered. In the master's configuration:
#   reactor:
#     - 'salt/minion/*/start':
#       - salt://infra/orch/reactor/join.sls
#
# A minion that was registered before is only registered anew, not changed: what was changed by hand
# while it was down is nobody's business at a reboot.
{%- set id = data['id'] %}

infra-reactor-minion-joined:
  runner.state.orchestrate:
    - args:
      - mods: infra.orch.join
      - pillar:
          infra_join: {{ id | tojson }}
