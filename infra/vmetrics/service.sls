{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.vmetrics.config
{{ running('vmetrics') }}
