# Which minions are registered here. What depends on it (targets, records, the portal and its pages)
# requires it and is given the same settings. It is decided after the daemons have started: minions
# that are applied at the same time have published their facts by then.
{%- from "infra/register/settings.jinja" import register with context %}

include:
  - infra.register.publish

infra-register-inventory-recorded:
  infra_before.recorded:
    - name: register
    - paths: [/var/lib/infra/register.json]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-register-inventory-managed:
  infra_register.inventory:
    - settings: {{ register | tojson }}
    - require:
      - infra_register: infra-register-facts-published
