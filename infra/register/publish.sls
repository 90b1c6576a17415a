# Publishes this minion's facts to the mine: early in the run, so that INFRA nodes that are applied at
# the same time find them there.
{% from "infra/map.jinja" import infra, fleet with context %}
{% set name = infra.nodename or grains['id'] %}
{% set targets = [{'job': 'ping'}] %}
{% if infra.node_exporter_enabled %}{% do targets.append({'job': 'node', 'port': infra.node_exporter_port}) %}{% endif %}
{% if infra.haproxy_enabled %}{% do targets.append({'job': 'node', 'port': infra.haproxy_exporter_port}) %}{% endif %}
{% if infra.vector_enabled %}{% do targets.append({'job': 'node', 'port': infra.vector_port}) %}{% endif %}

include:
  - infra.pillar
{% if infra.identity is not none %}
  - infra.ca
{% endif %}

infra-register-facts-published:
  infra_register.published:
    - name: infra
    - data:
        ip: {{ (infra.node_ip or (fleet.own.ip if fleet.own else none)) | tojson }}
        ins: {{ name | tojson }}
        cls: {{ infra.node_cluster | tojson }}
        infra_seq: {{ (fleet.own.seq if fleet.own else none) | tojson }}
        haproxy: {{ (infra.haproxy_exporter_port if infra.haproxy_enabled else none) | tojson }}
        targets: {{ targets | tojson }}
    - dns_names: {{ ([name] if infra.register_dns else []) | tojson }}
    - further: {{ infra.register | tojson }}
    - towards: {{ fleet.addresses | tojson }}
{% if infra.identity is not none %}
    - ca: /etc/pki/ca.crt
    - require:
      - infra_cert: infra-ca-authority-present
{% endif %}
