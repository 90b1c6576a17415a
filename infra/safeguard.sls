# Nothing is removed from a machine unless it was said so, for that one run.
{% from "infra/map.jinja" import infra, site, yaml with context %}

include:
  - infra.sync

infra-clean-allowed:
  infra_clean.allowed:
    - safeguard: {{ yaml(infra.infra_safeguard) }}
    - remove: {{ yaml(infra.infra_remove) }}
    - confirm: {{ yaml(infra.infra_remove_confirm) }}
    - errors: {{ yaml(site.errors) }}
    - order: 1
    - failhard: true
    - require:
      - sls: infra.sync
