# What this node shows to etcd, MinIO and Patroni when it scrapes them.
{%- from "infra/map.jinja" import infra, own with context %}

include:
  - infra.daemon
  - infra.ca.authority

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
