# What the site's CA signs is trusted here.
{%- from "infra/map.jinja" import infra, site, recorded with context %}

include:
  - infra.pillar

{{ recorded('node', 'node-ca', {'paths': ['/etc/pki/ca.crt', infra.ca_trust_dir ~ '/ca.crt']}) }}

infra-node-ca-present:
  infra_node.authority:
    - name: /etc/pki/ca.crt
    - nodes: {{ site.infra_nodes | tojson }}
    - given: {{ infra.ca_crt | tojson }}
    - wait: {{ infra.node_wait | tojson }}
    - fingerprints: {{ infra.ca_fingerprint | tojson }}

{%- if grains['os_family'] == 'RedHat' %}

infra-node-ca-trust-installed:
  infra_package.installed:
    - component: node
    - name: {{ infra.ca_trust_package | tojson }}
    - require_in:
      - infra_node: infra-node-ca-linked
{%- endif %}

infra-node-ca-linked:
  infra_node.linked:
    - name: {{ (infra.ca_trust_dir ~ '/ca.crt') | tojson }}
    - target: /etc/pki/ca.crt
    - require:
      - infra_node: infra-node-ca-present

# On Debian the package of this program may have to come out of the repository first.
infra-node-ca-trusted:
  infra_cert.trusted:
    - name: /etc/pki/ca.crt
    - bundle: {{ infra.ca_bundle | tojson }}
    - command: {{ infra.ca_trust_command | tojson }}
    - require:
      - infra_node: infra-node-ca-present
      - infra_node: infra-node-ca-linked
