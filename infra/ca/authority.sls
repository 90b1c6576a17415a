# The CA: made once, never overwritten. A pair that was put here beforehand is taken as it is.
{%- from "infra/map.jinja" import infra with context %}

infra-ca-directory-present:
  file.directory:
    - name: /etc/pki/ca
    - mode: '0700'
    - user: root
    - group: root
    - makedirs: true

infra-ca-authority-present:
  infra_cert.authority:
    - name: /etc/pki/ca.crt
    - private_key: /etc/pki/ca/ca.key
    - common_name: {{ infra.ca_cn | tojson }}
    - days: {{ infra.ca_days | tojson }}
    - create: {{ infra.ca_create | tojson }}
    - require:
      - file: infra-ca-directory-present
