# vmagent: scrapes in place of VictoriaMetrics, and writes to one or several stores.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/map.jinja" import arguments, recorded, yaml with context %}
{% from "infra/vmetrics/scraping.jinja" import scraping_states with context %}

include:
  - infra.daemon
  - infra.ca
  - infra.daemon.stable
{{ installed('vmagent') }}
{{ scraping_states('vmagent') }}

infra-vmagent-credentials-managed:
  infra_scrape.remote_credentials:
    - name: /etc/vmagent
    - files: {{ yaml(arguments.remote_write) }}
    - require:
      - infra_daemon: infra-vmagent-package-installed
      - sls: infra.daemon
{{ configured('vmagent', ['infra_scrape: infra-vmagent-scrape-managed', 'infra_scrape: infra-vmagent-credentials-managed']) }}
{{ running('vmagent') }}
