{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/certbot/settings.jinja" import environment with context %}
{%- set plugin = infra.certbot_dns_plugin %}

include:
  - infra.pillar

infra-certbot-installation-recorded:
  infra_before.recorded:
    - name: certbot
    - paths:
      - /etc/letsencrypt/renewal-hooks/deploy/infra-nginx
{%- if infra.certbot_dns_credentials %}
      - /etc/letsencrypt/infra-dns.ini
{%- endif %}
{%- if environment %}
      - /etc/default/infra-certbot
      - {{ ('/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d/infra.conf') | tojson }}
{%- endif %}
    - units:
      - {{ (infra.certbot_unit ~ '.timer') | tojson }}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-certbot-package-installed:
  infra_package.installed:
    - component: certbot
    - pkgs: {{ (infra.packages.certbot + (['python3-certbot-dns-' ~ plugin] if plugin else [])) | tojson }}
