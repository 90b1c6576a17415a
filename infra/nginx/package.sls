{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-nginx-installation-recorded:
  infra_before.recorded:
    - name: nginx
    - paths:
      - /etc/systemd/system/nginx.service.d/infra.conf
      - /etc/nginx/conf.d
      - /etc/nginx/conf.d/cert
      - /etc/nginx/conf.d/haproxy
{%- if infra.nginx_sslmode != 'disable' %}
      - /etc/nginx/conf.d/cert/pigsty.crt
      - /etc/nginx/conf.d/cert/pigsty.key
{%- endif %}
      - /var/log/nginx
      - /etc/logrotate.d/infra-nginx
      - /var/lib/infra/manifest/portal-entries.json
      - /var/lib/infra/manifest/portal-cards.json
    - accounts:
      - {{ infra.nginx_user | tojson }}
    - groups:
      - {{ infra.nginx_group | tojson }}
      - {{ infra.nginx_user | tojson }}
    - units: [nginx]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-nginx-group-present:
  group.present:
    - name: {{ infra.nginx_group | tojson }}
    - system: true

infra-nginx-user-present:
  user.present:
    - name: {{ infra.nginx_user | tojson }}
    - system: true
    - createhome: false
{#- An account that somebody else made is taken as it is. #}
{%- if not salt['user.info'](infra.nginx_user) %}
    - gid: {{ infra.nginx_group | tojson }}
    - home: /var/cache/nginx
    - shell: /usr/sbin/nologin
{%- endif %}
    - groups: [{{ infra.nginx_group | tojson }}]
    - remove_groups: false
    - require:
      - group: infra-nginx-group-present

# What its unit may do, before the package, which starts it. One that runs goes on as it was
# started; a restart takes it up.
infra-nginx-unit-hardened:
  file.managed:
    - name: /etc/systemd/system/nginx.service.d/infra.conf
    - source: salt://infra/nginx/files/nginx.service.conf
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: true
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-nginx-unit-hardened

infra-nginx-package-installed:
  infra_package.installed:
    - component: nginx
    - pkgs: {{ infra.packages.nginx | tojson }}
    - require:
      - user: infra-nginx-user-present
      - module: infra-nginx-unit-hardened
