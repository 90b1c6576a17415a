# VictoriaLogs: takes logs in, keeps them and answers.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/map.jinja" import infra with context %}
{% from "infra/daemon/states.jinja" import cleaned, configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('vlogs') }}

{{ cleaned('vlogs', infra.vlogs_clean, infra.vlogs_clean_confirm) }}
{{ configured('vlogs') }}

{{ running('vlogs') }}
