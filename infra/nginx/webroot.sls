# What lies in the web root: folders, static sites, the CA, the portal's own pages.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}

include:
  - infra.webroot
  - infra.nginx.package

infra-nginx-webroot-recorded:
  infra_before.recorded:
    - name: nginx
    - paths:
{%- for folder in ['acme', 'logs', 'repos', 'schema', 'report', 'ca.crt'] + ([] if infra.repo_enabled else [infra.repo_name]) %}
      - {{ (infra.nginx_home ~ '/' ~ folder) | tojson }}
{%- endfor %}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-nginx-home-directories-present:
  file.directory:
    - names:
{%- for folder in ['acme', 'logs', 'repos', 'schema', 'report'] + ([] if infra.repo_enabled else [infra.repo_name]) %}
      - {{ (infra.nginx_home ~ '/' ~ folder) | tojson }}
{%- endfor %}
    - user: root
    - group: {{ infra.nginx_group | tojson }}
    - mode: '0755'
    - makedirs: true
    - require:
      - sls: infra.webroot
      - user: infra-nginx-user-present

infra-nginx-sites-present:
  infra_portal.sites_present:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - require:
      - file: infra-nginx-home-directories-present

infra-nginx-ca-published:
  file.symlink:
    - name: {{ (infra.nginx_home ~ '/ca.crt') | tojson }}
    - target: /etc/pki/ca.crt
    # Pigsty has a copy there; infra_before kept one of that.
    - force: true
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
