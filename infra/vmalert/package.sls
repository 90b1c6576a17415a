{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/daemon/package.jinja" import installed with context %}

include:
  - infra.daemon
{{ installed('vmalert') }}
{%- if infra.vlogs_enabled %}
{{ installed('vmalert_logs') }}
{%- endif %}
