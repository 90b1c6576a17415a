{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.vector.config
{{ running('vector') }}
