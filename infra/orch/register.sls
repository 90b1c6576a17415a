# The INFRA nodes update their inventory from the mine.
#   salt-run state.orchestrate infra.orch.register
{% from "infra/orch/minion.jinja" import deploy_settings, step with context %}
{% set settings = deploy_settings() | load_json %}

include:
  - infra.orch.modules

infra-orch-machines-registered:
  infra_fleet.applied:
    - tgt: {{ settings.hosts | map(attribute='tgt') | join(' or ') | tojson }}
    - sls: infra.register
{{ step(settings) }}
    - missing: {{ settings.missing | tojson }}
