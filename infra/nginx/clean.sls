# The way back: nginx stopped, what the portal wrote gone, what it replaced back in its place.
# The web root's content, logs, the certificate and the package stay.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-nginx-service-stopped:
  service.dead:
    - name: nginx
    - enable: false

infra-nginx-portal-removed:
  infra_files.absent:
    - name: portal
    - root: /etc/nginx
    - require:
      - service: infra-nginx-service-stopped

infra-nginx-pages-removed:
  infra_files.absent:
    - name: pages
    - root: {{ infra.nginx_home | tojson }}
    - require:
      - service: infra-nginx-service-stopped

infra-nginx-logrotate-removed:
  file.absent:
    - name: /etc/logrotate.d/infra-nginx

infra-nginx-limits-removed:
  file.absent:
    - name: /etc/systemd/system/nginx.service.d/infra.conf
