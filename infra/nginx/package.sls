{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

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
  pkg.installed:
    - pkgs: {{ infra.packages.nginx | tojson }}
    - require:
      - user: infra-nginx-user-present
      - module: infra-nginx-unit-hardened
