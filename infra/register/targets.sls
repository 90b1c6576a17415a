{% from "infra/map.jinja" import infra with context %}
{% from "infra/register/settings.jinja" import register with context %}

include:
  - infra.register.inventory

infra-register-targets-managed:
  infra_register.targets:
    - name: {{ infra.infra_data | tojson }}
    - settings: {{ register | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed
