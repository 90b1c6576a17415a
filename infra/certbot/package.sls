{%- from "infra/map.jinja" import infra with context %}
{%- set plugin = infra.certbot_dns_plugin %}

include:
  - infra.pillar

infra-certbot-package-installed:
  pkg.installed:
    - pkgs: {{ (infra.packages.certbot + (['python3-certbot-dns-' ~ plugin] if plugin else [])) | tojson }}
