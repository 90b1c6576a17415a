# Probes over ICMP, TCP, HTTP and DNS, asked for by VictoriaMetrics.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/map.jinja" import infra, arguments, daemons, yaml with context %}

include:
  - infra.daemon
  - infra.daemon.stable
{{ installed('blackbox') }}

infra-blackbox-modules-managed:
  infra_blackbox.managed:
    - name: /etc/blackbox.yml
    - daemon: {{ yaml(daemons.blackbox) }}
    - settings: {{ yaml(arguments.blackbox) }}
    - custom: {{ yaml(infra.blackbox_modules) }}
    - require:
      - infra_daemon: infra-blackbox-package-installed
{{ configured('blackbox', ['infra_blackbox: infra-blackbox-modules-managed']) }}
{{ running('blackbox') }}
