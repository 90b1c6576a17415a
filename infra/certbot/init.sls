# Public certificates for the portal, got and renewed by certbot.
{% from "infra/map.jinja" import infra, arguments, recorded, yaml with context %}
{% set environment = arguments.certbot.environment %}
{% set drop_ins = '/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d' %}
{% set drop_in = drop_ins ~ '/infra.conf' %}
{% set timer = infra.certbot_unit ~ '.timer' %}

include:
  - infra.pillar
  - infra.nginx

{{ recorded('certbot', 'certbot-installation', {
     'paths': ['/etc/letsencrypt/renewal-hooks/deploy/infra-nginx', drop_ins ~ '/infra-hardening.conf']
       + (['/etc/letsencrypt/infra-dns.ini'] if infra.certbot_dns_credentials else [])
       + (['/etc/default/infra-certbot', drop_in] if environment else []),
     'units': [timer],
   }) }}

infra-certbot-package-installed:
  infra_package.installed:
    - component: certbot
    - pkgs: {{ yaml(arguments.certbot_packages) }}

# What certbot's own timer needs to renew as we issue, and what it has to tell of it.
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

{% if infra.certbot_dns_credentials %}

infra-certbot-credentials-managed:
  file.managed:
    - name: /etc/letsencrypt/infra-dns.ini
    - contents: {{ yaml(infra.certbot_dns_credentials) }}
    - mode: '0600'
    - user: root
    - group: root
    - show_changes: false
    - require:
      - infra_package: infra-certbot-package-installed
{% else %}

infra-certbot-credentials-absent:
  file.absent:
    - name: /etc/letsencrypt/infra-dns.ini
{% endif %}

{% if environment %}

# A file of its own, closed: an address of a proxy may hold a password, and units are for all to see.
infra-certbot-environment-managed:
  file.managed:
    - name: /etc/default/infra-certbot
    - contents:
      - '# Managed by Salt (infra formula)'
{% for variable, value in environment.items() %}
      - {{ yaml(variable ~ '=' ~ value) }}
{% endfor %}
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
{% else %}

infra-certbot-unit-extended:
  file.absent:
    - names:
      - {{ drop_in }}
      - /etc/default/infra-certbot
{% endif %}

infra-certbot-unit-hardened:
  file.managed:
    - name: {{ yaml('/etc/systemd/system/' ~ infra.certbot_unit ~ '.service.d/infra-hardening.conf') }}
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
    - portal: {{ yaml(infra.infra_portal | tojson) }}
    - settings: {{ yaml(arguments.portal) }}
    - request: {{ yaml(arguments.certbot) }}
    - require:
      - file: infra-certbot-hook-installed
      - file: infra-certbot-credentials-{{ 'managed' if infra.certbot_dns_credentials else 'absent' }}
      - module: infra-certbot-units-reloaded
      - infra_portal: infra-nginx-portal-serving

infra-certbot-timer-running:
  infra_service.running:
    - name: {{ yaml(timer) }}
    - require:
      - file: infra-certbot-hook-installed
      - file: infra-certbot-credentials-{{ 'managed' if infra.certbot_dns_credentials else 'absent' }}
      - module: infra-certbot-units-reloaded
