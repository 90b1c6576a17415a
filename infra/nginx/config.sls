# One state owns the whole configuration: it tests a staged copy, switches it in, reloads nginx.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}

include:
  - infra.nginx.package
  - infra.nginx.certificate

infra-nginx-portal-managed:
  infra_portal.managed:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - users: {{ infra.nginx_users | tojson }}
    - clean: {{ infra.nginx_clean | tojson }}
    - require:
      - infra_package: infra-nginx-package-installed
      - file: infra-nginx-certificate-directory-present

# What is asked for may hold a token, and nginx makes its logs readable by all.
infra-nginx-logs-closed:
  file.directory:
    - name: /var/log/nginx
    - user: root
    - group: {{ infra.nginx_group | tojson }}
    - mode: '0750'
    - require:
      - infra_package: infra-nginx-package-installed

infra-nginx-logrotate-managed:
  file.managed:
    - name: /etc/logrotate.d/infra-nginx
    - source: salt://infra/nginx/files/logrotate
    - mode: '0644'
    - user: root
    - group: root
