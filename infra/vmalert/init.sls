# vmalert: evaluates the rules, over metrics and, where vlogs is on, over logs.
{% from "infra/daemon/states.jinja" import installed, configured, running with context %}
{% from "infra/legacy/carried.jinja" import carried with context %}
{% from "infra/map.jinja" import infra, arguments, daemons, yaml with context %}
{% set evaluators = ['vmalert'] + (['vmalert_logs'] if arguments.rules.logs else []) %}

include:
  - infra.daemon
  - infra.daemon.stable
{% for name in evaluators %}
{{ installed(name) }}
{% endfor %}
{{ carried('vmalert', daemons.vmalert, 'root', ['infra_daemon: infra-vmalert-package-installed'],
           'infra_rules: infra-vmalert-rules-managed') }}

# The rules, checked by vmalert itself; and the one or two vmalerts that evaluate them.

infra-vmalert-rules-managed:
  infra_rules.managed:
    - name: {{ yaml(infra.infra_data ~ '/rules') }}
    - daemons:
{% for name in evaluators %}
      - {{ yaml(daemons[name]) }}
{% endfor %}
    - settings: {{ yaml(arguments.rules) }}
    - custom: {{ yaml(infra.vmalert_rules) }}
    - logs: {{ yaml(infra.vmalert_logs_rules) }}
    - overrides: {{ yaml(infra.vmalert_rule_overrides) }}
    - require:
      - infra_daemon: infra-vmalert-package-installed
{% for name in evaluators %}
{{ configured(name, ['infra_rules: infra-vmalert-rules-managed']) }}
{% endfor %}
{% for name in evaluators %}
{{ running(name) }}
{% endfor %}
