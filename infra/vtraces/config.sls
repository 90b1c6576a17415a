{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/daemon/states.jinja" import cleaned, configured with context %}

include:
  - infra.vtraces.package
{{ cleaned('vtraces', infra.vtraces_clean, infra.vtraces_clean_confirm) }}
{{ configured('vtraces') }}
