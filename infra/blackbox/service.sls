{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.blackbox.config
{{ running('blackbox') }}
