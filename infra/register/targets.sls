{%- from "infra/map.jinja" import infra, arguments with context %}

include:
  - infra.register.inventory

infra-register-targets-managed:
  infra_register.targets:
    - name: {{ infra.infra_data | tojson }}
    - settings: {{ arguments.registration | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed
