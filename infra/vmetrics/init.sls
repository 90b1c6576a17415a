# VictoriaMetrics: scrapes, unless vmagent does, stores and answers.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/map.jinja" import infra with context %}
{% from "infra/vmetrics/scraping.jinja" import scraping_states with context %}

include:
  - infra.daemon
  - infra.ca
  - infra.daemon.stable
{{ installed('vmetrics') }}
{% if infra.vmagent_enabled %}
{{ configured('vmetrics') }}
{% else %}
{{ scraping_states('vmetrics') }}
{{ configured('vmetrics', ['infra_scrape: infra-vmetrics-scrape-managed']) }}
{% endif %}
{{ running('vmetrics') }}
