{%- from "infra/map.jinja" import infra, site, recorded with context %}
{%- set trusted = infra.ca_trust_dir ~ '/ca.crt' %}

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
    - common_name: {{ infra.ca_cn | tojson }}
    - days: {{ infra.ca_days | tojson }}
    # The first INFRA node makes the CA; the others are given it, or have none of their own.
    - create: {{ (infra.ca_create and site.makes_ca) | tojson }}
{%- if infra.ca_crt and infra.ca_key %}
    - certificate: {{ infra.ca_crt | tojson }}
    - key: {{ infra.ca_key | tojson }}
{%- endif %}
{%- if infra.ca_source %}
    - source: {{ infra.ca_source | tojson }}
{%- endif %}
    - require:
      - file: infra-ca-directory-present

# This machine's programs trust what the CA signs.

infra-ca-trust-installed:
  infra_package.installed:
    - component: ca
    - name: {{ infra.ca_trust_package | tojson }}

infra-ca-trust-linked:
  file.symlink:
    - name: {{ trusted | tojson }}
    - target: /etc/pki/ca.crt
    - makedirs: true
    - require:
      - infra_package: infra-ca-trust-installed

infra-ca-trust-updated:
  infra_cert.trusted:
    - name: /etc/pki/ca.crt
    - bundle: {{ infra.ca_bundle | tojson }}
    - command: {{ infra.ca_trust_command | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
      - file: infra-ca-trust-linked

# Certificates that the pillar's `certs` asks for: of components that this formula does not manage.
{%- for name, specification in infra.certs.items() %}

{{ ('infra-ca-certificate-' ~ name ~ '-issued') | tojson }}:
  infra_cert.issued:
    - name: {{ name | tojson }}
    - given: {{ dict({'expire': infra.cert_validity}, **specification) | tojson }}
    - cert: {{ specification.get('crt') | tojson }}
    - key: {{ specification.get('key') | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
{%- endfor %}

# What this machine's CA signed is renewed before it ends, every day anew, without master and pillar.
{%- set config = opts['conf_file'].rpartition('/')[0] %}
{%- set program = salt['cmd.which']('salt-call') or '/usr/bin/salt-call' %}

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
  infra_service.running:
    - name: infra-cert-renew.timer
    - require:
      - file: infra-ca-renewal-timer-managed
      - file: infra-ca-renewal-service-managed
      - module: infra-ca-renewal-units-reloaded
