{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.vtraces.config
{{ running('vtraces') }}
