# The web root: nginx_home is a link to nginx_data, unless somebody has something there already.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}
{%- set taken = salt['file.directory_exists'](infra.nginx_home) or salt['file.is_link'](infra.nginx_home) %}

include:
  - infra.nginx.package

{%- if not taken and infra.nginx_home != infra.nginx_data %}

infra-nginx-data-present:
  file.directory:
    - name: {{ infra.nginx_data | tojson }}
    - user: root
    - group: {{ infra.nginx_group | tojson }}
    - mode: '0755'
    - makedirs: true
    - require:
      - user: infra-nginx-user-present

infra-nginx-home-linked:
  file.symlink:
    - name: {{ infra.nginx_home | tojson }}
    - target: {{ infra.nginx_data | tojson }}
    - require:
      - file: infra-nginx-data-present
    - require_in:
      - file: infra-nginx-home-directories-present
{%- endif %}

infra-nginx-home-directories-present:
  file.directory:
    - names:
{%- for folder in ('acme', infra.repo_name, 'logs', 'repos', 'schema', 'report') %}
      - {{ (infra.nginx_home ~ '/' ~ folder) | tojson }}
{%- endfor %}
    - user: root
    - group: {{ infra.nginx_group | tojson }}
    - mode: '0755'
    - makedirs: true
    - require:
      - user: infra-nginx-user-present

infra-nginx-sites-present:
  infra_portal.sites_present:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - require:
      - file: infra-nginx-home-directories-present

infra-nginx-ca-published:
  file.symlink:
    - name: {{ infra.nginx_home }}/ca.crt
    - target: /etc/pki/ca.crt
    - require:
      - file: infra-nginx-home-directories-present

infra-nginx-pages-managed:
  infra_portal.pages:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - version: {{ infra.version | tojson }}
    - services: {{ infra.infra_services | tojson }}
    - extra_services: {{ infra.infra_extra_services | tojson }}
    - require:
      - file: infra-nginx-home-directories-present
