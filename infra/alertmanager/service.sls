{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.alertmanager.config
{{ running('alertmanager') }}
