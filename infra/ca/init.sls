{% from "infra/map.jinja" import infra, site, recorded, yaml with context %}
{% set trusted = infra.ca_trust_dir ~ '/ca.crt' %}

include:
  - infra.pillar

# The CA: made once, never overwritten. A pair that was put here beforehand is taken as it is.

{{ recorded('ca', 'ca-installation', {
     'paths': [
       '/etc/pki',
       '/etc/pki/ca',
       '/var/lib/infra/textfile/infra_certs.prom',
       trusted,
       '/etc/systemd/system/infra-cert-renew.service',
       '/etc/systemd/system/infra-cert-renew.timer',
     ],
     'units': ['infra-cert-renew.timer'],
   }) }}

infra-ca-pki-directory-present:
  file.directory:
    - name: /etc/pki
    - mode: '0755'
    - user: root
    - group: root

infra-ca-directory-present:
  file.directory:
    - name: /etc/pki/ca
    - mode: '0700'
    - user: root
    - group: root
    - require:
      - file: infra-ca-pki-directory-present

infra-ca-authority-present:
  infra_cert.authority:
    - name: /etc/pki/ca.crt
    - private_key: /etc/pki/ca/ca.key
    - common_name: {{ yaml(infra.ca_cn) }}
    - days: {{ yaml(infra.ca_days) }}
    - name_constraints: {{ yaml(infra.ca_name_constraints) }}
    # The first INFRA node makes the CA; the others are given it, or have none of their own.
    - create: {{ yaml(infra.ca_create and site.makes_ca) }}
{% if infra.ca_crt and infra.ca_key %}
    - certificate: {{ yaml(infra.ca_crt) }}
    - key: {{ yaml(infra.ca_key) }}
{% endif %}
{% if infra.ca_source %}
    - source: {{ yaml(infra.ca_source) }}
{% endif %}
    - require:
      - file: infra-ca-directory-present

# This machine's programs trust what the CA signs.

infra-ca-trust-installed:
  infra_package.installed:
    - component: ca
    - name: {{ yaml(infra.ca_trust_package) }}

infra-ca-trust-linked:
  file.symlink:
    - name: {{ yaml(trusted) }}
    - target: /etc/pki/ca.crt
    - makedirs: true
    - require:
      - infra_package: infra-ca-trust-installed

infra-ca-trust-updated:
  infra_cert.trusted:
    - name: /etc/pki/ca.crt
    - bundle: {{ yaml(infra.ca_bundle) }}
    - command: {{ yaml(infra.ca_trust_command) }}
    - require:
      - infra_cert: infra-ca-authority-present
      - file: infra-ca-trust-linked

# Certificates that the pillar's `certs` asks for: of components that this formula does not manage.
{% for name, specification in infra.certs.items() %}

{{ yaml('infra-ca-certificate-' ~ name ~ '-issued') }}:
  infra_cert.issued:
    - name: {{ yaml(name) }}
    - given: {{ yaml(dict({'expire': infra.cert_validity}, **specification)) }}
    - cert: {{ yaml(specification.get('crt')) }}
    - key: {{ yaml(specification.get('key')) }}
    - require:
      - infra_cert: infra-ca-authority-present
{% endfor %}

# What this machine's CA signed is renewed before it ends, every day anew, without master and pillar.
{% set config = opts['conf_file'].rpartition('/')[0] %}
{% set program = salt['cmd.which']('salt-call') or '/usr/bin/salt-call' %}

{% for kind in ('service', 'timer') %}

infra-ca-renewal-{{ kind }}-managed:
  file.managed:
    - name: /etc/systemd/system/infra-cert-renew.{{ kind }}
    - source: salt://infra/ca/files/infra-cert-renew.{{ kind }}
{% if kind == 'service' %}
    - template: jinja
    - context:
        program: {{ yaml(program) }}
        config: {{ yaml(config) }}
{% endif %}
    - mode: '0644'
    - user: root
    - group: root
    - require:
      - infra_pillar: infra-pillar-valid
{% endfor %}

infra-ca-renewal-units-reloaded:
  module.run:
    - service.systemctl_reload: []
    - onchanges:
      - file: infra-ca-renewal-service-managed
      - file: infra-ca-renewal-timer-managed

infra-ca-renewal-timer-running:
  infra_service.running:
    - name: infra-cert-renew.timer
    - require:
      - file: infra-ca-renewal-timer-managed
      - file: infra-ca-renewal-service-managed
      - module: infra-ca-renewal-units-reloaded
