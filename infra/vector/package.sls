{%- from "infra/daemon/states.jinja" import installed with context %}

include:
  - infra.daemon
{{ installed('vector') }}
