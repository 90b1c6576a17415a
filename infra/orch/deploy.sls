# salt-run state.orchestrate infra.orch.deploy
#
# The whole site in order: INFRA nodes, one after the other, then their clients in batches, then
# registration. A step that fails ends the run. In the next run the states of the finished steps
# change nothing; or name the step to begin with:
#   salt-run state.orchestrate infra.orch.deploy pillar='{"infra_deploy": {"from": "clients"}}'
#
# infra_deploy: from   infra | clients | register: the step to begin with
#               batch  how many clients at a time, a number or a share (25%)
#               tgt    which minions, a compound expression ('*')
#               test   true: only report what would change
{% from "infra/orch/minion.jinja" import host_target with context %}
{% set given = salt['pillar.get']('infra_deploy', {}) %}
{% set infra = salt['pillar.get']('infra', {}) %}
{% set steps = ['infra', 'clients', 'register'] %}
{% set first = given.get('from', 'infra') %}
{% if first not in steps %}
  {{- raise('infra_deploy.from: expected one of ' ~ steps | join(', ') ~ ', got ' ~ first) }}
{% endif %}
{% if not infra.get('infra_hosts') %}
  {{- raise('infra_hosts: expected at least one INFRA node; assign the pillar `infra` to the master, too: top.sls, \'*\'') }}
{% endif %}
{% set steps = steps[steps.index(first):] %}
{% set hosts = [] %}
{% for key, host in infra.infra_hosts.items() %}
  {% do hosts.append({'seq': host.infra_seq, 'tgt': host_target(key),
      'first': host.get('ip', key) == infra.get('admin_ip', '10.10.10.10')}) %}
{% endfor %}
{% set all = '( ' ~ hosts | map(attribute='tgt') | join(' or ') ~ ' )' %}
{% set whom = given.get('tgt', '*') %}
{# False is not passed on: it would win over the test=True of the command line. #}
{% set test = given.get('test', false) %}
{% set ordered = hosts | selectattr('first') | list + (hosts | rejectattr('first') | sort(attribute='seq') | list) %}
{% set done = [] %}

{% if 'infra' in steps %}
{% for host in ordered %}

{{ ('infra-orch-' ~ host.tgt ~ '-applied') | tojson }}:
  salt.state:
    - tgt: {{ (host.tgt ~ ' and ( ' ~ whom ~ ' )') | tojson }}
    - tgt_type: compound
    - sls: infra
    - queue: 100
{% if test %}
    - test: true
{% endif %}
    - failhard: true
{% if done %}
    - require:
      - salt: {{ done[-1] | tojson }}
{% endif %}
{% do done.append('infra-orch-' ~ host.tgt ~ '-applied') %}
{% endfor %}
{% endif %}

{% if 'clients' in steps %}

infra-orch-clients-applied:
  salt.state:
    - tgt: {{ ('( ' ~ whom ~ ' ) and not ' ~ all) | tojson }}
    - tgt_type: compound
    - sls: infra
    - queue: 100
    - batch: {{ given.get('batch', '25%') | tojson }}
{% if test %}
    - test: true
{% endif %}
    - expect_minions: false
    - failhard: true
{% if done %}
    - require:
      - salt: {{ done[-1] | tojson }}
{% endif %}
{% do done.append('infra-orch-clients-applied') %}
{% endif %}

infra-orch-clients-registered:
  salt.state:
    - tgt: {{ all | tojson }}
    - tgt_type: compound
    - sls: infra.register
    - queue: 100
{% if test %}
    - test: true
{% endif %}
    - failhard: true
{% if done %}
    - require:
      - salt: {{ done[-1] | tojson }}
{% endif %}
