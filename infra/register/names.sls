{%- from "infra/map.jinja" import infra, arguments with context %}

include:
  - infra.register.inventory

infra-register-names-managed:
  infra_register.named:
    - name: register-names
    - settings: {{ arguments.registration | tojson }}
    - port: {{ infra.dns_port | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed
