{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.vlogs.config
{{ running('vlogs') }}
