# The way back: stopped, units, flags and rules of ours gone. Its package stays.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/daemon/states.jinja" import removed with context %}

include:
  - infra.pillar
{{ removed('vmalert') }}
{{ removed('vmalert_logs') }}
