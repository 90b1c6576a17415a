# What the daemons share: group infra, their accounts, the data directory and its link /infra.
{% from "infra/map.jinja" import infra with context %}
{% import_yaml "infra/daemons.yaml" as rows %}
{% import_yaml "infra/components.yaml" as components %}

include:
  - infra.pillar
  - infra.firewall

{% set wanted = {} %}
{% for row in rows.values() if infra[row.switch] and (infra.identity is not none or row.unit in ('node_exporter', 'vector')) %}
  {% do wanted.update({row.user: true}) %}
{% endfor %}

infra-daemon-installation-recorded:
  infra_before.recorded:
    - name: daemon
    - paths:
{% if infra.identity is not none %}
      - {{ infra.infra_data | tojson }}
{% if infra.infra_data != '/infra' %}
      - /infra
{% endif %}
{% for folder in ('conf', 'tmp', 'bin', 'rules', 'targets') %}
      - {{ (infra.infra_data ~ '/' ~ folder) | tojson }}
{% endfor %}
{% endif %}
    - accounts: {{ wanted | sort | tojson }}
    - groups: {{ (['infra'] + wanted | sort) | tojson }}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-daemon-group-present:
  group.present:
    - name: infra
    - system: true
    - require:
      - infra_pillar: infra-pillar-valid

{% for user in wanted | sort %}

# An account that a package made is taken as it is; only its membership is seen to.
infra-daemon-user-{{ user }}-present:
  user.present:
    - name: {{ user }}
    - usergroup: true
    - system: true
    - createhome: false
    {% if not salt['user.info'](user) %}
    - home: {{ {'vector': '/var/lib/vector', 'grafana': '/usr/share/grafana'}.get(user, infra.infra_data) | tojson }}
    - shell: /usr/sbin/nologin
    {% endif %}
    - groups: [infra]
    - remove_groups: false
    - require:
      - group: infra-daemon-group-present
{% endfor %}

# A switch that is turned off turns the service off, too. Its data stays.
{% set off = [] %}
{% for name, row in rows.items() %}
  {% if not infra[row.switch] or (row.needs is defined and not infra[row.needs]) %}
    {% do off.append({'name': name, 'unit': row.unit}) %}
  {% endif %}
{% endfor %}

infra-daemon-others-off:
  infra_daemon.switched_off:
    - daemons: {{ off | tojson }}
    - require:
      - infra_pillar: infra-pillar-valid
{% for component in components if component.unit is defined and not infra[component.switch] %}
{% set files, root = component.sets.items() | first %}

infra-{{ component.name }}-service-off:
  infra_service.off:
    - name: {{ component.unit }}
    - file_set: {{ files }}
    - root: {{ root }}
    - require:
      - infra_pillar: infra-pillar-valid
{% endfor %}

# Where a job of yours may leave metrics for the node exporter (files named *.prom).
infra-daemon-textfile-directory-present:
  file.directory:
    - name: /var/lib/infra/textfile
    - user: root
    - group: infra
    - mode: '0775'
    - makedirs: true
    - require:
      - group: infra-daemon-group-present

{% if infra.identity is not none %}

infra-daemon-data-present:
  file.directory:
    - name: {{ infra.infra_data | tojson }}
    - user: root
    - group: infra
    # The group enters, and no more: root writes to folders in it, which nobody may exchange.
    - mode: '0751'
    - makedirs: true
    - require:
      - group: infra-daemon-group-present

{% if infra.infra_data != '/infra' %}

infra-daemon-data-linked:
  file.symlink:
    - name: /infra
    - target: {{ infra.infra_data | tojson }}
    - require:
      - file: infra-daemon-data-present
{% endif %}

infra-daemon-directories-present:
  file.directory:
    - names:
{% for folder in ('conf', 'tmp', 'bin', 'rules', 'targets') %}
      - {{ (infra.infra_data ~ '/' ~ folder) | tojson }}
{% endfor %}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - file: infra-daemon-data-present
{% endif %}
