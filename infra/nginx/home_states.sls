# States of sites and tools on the home page: what fills them into copies of it.
{% from "infra/map.jinja" import infra, arguments, recorded, yaml with context %}
{% set states = arguments.nginx.home_states %}
{% set output = infra.nginx_home ~ '/.states' %}
{% set program = '/usr/local/lib/infra/home-states' %}
{% set unit = '/etc/systemd/system/infra-home-states.service' %}

include:
  - infra.pillar
  - infra.webroot
  # Its account, and the pages that have the states.
  - infra.nginx

{# Its copies go when it stops; they are named so that a removal tells that the directory goes too. #}
{{ recorded('nginx', 'nginx-home-states-installation', {
     'paths': [program, unit, output, output ~ '/index.html', output ~ '/zh.html'],
     'units': ['infra-home-states'],
   }) }}
{% if states %}

infra-nginx-home-states-directory-present:
  file.directory:
    - name: {{ yaml(output) }}
    - user: root
    - group: {{ yaml(infra.nginx_group) }}
    # Files in it belong to the group, without a right of the program's for that.
    - mode: '2750'
    - require:
      - sls: infra.webroot
      - user: infra-nginx-user-present

infra-nginx-home-states-program-managed:
  file.managed:
    - name: {{ yaml(program) }}
    - source: salt://infra/nginx/files/home_states.py
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true
    - require:
      - infra_pillar: infra-pillar-valid

{% set python, url, address, fresh = grains.get('pythonexecutable', '/usr/bin/python3'), states.url, states.address, states.fresh %}
{% set pages, ca_file = infra.nginx_home, states.ca_file %}
{# One request to the master; a file.managed with a template takes two. #}
{% set text %}{% include "infra/nginx/files/infra-home-states.service" %}{% endset %}
infra-nginx-home-states-unit-managed:
  file.managed:
    - name: {{ yaml(unit) }}
    - contents: {{ yaml(text) }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - infra_pillar: infra-pillar-valid
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-nginx-home-states-unit-managed

infra-nginx-home-states-current:
  infra_service.current:
    - name: infra-home-states
    - files: {{ yaml([program, unit]) }}
    - require:
      - file: infra-nginx-home-states-program-managed
      - module: infra-nginx-home-states-unit-managed

infra-nginx-home-states-running:
  infra_service.running:
    - name: infra-home-states
    - require:
      - infra_portal: infra-nginx-pages-managed
      - file: infra-nginx-home-states-directory-present
      - infra_service: infra-nginx-home-states-current
{% elif salt['file.file_exists'](unit) %}

# No store has states of anything.
infra-nginx-home-states-stopped:
  service.dead:
    - name: infra-home-states
    - enable: false

infra-nginx-home-states-removed:
  file.absent:
    - names:
      - {{ yaml(unit) }}
      - {{ yaml(program) }}
      - {{ yaml(output) }}
    - require:
      - service: infra-nginx-home-states-stopped
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-nginx-home-states-removed
{% endif %}
