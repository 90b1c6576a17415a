# Have the INFRA nodes take what the mine holds now.
#   salt-run state.orchestrate infra.orch.register
{%- set infra = salt['pillar.get']('infra', {}) %}
{%- if not infra.get('infra_hosts') %}
  {{- raise('infra_hosts: expected at least one INFRA node; assign the pillar `infra` to the master, too: top.sls, \'*\'') }}
{%- endif %}
{%- set hosts = [] %}
{%- for key in infra.infra_hosts %}
  {%- do hosts.append(('S@' if key | is_ip else 'L@') ~ key) %}
{%- endfor %}

infra-orch-machines-registered:
  salt.state:
    - tgt: {{ hosts | join(' or ') | tojson }}
    - tgt_type: compound
    - sls: infra.register
