# What the daemons share: group infra, their accounts, the data directory and its link /infra.
{% from "infra/map.jinja" import infra, site, arguments, recorded, yaml with context %}
{% set users = arguments.daemons.users %}
{% set folders = ['conf', 'tmp', 'bin', 'rules', 'targets'] %}
{% set directories = [] %}
{% for folder in folders %}{% do directories.append(infra.infra_data ~ '/' ~ folder) %}{% endfor %}
{# Created apart, since it is for everybody to enter: other data may lie beside. One that exists stays as it is. #}
{% set parent = infra.infra_data.rpartition('/')[0] or '/' %}
{% set new_parent = [] if salt['file.directory_exists'](parent) else [parent] %}

include:
  - infra.pillar
  - infra.firewall
{{ recorded('daemon', 'daemon-installation', {
     'paths': new_parent + [infra.infra_data] + (['/infra'] if infra.infra_data != '/infra' else []) + directories
       if site.is_infra_node else [],
     'accounts': users,
     'groups': ['infra'] + users,
   }) }}

infra-daemon-group-present:
  group.present:
    - name: infra
    - system: true
    - require:
      - infra_pillar: infra-pillar-valid

{% for user in users %}

# An account that a package made is taken as it is; only its membership is seen to.
infra-daemon-user-{{ user }}-present:
  user.present:
    - name: {{ user }}
    - usergroup: true
    - system: true
    - createhome: false
    {% if not salt['user.info'](user) %}
    - home: {{ yaml({'vector': '/var/lib/vector', 'grafana': '/usr/share/grafana'}.get(user, infra.infra_data)) }}
    - shell: /usr/sbin/nologin
    {% endif %}
    - groups: [infra]
    - remove_groups: false
    - require:
      - group: infra-daemon-group-present
{% endfor %}

# A switch that is turned off turns the service off, too. Its data stays.

infra-daemon-others-off:
  infra_daemon.switched_off:
    - daemons: {{ yaml(arguments.daemons.disabled) }}
    - require:
      - infra_pillar: infra-pillar-valid
{% for service in arguments.daemons.disabled_services %}

infra-{{ service.name }}-service-off:
  infra_service.off:
    - name: {{ service.unit }}
    - file_set: {{ service.file_set }}
    - root: {{ service.root }}
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

{% if site.is_infra_node %}

{% if new_parent %}
infra-daemon-data-parent-present:
  file.directory:
    - name: {{ yaml(parent) }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true
    - require:
      - infra_pillar: infra-pillar-valid
    - require_in:
      - file: infra-daemon-data-present

{% endif %}
infra-daemon-data-present:
  file.directory:
    - name: {{ yaml(infra.infra_data) }}
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
    - target: {{ yaml(infra.infra_data) }}
    - require:
      - file: infra-daemon-data-present
{% endif %}

infra-daemon-directories-present:
  file.directory:
    - names: {{ yaml(directories) }}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - file: infra-daemon-data-present
{% endif %}
