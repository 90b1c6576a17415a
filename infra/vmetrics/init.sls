# VictoriaMetrics: scrapes, stores and answers.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/legacy/carried.jinja" import carried with context %}
{% from "infra/map.jinja" import infra, site, arguments, daemons, recorded, yaml with context %}

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
    - common_name: {{ yaml(site.address) }}
    - hosts: {{ yaml(['localhost', grains['id']]) }}
    - addresses: {{ yaml(['127.0.0.1', site.address] | unique | list) }}
    - days: {{ yaml(infra.cert_validity) }}
    - renew_days: {{ yaml(infra.cert_renew_days) }}
    - group: infra
    - require:
      - infra_cert: infra-ca-authority-present
      - sls: infra.daemon

# What is scraped, checked by VictoriaMetrics itself before it is put in place; and its data.

infra-vmetrics-targets-present:
  file.directory:
    - names: {{ yaml(arguments.target_directories) }}
    - user: root
    - group: infra
    - mode: '0750'
    - require:
      - sls: infra.daemon
{{ carried('vmetrics', daemons.vmetrics, 'root', ['file: infra-vmetrics-targets-present'],
           'infra_scrape: infra-vmetrics-scrape-managed') }}

infra-vmetrics-scrape-managed:
  infra_scrape.managed:
    - name: {{ yaml(infra.infra_data) }}
    - daemon: {{ yaml(daemons.vmetrics) }}
{% for option, value in arguments.scraping.items() %}
    - {{ option }}: {{ yaml(value) }}
{% endfor %}
    - require:
      - infra_daemon: infra-vmetrics-package-installed
      - file: infra-vmetrics-targets-present
      # It does not start where a certificate that its configuration names is missing.
      - infra_scrape: infra-vmetrics-certificate-issued
{{ configured('vmetrics', ['infra_scrape: infra-vmetrics-scrape-managed']) }}
{{ running('vmetrics') }}
