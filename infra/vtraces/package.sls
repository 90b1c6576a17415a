{%- from "infra/daemon/package.jinja" import installed with context %}

include:
  - infra.daemon
{{ installed('vtraces') }}
