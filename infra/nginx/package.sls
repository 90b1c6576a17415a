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

# Each entry has a log of its own: the usual limit of 1024 open files is one of 1000 entries. Before
# the package, which starts nginx.
infra-nginx-limits-managed:
  file.managed:
    - name: /etc/systemd/system/nginx.service.d/infra.conf
    - contents: |
        # Managed by Salt (infra formula)
        [Service]
        LimitNOFILE=65535
    - mode: '0644'
    - makedirs: true
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-nginx-limits-managed

infra-nginx-package-installed:
  pkg.installed:
    - pkgs: {{ infra.packages.nginx | tojson }}
    - require:
      - user: infra-nginx-user-present
      - module: infra-nginx-limits-managed
