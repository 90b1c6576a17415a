# The certificates, while nginx serves what it has; and certbot's timer, which renews them.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}
{%- from "infra/certbot/settings.jinja" import request with context %}

include:
  - infra.nginx
  - infra.certbot.config

infra-certbot-certificates-managed:
  infra_certbot.managed:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - request: {{ request | tojson }}
    - require:
      - sls: infra.certbot.config
      - infra_portal: infra-nginx-portal-serving

infra-certbot-timer-running:
  service.running:
    - name: {{ (infra.certbot_unit ~ '.timer') | tojson }}
    - enable: true
    - require:
      - sls: infra.certbot.config
