# The web root: nginx_home is a link to nginx_data, unless somebody has something there already.
{% from "infra/map.jinja" import infra, recorded, yaml with context %}
{% set taken = salt['file.directory_exists'](infra.nginx_home) or salt['file.is_link'](infra.nginx_home) %}

include:
  - infra.pillar

{{ recorded('repo', 'webroot', {'paths': [infra.nginx_home] if taken else [infra.nginx_home, infra.nginx_data] | unique | list}) }}

{% if not taken and infra.nginx_home != infra.nginx_data %}

infra-webroot-data-present:
  file.directory:
    - name: {{ yaml(infra.nginx_data) }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true

infra-webroot-home-linked:
  file.symlink:
    - name: {{ yaml(infra.nginx_home) }}
    - target: {{ yaml(infra.nginx_data) }}
    - require:
      - file: infra-webroot-data-present
{% else %}

infra-webroot-home-present:
  file.directory:
    - name: {{ yaml(infra.nginx_home) }}
    - makedirs: true
{% endif %}
