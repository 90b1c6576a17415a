# Probes over ICMP, TCP, HTTP and DNS, asked for by VictoriaMetrics.
{% from "infra/daemon/package.jinja" import installed with context %}
{% from "infra/map.jinja" import infra, daemons, domain with context %}
{% from "infra/daemon/states.jinja" import configured, running with context %}

include:
  - infra.daemon
  - infra.daemon.stable

{{ installed('blackbox') }}

{% set record = (infra.dns_records | first | default('') | string).split() %}

infra-blackbox-modules-managed:
  infra_blackbox.managed:
    - name: /etc/blackbox.yml
    - daemon: {{ daemons.blackbox | tojson }}
    - settings:
        ca_bundle: {{ infra.ca_bundle | tojson }}
        dns_name: {{ (record[1] if record | length > 1 else domain) | tojson }}
    - custom: {{ infra.blackbox_modules | tojson }}
    - require:
      - infra_daemon: infra-blackbox-package-installed
{{ configured('blackbox', ['infra_blackbox: infra-blackbox-modules-managed']) }}

{{ running('blackbox') }}
