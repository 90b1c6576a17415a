# Removal of all that this formula brought to this machine, component by component in reverse;
# also of what is switched off now. How far it goes: infra_remove; see docs/removing.md.
{% from "infra/map.jinja" import infra, site, arguments, yaml with context %}

include:
  - infra.safeguard
{% for component in site.components | reverse %}
  - infra.{{ component.name }}.clean
{% endfor %}

infra-clean-data-confirmed:
  infra_clean.confirmed:
    - data: {{ yaml(arguments.removal.data) }}
    - remove: {{ yaml(infra.infra_remove) }}
    - confirm: {{ yaml(infra.infra_remove_confirm) }}
    - order: 2
    - failhard: true
    - require:
      - infra_clean: infra-clean-allowed

infra-clean-finished:
  infra_clean.finished:
    - remove: {{ yaml(infra.infra_remove) }}
    - data: {{ yaml(arguments.removal.data) }}
    - order: last
    # Under test=True a refusal does not end the run.
    - require:
      - infra_clean: infra-clean-allowed
