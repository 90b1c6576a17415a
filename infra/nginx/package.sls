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
    - gid: {{ infra.nginx_group | tojson }}
    - system: true
    - home: /var/cache/nginx
    - createhome: false
    - shell: /usr/sbin/nologin
    - require:
      - group: infra-nginx-group-present

infra-nginx-package-installed:
  pkg.installed:
    - pkgs: {{ infra.packages.nginx | tojson }}
    - require:
      - user: infra-nginx-user-present
