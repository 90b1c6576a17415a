# Removal: the machine finds names and packages as it did before.
{% from "infra/map.jinja" import infra, site, yaml with context %}
{% from "infra/clean.jinja" import removed with context %}
{% from "infra/ca/untrust.jinja" import untrusted with context %}

include:
  - infra.safeguard
{{ removed('node') }}
{% if 'config' in infra.infra_remove %}

infra-node-hosts-removed:
  infra_resolver.hosts:
    - name: /etc/hosts
    - lines: []
    - admin_ip: {{ yaml(infra.admin_ip) }}
    - require:
      - infra_clean: infra-clean-allowed

infra-node-resolver-told:
  infra_resolver.released:
    - onchanges:
      - infra_clean: infra-node-config-removed

{% if not site.is_infra_node or not infra.repo_enabled %}

# Sources that were disabled are enabled again, then ours go.
infra-node-repo-removed:
  infra_node.repository:
    - nodes: []
    - ports: {repo: {{ yaml(infra.repo_name) }}, http: 80, https: 443, ca: null}
    - exclusive: false
    - wait: 0
    - require:
      - infra_clean: infra-clean-allowed
    - require_in:
      - infra_clean: infra-node-config-removed
{% endif %}
{% if not site.is_infra_node %}
{{ untrusted('node') }}
{% endif %}
{% endif %}
