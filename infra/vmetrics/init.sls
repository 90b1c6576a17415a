# VictoriaMetrics: scrapes, stores and answers.
{%- from "infra/daemon/states.jinja" import installed, configured, running with context %}
{%- from "infra/map.jinja" import infra, site, arguments, daemons, recorded with context %}

include:
  - infra.daemon
  - infra.ca
  - infra.daemon.stable
{{ installed('vmetrics') }}
{{ recorded('vmetrics', 'vmetrics-targets', {'paths': ['/etc/pki/infra.crt', '/etc/pki/infra.key'] + arguments.target_directories}) }}

# What this node shows to etcd, MinIO and Patroni when it scrapes them.

infra-vmetrics-certificate-issued:
  infra_scrape.certified:
    - name: /etc/pki/infra.crt
    - private_key: /etc/pki/infra.key
    - signing_cert: /etc/pki/ca.crt
    - signing_private_key: /etc/pki/ca/ca.key
    - common_name: {{ site.address | tojson }}
    - hosts: {{ ['localhost', grains['id']] | tojson }}
    - addresses: {{ ['127.0.0.1', site.address] | unique | list | tojson }}
    - days: {{ infra.cert_validity | tojson }}
    - renew_days: {{ infra.cert_renew_days | tojson }}
    - group: infra
    - require:
      - infra_cert: infra-ca-authority-present
      - sls: infra.daemon

# What is scraped, checked by VictoriaMetrics itself before it is put in place; and its data.

infra-vmetrics-targets-present:
  file.directory:
    - names: {{ arguments.target_directories | tojson }}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - sls: infra.daemon

infra-vmetrics-scrape-managed:
  infra_scrape.managed:
    - name: {{ infra.infra_data | tojson }}
    - daemon: {{ daemons.vmetrics | tojson }}
{%- for option, value in arguments.scraping.items() %}
    - {{ option }}: {{ value | tojson }}
{%- endfor %}
    - require:
      - infra_daemon: infra-vmetrics-package-installed
      - file: infra-vmetrics-targets-present
      # It does not start where a certificate that its configuration names is missing.
      - infra_scrape: infra-vmetrics-certificate-issued
{{ configured('vmetrics', ['infra_scrape: infra-vmetrics-scrape-managed']) }}
{{ running('vmetrics') }}
