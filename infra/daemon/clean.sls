# Removal of what the daemons share; they use it, so they are removed as well.
{% from "infra/clean.jinja" import removed with context %}
{% import_yaml "infra/daemons.yaml" as daemons %}

include:
  - infra.safeguard
{% for name in daemons if name != 'vmalert_logs' %}
  - infra.{{ name }}.clean
{% endfor %}
{{ removed('daemon') }}
