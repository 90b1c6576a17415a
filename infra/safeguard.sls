# Nothing is removed from a machine unless it was said so, for that one run.
{%- from "infra/map.jinja" import infra, site with context %}

include:
  - infra.sync

infra-clean-allowed:
  infra_clean.allowed:
    - safeguard: {{ infra.infra_safeguard | tojson }}
    - remove: {{ infra.infra_remove | tojson }}
    - confirm: {{ infra.infra_remove_confirm | tojson }}
    - errors: {{ site.errors | tojson }}
    - order: 1
    - failhard: true
    - require:
      - sls: infra.sync
