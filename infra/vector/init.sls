# Vector: ships this machine's logs to every INFRA node.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/map.jinja" import infra, fleet, daemons, enabled, listen with context %}
{% from "infra/daemon/states.jinja" import cleaned, configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('vector') }}

# What is shipped, checked by Vector itself; and its buffer on disk.
{% set name = infra.nodename or grains['id'] %}
{% set server = infra.identity is not none %}
{% set sources = ['node'] %}
{#- VictoriaLogs of each INFRA node, past its portal or through it. #}
{% set place = infra.nginx_port ~ '/vlogs' if listen.vlogs == '127.0.0.1' else infra.vlogs_port %}
{% set nodes = [] %}
{% for address in fleet.addresses if infra.vlogs_enabled %}{% do nodes.append(address ~ ':' ~ place) %}{% endfor %}
{% if server and 'nginx' in enabled %}{% do sources.append('nginx') %}{% endif %}
{% if server and 'grafana' in enabled %}{% do sources.append('grafana') %}{% endif %}

infra-vector-sources-managed:
  infra_vector.managed:
    - name: /etc/vector
    - daemon: {{ daemons.vector | tojson }}
    - settings:
        data: {{ infra.vector_data | tojson }}
        port: {{ infra.vector_port | tojson }}
        read_from: {{ infra.vector_read_from | tojson }}
        ip: {{ (infra.node_ip or (fleet.own.ip if fleet.own else none)) | tojson }}
        ins: {{ name | tojson }}
        cls: {{ infra.node_cluster | tojson }}
        seq: {{ (fleet.own.seq if fleet.own else 0) | tojson }}
    - towards: {{ fleet.addresses | tojson }}
    - sources: {{ sources | tojson }}
    - endpoints: {{ infra.vector_log_endpoint | tojson }}
    - nodes: {{ nodes | tojson }}
    - admin_ip: {{ infra.admin_ip | tojson }}
    - buffer: {{ infra.vector_buffer_size | tojson }}
    - require:
      - infra_daemon: infra-vector-package-installed
{{ cleaned('vector', infra.vector_clean, infra.vector_clean_confirm) }}
{{ configured('vector', ['infra_vector: infra-vector-sources-managed']) }}

# Where Pigsty's Vector ran as root, ours has to go on with what that wrote.
infra-vector-data-owned:
  infra_legacy.owned:
    - name: {{ infra.vector_data | tojson }}
    - user: vector
    - require:
      - file: infra-vector-directory-present
    - require_in:
      - infra_daemon: infra-vector-unit-configured

{{ running('vector') }}
