# The way back: the machine finds names and packages as it did before; its packages stay.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.sync

infra-node-resolver-removed:
  infra_files.absent:
    - name: resolver
    - root: /etc

infra-node-resolver-dropins-removed:
  file.absent:
    - names:
      - /etc/systemd/resolved.conf.d/infra.conf
      - /etc/NetworkManager/conf.d/infra-dns.conf
      - /var/lib/infra/resolver.json

infra-node-hosts-removed:
  infra_resolver.hosts:
    - name: /etc/hosts
    - lines: []
    - admin_ip: {{ infra.admin_ip | tojson }}

{%- if infra.identity is none or not infra.repo_enabled %}

# Sources that were disabled are enabled again, then ours go.
infra-node-repo-removed:
  infra_node.repository:
    - nodes: []
    - ports: {repo: {{ infra.repo_name | tojson }}, http: 80, https: 443, ca: null}
    - exclusive: false
    - wait: 0
{%- endif %}
{%- if infra.identity is none %}

infra-node-ca-removed:
  file.absent:
    - names:
      - {{ infra.ca_trust_dir }}/ca.crt
      - /etc/pki/ca.crt

infra-node-ca-trust-updated-without:
  cmd.run:
    - name: {{ infra.ca_trust_command | tojson }}
    - onlyif: command -v {{ infra.ca_trust_command }}
    - onchanges:
      - file: infra-node-ca-removed
{%- endif %}
