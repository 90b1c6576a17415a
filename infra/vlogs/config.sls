{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/daemon/states.jinja" import cleaned, configured with context %}

include:
  - infra.vlogs.package
{{ cleaned('vlogs', infra.vlogs_clean, infra.vlogs_clean_confirm) }}
{{ configured('vlogs') }}
