# The CA: made once, never overwritten. A pair that was put here beforehand is taken as it is.
{%- from "infra/map.jinja" import infra, fleet with context %}

include:
  - infra.pillar

infra-ca-authority-recorded:
  infra_before.recorded:
    - name: ca
    - paths:
      - /etc/pki
      - /etc/pki/ca
      - /var/lib/infra/textfile/infra_certs.prom
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

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
    # The first INFRA node makes the CA; the others are given it, or have none of their own.
    - create: {{ (infra.ca_create and (fleet.own is none or fleet.nodes[0].own)) | tojson }}
{%- if infra.ca_crt and infra.ca_key %}
    - certificate: {{ infra.ca_crt | tojson }}
    - key: {{ infra.ca_key | tojson }}
{%- endif %}
{%- if infra.ca_source %}
    - source: {{ infra.ca_source | tojson }}
{%- endif %}
    - require:
      - file: infra-ca-directory-present
