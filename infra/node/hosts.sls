# Names that are found even while no name server answers.
{% from "infra/map.jinja" import infra, yaml with context %}

include:
  - infra.pillar

{% if infra.node_write_etc_hosts %}

infra-node-hosts-written:
  infra_resolver.hosts:
    - name: /etc/hosts
    - lines: {{ yaml(infra.node_default_etc_hosts + infra.node_etc_hosts) }}
    - admin_ip: {{ yaml(infra.admin_ip) }}
{% endif %}
