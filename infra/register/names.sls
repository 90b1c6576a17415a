{% from "infra/map.jinja" import infra, arguments, yaml with context %}

include:
  - infra.register.inventory

infra-register-names-managed:
  infra_register.named:
    - name: register-names
    - settings: {{ yaml(arguments.registration) }}
    - port: {{ yaml(infra.dns_port) }}
    - require:
      - infra_register: infra-register-inventory-managed
