# Reloading is the configuration's own affair (infra.nginx.config); here nginx is started.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}

include:
  - infra.nginx.config
  - infra.nginx.webroot

infra-nginx-service-running:
  service.running:
    - name: nginx
    - enable: true
    - require:
      - infra_portal: infra-nginx-portal-managed

infra-nginx-portal-serving:
  infra_portal.serving:
    - settings: {{ settings | tojson }}
    - require:
      - service: infra-nginx-service-running
      - infra_portal: infra-nginx-pages-managed
