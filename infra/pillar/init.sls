# Before anything is changed: a pillar with an error in it ends the run here, naming the key.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}

include:
  - infra.sync

infra-pillar-valid:
  infra_pillar.valid:
    - parameters: {{ infra.given | tojson }}
    - hosts: {{ infra.infra_hosts | tojson }}
    - admin_ip: {{ infra.admin_ip | tojson }}
{%- if infra.identity is not none and infra.nginx_enabled %}
    - portal: {{ infra.infra_portal | tojson }}
    - portal_settings: {{ settings | tojson }}
{%- endif %}
    - order: 1
    - failhard: true
    - require:
      - test: infra-sync-modules-loaded
