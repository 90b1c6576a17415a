# The way back: stopped, its unit and flags gone. Its data and its package stay.
{%- from "infra/daemon/states.jinja" import removed with context %}

include:
  - infra.pillar
{{ removed('vtraces') }}
