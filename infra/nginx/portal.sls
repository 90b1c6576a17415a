# The portal's pages and configuration, with the registered minions. infra.register applies them alone.
{% from "infra/map.jinja" import infra, arguments, yaml with context %}

include:
  - infra.register.inventory

# Pages first: which program shows the alerts is recorded with them.
infra-nginx-pages-managed:
  infra_portal.pages:
    - portal: {{ yaml(infra.infra_portal | tojson) }}
    - settings: {{ yaml(arguments.portal) }}
    - registration: {{ yaml(arguments.registration) }}
    - version: {{ yaml(infra.version) }}
    - services: {{ yaml(infra.infra_services) }}
    - extra_services: {{ yaml(infra.infra_extra_services) }}
    - require:
      - infra_register: infra-register-inventory-managed

# One state owns the whole configuration: it tests a staged copy, switches it in, reloads nginx.
infra-nginx-portal-managed:
  infra_portal.managed:
    - portal: {{ yaml(infra.infra_portal | tojson) }}
    - settings: {{ yaml(arguments.portal) }}
    - registration: {{ yaml(arguments.registration) }}
    - users: {{ yaml(infra.nginx_users) }}
    - certificates: {{ yaml(infra.nginx_certificates) }}
    - clean: {{ yaml(infra.nginx_clean) }}
    - require:
      - infra_register: infra-register-inventory-managed
