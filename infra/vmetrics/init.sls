# VictoriaMetrics: scrapes, stores and answers.
{%- from "infra/daemon/package.jinja" import installed with context %}
{%- from "infra/map.jinja" import infra, own, daemons, values with context %}
{%- from "infra/daemon/states.jinja" import cleaned, configured, running with context %}
{%- from "infra/vmetrics/targets.jinja" import infra_targets with context %}
{%- import_yaml "infra/vmetrics/jobs.yaml" as jobs %}

include:
  - infra.daemon
  - infra.ca
  - infra.daemon.stable

{{ installed('vmetrics') }}

# What this node shows to etcd, MinIO and Patroni when it scrapes them.

infra-vmetrics-certificate-recorded:
  infra_before.recorded:
    - name: vmetrics
    - paths: [/etc/pki/infra.crt, /etc/pki/infra.key]
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-vmetrics-certificate-issued:
  infra_scrape.certified:
    - name: /etc/pki/infra.crt
    - private_key: /etc/pki/infra.key
    - signing_cert: /etc/pki/ca.crt
    - signing_private_key: /etc/pki/ca/ca.key
    - common_name: {{ own.ip | tojson }}
    - hosts: {{ ['localhost', grains['id']] | tojson }}
    - addresses: {{ ['127.0.0.1', own.ip] | unique | list | tojson }}
    - days: {{ infra.cert_validity | tojson }}
    - renew_days: {{ infra.cert_renew_days | tojson }}
    - group: infra
    - require:
      - infra_cert: infra-ca-authority-present
      - sls: infra.daemon

# What is scraped, checked by VictoriaMetrics itself before it is put in place; and its data.

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
{%- for key in ('blackbox_enabled', 'blackbox_port', 'exporter_metrics_path', 'patroni_ssl_enabled', 'redis_exporter_port',
      'register_label_limit', 'register_sample_limit') %}
        {{ key }}: {{ infra[key] | tojson }}
{%- endfor %}
        minio_scheme: {{ 'https' if infra.minio_https else 'http' }}
    - interval: {{ infra.vmetrics_scrape_interval | tojson }}
    - timeout: {{ infra.vmetrics_scrape_timeout | tojson }}
    - own: {{ infra_targets | tojson }}
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

{{ running('vmetrics') }}
