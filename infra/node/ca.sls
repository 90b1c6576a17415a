# What the site's CA signs is trusted here.
{% from "infra/map.jinja" import infra, site, recorded, yaml with context %}

include:
  - infra.pillar

{{ recorded('node', 'node-ca', {'paths': ['/etc/pki/ca.crt', infra.ca_trust_dir ~ '/ca.crt']}) }}

infra-node-ca-present:
  infra_node.authority:
    - name: /etc/pki/ca.crt
    - nodes: {{ yaml(site.infra_nodes) }}
    - given: {{ yaml(infra.ca_crt) }}
    - wait: {{ yaml(infra.node_wait) }}
    - fingerprints: {{ yaml(infra.ca_fingerprint) }}

{% if grains['os_family'] == 'RedHat' %}

infra-node-ca-trust-installed:
  infra_package.installed:
    - component: node
    - name: {{ yaml(infra.ca_trust_package) }}
    - require_in:
      - infra_node: infra-node-ca-linked
{% endif %}

infra-node-ca-linked:
  infra_node.linked:
    - name: {{ yaml(infra.ca_trust_dir ~ '/ca.crt') }}
    - target: /etc/pki/ca.crt
    - require:
      - infra_node: infra-node-ca-present

# On Debian the package of this program may have to come out of the repository first.
infra-node-ca-trusted:
  infra_cert.trusted:
    - name: /etc/pki/ca.crt
    - bundle: {{ yaml(infra.ca_bundle) }}
    - command: {{ yaml(infra.ca_trust_command) }}
    - require:
      - infra_node: infra-node-ca-present
      - infra_node: infra-node-ca-linked
