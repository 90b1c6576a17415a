# What infra_status.services asks after: the components of this minion, and how each is asked.
{% from "infra/map.jinja" import infra, fleet, daemons, reach with context %}
{% import_yaml "infra/components.yaml" as components %}
{% import_yaml "infra/daemons.yaml" as programs %}
{% set server = infra.identity is not none %}
{% set checks = {
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
{% set rows = [] %}
{% for component in components if server or component.role == 'every' %}
  {% set enabled = component.switch is not defined or infra[component.switch] %}
  {% set needed = programs.get(component.name, {}).get('needs') %}
  {% set row = {'name': component.name, 'enabled': enabled and (not needed or infra[needed])} %}
  {% if component.name in checks %}
    {% do row.update(checks[component.name]) %}
    {% do rows.append(row) %}
  {% elif component.name in daemons %}
    {% set daemon = daemons[component.name] %}
    {% do row.update({'unit': daemon.unit, 'version': [daemon.program, daemon.version],
                       'check': {'kind': 'http', 'port': daemon.port, 'path': daemon.health} }) %}
    {% do rows.append(row) %}
  {% endif %}
{% endfor %}

{% set units = ['nginx', 'dnsmasq', infra.ntp_unit] + daemons.values() | map(attribute='unit') | list if server
      else [infra.ntp_unit, daemons.node_exporter.unit, daemons.vector.unit] %}

include:
  - infra.pillar

infra-status-installation-recorded:
  infra_before.recorded:
    - name: status
    - paths:
      - /usr/local/lib/infra/unit-restarts
      - /etc/systemd/system/infra-units.service
      - /etc/systemd/system/infra-units.timer
      - /var/lib/infra/status.json
      - /var/lib/infra/reach.json
      - /var/lib/infra/textfile/infra_units.prom
    - units: [infra-units.timer]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-status-components-known:
  file.managed:
    - name: /var/lib/infra/status.json
    - contents: {{ rows | tojson | tojson }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true

# How often units restart by themselves, as metrics; the node exporter reads them.
infra-status-units-script-managed:
  file.managed:
    - name: /usr/local/lib/infra/unit-restarts
    - source: salt://infra/status/files/unit-restarts
    - mode: '0755'
    - user: root
    - group: root
    - makedirs: true
    - require:
      - infra_pillar: infra-pillar-valid
{% for kind in ('service', 'timer') %}

infra-status-units-{{ kind }}-managed:
  file.managed:
    - name: /etc/systemd/system/infra-units.{{ kind }}
    - source: salt://infra/status/files/infra-units.{{ kind }}
    - template: jinja
    - context:
        script: /usr/local/lib/infra/unit-restarts
        folder: /var/lib/infra/textfile
        metrics: /var/lib/infra/textfile/infra_units.prom
        units: {{ (units | unique | sort) | tojson }}
    - mode: '0644'
    - user: root
    - group: root
    - require:
      - file: infra-status-units-script-managed
{% endfor %}

infra-status-units-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-status-units-service-managed
      - file: infra-status-units-timer-managed

infra-status-units-timer-running:
  infra_service.running:
    - name: infra-units.timer
    - require:
      - file: infra-status-units-service-managed
      - file: infra-status-units-timer-managed
      - module: infra-status-units-reloaded

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
