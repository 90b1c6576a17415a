# What this machine's CA signed is renewed before it ends, every day anew, without master and pillar.
{%- set config = opts['conf_file'].rpartition('/')[0] %}
{%- set program = salt['cmd.which']('salt-call') or '/usr/bin/salt-call' %}

include:
  - infra.pillar

infra-ca-renewal-recorded:
  infra_before.recorded:
    - name: ca
    - paths:
      - /etc/systemd/system/infra-cert-renew.service
      - /etc/systemd/system/infra-cert-renew.timer
    - units:
      - infra-cert-renew.timer
    - order: 2
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid

{%- for kind in ('service', 'timer') %}

infra-ca-renewal-{{ kind }}-managed:
  file.managed:
    - name: /etc/systemd/system/infra-cert-renew.{{ kind }}
    - source: salt://infra/ca/files/infra-cert-renew.{{ kind }}
    - template: jinja
    - context:
        program: {{ program | tojson }}
        config: {{ config | tojson }}
    - mode: '0644'
    - user: root
    - group: root
    - require:
      - infra_pillar: infra-pillar-valid
{%- endfor %}

infra-ca-renewal-units-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-ca-renewal-service-managed
      - file: infra-ca-renewal-timer-managed

infra-ca-renewal-timer-running:
  service.running:
    - name: infra-cert-renew.timer
    - enable: true
    - require:
      - file: infra-ca-renewal-timer-managed
      - file: infra-ca-renewal-service-managed
      - module: infra-ca-renewal-units-reloaded
