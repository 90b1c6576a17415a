# The way back: certbot renews as it would without us. Certificates, accounts and the package stay.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-certbot-files-removed:
  file.absent:
    - names:
      - /etc/letsencrypt/renewal-hooks/deploy/infra-nginx
      - /etc/letsencrypt/infra-dns.ini
      - /etc/systemd/system/{{ infra.certbot_unit }}.service.d/infra.conf
      - /etc/default/infra-certbot

infra-certbot-units-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-certbot-files-removed
