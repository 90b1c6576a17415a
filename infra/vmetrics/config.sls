# What is scraped, checked by VictoriaMetrics itself before it is put in place; and its data.
{%- from "infra/map.jinja" import infra, daemons, values with context %}
{%- from "infra/daemon/states.jinja" import cleaned, configured with context %}
{%- from "infra/vmetrics/targets.jinja" import own with context %}
{%- import_yaml "infra/vmetrics/jobs.yaml" as jobs %}

include:
  - infra.vmetrics.package
  - infra.vmetrics.certificate

infra-vmetrics-targets-recorded:
  infra_before.recorded:
    - name: vmetrics
    - paths:
{%- for job in jobs + (infra.vmetrics_scrape_jobs or []) if job.targets is defined %}
      - {{ (infra.infra_data ~ '/targets/' ~ job.targets) | tojson }}
{%- endfor %}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-vmetrics-targets-present:
  file.directory:
    - names:
{%- for job in jobs + (infra.vmetrics_scrape_jobs or []) if job.targets is defined %}
      - {{ (infra.infra_data ~ '/targets/' ~ job.targets) | tojson }}
{%- endfor %}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - sls: infra.daemon

infra-vmetrics-scrape-managed:
  infra_scrape.managed:
    - name: {{ infra.infra_data | tojson }}
    - daemon: {{ daemons.vmetrics | tojson }}
    - jobs: {{ jobs | tojson }}
    - values:
{%- for key in ('blackbox_enabled', 'blackbox_port', 'exporter_metrics_path', 'patroni_ssl_enabled', 'redis_exporter_port') %}
        {{ key }}: {{ infra[key] | tojson }}
{%- endfor %}
        minio_scheme: {{ 'https' if infra.minio_https else 'http' }}
    - interval: {{ infra.vmetrics_scrape_interval | tojson }}
    - timeout: {{ infra.vmetrics_scrape_timeout | tojson }}
    - own: {{ own | tojson }}
    - custom: {{ infra.vmetrics_scrape_jobs | tojson }}
    - targets: {{ infra.vmetrics_targets | tojson }}
    - probes: {{ infra.blackbox_targets | tojson }}
    - require:
      - infra_daemon: infra-vmetrics-package-installed
      - file: infra-vmetrics-targets-present
      # It does not start where a certificate that its configuration names is missing.
      - infra_scrape: infra-vmetrics-certificate-issued
{{ cleaned('vmetrics', infra.vmetrics_clean, infra.vmetrics_clean_confirm) }}
{{ configured('vmetrics', ['infra_scrape: infra-vmetrics-scrape-managed']) }}
