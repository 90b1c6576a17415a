# Removal of what the daemons share; they use it, so they are removed as well.
{% from "infra/clean.jinja" import removed with context %}
{% from "infra/map.jinja" import site with context %}

include:
  - infra.safeguard
{% for component in site.components if component.daemons %}
  - infra.{{ component.name }}.clean
{% endfor %}
{{ removed('daemon') }}
