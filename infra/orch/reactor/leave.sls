# A reactor: a minion whose key is deleted is forgotten. In the master's configuration:
#   reactor:
#     - 'salt/key':
#       - salt://infra/orch/reactor/leave.sls
{%- if data.get('act') == 'delete' and data.get('result') %}

infra-reactor-minion-forgotten:
  runner.state.orchestrate:
    - args:
      - mods: infra.orch.register
{%- endif %}
