# Removal: this machine publishes no facts, and an INFRA node has no inventory.
{% from "infra/map.jinja" import infra with context %}
{% from "infra/clean.jinja" import removed with context %}

include:
  - infra.safeguard
{{ removed('register') }}
{% if 'config' in infra.infra_remove %}

infra-register-facts-withdrawn:
  infra_register.withdrawn:
    - name: infra
    - require:
      - infra_clean: infra-clean-allowed
{% endif %}
