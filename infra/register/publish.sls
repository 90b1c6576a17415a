# Publishes this minion's facts to the mine: early in the run, so that INFRA nodes that are applied at
# the same time find them there.
{% from "infra/map.jinja" import infra, site, arguments, yaml with context %}

include:
  - infra.pillar
{% if site.is_infra_node %}
  - infra.ca
{% endif %}

infra-register-facts-published:
  infra_register.published:
    - name: infra
    - data: {{ yaml(arguments.facts) }}
    - dns_names: {{ yaml([site.name] if infra.register_dns else []) }}
    - further: {{ yaml(infra.register) }}
    - towards: {{ yaml(site.addresses) }}
{% if site.is_infra_node %}
    - ca: /etc/pki/ca.crt
    - require:
      - infra_cert: infra-ca-authority-present
{% endif %}
