# The pages and the portal were applied before the daemons were installed, for the inventory of the
# last run. The pages query the programs that run now; if either changed, the portal is applied again.
{%- from "infra/map.jinja" import infra, arguments with context %}

include:
  - infra.register.inventory

infra-register-pages-followed:
  infra_portal.pages:
    - portal: {{ infra.infra_portal | tojson }}
    - settings: {{ arguments.portal | tojson }}
    - version: {{ infra.version | tojson }}
    - services: {{ infra.infra_services | tojson }}
    - extra_services: {{ infra.infra_extra_services | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed

infra-register-portal-followed:
  infra_portal.managed:
    - portal: {{ infra.infra_portal | tojson }}
    - settings: {{ arguments.portal | tojson }}
    - users: {{ infra.nginx_users | tojson }}
    - clean: {{ infra.nginx_clean | tojson }}
    - onchanges:
      - infra_register: infra-register-inventory-managed
      - infra_portal: infra-register-pages-followed
