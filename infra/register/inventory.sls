# Which minions are registered here. What depends on it (targets, records, the portal and its pages)
# requires it and is given the same settings. It is decided after the daemons have started: minions
# that are applied at the same time have published their facts by then.
{% from "infra/map.jinja" import arguments, recorded, yaml with context %}

include:
  - infra.register.publish

{{ recorded('register', 'register-inventory', {'paths': ['/var/lib/infra/register.json']}) }}

infra-register-inventory-managed:
  infra_register.inventory:
    - settings: {{ yaml(arguments.registration) }}
    - require:
      - infra_register: infra-register-facts-published
