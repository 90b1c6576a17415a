# Vector: ships this machine's logs to every INFRA node.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/map.jinja" import infra, arguments, daemons, yaml with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ installed('vector') }}

# What is shipped, checked by Vector itself; and its buffer on disk.

infra-vector-sources-managed:
  infra_vector.managed:
    - name: /etc/vector
    - daemon: {{ yaml(daemons.vector) }}
{% for option, value in arguments.vector.items() %}
    - {{ option }}: {{ yaml(value) }}
{% endfor %}
    - require:
      - infra_daemon: infra-vector-package-installed
{{ configured('vector', ['infra_vector: infra-vector-sources-managed']) }}

# Where Pigsty's Vector ran as root, ours has to go on with what that wrote.
infra-vector-data-owned:
  infra_legacy.owned:
    - name: {{ yaml(infra.vector_data) }}
    - user: vector
    - require:
      - file: infra-vector-directory-present
    - require_in:
      - infra_daemon: infra-vector-unit-configured
{{ running('vector') }}
