# The CA: made once, never overwritten. A pair that was put here beforehand is taken as it is.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

infra-ca-pki-directory-present:
  file.directory:
    - name: /etc/pki
    - mode: '0755'
    - user: root
    - group: root

infra-ca-directory-present:
  file.directory:
    - name: /etc/pki/ca
    - mode: '0700'
    - user: root
    - group: root
    - require:
      - file: infra-ca-pki-directory-present

infra-ca-authority-present:
  infra_cert.authority:
    - name: /etc/pki/ca.crt
    - private_key: /etc/pki/ca/ca.key
    - common_name: {{ infra.ca_cn | tojson }}
    - days: {{ infra.ca_days | tojson }}
    - create: {{ infra.ca_create | tojson }}
    - require:
      - file: infra-ca-directory-present
