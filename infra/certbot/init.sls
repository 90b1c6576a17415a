# Public certificates for the portal, got and renewed by certbot.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/certbot/settings.jinja" import environment, request with context %}
{%- from "infra/nginx/settings.jinja" import settings with context %}

include:
  - infra.pillar
  - infra.nginx

{%- set plugin = infra.certbot_dns_plugin %}

infra-certbot-installation-recorded:
  infra_before.recorded:
    - name: certbot
    - paths:
      - /etc/letsencrypt/renewal-hooks/deploy/infra-nginx
      - {{ ('/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d/infra-hardening.conf') | tojson }}
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

# What certbot's own timer needs to renew as we issue, and what it has to tell of it.
{%- set drop_in = '/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d/infra.conf' %}

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

infra-certbot-unit-hardened:
  file.managed:
    - name: {{ ('/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d/infra-hardening.conf') | tojson }}
    - source: salt://infra/certbot/files/certbot.service.conf
    - mode: '0644'
    - user: root
    - group: root
    - makedirs: true
    - require:
      - infra_package: infra-certbot-package-installed

infra-certbot-units-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-certbot-unit-extended
      - file: infra-certbot-unit-hardened

# The certificates, while nginx serves what it has; and certbot's timer, which renews them.

infra-certbot-certificates-managed:
  infra_certbot.managed:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ settings | tojson }}
    - request: {{ request | tojson }}
    - require:
      - file: infra-certbot-hook-installed
      - file: infra-certbot-credentials-{{ 'managed' if infra.certbot_dns_credentials else 'absent' }}
      - module: infra-certbot-units-reloaded
      - infra_portal: infra-nginx-portal-serving

infra-certbot-timer-running:
  infra_service.running:
    - name: {{ (infra.certbot_unit ~ '.timer') | tojson }}
    - require:
      - file: infra-certbot-hook-installed
      - file: infra-certbot-credentials-{{ 'managed' if infra.certbot_dns_credentials else 'absent' }}
      - module: infra-certbot-units-reloaded
