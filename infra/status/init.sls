# What infra_status.services checks: the components of this minion.
{% from "infra/map.jinja" import infra, site, arguments, recorded, yaml with context %}

include:
  - infra.pillar

{{ recorded('status', 'status-installation', {
     'paths': [
       '/usr/local/lib/infra/unit-restarts',
       '/etc/systemd/system/infra-units.service',
       '/etc/systemd/system/infra-units.timer',
       '/var/lib/infra/status.json',
       '/var/lib/infra/reach.json',
       '/var/lib/infra/textfile/infra_units.prom',
     ],
     'units': ['infra-units.timer'],
   }) }}

{% set checks_drift = infra.infra_drift_check != 'never' and not site.by_ssh %}
{% set drift_units = '/etc/systemd/system/infra-drift.' %}
{% if checks_drift %}
{{ recorded('status', 'status-drift', {
     'paths': [drift_units ~ 'service', drift_units ~ 'timer', '/var/lib/infra/drift.json',
       '/var/lib/infra/textfile/infra_drift.prom'],
     'units': ['infra-drift.timer'],
   }) }}
{% endif %}

infra-status-components-known:
  file.managed:
    - name: /var/lib/infra/status.json
    - contents: {{ yaml(arguments.status.components | tojson) }}
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
{% set script, folder = '/usr/local/lib/infra/unit-restarts', '/var/lib/infra/textfile' %}
{% set metrics, units = folder ~ '/infra_units.prom', arguments.status.units %}
{# One request to the master; a file.managed with a template takes two. #}
{% set service %}{% include "infra/status/files/infra-units.service" %}{% endset %}
{% for kind in ('service', 'timer') %}

infra-status-units-{{ kind }}-managed:
  file.managed:
    - name: /etc/systemd/system/infra-units.{{ kind }}
{% if kind == 'service' %}
    - contents: {{ yaml(service) }}
{% else %}
    - source: salt://infra/status/files/infra-units.{{ kind }}
{% endif %}
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
    - contents: {{ yaml({'rows': arguments.firewall.access, 'nodes': site.other_addresses, 'site': infra.node_firewall_intranet} | tojson) }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
    - require:
      - infra_pillar: infra-pillar-valid

# What the next apply would change, as metrics: a check by a timer, which works without a master, too.
{% if checks_drift %}
{% set drift_service %}{% include "infra/status/files/infra-drift.service" %}{% endset %}
{% set drift_timer %}{% include "infra/status/files/infra-drift.timer" %}{% endset %}
{% for kind, text in (('service', drift_service), ('timer', drift_timer)) %}

infra-status-drift-{{ kind }}-managed:
  file.managed:
    - name: {{ drift_units }}{{ kind }}
    - contents: {{ yaml(text) }}
    - mode: '0644'
    - user: root
    - group: root
    - require:
      - infra_pillar: infra-pillar-valid
{% endfor %}

infra-status-drift-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-status-drift-service-managed
      - file: infra-status-drift-timer-managed

infra-status-drift-timer-running:
  infra_service.running:
    - name: infra-drift.timer
    - require:
      - file: infra-status-drift-service-managed
      - file: infra-status-drift-timer-managed
      - module: infra-status-drift-reloaded
{% elif salt['file.file_exists'](drift_units ~ 'timer') %}

infra-status-drift-timer-off:
  service.dead:
    - name: infra-drift.timer
    - enable: false
    - require:
      - infra_pillar: infra-pillar-valid

infra-status-drift-absent:
  file.absent:
    - names:
      - {{ drift_units }}service
      - {{ drift_units }}timer
      - /var/lib/infra/drift.json
      - /var/lib/infra/textfile/infra_drift.prom
    - require:
      - service: infra-status-drift-timer-off
{% endif %}
