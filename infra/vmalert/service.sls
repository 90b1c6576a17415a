{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/daemon/states.jinja" import running with context %}

include:
  - infra.vmalert.config
{{ running('vmalert') }}
{%- if infra.vlogs_enabled %}
{{ running('vmalert_logs') }}
{%- endif %}
