# salt-run state.orchestrate infra.orch.deploy
#
# The whole site in order: INFRA nodes, one after the other, then their clients in batches, then
# registration. A step that fails ends the run. In the next run the states of the finished steps
# change nothing; or name the step to begin with:
#   salt-run state.orchestrate infra.orch.deploy pillar='{"infra_deploy": {"from": "clients"}}'
#
# infra_deploy: from     infra | clients | register: the step to begin with
#               batch    how many clients at a time, a number or a share (25%); default: 25%, at most 50
#               tgt      which minions, a compound expression ('*')
#               test     true: only report what would change
#               missing  fail | warn: what follows if an accepted minion does not answer
#               timeout  seconds to wait for answers; default: 15, and one more for each 20 minions
{% from "infra/orch/minion.jinja" import deploy_settings, step with context %}
{% set settings = deploy_settings() | load_json %}
{% set hosts = settings.hosts %}
{% set all = '( ' ~ hosts | map(attribute='tgt') | join(' or ') ~ ' )' %}
{% set ordered = hosts | selectattr('first') | list + (hosts | rejectattr('first') | sort(attribute='seq') | list) %}
{% set done = [] %}

include:
  - infra.orch.modules

{% if 'infra' in settings.steps %}
{% for host in ordered %}

{{ ('infra-orch-' ~ host.tgt ~ '-applied') | tojson }}:
  infra_fleet.applied:
    - tgt: {{ (host.tgt ~ ' and ( ' ~ settings.tgt ~ ' )') | tojson }}
    - sls: infra
    - exclusive: true
{{ step(settings) }}
    - missing: {{ settings.missing | tojson }}
    - required: {{ (settings.tgt == '*') | tojson }}
    - failhard: true
{% if done %}
    - require:
      - infra_fleet: {{ done[-1] | tojson }}
{% endif %}
{% do done.append('infra-orch-' ~ host.tgt ~ '-applied') %}
{% endfor %}
{% endif %}

{% if 'clients' in settings.steps %}

infra-orch-clients-applied:
  infra_fleet.applied:
    - tgt: {{ ('( ' ~ settings.tgt ~ ' ) and not ' ~ all) | tojson }}
    - sls: infra
{{ step(settings) }}
    - batch: {{ settings.batch | tojson }}
    - missing: report
    - required: false
    - failhard: true
{% if done %}
    - require:
      - infra_fleet: {{ done[-1] | tojson }}
{% endif %}
{% do done.append('infra-orch-clients-applied') %}
{% endif %}

infra-orch-clients-registered:
  infra_fleet.applied:
    - tgt: {{ all | tojson }}
    - sls: infra.register
{{ step(settings) }}
    - missing: {{ settings.missing | tojson }}
{% if done %}
    - require:
      - infra_fleet: {{ done[-1] | tojson }}
{% endif %}

{% if 'clients' in settings.steps %}

{# At the end: clients that do not answer do not keep the others out of the registration. #}
infra-orch-clients-answered:
  infra_fleet.answered:
    - tgt: {{ settings.tgt | tojson }}
    - missing: {{ settings.missing | tojson }}
    - require:
      - infra_fleet: infra-orch-clients-applied
{% endif %}
