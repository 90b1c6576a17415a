# What infra_status.services asks after: the components of this minion, and how each is asked.
{%- from "infra/map.jinja" import infra, fleet, daemons, reach with context %}
{%- import_yaml "infra/components.yaml" as components %}
{%- import_yaml "infra/daemons.yaml" as programs %}
{%- set server = infra.identity is not none %}
{%- set checks = {
  'ca': {'unit': '', 'check': {'kind': 'files', 'paths': ['/etc/pki/ca.crt', '/etc/pki/ca/ca.key']} },
  'repo': {'unit': '', 'check': {'kind': 'files',
    'paths': [infra.repo_home ~ '/' ~ infra.repo_name ~ '/repo_complete']} },
  'nginx': {'unit': 'nginx', 'check': {'kind': 'http', 'port': infra.nginx_port, 'path': '/'},
            'version': ['nginx', '-v']},
  'dns': {'unit': 'dnsmasq', 'check': {'kind': 'dns', 'port': infra.dns_port},
          'version': ['dnsmasq', '--version']},
  'certbot': {'unit': infra.certbot_unit ~ '.timer', 'version': ['certbot', '--version'],
              'check': {'kind': 'files', 'paths': ['/etc/letsencrypt/renewal-hooks/deploy/infra-nginx']} },
  'ntp': {'unit': infra.ntp_unit, 'version': ['chronyd', '--version'],
          'check': {'kind': 'ntp', 'serves': server,
                    'sourced': (fleet.others or infra.node_ntp_servers) | length > 0}},
} %}
{%- set rows = [] %}
{%- for component in components if server or component.role == 'every' %}
  {%- set enabled = component.switch is not defined or infra[component.switch] %}
  {%- set needed = programs.get(component.name, {}).get('needs') %}
  {%- set row = {'name': component.name, 'enabled': enabled and (not needed or infra[needed])} %}
  {%- if component.name in checks %}
    {%- do row.update(checks[component.name]) %}
    {%- do rows.append(row) %}
  {%- elif component.name in daemons %}
    {%- set daemon = daemons[component.name] %}
    {%- do row.update({'unit': daemon.unit, 'version': [daemon.program, daemon.version],
                       'check': {'kind': 'http', 'port': daemon.port, 'path': daemon.health} }) %}
    {%- do rows.append(row) %}
  {%- endif %}
{%- endfor %}

include:
  - infra.pillar

infra-status-components-known:
  file.managed:
    - name: /var/lib/infra/status.json
    - contents: {{ rows | tojson | tojson }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true

# Who is entitled to reach which port: infra_status.access compares it with the rules in force.
infra-status-reach-known:
  file.managed:
    - name: /var/lib/infra/reach.json
    - contents: {{ {'rows': reach, 'nodes': fleet.others, 'site': infra.node_firewall_intranet} | tojson | tojson }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
    - require:
      - infra_pillar: infra-pillar-valid
