# vmalert: evaluates the rules, over metrics and, where vlogs is on, over logs.
{% from "infra/map.jinja" import infra, daemons, nodes, portal_url with context %}
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/daemon/states.jinja" import configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('vmalert') }}
{% if infra.vlogs_enabled %}
{{ installed('vmalert_logs') }}
{% endif %}

# The rules, checked by vmalert itself; and the one or two vmalerts that evaluate them.
{% set evaluators = [daemons.vmalert] + ([daemons.vmalert_logs] if infra.vlogs_enabled else []) %}
{% set timeout = infra.vmetrics_scrape_timeout | string %}

infra-vmalert-rules-managed:
  infra_rules.managed:
    - name: {{ (infra.infra_data ~ '/rules') | tojson }}
    - daemons: {{ evaluators | tojson }}
    - settings:
        portal_url: {{ portal_url | tojson }}
        nodes: {{ nodes | length }}
        timeout_seconds: {{ timeout[:-1] | int * {'s': 1, 'm': 60, 'h': 3600}.get(timeout[-1], 1) }}
        logs: {{ infra.vlogs_enabled | tojson }}
        dashboards: {{ (infra.grafana_enabled and infra.nginx_enabled) | tojson }}
{% for key in ('node_exporter_port', 'vector_port', 'alertmanager_cluster_port') %}
        {{ key }}: {{ infra[key] | tojson }}
{% endfor %}
    - custom: {{ infra.vmalert_rules | tojson }}
    - logs: {{ infra.vmalert_logs_rules | tojson }}
    - require:
      - infra_daemon: infra-vmalert-package-installed
{% for daemon in evaluators %}
{{ configured(daemon.name, ['infra_rules: infra-vmalert-rules-managed']) }}
{% endfor %}

{{ running('vmalert') }}
{% if infra.vlogs_enabled %}
{{ running('vmalert_logs') }}
{% endif %}
