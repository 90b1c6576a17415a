{% from "infra/map.jinja" import infra with context %}
{% from "infra/register/settings.jinja" import register with context %}

include:
  - infra.register.inventory

infra-register-names-managed:
  infra_register.named:
    - name: register-names
    - settings: {{ register | tojson }}
    - port: {{ infra.dns_port | tojson }}
    - require:
      - infra_register: infra-register-inventory-managed
