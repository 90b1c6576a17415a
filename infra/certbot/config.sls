# What certbot's own timer needs to renew as we issue, and what it has to tell of it.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/certbot/settings.jinja" import environment with context %}
{%- set drop_in = '/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d/infra.conf' %}

include:
  - infra.certbot.package

infra-certbot-hook-installed:
  file.managed:
    - name: /etc/letsencrypt/renewal-hooks/deploy/infra-nginx
    - source: salt://infra/certbot/files/deploy-hook
    - mode: '0755'
    - user: root
    - group: root
    - makedirs: true
    - require:
      - infra_package: infra-certbot-package-installed

{%- if infra.certbot_dns_credentials %}

infra-certbot-credentials-managed:
  file.managed:
    - name: /etc/letsencrypt/infra-dns.ini
    - contents: {{ infra.certbot_dns_credentials | tojson }}
    - mode: '0600'
    - user: root
    - group: root
    - show_changes: false
    - require:
      - infra_package: infra-certbot-package-installed
{%- else %}

infra-certbot-credentials-absent:
  file.absent:
    - name: /etc/letsencrypt/infra-dns.ini
{%- endif %}

{%- if environment %}

# A file of its own, closed: an address of a proxy may hold a password, and units are for all to see.
infra-certbot-environment-managed:
  file.managed:
    - name: /etc/default/infra-certbot
    - contents:
      - '# Managed by Salt (infra formula)'
{%- for variable, value in environment.items() %}
      - {{ (variable ~ '=' ~ value) | tojson }}
{%- endfor %}
    - mode: '0600'
    - user: root
    - group: root
    - show_changes: false
    - makedirs: true

infra-certbot-unit-extended:
  file.managed:
    - name: {{ drop_in }}
    - contents: |
        # Managed by Salt (infra formula)
        [Service]
        EnvironmentFile=/etc/default/infra-certbot
    - mode: '0644'
    - user: root
    - group: root
    - makedirs: true
    - require:
      - file: infra-certbot-environment-managed
{%- else %}

infra-certbot-unit-extended:
  file.absent:
    - names:
      - {{ drop_in }}
      - /etc/default/infra-certbot
{%- endif %}

infra-certbot-units-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-certbot-unit-extended
