# This machine's programs trust what the CA signs.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.ca.authority

infra-ca-trust-installed:
  pkg.installed:
    - name: {{ infra.ca_trust_package | tojson }}

infra-ca-trust-linked:
  file.symlink:
    - name: {{ (infra.ca_trust_dir ~ '/ca.crt') | tojson }}
    - target: /etc/pki/ca.crt
    - makedirs: true
    - require:
      - pkg: infra-ca-trust-installed

infra-ca-trust-updated:
  infra_cert.trusted:
    - name: /etc/pki/ca.crt
    - bundle: {{ infra.ca_bundle | tojson }}
    - command: {{ infra.ca_trust_command | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
      - file: infra-ca-trust-linked
