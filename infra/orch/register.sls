# The INFRA nodes update their inventory from the mine.
#   salt-run state.orchestrate infra.orch.register
{% from "infra/orch/minion.jinja" import host_target with context %}
{% set infra = salt['pillar.get']('infra', {}) %}
{% if not infra.get('infra_hosts') %}
  {{- raise('infra_hosts: expected at least one INFRA node; assign the pillar `infra` to the master, too: top.sls, \'*\'') }}
{% endif %}
{% set hosts = [] %}
{% for key in infra.infra_hosts %}
  {% do hosts.append(host_target(key)) %}
{% endfor %}

infra-orch-machines-registered:
  salt.state:
    - tgt: {{ hosts | join(' or ') | tojson }}
    - tgt_type: compound
    - sls: infra.register
    - queue: 100  # a number: with true, Salt 3008 reports a run that is queued as failed
