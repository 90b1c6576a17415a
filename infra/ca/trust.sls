# This machine's programs trust what the CA signs.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.ca.authority

infra-ca-trust-recorded:
  infra_before.recorded:
    - name: ca
    - paths:
      - {{ (infra.ca_trust_dir ~ '/ca.crt') | tojson }}
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

infra-ca-trust-installed:
  infra_package.installed:
    - component: ca
    - name: {{ infra.ca_trust_package | tojson }}

infra-ca-trust-linked:
  file.symlink:
    - name: {{ (infra.ca_trust_dir ~ '/ca.crt') | tojson }}
    - target: /etc/pki/ca.crt
    - makedirs: true
    - require:
      - infra_package: infra-ca-trust-installed

infra-ca-trust-updated:
  infra_cert.trusted:
    - name: /etc/pki/ca.crt
    - bundle: {{ infra.ca_bundle | tojson }}
    - command: {{ infra.ca_trust_command | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
      - file: infra-ca-trust-linked
