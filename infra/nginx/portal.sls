# The portal's pages and configuration, with the registered minions. infra.register applies them alone.
{%- from "infra/map.jinja" import infra, arguments with context %}

include:
  - infra.register.inventory

# Pages first: which program shows the alerts is recorded with them.
infra-nginx-pages-managed:
  infra_portal.pages:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ arguments.portal | tojson }}
    - registration: {{ arguments.registration | tojson }}
    - version: {{ infra.version | tojson }}
    - services: {{ infra.infra_services | tojson }}
    - extra_services: {{ infra.infra_extra_services | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed

# One state owns the whole configuration: it tests a staged copy, switches it in, reloads nginx.
infra-nginx-portal-managed:
  infra_portal.managed:
    - portal: {{ infra.infra_portal | tojson | tojson }}
    - settings: {{ arguments.portal | tojson }}
    - registration: {{ arguments.registration | tojson }}
    - users: {{ infra.nginx_users | tojson }}
    - clean: {{ infra.nginx_clean | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed
