{% from "infra/map.jinja" import infra, arguments, yaml with context %}

include:
  - infra.register.inventory

infra-register-targets-managed:
  infra_register.targets:
    - name: {{ yaml(infra.infra_data) }}
    - settings: {{ yaml(arguments.registration) }}
    - require:
      - infra_register: infra-register-inventory-managed
