# Names that are found even while no name server answers.
{% from "infra/map.jinja" import infra with context %}

include:
  - infra.pillar

{% if infra.node_write_etc_hosts %}

infra-node-hosts-written:
  infra_resolver.hosts:
    - name: /etc/hosts
    - lines: {{ (infra.node_default_etc_hosts + infra.node_etc_hosts) | tojson }}
    - admin_ip: {{ infra.admin_ip | tojson }}
{% endif %}
