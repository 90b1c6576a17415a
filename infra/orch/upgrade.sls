# salt-run state.orchestrate infra.orch.upgrade
#
# The INFRA nodes get the newest packages and the states, one after the other: each is healthy before
# the next one begins, and a node that is not ends the run. All have to be healthy at the beginning, so
# that the others serve meanwhile. Clients are left alone; infra.orch.deploy applies them.
#
# infra_deploy: packages false: only the states, such as a new release of the formula; default: true
#               tgt, test, missing, timeout   as for infra.orch.deploy
{% from "infra/orch/minion.jinja" import deploy_settings, step with context %}
{% set settings = deploy_settings() | load_json %}
{% set all = '( ' ~ settings.hosts | map(attribute='tgt') | join(' or ') ~ ' )' %}
{% set ordered = settings.hosts | selectattr('first') | list + (settings.hosts | rejectattr('first') | sort(attribute='seq') | list) %}
{% set done = ['infra-orch-nodes-healthy'] %}

include:
  - infra.orch.modules

infra-orch-nodes-healthy:
  infra_fleet.healthy:
    - tgt: {{ all | tojson }}
    - timeout: {{ settings.timeout | tojson }}
    - seconds: 10
    - exclusive: {{ (not settings.test) | tojson }}
    - failhard: true
{% for host in ordered %}
{% set target = host.tgt ~ ' and ( ' ~ settings.tgt ~ ' )' %}
{% for sls, verb in (('infra.upgrade', 'upgraded'), ('infra', 'applied')) if settings.packages or sls == 'infra' %}

{{ ('infra-orch-' ~ host.tgt ~ '-' ~ verb) | tojson }}:
  infra_fleet.applied:
    - tgt: {{ target | tojson }}
    - sls: {{ sls }}
{{ step(settings) }}
    - missing: {{ settings.missing | tojson }}
    - required: {{ (settings.tgt == '*') | tojson }}
    - failhard: true
    - require:
      - infra_fleet: {{ done[-1] | tojson }}
{% do done.append('infra-orch-' ~ host.tgt ~ '-' ~ verb) %}
{% endfor %}

{{ ('infra-orch-' ~ host.tgt ~ '-healthy') | tojson }}:
  infra_fleet.healthy:
    - tgt: {{ target | tojson }}
    - required: {{ (settings.tgt == '*') | tojson }}
    - preview: {{ settings.test | tojson }}
    - timeout: {{ settings.timeout | tojson }}
    - failhard: true
    - require:
      - infra_fleet: {{ done[-1] | tojson }}
{% do done.append('infra-orch-' ~ host.tgt ~ '-healthy') %}
{% endfor %}
